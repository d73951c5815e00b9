"""Make a block's columns what the model's signature says, and reject the rows that cannot be."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from errors import ColumnMissingError, ColumnTypeError
from model_store import Column, ColumnType, Signature
from model_store.arrays import from_cells, from_numpy, scalar, to_numpy
from scoring.datetimes import read_datetimes
from scoring.decimals import read_decimals
from scoring.rejects import CATEGORY, NULL, RANGE, TYPE, Fault, Rejects

_READS_AS = {
    ColumnType.BOOLEAN: "true or false",
    ColumnType.INTEGER: "a whole number of 32 bits",
    ColumnType.LONG: "a whole number of 64 bits",
    ColumnType.FLOAT: "a number",
    ColumnType.DOUBLE: "a number",
    ColumnType.STRING: "text",
    ColumnType.DATETIME: "a date and time such as 2026-11-20T12:00:00",
}

_FALSE, _TRUE = scalar(False, pa.bool_()), scalar(True, pa.bool_())


def check_columns(signature: Signature, schema: pa.Schema, file: str, *, hint: str = "") -> None:
    """Raise ColumnMissingError or ColumnTypeError where no row of a table of this schema could be scored.

    `schema` has the file's own columns, all of them; columns the model does not know are ignored.
    `hint` is what to say behind the names of missing columns.
    """
    names = schema.names  # a list made anew for each that asks
    known = set(names)
    missing = [c.name for c in signature.inputs if c.required and c.name not in known]
    if missing:
        # Where none of the names is known, the "header" may well be a row of data: it is not repeated.
        strange = not any(c.name in known for c in signature.inputs)
        has = f"{len(names)} other{'s' if len(names) != 1 else ''}" if strange else _named(names)
        raise ColumnMissingError(
            f"{_named(missing)} the model needs {'is' if len(missing) == 1 else 'are'} not in the file, "
            f"which has {has}{hint}",
            file=file,
            column=missing[0],
        )
    for column in signature.inputs:
        if column.name not in known:
            continue
        found = schema.field(column.name).type
        if pa.types.is_dictionary(found):
            found = found.value_type
        if not _FITS[column.type](found):
            raise ColumnTypeError(
                f"column {column.name!r} is {found}, the model takes {column.type.value}: {_READS_AS[column.type]}",
                file=file,
                column=column.name,
            )


def conform(columns: Mapping[str, pa.Array], signature: Signature, rows: int, rejects: Rejects) -> pa.RecordBatch:
    """Return `rows` rows in the signature's input schema; cells that do not fit are added to `rejects`.

    Strings may come as dictionaries of strings, and stay that: what is looked up is looked up once for each text.
    `columns` holds arrays of any type that `check_columns` lets through. Values are only converted where nothing is
    lost. Rejected rows are still in the batch, with nulls or whatever they held: filter them out before scoring.
    """
    # All types before anything else, since CSV text and JSON are read into types before they come here: so a row
    # with two faults is rejected for the same one whatever its format.
    arrays = [_typed(columns, column, rows, rejects) for column in signature.inputs]
    for array, column in zip(arrays, signature.inputs, strict=True):
        _check(array, column, rejects)
    return pa.RecordBatch.from_arrays(arrays, [column.name for column in signature.inputs])


def _typed(columns: Mapping[str, pa.Array], column: Column, rows: int, rejects: Rejects) -> pa.Array:
    if column.name not in columns:
        return pa.nulls(rows, column.type.arrow)
    array = columns[column.name]
    if pa.types.is_integer(column.type.arrow) and pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), scalar(None, array.type), array)  # pandas' way to say null
    if array.type != column.type.arrow and not (column.type is ColumnType.STRING and _is_coded(array)):
        array, lost = cast(array, column.type.arrow)
        if lost.any():
            rejects.add_all(lost, type_fault(column))
    return array


def _check(array: pa.Array, column: Column, rejects: Rejects) -> None:
    if not column.nullable:
        # A NaN is as missing as a null to every model that takes neither.
        floating = pa.types.is_floating(array.type)
        empty = pc.is_null(array, nan_is_null=True) if array.null_count or floating else None
        if empty is not None and pc.any(empty).as_py():
            message = "the value is missing where the model takes none"
            rejects.add_all(to_numpy(empty), Fault(NULL, column.name, message))
    if column.limit is not None:
        _check_range(array, column, column.limit, rejects)
    if column.allowed is not None:
        _check_categories(array, column, column.allowed, rejects)


def _check_range(array: pa.Array, column: Column, limit: float, rejects: Rejects) -> None:
    if not len(array):
        return
    if pa.types.is_floating(array.type):
        # A quick look first, also at what lies under nulls: it takes a quarter of the time of comparing each cell.
        kind = array.type.to_pandas_dtype()
        cells = np.frombuffer(array.buffers()[1], kind, len(array) + array.offset)[array.offset :]
        if -limit <= cells.min(initial=0.0) and cells.max(initial=0.0) <= limit:  # not so where there is a NaN
            return
    else:
        array = pc.cast(array, pa.float64(), safe=False)
    beyond = pc.greater(pc.abs(array), scalar(limit, array.type))
    if pc.any(beyond).as_py():
        message = "the value is infinite or larger than the model takes"
        rejects.add_all(to_numpy(pc.fill_null(beyond, _FALSE)), Fault(RANGE, column.name, message))


def _check_categories(array: pa.Array, column: Column, allowed: Sequence[str], rejects: Rejects) -> None:
    texts = array.dictionary if pa.types.is_dictionary(array.type) else array
    known = pc.is_in(texts, value_set=from_cells([*allowed, None], texts.type))
    if pa.types.is_dictionary(array.type):
        known = pc.fill_null(known.take(array.indices), _TRUE)
    if not pc.all(known).as_py():
        message = "the value is none of those the model was trained on, and it takes no others"
        rejects.add_all(to_numpy(pc.invert(known)), Fault(CATEGORY, column.name, message))


def type_fault(column: Column) -> Fault:
    """Return the fault of a cell that is not of its column's type."""
    return Fault(TYPE, column.name, f"the value is not {_READS_AS[column.type]}")


