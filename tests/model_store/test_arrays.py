"""Arrow arrays made without pandas are those that pyarrow makes."""

import numpy as np
import pyarrow as pa
import pytest

from model_store.arrays import from_cells, from_numpy, scalar, to_numpy

CELLS = [
    (["a", None, "", "é😀", "b"], pa.string()),
    (["plain", "ascii"], pa.string()),
    ([b"\xff", b"", None], pa.binary()),
    ([True, None, False, *[True] * 20], pa.bool_()),
    ([1.5, None, 2, float("inf"), -0.0, 2**53], pa.float64()),
    ([0.1, 1e300, 2**24], pa.float32()),
    ([2**63 - 1, None, -(2**63)], pa.int64()),
    ([None, None], pa.int32()),
    *(([], kind) for kind in (pa.string(), pa.bool_(), pa.float64())),
]


@pytest.mark.parametrize(("cells", "kind"), CELLS)
def test_cells_become_what_pyarrow_makes_of_them(cells, kind) -> None:
    """Text, bytes, booleans and numbers, with and without nulls, are the same array, and valid."""
    array = from_cells(cells, kind)
    array.validate(full=True)
    assert array.equals(pa.array(cells, kind))
    assert [scalar(cell, kind) for cell in cells] == [pa.scalar(cell, kind) for cell in cells]


def test_nan_is_null() -> None:
    """A NaN among Python values is no value, as pandas has it."""
    assert from_cells([float("nan"), 1.0], pa.float64()).null_count == 1


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (2**53 + 1, pa.float64()),
        (10**400, pa.float64()),
        (2**24 + 1, pa.float32()),
        (2**31, pa.int32()),
        (2**63, pa.int64()),
        ("\ud800", pa.string()),
    ],
)
def test_what_a_type_does_not_hold_is_an_error(cell, kind) -> None:
    """A value that would change is refused, as pyarrow refuses it."""
    with pytest.raises((ValueError, OverflowError)):
        pa.array([cell], kind)
    with pytest.raises((ValueError, OverflowError)):
        from_cells([cell], kind)


@pytest.mark.parametrize("values", [np.array([True, False, True] * 5), np.arange(7, dtype=np.int32), np.ones(0)])
def test_numpy_arrays_go_there_and_back(values) -> None:
    """An array of numbers or booleans is the same after both ways, whole or sliced."""
    array = from_numpy(values)
    array.validate(full=True)
    assert array.equals(pa.array(values))
    back = to_numpy(array[1:])
    assert back.dtype == values.dtype
    assert back.tolist() == values[1:].tolist()


def test_nulls_are_what_numpy_has_for_them() -> None:
    """Nulls are NaN among floats, None among texts, and an error among whole numbers; slices keep to their part."""
    floats = to_numpy(pa.array([9, 1.5, None], pa.float32())[1:])
    assert floats.dtype == np.float32
    assert floats[0] == 1.5
    assert np.isnan(floats[1])
    assert to_numpy(pa.array(["x", "b", None, "b"])[1:]).tolist() == ["b", None, "b"]
    with pytest.raises(ValueError, match="no null among int64"):
        to_numpy(pa.array([1, None]))
