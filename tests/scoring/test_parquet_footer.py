"""Parquet's footer, read and written in Thrift's compact protocol, whole and damaged."""

import random
import tracemalloc
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import FileMalformedError, InputError
from scoring.parquet.footer import read_footer, sorted_by, write_footer, write_group
from scoring.parquet.thrift import (
    LIST,
    STRUCT,
    binary,
    content,
    encoded,
    integer,
    list_of,
    number,
    read_struct,
    struct,
    structs,
)

FIELDS = st.dictionaries(
    st.integers(1, 2**15 - 1),
    st.one_of(
        st.integers(-(2**63), 2**63 - 1).map(integer),
        st.binary(max_size=300).map(binary),
        st.sampled_from(
            [(1, b""), (2, b""), (3, b"\x80"), (7, b"\0" * 8), (11, b"\0"), (11, b"\x01\x85\x01a\x02")]
        ),
        st.lists(st.binary(max_size=9).map(lambda text: struct({1: binary(text)})), max_size=20).map(structs),
        st.sampled_from([(LIST, b"\x31\x01\x02\x01"), (10, b"\xf5\x0f" + b"\x02" * 15)]),
        st.integers(1, 20).map(lambda place: (STRUCT, struct({place: integer(place)}))),
    ),
    max_size=12,
)


def make_file(groups: int = 3) -> tuple[bytes, int]:
    """Return the footer of a small file with nested columns and metadata, and where it begins."""
    table = pa.table(
        {
            "a": pa.array(range(4 * groups), pa.int64()),
            "b": [[{"x": str(n)}] * (n % 3) for n in range(4 * groups)],
            "c": pa.array(["x", None, "y", "z"] * groups),
        },
        metadata={"who": "we"},
    )
    sink = BytesIO()
    pq.write_table(table, sink, row_group_size=4, sorting_columns=[pq.SortingColumn(2), pq.SortingColumn(0)])
    data = sink.getvalue()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[start:-8], start


@given(FIELDS)
def test_a_struct_is_written_as_it_was_read(fields) -> None:
    """Fields of every kind, known or not, come back byte for byte."""
    data = struct(fields)
    assert read_struct(b"\xff" + data, 1) == (fields, len(data) + 1)
    assert encoded(data + b"rest", 0) == (data, len(data))


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300))
def test_numbers_and_texts_come_back(value: int, text: bytes) -> None:
    """Whole numbers of 64 bits and bytes of any length are what they were."""
    fields, _ = read_struct(struct({3: integer(value), 500: binary(text)}), 0)
    assert (number(fields, 3), content(fields, 500)) == (value, text)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_struct_or_an_error(data: bytes) -> None:
    """Whatever the bytes, reading them ends in fields or in FileMalformedError."""
    try:
        _, end = read_struct(data, 0, {1: (STRUCT, encoded), 2: (LIST, list_of(encoded))})
    except FileMalformedError:
        return
    assert end <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x19\xfc" + b"\xff" * 9 + b"\x01",  # 2**64 structs
        b"\x19\xf1" + b"\xff" * 4 + b"\x0f",  # as many truth values
        b"\x18" + b"\xff" * 4 + b"\x0f" + b"x" * 50,  # a text that is longer than what there is
        b"\x1c" * 100_000,  # structs in structs
        b"\x19\x1c" * 100_000,  # lists of them
        b"\x15" + b"\x80" * 100_000,  # a number that does not end
        b"\x10\x00",
        b"\x1d\x00",
    ],
    ids=["structs", "booleans", "text", "deep", "deep lists", "number", "kind 0", "kind 13"],
)
def test_bombs_are_refused_at_once(data: bytes) -> None:
    """What claims to be huge or goes on for ever costs no more memory than it has bytes."""
    tracemalloc.start()
    try:
        with pytest.raises(FileMalformedError):
            read_struct(data, 0)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_footer_says_what_pyarrow_says() -> None:
    """Columns, row groups and the bytes of each are as pyarrow reads them."""
    data, start = make_file()
    footer = read_footer(data, start)
    metadata = pq.read_metadata(
        BytesIO(b"PAR1" + bytes(start - 4) + data + len(data).to_bytes(4, "little") + b"PAR1")
    )
    assert [(column.name, column.leaves) for column in footer.columns] == [(b"a", 1), (b"b", 1), (b"c", 1)]
    for place, group in enumerate(footer.groups):
        theirs = metadata.row_group(place)
        assert group.rows == theirs.num_rows
        for leaf, chunk in enumerate(group.chunks):
            column = theirs.column(leaf)
            assert chunk.start == column.dictionary_page_offset
            assert (chunk.length, chunk.size) == (column.total_compressed_size, column.total_uncompressed_size)


