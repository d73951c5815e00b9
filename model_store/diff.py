"""What changes for its callers when one version takes another's place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from errors import ColumnMissingError
from model_store.comparison import compare
from model_store.golden import GoldenRows
from model_store.model import Model
from model_store.signature import Column, Signature

SMALLEST_SHARE = 1e-4
"""What a bin counts at least as, in PSI: an empty one would make it infinite."""


@dataclass(frozen=True, slots=True)
class OutputDiff:
    """How one output column differs; a column has differences or flips, the other two are None."""

    name: str
    max_difference: float | None
    """|new - old|; infinite where only one of the two is a number."""
    mean_difference: float | None
    flips: int | None
    """Rows with another label."""
    flips_per_million: float | None
    psi: float
    """Population stability index: see `stability`."""


@dataclass(frozen=True, slots=True)
class Diff:
    """How a new version's answers differ from an old one's, on the rows that both can answer."""

    rows: int
    """Rows compared: neither version rejects them."""
    rejected_by_old: int
    """Rows that only the old version rejects: a null it does not take, a cell not of its type."""
    rejected_by_new: int
    rejected_by_both: int
    outputs: tuple[OutputDiff, ...]
    """Of the output columns that both have."""
    dropped: tuple[str, ...]
    """Output columns that only the old version has."""
    added: tuple[str, ...]


def diff(old: Model, new: Model, batches: Iterable[pa.RecordBatch]) -> Diff:
    """Score rows with two versions and compare their answers.

    Each batch has, under the names of both signatures' inputs, columns of those types or of any that can be cast,
    such as texts; other columns are ignored. ColumnMissingError if a required one is not there. Answers, not rows,
    are held in memory.
    """
    rejected = np.zeros(4, int)  # by none, by old alone, by new alone, by both
    answers: tuple[list[pa.RecordBatch], list[pa.RecordBatch]] = ([], [])
    for batch in batches:
        fitted = [_fit(batch, model.signature) for model in (old, new)]
        bad = [mask for _, mask in fitted]
        rejected += np.bincount(bad[0] + 2 * bad[1], minlength=4)
        good = pa.array(~(bad[0] | bad[1]))
        for model, (rows, _), found in zip((old, new), fitted, answers, strict=True):
            found.append(model.predict(rows.filter(good)))
    before = pa.Table.from_batches(answers[0], old.signature.output_schema)
    after = pa.Table.from_batches(answers[1], new.signature.output_schema)
    shared = [name for name in before.column_names if name in after.column_names]
    return Diff(
        rows=int(rejected[0]),
        rejected_by_old=int(rejected[1]),
        rejected_by_new=int(rejected[2]),
        rejected_by_both=int(rejected[3]),
        outputs=_compare(
            before.select(shared),
            after.select(shared),
            classifier=bool(old.metadata.labels or new.metadata.labels),
        ),
        dropped=tuple(name for name in before.column_names if name not in shared),
        added=tuple(name for name in after.column_names if name not in shared),
    )


def golden_batches(old: Model, new: Model) -> Iterator[pa.RecordBatch]:
    """Yield the golden rows of both versions, for a diff where no other rows are at hand; few, but there always.

    Those of a version whose inputs the other does not have are left out.
    """
    for model, other in ((old, new), (new, old)):
        names = {column.name for column in model.signature.inputs}
        if all(column.name in names or not column.required for column in other.signature.inputs):
            yield from GoldenRows.read(model.metadata).inputs.to_batches()


def stability(old: Sequence[int], new: Sequence[int]) -> float:
    """Return the population stability index of counts by bin: sum over bins of (n - o) * ln(n / o).

    o and n are the shares of the old and the new answers in the bin, at least SMALLEST_SHARE. Bins of numbers are
    the old answers' deciles (equal ones are one bin, and what is no number has a bin of its own), bins of labels
    the labels. 0 for no rows.
    """
    if not sum(old) or not sum(new):
        return 0.0
    before = np.maximum(np.asarray(old) / sum(old), SMALLEST_SHARE)
    after = np.maximum(np.asarray(new) / sum(new), SMALLEST_SHARE)
    return float(((after - before) * np.log(after / before)).sum())


def _compare(before: pa.Table, after: pa.Table, *, classifier: bool) -> tuple[OutputDiff, ...]:
    for place, field in enumerate(before.schema):
        theirs = after.schema.field(place).type
        if field.type != theirs:  # numbers are compared as numbers, anything else by how it is written
            numeric = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (field.type, theirs))
            kind = pa.float64() if numeric else pa.string()
            before = before.set_column(place, field.name, before.column(place).cast(kind))
            after = after.set_column(place, field.name, after.column(place).cast(kind))
    comparison, rows = compare(before, after, classifier=classifier), len(before)
    outputs = []
    for name in before.column_names:
        if name in comparison.flips:
            flips = int(comparison.flips[name].sum())
            per_million = flips / rows * 1e6 if rows else 0.0
            psi = stability(*_count_labels(before[name], after[name]))
            outputs.append(OutputDiff(name, None, None, flips, per_million, psi))
        else:
            differences = comparison.absolute[name]
            psi = stability(*_count_numbers(_numbers(before[name]), _numbers(after[name])))
            largest, mean = (float(differences.max()), float(differences.mean())) if rows else (0.0, 0.0)
            outputs.append(OutputDiff(name, largest, mean, None, None, psi))
    return tuple(outputs)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return numbers


def _count_numbers(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Return how many old and new numbers are in each bin; each bin ends with, and holds, a decile of the old."""
    finite = old[np.isfinite(old)]
    deciles = np.unique(np.quantile(finite, np.arange(1, 10) / 10)) if len(finite) else np.zeros(0)
    bins = len(deciles) + 2  # behind the last decile, and no number at all

    def count(values: npt.NDArray[np.float64]) -> list[int]:
        places = np.where(np.isnan(values), bins - 1, np.searchsorted(deciles, values))
        counts: list[int] = np.bincount(places, minlength=bins).tolist()
        return counts

    return count(old), count(new)


