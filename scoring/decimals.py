"""From decimals to floating point, rounded once: as their text would be read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_store.arrays import from_numpy, scalar

_WHOLE = 2**53  # whole numbers up to here are exact as doubles,
_POWER = 22  # and so are powers of ten up to here: the quotient of two such is rounded once


def read_decimals(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Convert a decimal256 array to float32 or float64, each value to the nearest there is.

    Arrow's own cast is off by the last bit in one value of ten: enough to cross a tree's threshold.
    """
    scale = array.type.scale
    if pa.types.is_float64(target) and 0 <= scale <= _POWER:
        words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 4)  # two's complement, the lowest first
        words = words[array.offset : array.offset + len(array)]
        low, sign = words[:, 0], words[:, 0] >> 63
        if (words[:, 1:] == sign[:, None]).all() and ((low >= -_WHOLE) & (low <= _WHOLE)).all():
            numbers = from_numpy(low / 10.0**scale)
            return pc.if_else(array.is_valid(), numbers, scalar(None, target)) if array.null_count else numbers
    return pc.cast(pc.cast(array, pa.string()), target)