def test_a_footer_written_again_says_the_same() -> None:
    """Reading a footer of pyarrow's and writing it with nothing changed gives its very bytes."""
    data, start = make_file()
    footer = read_footer(data, start)
    groups = [
        write_group(group.rows, [(footer, chunk, chunk.start) for chunk in group.chunks], group.sorting)
        for group in footer.groups
    ]
    properties = [entry for _, entry in footer.properties]
    again = write_footer(footer, footer.columns, groups, rows=12, properties=properties, orders=footer.orders)
    assert again[:-8] == data


def test_sorting_lasts_as_long_as_its_columns() -> None:
    """Rows are sorted by what is left of the columns they were sorted by, up to the first that is gone."""
    footer = read_footer(*make_file())
    sorting = footer.groups[0].sorting
    assert len(sorting) == 2
    assert len(sorted_by(sorting, {0: 0, 2: 1})) == 2
    assert len(sorted_by(sorting, {2: 0})) == 1
    assert sorted_by(sorting, {0: 0}) == []


def test_every_truncation_is_an_error() -> None:
    """A footer cut anywhere is malformed."""
    data, start = make_file()
    for size in range(len(data)):
        with pytest.raises(FileMalformedError):
            read_footer(data[:size], start)


def test_flipped_bits_are_an_error_or_within_the_file() -> None:
    """However bits are flipped: an error, or a footer all of whose columns lie in the file."""
    data, start = make_file()
    chance = random.Random(1)  # noqa: S311  # which bits is no secret
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            footer = read_footer(bytes(damaged), start)
        except InputError:
            continue
        chunks = [chunk for group in footer.groups for chunk in group.chunks]
        assert sum(chunk.length for chunk in chunks) <= start
        assert all(4 <= chunk.start <= chunk.start + chunk.length <= start for chunk in chunks)


def test_row_groups_cannot_share_their_bytes_a_thousand_times() -> None:
    """A small file that claims to be a large one, each row group the same bytes, is malformed."""
    data, start = make_file(groups=1)
    footer = read_footer(data, start)
    group = footer.groups[0]
    entry = write_group(group.rows, [(footer, chunk, chunk.start) for chunk in group.chunks], [])
    again = write_footer(footer, footer.columns, [entry] * 1000, rows=4000, properties=[], orders=[])
    with pytest.raises(FileMalformedError, match="larger than the file"):
        read_footer(again[:-8], start)


@pytest.mark.parametrize(
    ("writer", "copyable"),
    [
        (b"parquet-mr version 1.2.8 (build x)", False),
        (b"parquet-mr", False),
        (b"parquet-mr version 1.2.9", True),
        (b"parquet-mr version 1.13.1 (build x)", True),
        (b"parquet-cpp-arrow version 26.0.1", True),
        (None, True),
    ],
)
def test_columns_of_some_writers_are_longer_than_they_say(writer: bytes | None, copyable: bool) -> None:
    """Files of writers whose columns do not end where the footer says are never copied."""
    data, start = make_file()
    fields, _ = read_struct(data, 0)
    fields.pop(6)
    if writer:
        fields[6] = binary(writer)
    assert read_footer(struct(fields), start).copyable is copyable
