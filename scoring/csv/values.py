"""From columns of any type to the cells of a CSV file that say the same."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from errors import ColumnTypeError
from model_store.arrays import from_cells, scalar, to_numpy
from scoring import rejects as reject
from scoring.csv.dialect import Dialect
from scoring.csv.text import to_text
from scoring.parquet.utf8 import find_bad_text
from scoring.rejects import Fault, Rejects

_BYTES = pa.binary()
_FALSE = scalar(False, pa.bool_())
_ZONE = scalar("Z", pa.string())
_FIRST, _END = -719_162, 2_932_897  # days since 1970 of the first day of the year 1, and of 10000


def check_has_text(fields: Iterable[pa.Field], file: str) -> None:
    """Raise ColumnTypeError for a column whose values cannot be written as CSV text."""
    for field in fields:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not _has_text(kind):
            raise ColumnTypeError(
                f"column {field.name!r} is {kind}, which CSV has no text for: leave it out with keep, or let the "
                "result be Parquet",
                file=file,
                column=field.name,
            )


def reject_textless(array: pa.Array, name: str, rejects: Rejects) -> None:
    """Reject the cells of a column that no text can be written for: bytes that are none, years past 9999."""
    kind = array.type
    if _is_text(kind):
        if (bad := find_bad_text(array)) is not None:
            rejects.add_all(bad, Fault(reject.TEXT, name, "the value is not UTF-8 text"))
    elif pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns"):  # those cannot go so far
        plain = array.cast(pa.timestamp(kind.unit)) if pa.types.is_timestamp(kind) else array
        first, end = (scalar(day, pa.int32()).cast(pa.date32()).cast(plain.type) for day in (_FIRST, _END))
        outside = pc.or_(pc.less(plain, first), pc.greater_equal(plain, end))
        if pc.any(outside).as_py():
            message = "the time is not in the years 1 to 9999, which CSV has text for"
            bad = to_numpy(pc.fill_null(outside, _FALSE))
            rejects.add_all(bad, Fault(reject.RANGE, name, message))


def write_cells(array: pa.Array, options: Dialect) -> pa.Array:
    """Return a column's cells as CSV text (binary) from which the same values can be read.

    Null is the empty cell and an empty text is two quotes. Numbers are in their shortest exact form, times in ISO
    8601, in UTC and with a Z where the column has a zone.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if _is_text(kind):
        array = array.cast(pa.string())
        empty = pc.equal(array, scalar("", pa.string()))
        text = to_text(array, options)
        if not pc.any(empty).as_py():
            return text
        return pc.if_else(pc.fill_null(empty, _FALSE), scalar((options.quote * 2).encode(), _BYTES), text)
    if pa.types.is_timestamp(kind):
        local = pc.replace_substring(array.cast(pa.timestamp(kind.unit)).cast(pa.string()), " ", "T")
        array = pc.binary_join_element_wise(local, _ZONE, scalar("", pa.string())) if kind.tz else local
        text = to_text(array, options)
    elif pa.types.is_decimal(kind) and options.decimal != ".":
        text = to_text(pc.replace_substring(array.cast(pa.string()), ".", options.decimal), options)
    elif pa.types.is_null(kind):
        text = from_cells([b""] * len(array), _BYTES)
    else:
        text = to_text(array, options)
    return text


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _has_text(kind: pa.DataType) -> bool:
    types = pa.types
    return _is_text(kind) or any(
        check(kind)
        for check in (
            types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_date, types.is_time,
            types.is_timestamp, types.is_null,
        )
    )  # fmt: skip
