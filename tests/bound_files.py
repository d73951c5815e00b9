"""Files that are small and say much, or are large and made up as they are read; for the echo model's columns."""

import zlib
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoring.parquet.footer import read_footer, write_footer, write_group
from tests.fuzz import thrift
from tests.memory_store import Reads

MB = 1024 * 1024
HEADER = b"flag,small,whole,single,number,text,at"
ROW = b"true,1,2,0.5,0.5,a,2024-01-01T00:00:00"


def row_of(size: int) -> bytes:
    """Return a CSV row of `size` bytes with its line end, most of them one cell."""
    return ROW.replace(b",a,", b"," + b"x" * (size - len(ROW)) + b",") + b"\n"


def endless(head: bytes, text: bytes, size: int) -> tuple[int, Reads]:
    """Return a blob of `size` bytes: `head`, and `text` again and again."""
    return size, partial(_made_up, head, text)


def gzipped(head: bytes, text: bytes, times: int) -> bytes:
    """Return one gzip member of `head` and `times` times `text`; what its end says of its contents is wrong."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + again * times + packer.flush()


def zipped(head: bytes, text: bytes, times: int) -> bytes:
    """Return one zstd frame of `head` and `times` times `text`."""
    sink = BytesIO()
    with pa.CompressedOutputStream(sink, "zstd") as packer:
        for piece in (head, *[text] * times):
            packer.write(piece)
        packer.flush()
        return sink.getvalue()


def table(rows: int, text: pa.ChunkedArray | None = None) -> pa.Table:
    """Return the same good row again and again; with other texts if there are any."""
    row = pa.table(
        {
            "flag": [True],
            "small": pa.array([1], pa.int32()),
            "whole": [2],
            "single": pa.array([0.5], pa.float32()),
            "number": [0.5],
            "text": ["a"],
            "at": pa.array([0], pa.timestamp("us")),
        }
    )
    rows_of_it = row.take(pa.array(np.zeros(rows, np.int64)))
    return rows_of_it if text is None else rows_of_it.set_column(5, "text", text)


def written(rows: pa.Table, **options: Any) -> bytes:
    """Return a Parquet file of one row group; compressed, so that what repeats takes nearly nothing."""
    sink = BytesIO()
    options = {"compression": "zstd", "store_schema": False, "row_group_size": 2**26} | options
    pq.write_table(rows, sink, **options)
    return sink.getvalue()


def large_texts(first: int, rows: int, size: int, *, distinct: int = 20) -> pa.ChunkedArray:
    """Return `first` texts of one character, and `rows` of `size` bytes, of which so many differ."""
    texts = pa.array([f"{number:08}" + "x" * (size - 8) for number in range(distinct)])
    return pa.chunked_array([pa.array(["a"] * first, pa.string()), *[texts] * (rows // distinct)])


def footed(data: bytes, edit: Any) -> bytes:
    """Return a file with another footer: `edit` changes it."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read_struct(data, start)
    edit(footer)
    made = thrift.write_struct(footer)
    return data[:start] + made + len(made).to_bytes(4, "little") + b"PAR1"


def lying(rows: int, said: int) -> bytes:
    """Return a file of so many rows, whose footer says that there are others."""

    def edit(footer: list[thrift.Field]) -> None:
        value(footer, 3).value = said
        for group in value(footer, 4).value:
            value(group.value, 3).value = said
            for chunk in value(group.value, 1).value:
                value(value(chunk.value, 3).value, 5).value = said

    return footed(written(table(rows)), edit)


def nested(depth: int) -> bytes:
    """Return a file with a further column so deep, of no row."""

    def edit(footer: list[thrift.Field]) -> None:
        elements = value(footer, 2).value
        value(elements[0].value, 5).value += 1
        elements.extend(_element(thrift.Field(5, thrift.I32, 1)) for _ in range(depth))
        elements.append(thrift.Field(0, thrift.STRUCT, [thrift.Field(1, thrift.I32, 1), *_named()]))
        value(footer, 4).value.clear()
        value(footer, 3).value = 0

    return footed(written(table(3)), edit)


def with_page_size(data: bytes, column: int, size: int, *, dictionary: bool) -> bytes:
    """Return a file where a page of a column says that it becomes `size` bytes; what follows it is where it was."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read_struct(data, start)
    chunk = value(value(value(footer, 4).value[0].value, 1).value[column].value, 3).value
    at = value(chunk, 11 if dictionary else 9).value
    header, end = thrift.read_struct(data, at)
    value(header, 2).value = size
    made = thrift.write_struct(header)
    grown = len(made) - (end - at)

    def edit(footer: list[thrift.Field]) -> None:
        for number, each in enumerate(value(value(footer, 4).value[0].value, 1).value):
            fields = value(each.value, 3).value
            for field in fields:
                if field.id in (9, 11) and field.value > at:
                    field.value += grown
                if field.id == 7 and number == column:
                    field.value += grown

    return footed(data[:at] + made + data[end:], edit)


def repeated(rows: int) -> bytes:
    """Return a file whose columns but `flag` say one value so many times, each in a few bytes."""
    fields = [pa.field(field.name, field.type, nullable=False) for field in table(1).schema]
    row = table(1000).cast(pa.schema(fields)).drop_columns("flag")
    data = written(row, compression="none", write_statistics=False)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer, _ = thrift.read_struct(data, start)
    out = b"PAR1"
    group = value(footer, 4).value[0].value
    for column in value(group, 1).value:
        chunk = value(column.value, 3).value
        dictionary, page, length = (value(chunk, number).value for number in (11, 9, 7))
        header, place = thrift.read_struct(data, page)
        width = data[place : dictionary + length][:1]
        codes = width + thrift.write_struct([thrift.Field(1, thrift.I64, rows)])[1:-1] + b"\0" * -(-width[0] // 8)
        value(header, 2).value = value(header, 3).value = len(codes)
        value(value(header, 5).value, 1).value = value(chunk, 5).value = rows
        made = data[dictionary:page], thrift.write_struct(header) + codes
        value(chunk, 11).value, value(chunk, 9).value = len(out), len(out) + len(made[0])
        value(chunk, 6).value = value(chunk, 7).value = len(made[0]) + len(made[1])
        out += made[0] + made[1]
    value(group, 3).value = value(footer, 3).value = rows
    return footed(out + data[start:], lambda fresh: fresh.__setitem__(slice(None), footer))


def in_groups(groups: int) -> bytes:
    """Return a file of so many row groups of one row."""
    data = written(table(1), compression="none", use_dictionary=False, write_statistics=False)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = read_footer(data[start:-8], start)
    entries = [
        write_group(
            1, [(footer, chunk, chunk.start + number * (start - 4)) for chunk in footer.groups[0].chunks], []
        )
        for number in range(groups)
    ]
    end = write_footer(footer, footer.columns, entries, rows=groups, properties=[], orders=footer.orders)
    return data[:4] + data[4:start] * groups + end


def value(fields: list[thrift.Field], number: int) -> thrift.Field:
    """Return a field of a struct."""
    return next(field for field in fields if field.id == number)


def _made_up(head: bytes, text: bytes, offset: int, length: int) -> bytes:
    begun = head[offset : offset + length]
    start = max(0, offset - len(head)) % len(text)
    rest = length - len(begun)
    return begun + (text * ((start + rest) // len(text) + 1))[start : start + rest]


def _named() -> list[thrift.Field]:
    return [thrift.Field(3, thrift.I32, 1), thrift.Field(4, thrift.BINARY, b"deep")]


def _element(*fields: thrift.Field) -> thrift.Field:
    return thrift.Field(0, thrift.STRUCT, [*_named(), *fields])
