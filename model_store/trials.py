"""The rows that the parity gate asks both models about: of the sample, and made from it to be awkward."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_store.signature import Column, ColumnType, Signature

SAMPLE_ROWS = 10_000
VARIANT_ROWS = 50
"""Rows of the sample that each kind of awkward row is made from."""

_UNSEEN = "unseen ∅"
"""A category no sample has; beyond ASCII, so that its encoding is tried as well."""


@dataclass(frozen=True, slots=True)
class Group:
    """Trial rows of one kind, `start` to `stop` of all."""

    name: str
    """What was done to the rows, as a message says it: "the sample", "nulls in 'age'"."""
    column: str | None
    """The one input column that was changed, if it was one."""
    start: int
    stop: int


@dataclass(frozen=True)
class Trials:
    """Rows in the inputs' schema, the source model's answers to them, and where they come from."""

    rows: pa.Table
    answers: pa.Table
    groups: tuple[Group, ...]
    refused: tuple[str, ...]
    """Groups that the source model itself raised an error for: there is no answer to compare with."""

    def group_of(self, row: int) -> Group:
        """Return the group that trial row `row` belongs to."""
        return next(group for group in self.groups if group.start <= row < group.stop)

    def evenly(self, count: int) -> list[int]:
        """Choose up to `count` trial rows, the same at every call: about half of the sample, the rest made ones."""
        made = [range(group.start, group.stop) for group in reversed(self.groups[1:])]  # the most awkward first
        turns = [rows[turn] for turn in range(VARIANT_ROWS) for rows in made if turn < len(rows)]
        chosen = turns[: count - min(count - count // 2, self.groups[0].stop)]
        return sorted([*even_rows(self.groups[0].stop, count - len(chosen)), *chosen])


def even_rows(rows: int, count: int) -> list[int]:
    """Choose `count` of `rows` row numbers, evenly spread, the same at every call."""
    return list(range(rows)) if rows <= count else np.linspace(0, rows - 1, count).astype(int).tolist()


def make_trials(sample: pa.Table, signature: Signature, predict: Callable[[pa.Table], pa.Table]) -> Trials:
    """Return trials from a sample of at least one row, answered by the source's `predict`.

    First rows of the sample itself. Then, for each column that may be null, rows with nulls there; for each string
    column, rows with a category that the sample has not; and rows with all of these at once.
    """
    building = _Building(predict)
    building.add("the sample", None, sample.take(even_rows(len(sample), SAMPLE_ROWS)), must=True)
    base = sample.take(even_rows(len(sample), VARIANT_ROWS))
    nullable = [column for column in signature.inputs if column.nullable]
    texts = [column for column in signature.inputs if column.type is ColumnType.STRING]
    for column in nullable:
        building.add(f"nulls in {column.name!r}", column.name, _with_nulls(base, column))
    for column in texts:
        building.add(f"an unseen category in {column.name!r}", column.name, _with_unseen(base, column, sample))
    empty, strange = base, base
    for column in nullable:
        empty = _with_nulls(empty, column)
    for column in texts:
        strange = _with_unseen(strange, column, sample)
    if len(nullable) > 1:
        building.add("nulls in every column that may have them", None, empty.slice(0, 1))
    if len(texts) > 1:
        building.add("unseen categories in every string column", None, strange)
    return building.done()


@dataclass
class _Building:
    """Trials in the making."""

    predict: Callable[[pa.Table], pa.Table]
    rows: list[pa.Table] = field(default_factory=list)
    answers: list[pa.Table] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, name: str, column: str | None, rows: pa.Table, *, must: bool = False) -> None:
        """Add a group, if the source answers it; a source that refuses a group it `must` answer is an error."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn warns of the unseen categories it was told to ignore
                answers = self.predict(rows)
        except Exception:  # whatever a source raises, it is its refusal, and the report tells of it
            if must:
                raise
            self.refused.append(name)
            return
        start = self.groups[-1].stop if self.groups else 0
        self.groups.append(Group(name, column, start, start + len(rows)))
        self.rows.append(rows)
        self.answers.append(answers)

    def done(self) -> Trials:
        """Return the trials."""
        rows, answers = (pa.concat_tables(tables).combine_chunks() for tables in (self.rows, self.answers))
        return Trials(rows, answers, tuple(self.groups), tuple(self.refused))


def _with_nulls(rows: pa.Table, column: Column) -> pa.Table:
    return _replaced(rows, column, pa.nulls(len(rows), column.type.arrow))


def _with_unseen(rows: pa.Table, column: Column, sample: pa.Table) -> pa.Table:
    text = _UNSEEN
    while pc.any(pc.equal(sample[column.name], text)).as_py():
        text += "∅"
    return _replaced(rows, column, pa.repeat(text, len(rows)))


def _replaced(rows: pa.Table, column: Column, cells: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index(column.name)
    return rows.set_column(place, rows.schema.field(place), cells)
