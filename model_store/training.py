"""The training sample in numbers, kept in the package so that later rows can be compared with it (drift)."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TOP_CATEGORIES = 50


def summarise(sample: pa.Table) -> dict[str, Any]:
    """Return {"rows": …, "columns": {name: …}} as JSON values.

    Every column has `count` (cells with a value) and `nulls`; numeric ones also `mean`, `std`, `min`, `max` and
    `deciles` (nine numbers) of their finite values; string and boolean ones `distinct` and `top`, the most frequent
    values with their counts.
    """
    return {"rows": len(sample), "columns": {name: _summarise(sample[name]) for name in sample.column_names}}


def _summarise(column: pa.ChunkedArray) -> dict[str, Any]:
    counts = {"count": len(column) - column.null_count, "nulls": column.null_count}
    if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return counts | _categories(column)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return counts | _distribution(column.drop_null().to_numpy().astype(np.float64))


def _categories(column: pa.ChunkedArray) -> dict[str, Any]:
    counted = pc.value_counts(column.drop_null()).to_pylist()
    ranked = sorted(counted, key=lambda entry: (-entry["counts"], str(entry["values"])))
    return {"distinct": len(ranked), "top": [[e["values"], e["counts"]] for e in ranked[:TOP_CATEGORIES]]}


def _distribution(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {}
    return {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "min": float(finite.min()),
        "max": float(finite.max()),
        "deciles": np.quantile(finite, np.arange(1, 10) / 10).tolist(),
    }
