"""From columns back to CSV text: appended to the input's own records, or as records of their own."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoring.csv_records import NEWLINE, RETURN, Records
from scoring.options import CsvOptions

_BYTES = pa.binary()  # 32-bit offsets: a block is far smaller than 2 GiB


def to_text(array: pa.Array, options: CsvOptions) -> pa.Array:
    """Return a column's cells as CSV text (binary): floats as their shortest exact form, nulls as nothing."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        array = pc.strftime(array, format="%Y-%m-%dT%H:%M:%S")
    text = array if pa.types.is_string(kind) else pc.cast(array, pa.string())
    text = pc.fill_null(text, "")
    # Numbers and the like never need quotes, unless the delimiter is a part of one.
    if pa.types.is_string(kind) or options.delimiter in "+-.0123456789einfatrus:T":
        text = _quote(text, options)
    return text.cast(_BYTES)


def _quote(text: pa.Array, options: CsvOptions) -> pa.Array:
    if not options.quote:
        return text
    specials = f"[{_escape(options.delimiter)}{_escape(options.quote)}\r\n]"
    special = pc.match_substring_regex(text, specials)
    if not pc.any(special).as_py():
        return text
    doubled = pc.replace_substring(text, options.quote, options.quote * 2)
    quoted = pc.binary_join_element_wise(options.quote, doubled, options.quote, "")
    return pc.if_else(special, quoted, text)


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}"


def appended(
    records: Records, rows: np.ndarray | None, columns: Sequence[pa.Array], options: CsvOptions
) -> pa.Buffer:
    """Return the records' own bytes, unchanged, with `columns` (text) appended before each line end.

    `rows` is a boolean array of the records to take, None for all of them; `columns` are of that many cells. A last
    record without a line end stays without one.
    """
    offsets = np.concatenate([np.zeros(1, np.int32), records.ends.astype(np.int32)])
    lines = pa.Array.from_buffers(_BYTES, len(records), [None, pa.py_buffer(offsets), pa.py_buffer(records.data)])
    tails = _tails(records)
    if rows is not None:
        lines, tails = lines.filter(pa.array(rows)), tails[rows]
    kinds = np.unique(tails).tolist()
    body, ends = _cut(lines, kinds[0]), _tail(kinds[0])
    for kind in kinds[1:]:  # only in files that mix line ends
        those = pa.array(tails == kind)
        body, ends = pc.if_else(those, _cut(lines, kind), body), pc.if_else(those, _tail(kind), ends)
    joined = pc.binary_join_element_wise(body, *columns, pa.scalar(options.delimiter.encode(), _BYTES))
    return _bytes(pc.binary_join_element_wise(joined, ends, pa.scalar(b"", _BYTES)))


def _tails(records: Records) -> np.ndarray:
    """Return each record's line end as a number: 1 is LF, 2 CR LF, n is n-1 CRs and LF; -n is n CRs alone."""
    view = np.frombuffer(records.data, np.uint8)
    starts = records.starts
    closed = view[records.ends - 1] == NEWLINE
    tails = closed.astype(np.int64)
    while True:
        before = records.ends - 1 - tails
        more = (before >= starts) & (view[np.maximum(before, 0)] == RETURN)
        if not more.any():
            signed: np.ndarray = np.where(closed, tails, -tails)
            return signed
        tails += more


def _cut(lines: pa.Array, tail: int) -> pa.Array:
    return pc.binary_slice(lines, 0, -abs(tail)) if tail else lines


def _tail(tail: int) -> pa.Scalar:
    return pa.scalar(b"\r" * (tail - 1) + b"\n" if tail > 0 else b"\r" * -tail, _BYTES)


def lines(columns: Sequence[pa.Array], line_end: bytes, options: CsvOptions) -> pa.Buffer:
    """Return records made of `columns` (text) alone."""
    joined = pc.binary_join_element_wise(*columns, pa.scalar(options.delimiter.encode(), _BYTES))
    return _bytes(pc.binary_join_element_wise(joined, pa.scalar(line_end, _BYTES), pa.scalar(b"", _BYTES)))


def join_fields(fields: Sequence[str], line_end: bytes, options: CsvOptions) -> bytes:
    """Return one record; surrogates are the bytes they stand for (see csv_header.split)."""
    text = options.delimiter.join(_quoted(field, options) for field in fields)
    return text.encode("utf-8", "surrogateescape") + line_end


def _quoted(field: str, options: CsvOptions) -> str:
    if options.quote and any(mark in field for mark in (options.delimiter, options.quote, "\r", "\n")):
        return options.quote + field.replace(options.quote, options.quote * 2) + options.quote
    return field


def _bytes(array: pa.Array) -> pa.Buffer:
    """Return all of an array's cells as one run of bytes, without copying."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    start, end = int(offsets[array.offset]), int(offsets[array.offset + len(array)])
    data = array.buffers()[2]
    return data.slice(start, end - start) if data is not None else pa.py_buffer(b"")
