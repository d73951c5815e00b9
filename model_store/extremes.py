"""How large a column's numbers may be: as large as the source takes them, and as far as the graph agrees with it.

At a magnitude of 1e200 squares overflow, distances tie and sums cancel: what a model answers there is an accident
of its arithmetic. Where the graph's accidents are others than the source's, such cells are rejected, not scored.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model_store.comparison import compare
from model_store.signature import Column, ColumnType, Signature
from model_store.trials import even_rows

_ROWS = 3
"""Rows of the sample that each magnitude is tried in."""

_STEPS = 30
"""Magnitudes that are tried between the last that agrees and the first that does not."""

_WHOLE = {ColumnType.LONG: 2.0**63, ColumnType.INTEGER: 2.0**31}
_FLOATS = {ColumnType.DOUBLE, ColumnType.FLOAT}

_SINGLE_ENDS = 2.0**128 - 2.0**103
"""From here on float32 rounds to infinity."""
_TIMES = (2.0, 10.0, 100.0, 1000.0)
"""Magnitudes that are tried, as multiples of the sample's largest; and those that are the same for all columns:"""
_MAGNITUDES = (
    *(10.0**power for power in (4, 6, 8, 10, 12, 15, 18, 25, 30, 37)),
    float(np.nextafter(_SINGLE_ENDS, 0)),
    _SINGLE_ENDS,
    *(10.0**power for power in (39, 45, 76, 100, 150, 200, 300)),
    float(np.finfo(np.float64).max),
    np.inf,
)


def narrow_limits(
    signature: Signature,
    sample: pa.Table,
    source: Callable[[pa.Table], pa.Table],
    predict: Callable[[pa.RecordBatch], pa.RecordBatch],
    *,
    classifier: bool,
    tolerance: float,
) -> Signature:
    """Return the signature with limits within which `predict` answers as the source does.

    Numbers as large as the sample's stay: of those the parity gate judges. A difference may be as large as the
    tolerance, or the tolerance times the answer where that is above 1.
    """

    def differing(column: Column, magnitudes: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Return at which magnitudes any answer is off; None where the source itself refuses one of them."""
        rows = _rows(sample, column, magnitudes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of overflows, which is what is asked about
                theirs = source(rows)
        except Exception:  # what the source itself refuses has no answer to agree with
            return None
        ours = predict(rows.combine_chunks().to_batches()[0])
        off = _off(theirs, ours, classifier=classifier, tolerance=tolerance)
        at: NDArray[np.bool_] = off.reshape(2 * _ROWS, -1).any(axis=0)
        return at

    def narrowed(column: Column) -> Column:
        if column.type not in {*_FLOATS, *_WHOLE}:
            return column
        reach = _reach(sample[column.name])
        magnitudes = _magnitudes(column, reach)
        off = differing(column, magnitudes)
        if off is None or not off.any():
            return column
        first = int(np.argmax(off))
        last = float(max([reach, *magnitudes[:first]]))
        between = _between(last, float(magnitudes[first]))  # or ordinary rows would be lost to the ladder's steps
        if len(between) and (off := differing(column, between)) is not None:
            last = float(max([last, *between[: int(np.argmax([*off, True]))]]))
        return replace(column, limit=last)

    return replace(signature, inputs=tuple(narrowed(column) for column in signature.inputs))


def _reach(cells: pa.ChunkedArray) -> float:
    """Return the largest finite magnitude in the sample, or 1 if there is none."""
    values = np.abs(cells.cast(pa.float64()).drop_null().to_numpy())
    return float(np.max(values[np.isfinite(values)], initial=0.0)) or 1.0


def _magnitudes(column: Column, reach: float) -> NDArray[np.float64]:
    """Return what is tried in a column, in order: beyond the sample's reach, within what the source takes."""
    end = _WHOLE.get(column.type, np.inf if column.limit is None else column.limit)
    tried = np.unique([*(reach * times for times in _TIMES), *_MAGNITUDES, end])
    if column.type is ColumnType.FLOAT:
        tried = np.unique(tried[(tried <= np.finfo(np.float32).max) | np.isinf(tried)])
    return tried[(tried > reach) & (tried <= end)]


def _between(last: float, first: float) -> NDArray[np.float64]:
    """Return magnitudes between the last that agrees and the first that does not, evenly by their logarithms.

    None below infinity: there the last is the largest number already.
    """
    if np.isinf(first):
        return np.zeros(0)
    powers = np.linspace(np.log2(last), np.log2(first), _STEPS + 2)[1:-1]
    return np.clip(np.exp2(np.minimum(powers, 1023.0)), last, first)  # 2 ** 1024 is no double any more


def _rows(sample: pa.Table, column: Column, magnitudes: NDArray[np.float64]) -> pa.Table:
    """Return rows of the sample with each magnitude, as plus and as minus: [sign, row, magnitude]."""
    base = np.resize(even_rows(len(sample), _ROWS), _ROWS)
    cells: NDArray[Any] = np.concatenate([np.tile(magnitudes, _ROWS), np.tile(-magnitudes, _ROWS)])
    if column.type in _WHOLE:
        bounds = np.iinfo(column.type.arrow.to_pandas_dtype())
        whole = [min(max(int(cell), int(bounds.min)), int(bounds.max)) for cell in cells.tolist()]
        cells = np.array(whole, dtype=np.int64)
    rows = sample.take(np.tile(np.repeat(base, len(magnitudes)), 2))
    place = rows.schema.get_field_index(column.name)
    kind = column.type.arrow
    return rows.set_column(place, rows.schema.field(place), pa.array(cells.astype(kind.to_pandas_dtype()), kind))


def _off(theirs: pa.Table, ours: pa.RecordBatch, *, classifier: bool, tolerance: float) -> NDArray[np.bool_]:
    """Return the mask of rows whose answers differ, each held against itself alone."""
    with np.errstate(over="ignore", invalid="ignore"):  # it adds all answers up, which says nothing here
        comparison = compare(theirs, ours, classifier=classifier)
    masks = [*comparison.flips.values()]
    for name, absolute in comparison.absolute.items():
        size = np.abs(theirs[name].to_numpy().astype(np.float64))
        masks.append(absolute > tolerance * np.where(np.isfinite(size), np.maximum(size, 1.0), 1.0))
    mask: NDArray[np.bool_] = np.logical_or.reduce(masks)
    return mask
