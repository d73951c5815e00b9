"""A training sample as Arrow columns, for models that do not know their columns themselves."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from errors import SampleInvalidError
from model_store.signature import ColumnType, Override


def read_sample(sample: pd.DataFrame, overrides: Mapping[str, Override]) -> pa.Table:
    """Return a sample's columns in Arrow types of a signature; SampleInvalidError names the one that has none.

    Whole numbers are int64, numbers with a fraction double (or float32 where pandas has them so); `overrides` may
    say another type.
    """
    if not isinstance(sample, pd.DataFrame):
        raise SampleInvalidError(f"the sample is a {type(sample).__name__}: pass a pandas DataFrame")
    names: list[str] = list(sample.columns)
    for name in names:
        if not _is_name(name):
            raise SampleInvalidError(f"the sample has a column named {name!r}: give each a name that is text")
        if names.count(name) > 1:
            raise SampleInvalidError(f"the sample has two columns named {name!r}: rename or drop one", column=name)
    if sample.empty:
        raise SampleInvalidError("the sample has no rows: pass some of those that the model was trained on")
    if unknown := overrides.keys() - set(names):
        raise SampleInvalidError(f"there is no column {min(unknown)!r} in the sample to override")
    return pa.table({name: _read(name, sample[name], overrides.get(name, Override())) for name in names})


def column_type(cells: pa.ChunkedArray) -> ColumnType:
    """Return the type of a signature that carries a column of `read_sample`."""
    return next(kind for kind in ColumnType if kind.arrow == cells.type)


def _is_name(name: object) -> bool:
    """Return whether a column is named by a text: pandas takes anything."""
    return isinstance(name, str) and bool(name)


def _read(name: str, cells: "pd.Series[Any]", override: Override) -> pa.Array:
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(object)
    try:
        array = pa.Array.from_pandas(cells)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        wanted = override.type.arrow if override.type is not None else _arrow_type(array.type)
        return array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SampleInvalidError(
            f"column {name!r} of the sample cannot be read ({type(error).__name__}): make all its cells numbers, "
            "texts or booleans",
            column=name,
        ) from error


def _arrow_type(found: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(found):
        return pa.int64()
    if pa.types.is_float32(found) or pa.types.is_boolean(found):
        return found
    if pa.types.is_string(found) or pa.types.is_large_string(found):
        return pa.string()
    return pa.float64()  # what is no number, such as a time, cannot be cast to it
