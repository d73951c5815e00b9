"""Arrow arrays from NumPy's and Python's values, and back, without pandas.

pyarrow's own ways (pa.array, pa.scalar, Array.to_numpy, plain values as arguments of pyarrow.compute) import pandas
if it is installed, to see whether they were given something of its. That is a third of a second.
What is here hands buffers over, so pandas stays unloaded; numbers are not copied.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def from_numpy(values: npt.NDArray[Any]) -> pa.Array:
    """Return an array of numbers or booleans [n] as Arrow's, of the same type and without nulls."""
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def from_cells(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return Python values as an array of `kind`: text, bytes, booleans or numbers; None and NaN are null.

    ValueError or OverflowError for what `kind` does not hold: a lone surrogate, a whole number out of its range or
    beyond those that a floating-point number has exactly.
    """
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return _from_texts(cells, kind)
    missing = np.array([cell is None or cell != cell for cell in cells], np.bool_)  # noqa: PLR0124  # NaN differs
    validity = _bits(~missing) if missing.any() else None
    dtype = np.dtype(kind.to_pandas_dtype())
    if dtype.kind == "f":
        exact = 2 ** (np.finfo(dtype).nmant + 1)
        if any(isinstance(cell, int) and abs(cell) > exact for cell in cells):
            raise OverflowError(f"a whole number beyond those that {kind} has exactly")
    with np.errstate(over="ignore"):  # a float too large for 32 bits is infinite there
        values = np.array([0 if gone else cell for gone, cell in zip(missing, cells, strict=True)], dtype)
    array = from_numpy(values)
    return pa.Array.from_buffers(array.type, len(array), [validity, array.buffers()[1]]) if validity else array


def _from_texts(cells: Sequence[str | bytes | None], kind: pa.DataType) -> pa.Array:
    validity = None
    try:
        text = "".join(cells)  # type: ignore[arg-type]  # that is what is tried: to join, measure and encode at once
    except TypeError:
        text = "\N{REPLACEMENT CHARACTER}"  # something is no text: each is looked at
    if text.isascii():
        data, texts = text.encode(), cells
    else:
        texts = [b"" if cell is None else cell.encode() if isinstance(cell, str) else cell for cell in cells]
        data = b"".join(texts)  # type: ignore[arg-type]  # all are bytes now
        validity = _bits(np.array([cell is not None for cell in cells], np.bool_))
    ends = np.zeros(len(cells) + 1, np.int64)
    lengths = map(len, texts)  # type: ignore[arg-type]  # no None is left
    np.cumsum(np.fromiter(lengths, np.int64, len(cells)), out=ends[1:])
    wide = pa.large_string() if pa.types.is_string(kind) else pa.large_binary()
    # The cast checks that 32-bit offsets are enough.
    return pa.Array.from_buffers(wide, len(cells), [validity, pa.py_buffer(ends), pa.py_buffer(data)]).cast(kind)


def scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Return a value of `kind`, as pyarrow.compute takes one; None is null, of any kind."""
    return pa.nulls(1, kind)[0] if value is None else from_cells([value], kind)[0]


def to_numpy(array: pa.Array) -> npt.NDArray[Any]:
    """Return numbers, booleans or texts as NumPy has them: [n], texts as objects.

    Nulls are NaN among floating-point numbers and None among texts; ValueError for nulls among others.
    Numbers without nulls are not copied, and cannot be written to.
    """
    kind = array.type
    if pa.types.is_string(kind):
        return _texts(array)
    if array.null_count:
        if not pa.types.is_floating(kind):
            raise ValueError(f"NumPy has no null among {kind}")
        array = pc.fill_null(array, _NAN[kind])
    if pa.types.is_boolean(kind):
        return to_numpy(pc.cast(array, pa.uint8())).view(np.bool_)
    dtype = np.dtype(kind.to_pandas_dtype())
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def _texts(array: pa.Array) -> npt.NDArray[np.object_]:
    """Return texts as objects: each distinct one is made once, as cells repeat."""
    codes = array.dictionary_encode()
    texts = np.array([*codes.dictionary.to_pylist(), None], np.object_)
    places = pc.fill_null(codes.indices, _LAST) if array.null_count else codes.indices
    taken: npt.NDArray[np.object_] = texts[to_numpy(places)]
    return taken


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


_NAN = {pa.from_numpy_dtype(kind): from_numpy(np.array([np.nan], kind))[0] for kind in (np.float32, np.float64)}
_LAST = from_numpy(np.array([-1], np.int32))[0]
