"""From columns back to CSV text: appended to the input's own records, or as records of their own."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model_store.arrays import from_cells, scalar
from scoring.csv.dialect import Dialect
from scoring.csv.record_ends import NEWLINE, RETURN
from scoring.csv.records import Records

_BYTES = pa.binary()  # 32-bit offsets: a block is far smaller than 2 GiB
_NOTHING = scalar("", pa.string())


def to_text(array: pa.Array, options: Dialect) -> pa.Array:
    """Return a column's cells as CSV text (binary): floats as their shortest exact form, nulls as nothing."""
    kind = array.type
    if pa.types.is_timestamp(kind):
        array = pc.strftime(array, format="%Y-%m-%dT%H:%M:%S")
    text = array if pa.types.is_string(kind) else pc.cast(array, pa.string())
    text = pc.fill_null(text, _NOTHING)
    if options.decimal == "," and pa.types.is_floating(kind):
        text = pc.replace_substring(text, ".", ",")
    # Numbers and the like never need quotes, unless one of the marks is a part of one.
    marks = options.delimiter + options.quote
    if pa.types.is_string(kind) or any(mark.isalnum() or mark in "+-.:" for mark in marks):
        text = _quote(text, options)
    return text.cast(_BYTES)


def _quote(text: pa.Array, options: Dialect) -> pa.Array:
    if not options.quote:
        return text
    marks = (options.delimiter, options.quote, "\r", "\n")
    data = memoryview(bytes_of(text))
    if not any(_holds(data, mark) for mark in marks):  # a look at all cells at once: many times faster
        return text
    special = pc.match_substring_regex(text, f"[{''.join(_escape(mark) for mark in marks)}]")
    doubled = pc.replace_substring(text, options.quote, options.quote * 2)
    quote = scalar(options.quote, pa.string())
    quoted = pc.binary_join_element_wise(quote, doubled, quote, _NOTHING)
    return pc.if_else(special, quoted, text)


def is_plain(columns: Sequence[pa.Array], options: Dialect) -> bool:
    """Say whether `columns` (text) can do without quotes: no cell holds what divides fields or records."""
    marks = (options.delimiter, "\r", "\n")
    return not any(_holds(memoryview(bytes_of(column)), mark) for column in columns for mark in marks)


def without_delimiter(text: pa.Array, options: Dialect) -> pa.Array:
    """Return texts of our own with something else for the delimiter, which nothing could quote."""
    return pc.replace_substring(text, options.delimiter, "_" if options.delimiter == " " else " ")


def _holds(data: memoryview, mark: str) -> bool:
    return bool((np.frombuffer(data, np.uint8) == ord(mark)).any())


def _escape(character: str) -> str:
    return f"\\x{ord(character):02x}"


def appended(records: Records, rows: np.ndarray | None, columns: Sequence[pa.Array], options: Dialect) -> pa.Buffer:
    """Return the records' own bytes, unchanged, with `columns` (text) appended before each line end.

    `rows` is a boolean array of the records to take, None for all of them; `columns` are of that many cells. A last
    record without a line end stays without one.
    """
    return spliced(records, rows, added_text(columns, options))


def added_text(columns: Sequence[pa.Array], options: Dialect) -> pa.Array:
    """Return what is appended to each record: `columns` (text), a delimiter before each."""
    nothing = scalar(b"", _BYTES)
    return pc.binary_join_element_wise(nothing, *columns, scalar(options.delimiter.encode(), _BYTES))


def spliced(records: Records, rows: np.ndarray | None, added: pa.Array) -> pa.Buffer:
    """Return the records as `appended` does, with `added`, of `added_text`, before each line end."""
    if rows is not None and not rows.all():
        records = _chosen(records, rows)
    # The text is looked at as pieces that begin with the line end of the record before, so that none has to be cut.
    ends = records.ends - _tails(records)
    offsets = np.concatenate([[0], ends, [len(records.data)]]).astype(np.int32)
    pieces = pa.Array.from_buffers(
        _BYTES, len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(records.data)]
    )
    added = pa.concat_arrays([added, from_cells([b""], _BYTES)])  # the last piece is the last line end
    return bytes_of(pc.binary_join_element_wise(pieces, added, scalar(b"", _BYTES)))


def _chosen(records: Records, rows: np.ndarray) -> Records:
    """Return some of the records as a block of their own."""
    starts, ends = records.starts[rows], records.ends[rows]
    data = b"".join(records.data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
    return replace(records, data=data, ends=np.cumsum(ends - starts))


def _tails(records: Records) -> np.ndarray:
    """Return the length of each record's line end: 2 for CR LF, 1, or 0 where the file's last record has none."""
    view = np.frombuffer(records.data, np.uint8)
    last = view[records.ends - 1]
    fed = last == NEWLINE
    # No record is blank: the byte before its last is its own, too.
    lengths: np.ndarray = (fed | (last == RETURN)).astype(np.int64) + (fed & (view[records.ends - 2] == RETURN))
    return lengths


def lines(columns: Sequence[pa.Array], line_end: bytes, options: Dialect) -> pa.Buffer:
    """Return records made of `columns` (text) alone."""
    joined = pc.binary_join_element_wise(*columns, scalar(options.delimiter.encode(), _BYTES))
    return bytes_of(pc.binary_join_element_wise(joined, scalar(line_end, _BYTES), scalar(b"", _BYTES)))


def join_fields(fields: Sequence[str], line_end: bytes, options: Dialect) -> bytes:
    """Return one record; surrogates are the bytes they stand for (see header.split)."""
    text = options.delimiter.join(_quoted(field, options) for field in fields)
    return text.encode("utf-8", "surrogateescape") + line_end


def _quoted(field: str, options: Dialect) -> str:
    if options.quote and any(mark in field for mark in (options.delimiter, options.quote, "\r", "\n")):
        return options.quote + field.replace(options.quote, options.quote * 2) + options.quote
    return field


def bytes_of(array: pa.Array) -> pa.Buffer:
    """Return all of an array's cells as one run of bytes, without copying."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    start, end = int(offsets[array.offset]), int(offsets[array.offset + len(array)])
    data = array.buffers()[2]
    return data.slice(start, end - start) if data is not None else pa.py_buffer(b"")