def _count_labels(old: pa.ChunkedArray, new: pa.ChunkedArray) -> tuple[list[int], list[int]]:
    counts = [{e["values"]: e["counts"] for e in pc.value_counts(column).to_pylist()} for column in (old, new)]
    labels = sorted(counts[0] | counts[1], key=str)
    return [counts[0].get(label, 0) for label in labels], [counts[1].get(label, 0) for label in labels]


def _fit(batch: pa.RecordBatch, signature: Signature) -> tuple[pa.RecordBatch, npt.NDArray[np.bool_]]:
    """Return the batch in the signature's schema, and the mask of the rows that the model rejects."""
    rejected = np.zeros(batch.num_rows, bool)
    columns = []
    for column in signature.inputs:
        if column.name in batch.schema.names:
            cells, unfit = _cast(batch[column.name], column.type.arrow)
            rejected |= unfit
        elif column.required:
            raise ColumnMissingError(
                f"column {column.name!r}, which a version needs, is not there: give a file that has it",
                column=column.name,
            )
        else:
            cells = pa.nulls(batch.num_rows, column.type.arrow)
        rejected |= _refused(cells, column)
        columns.append(cells)
    schema = pa.schema([pa.field(column.name, column.type.arrow) for column in signature.inputs])
    return pa.RecordBatch.from_arrays(columns, schema=schema), rejected


def _refused(cells: pa.Array, column: Column) -> npt.NDArray[np.bool_]:
    """Return the mask of cells that are of the column's type and not taken all the same, as scoring has it."""
    empty = cells.is_null(nan_is_null=True)
    refused = pa.array(np.zeros(len(cells), bool)) if column.nullable else empty
    if column.limit is not None:
        numbers = cells.cast(pa.float64(), safe=False)
        beyond = pc.fill_null(pc.greater(pc.abs(numbers), column.limit), False)
        refused = pc.or_(refused, beyond)
    if column.allowed is not None:
        unknown = pc.invert(pc.is_in(cells, value_set=pa.array([*column.allowed, None], cells.type)))
        refused = pc.or_(refused, unknown)
    mask: npt.NDArray[np.bool_] = refused.to_numpy(zero_copy_only=False)
    return mask


def _cast(cells: pa.Array, kind: pa.DataType) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Return cells as a type, null where one does not fit, and the mask of those."""
    safe = not pa.types.is_floating(kind)  # whole numbers are rounded to floating point, as scoring does
    try:
        return cells.cast(kind, safe=safe), np.zeros(len(cells), bool)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        unfit = np.array([not _fits(cell, kind) for cell in cells])
    kept = [None if bad else cell.cast(kind, safe=safe).as_py() for cell, bad in zip(cells, unfit, strict=True)]
    return pa.array(kept, kind), unfit


def _fits(cell: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        cell.cast(kind, safe=not pa.types.is_floating(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
