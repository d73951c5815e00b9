"""The training sample in numbers, kept in the package so that later rows can be compared with it (drift).

Rows like the sample's can be made from the numbers alone, where there are few rows to try a model on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_store.signature import Column, ColumnType

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


def make_rows(summary: Mapping[str, Any], columns: Sequence[Column], count: int) -> pa.Table:
    """Make `count` rows that have a summary's columns one by one: the same at every call.

    Numbers are even between neighbouring deciles, texts and booleans as frequent as they were among the most
    frequent, nulls too where the column takes them. What goes with what is lost. A column that the summary knows
    no value of is made of standard normal numbers, of its categories, of nulls, or of empty texts.
    """
    cells = {}
    for place, column in enumerate(columns):
        random = np.random.default_rng(place)
        known = summary["columns"].get(column.name, {"count": 0, "nulls": 0})
        missing = known["nulls"] / max(known["count"] + known["nulls"], 1) if column.nullable else 0.0
        made = _make_choices if column.type in {ColumnType.STRING, ColumnType.BOOLEAN} else _make_numbers
        cells[column.name] = pa.array(
            made(known, column, count, random), column.type.arrow, mask=random.random(count) < missing
        )
    return pa.table(cells)


def _make_numbers(known: Mapping[str, Any], column: Column, count: int, random: np.random.Generator) -> Any:
    quantiles = [known["min"], *known["deciles"], known["max"]] if "deciles" in known else None
    numbers = (
        random.normal(size=count)
        if quantiles is None
        else np.interp(random.uniform(0, len(quantiles) - 1, count), range(len(quantiles)), quantiles)
    )
    if column.type in {ColumnType.DOUBLE, ColumnType.FLOAT}:
        return numbers.astype(column.type.arrow.to_pandas_dtype())
    bits = 31 if column.type is ColumnType.INTEGER else 62  # a double may lie beyond the largest integer
    whole = np.clip(np.rint(numbers), -(2.0**bits), 2.0**bits - 1).astype(np.int64)
    return whole.astype("datetime64[us]") if column.type is ColumnType.DATETIME else whole


def _make_choices(known: Mapping[str, Any], column: Column, count: int, random: np.random.Generator) -> Any:
    unknown = [False, True] if column.type is ColumnType.BOOLEAN else list(column.categories or ("",))
    ranked = known.get("top") or [[value, 1] for value in unknown]
    counts = np.array([number for _, number in ranked], dtype=np.float64)
    values = np.array([value for value, _ in ranked], dtype=object)
    return random.choice(values, count, p=counts / counts.sum())