def read_text(array: pa.Array, kind: ColumnType, decimal: str = ".") -> tuple[pa.Array, np.ndarray]:
    """Read texts, none of which stands for null, as another type; return the array and which cells did not fit.

    `decimal` is what stands before a number's fraction: a point or a comma.
    """
    array = pc.utf8_trim(array, characters=" \t")
    if decimal == "," and kind is not ColumnType.DATETIME:
        # A point divides thousands there: 1.234 is not 1.234, so nothing with a point is a number.
        array = pc.replace_substring(pc.replace_substring(array, ".", "?"), ",", ".")
    if kind in (ColumnType.LONG, ColumnType.INTEGER):
        # pandas writes whole numbers with a gap among them as 3.0: the same value, so nothing is lost.
        array = pc.replace_substring_regex(array, r"^(?:\+|(-))?(\d+)(?:\.0*)?$", r"\1\2")
    return cast(array, kind.arrow)


def cast(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Convert to `target` where no value changes; return the array and a mask of the cells that could not be.

    Those cells are null in the array. Whole numbers and decimals are rounded to floating point, as they are when
    read from text, and as the source framework rounded them.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        array = pc.cast(array, pa.decimal256(76, array.type.scale))  # the narrow ones have few functions
    try:
        return _convert(array, target), np.zeros(len(array), bool)
    except pa.ArrowInvalid:
        pass  # some cell does not fit: find out which
    # Bad cells repeat far more often than they differ, so each distinct value is tried once.
    codes = array.dictionary_encode()
    values = codes.dictionary
    fits = np.zeros(len(values), bool)
    _mark_castable(values, target, fits, 0, len(values))
    good = _convert(pc.if_else(from_numpy(fits), values, scalar(None, values.type)), target)
    bad = np.zeros(len(array), bool)
    known = to_numpy(codes.indices.is_valid())
    bad[known] = ~fits[to_numpy(codes.indices.drop_null())]
    return good.take(codes.indices), bad


def _convert(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Convert all cells; pa.ArrowInvalid if one does not fit."""
    if pa.types.is_timestamp(target) and pa.types.is_string(array.type):
        return read_datetimes(array)
    if pa.types.is_floating(target) and pa.types.is_decimal(array.type):
        return read_decimals(array, target)
    return pc.cast(array, target, safe=not (pa.types.is_floating(target) and _is_number(array.type)))


def _mark_castable(values: pa.Array, target: pa.DataType, fits: np.ndarray, start: int, stop: int) -> None:
    """Halve until what fails stands alone: a few bad values among many cost a few casts."""
    if start == stop:
        return
    try:
        _convert(values[start:stop], target)
        fits[start:stop] = True
    except pa.ArrowInvalid:
        if stop - start > 1:
            middle = (start + stop) // 2
            _mark_castable(values, target, fits, start, middle)
            _mark_castable(values, target, fits, middle, stop)


def _is_coded(array: pa.Array) -> bool:
    """Say whether an array is a dictionary of strings whose only nulls are its indices'."""
    kind = array.type
    return (
        bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))
        and not array.dictionary.null_count
    )


def _named(names: list[str], most: int = 5) -> str:
    shown = ", ".join(repr(_cut(name)) for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _cut(name: str, most: int = 80) -> str:
    """Return the start of a column's name: where a quote is missing, rows are a part of what looks like one."""
    start = name.splitlines()[0][:most] if name else name
    return start if start == name else start + "..."


def _is_number(found: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
        or pa.types.is_null(found)
    )  # fmt: skip


def _is_whole(found: pa.DataType) -> bool:
    # Floats are let in because that is what pandas makes of whole numbers with a gap; 1.5 is rejected row by row.
    return _is_number(found)


def _is_text(found: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
        or pa.types.is_null(found)
    )  # fmt: skip


def _is_boolean(found: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(found) or pa.types.is_null(found))


def _is_datetime(found: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(found) or pa.types.is_date(found) or pa.types.is_null(found))


_FITS: Mapping[ColumnType, Callable[[pa.DataType], bool]] = {
    ColumnType.BOOLEAN: _is_boolean,
    ColumnType.INTEGER: _is_whole,
    ColumnType.LONG: _is_whole,
    ColumnType.FLOAT: _is_number,
    ColumnType.DOUBLE: _is_number,
    ColumnType.STRING: _is_text,
    ColumnType.DATETIME: _is_datetime,
}
