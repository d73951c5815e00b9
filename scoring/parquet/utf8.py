"""Parquet files can hold any bytes where they say text is."""

import numpy as np
import pyarrow as pa


def find_bad_text(array: pa.Array) -> np.ndarray | None:
    """Return a boolean array of the cells of a text column that are not UTF-8; None where all are."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([not _is_utf8(cell) for cell in array.cast(pa.binary()).to_pylist()])
    return None


def _is_utf8(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
