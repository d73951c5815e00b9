"""The rows that the parity gate asks both models about: of the sample, and made from it to be awkward."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from errors import DropscoreError, SampleInvalidError
from model_store.signature import Column, ColumnType, Signature
from model_store.training import make_rows, summarise

SAMPLE_ROWS = 10_000
FEW_ROWS = 1_000
"""A sample of fewer rows is filled up with rows made like it."""
VARIANT_ROWS = 50
"""Rows of the sample that each kind of awkward row is made from."""
MAX_CATEGORIES = 1_000
"""Categories of a column that takes no others, of which each is tried."""

_UNSEEN = "unseen ∅"
"""A category no sample has; beyond ASCII, so that its encoding is tried as well."""

_FLOATS = {ColumnType.DOUBLE, ColumnType.FLOAT}
_WHOLE: Mapping[ColumnType, "np.iinfo[Any]"] = {
    ColumnType.LONG: np.iinfo(np.int64),
    ColumnType.INTEGER: np.iinfo(np.int32),
}
_TINY = (0.0, -0.0, 5e-324, -5e-324, 1e-310, -1e-310, 1e-45, 1e-39, -1e-39, 1e-30)
"""Both zeros, and numbers that are subnormal in double or in float32."""
_NO_THRESHOLDS: Mapping[str, Sequence[float]] = MappingProxyType({})


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

    @property
    def given(self) -> int:
        """How many of the rows are the user's; the others were made."""
        return self.groups[0].stop

    def group_of(self, row: int) -> Group:
        """Return the group that trial row `row` belongs to."""
        return next(group for group in self.groups if group.start <= row < group.stop)

    def evenly(self, count: int) -> list[int]:
        """Choose up to `count` trial rows, the same at every call: about half of the sample, the rest made ones."""
        made = [range(group.start, group.stop) for group in reversed(self.groups[1:])]  # the most awkward first
        turns = [rows[turn] for turn in range(VARIANT_ROWS) for rows in made if turn < len(rows)]
        chosen = turns[: count - min(count - count // 2, self.given)]
        return sorted([*even_rows(self.given, count - len(chosen)), *chosen])


def even_rows(rows: int, count: int) -> list[int]:
    """Choose `count` of `rows` row numbers, evenly spread, the same at every call."""
    return list(range(rows)) if rows <= count else np.linspace(0, rows - 1, count).astype(int).tolist()


def make_trials(
    sample: pa.Table,
    signature: Signature,
    predict: Callable[[pa.Table], pa.Table],
    thresholds: Mapping[str, Sequence[float]] = _NO_THRESHOLDS,
) -> Trials:
    """Return trials from a sample of at least one row, answered by the source's `predict`.

    First rows of the sample itself, filled up with rows made like them if they are few. Then rows with numbers next
    to zero, with numbers at and around `thresholds`, with each category of columns that take no others, with nulls
    where they may be, with categories that the sample has not; and rows with all nulls or unseen ones at once.
    """
    building = _Building(predict)
    building.add("the sample", None, sample.take(even_rows(len(sample), SAMPLE_ROWS)), must=True)
    if len(sample) < FEW_ROWS:
        made = make_rows(summarise(sample), signature.inputs, SAMPLE_ROWS - len(sample))
        building.add("rows made like the sample", None, made.cast(signature.input_schema))
    base = sample.take(even_rows(len(sample), VARIANT_ROWS))
    for column in signature.inputs:
        if column.type in _FLOATS:
            building.add(f"tiny values in {column.name!r}", column.name, _with_cells(base, column, _TINY))
    for column in signature.inputs:
        if len(values := _around(thresholds.get(column.name, ()), column)):
            name = f"values at tree thresholds in {column.name!r}"
            building.add(name, column.name, _with_cells(base, column, values))
    for column in signature.inputs:
        if column.allowed:
            cells = _with_cells(base, column, column.allowed[:MAX_CATEGORIES])
            building.add(f"known categories in {column.name!r}", column.name, cells)
    _add_nulls(building, base, [column for column in signature.inputs if column.nullable])
    _add_unseen(building, base, sample, [c for c in signature.inputs if c.type is ColumnType.STRING])
    return building.done()


def _add_nulls(building: "_Building", base: pa.Table, columns: Sequence[Column]) -> None:
    empty = base
    for column in columns:
        cells = pa.nulls(len(base), column.type.arrow)
        building.add(f"nulls in {column.name!r}", column.name, _replaced(base, column, cells))
        empty = _replaced(empty, column, cells)
    if len(columns) > 1:
        building.add("nulls in every column that may have them", None, empty.slice(0, 1))


def _add_unseen(building: "_Building", base: pa.Table, sample: pa.Table, columns: Sequence[Column]) -> None:
    strange = base
    for column in columns:
        cells = _unseen(column, sample, len(base))
        building.add(f"an unseen category in {column.name!r}", column.name, _replaced(base, column, cells))
        if column.allowed is None:
            strange = _replaced(strange, column, cells)
    if sum(column.allowed is None for column in columns) > 1:
        building.add("unseen categories in every string column", None, strange)


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
        except DropscoreError:
            raise
        except Exception as error:  # whatever a source raises, it is its refusal, and the report tells of it
            if must:
                raise SampleInvalidError(
                    f"the model fails on {name} ({type(error).__name__}): pass rows as it was trained on"
                ) from error
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


def _around(thresholds: Sequence[float], column: Column) -> NDArray[Any]:
    """Return thresholds and their neighbours, in double and in float32, that the column takes."""
    double = np.unique(np.asarray(thresholds, dtype=np.float64))
    if column.type in _WHOLE:
        bounds = _WHOLE[column.type]
        whole = np.unique(np.concatenate([np.floor(double), np.ceil(double)]))
        return whole[(whole >= bounds.min) & (whole < bounds.max)].astype(column.type.arrow.to_pandas_dtype())
    if column.type not in _FLOATS:
        return np.zeros(0)
    with np.errstate(over="ignore"):
        single = double.astype(np.float32)
    around = [double, np.nextafter(double, -np.inf), np.nextafter(double, np.inf)]
    around += [single, np.nextafter(single, np.float32(-np.inf)), np.nextafter(single, np.float32(np.inf))]
    values = np.concatenate([side.astype(np.float64) for side in around])
    cells = np.unique(values.astype(column.type.arrow.to_pandas_dtype()))
    return cells[np.isfinite(cells) & (np.abs(cells) <= (np.inf if column.limit is None else column.limit))]


def _unseen(column: Column, sample: pa.Table, count: int) -> pa.Array:
    text = _UNSEEN
    while pc.any(pc.equal(sample[column.name], text)).as_py():
        text += "∅"
    return pa.repeat(text, count)


def _with_cells(base: pa.Table, column: Column, cells: Any) -> pa.Table:
    """Return a row of the base, from the first to the last and over again, for each cell, with it in the column."""
    rows = base.take(np.arange(len(cells)) % len(base))
    return _replaced(rows, column, pa.array(cells, column.type.arrow))


def _replaced(rows: pa.Table, column: Column, cells: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index(column.name)
    return rows.set_column(place, rows.schema.field(place), cells)
