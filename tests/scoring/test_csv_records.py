"""Cutting CSV text into records, checked against Python's csv module."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from errors import FileMalformedError, RecordTooLargeError
from scoring.csv.dialect import Dialect
from scoring.csv.header import split
from scoring.csv.records import Records, cut_records

LINE_ENDS = ("\n", "\r\n", "\r")


@dataclass(frozen=True)
class Record:
    """A row as the csv module reads it, and the text it read for it."""

    row: list[str]
    text: bytes


def read(text: str, options: Dialect) -> tuple[list[Record], bool]:
    """Return what the csv module reads, blank lines left out, and whether the last record's quotes are closed."""
    taken: list[str] = []

    def lines(text: str) -> Iterator[str]:
        for line in StringIO(text, newline=""):
            taken.append(line)
            yield line

    quoting = csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE
    dialect = {"delimiter": options.delimiter, "quotechar": options.quote or None, "quoting": quoting}
    records = []
    for row in csv.reader(lines(text), **dialect):
        if row:
            records.append(Record(row, "".join(taken).encode()))
        taken.clear()
    closed = list(csv.reader(StringIO(text + "\nZ", newline=""), **dialect))[-1] == ["Z"]
    return records, closed


def cut(chunks: Iterable[bytes], options: Dialect) -> list[Records]:
    return list(cut_records(chunks, delimiter=options.delimiter, quote=options.quote))


def pieces(data: bytes, offsets: Iterable[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *sorted(offsets), len(data)])]


def cuts(data: bytes, offsets: set[int]) -> Iterator[list[bytes]]:
    """Yield `data` in two chunks, divided at every byte; then in chunks of a byte; then divided at `offsets`."""
    yield from ([data[:offset], data[offset:]] for offset in range(len(data) + 1))
    yield pieces(data, range(len(data)))
    yield pieces(data, {min(offset, len(data)) for offset in offsets})


def check(text: str, options: Dialect, offsets: set[int]) -> None:
    """Check that `text`, however cut, has the records that the csv module reads from it."""
    expected, closed = read(text, options)
    for chunks in cuts(text.encode(), offsets):
        if not closed:
            with pytest.raises(FileMalformedError) as caught:
                cut(chunks, options)
            assert caught.value.row == len(expected)
            continue
        blocks = cut(chunks, options)
        assert [block.text(i) for block in blocks for i in range(len(block))] == [r.text for r in expected]
        assert b"".join(block.data for block in blocks) == b"".join(r.text for r in expected)
        assert [block.sequence for block in blocks] == list(range(len(blocks)))
        assert [block.first_row for block in blocks] == [sum(map(len, blocks[:i])) for i in range(len(blocks))]
        assert all(block.quoted == (options.quote.encode() in block.data) for block in blocks if options.quote)
    if closed:
        assert [split(record.text, options) for record in expected] == [record.row for record in expected]


OPTIONS = st.builds(
    Dialect, delimiter=st.sampled_from(",;\t|: ~"), quote=st.sampled_from(['"', '"', '"', "'", "`", ""])
)
OFFSETS = st.sets(st.integers(0, 80), max_size=6)


@st.composite
def tables(draw: st.DrawFn, options: Dialect) -> str:
    """Write a random table with as many liberties as real files take."""
    quote, delimiter = options.quote, options.delimiter
    plain = st.sampled_from(["", "", "0", "-1.5", "a", "é", "日本", "NA", " x "])
    # Inside quotes anything goes.
    inner = st.lists(
        st.sampled_from(["a", "é", delimiter, quote * 2, *LINE_ENDS, f"{delimiter}{quote * 2}"]), max_size=4
    ).map("".join)
    quoted = inner.map(lambda cell: f"{quote}{cell}{quote}")
    stray = st.builds("{}{}{}".format, st.sampled_from(["5", " ", "é"]), st.just(quote), plain)
    behind = st.builds("{}{}{}".format, quoted, st.sampled_from(["b", " ", "é"]), st.sampled_from(["", quote]))
    kinds = {
        "none": [plain],
        "minimal": [plain, plain, quoted],
        "all": [quoted],
        "odd": [plain, quoted, stray, behind],
    }
    quoting = draw(st.sampled_from(sorted(kinds))) if quote else "none"
    cells = st.one_of(kinds[quoting])
    usual = draw(st.sampled_from([*LINE_ENDS, ""]))
    text, end = "", ""
    for _ in range(draw(st.integers(0, 5))):
        row = delimiter.join(draw(st.lists(cells, min_size=1, max_size=4)))  # ragged
        end = usual or draw(st.sampled_from(LINE_ENDS))
        blank = draw(st.sampled_from(["", "", "", end, *LINE_ENDS, "\r\r\n"]))
        text += row + end + blank
    return text if draw(st.booleans()) else text.removesuffix(end)


@settings(max_examples=300)
@given(st.data(), OPTIONS, OFFSETS)
def test_a_table_in_any_dialect_has_its_records_at_every_cut(
    data: st.DataObject, options: Dialect, offsets: set[int]
) -> None:
    """However a table is written, and wherever its bytes are cut, its records are those of the csv module."""
    check(data.draw(tables(options)), options, offsets)


@settings(max_examples=1000)
@given(st.text(st.sampled_from('"",\n\ra'), max_size=24), OFFSETS)
@example('a,5" pipe\nb,"6"" pipe\n"\n', {3})
@example('"a"b"\n",c\n', {1})
@example('a"",""""\r"b\r\n"\r\r\n"""\n"""', {1})
def test_any_text_has_its_records_at_every_cut(text: str, offsets: set[int]) -> None:
    """Quotes, delimiters and line ends in any order at all are read as by the csv module."""
    check(text, Dialect(), offsets)


def test_rows_and_blocks_are_numbered() -> None:
    """Blocks carry their sequence and the number of their first row; blank lines are no rows."""
    blocks = list(cut_records([b"a\n\nb\n", b"\r\n", b"c\nd"], first_row=-1))
    assert [(b.sequence, b.first_row, b.data) for b in blocks] == [(0, -1, b"a\nb\n"), (1, 1, b"c\n"), (2, 2, b"d")]


def test_a_record_that_never_ends_is_refused_in_bounded_memory() -> None:
    """A line longer than allowed ends the reading, naming its row, before more of it is read."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        yield b"id\n"
        while True:
            read += 100
            yield b"x" * 100

    with pytest.raises(RecordTooLargeError) as caught:
        list(cut_records(endless(), max_record=1000, first_row=-1))
    assert caught.value.row == 1
    assert read <= 1100


@pytest.mark.parametrize("end", [b"\r\n3\n", b"\r\n", b"  "], ids=["inside", "last", "last without line end"])
def test_a_long_record_is_refused_wherever_chunks_end(end: bytes) -> None:
    """A record's length and row decide, not the chunks it comes in; one of the very length is read."""
    data = b'id\n\n1\n"' + b"x\n" * 48 + b'"' + end  # its third record has 100 bytes
    for offset in range(len(data) + 1):
        chunks = [data[:offset], data[offset:]]
        with pytest.raises(RecordTooLargeError) as caught:
            list(cut_records(chunks, max_record=99, first_row=-1))
        assert caught.value.row == 2
        whole = b"".join(block.data for block in cut_records(chunks, max_record=100))
        assert whole == data.replace(b"\n\n", b"\n", 1)


def test_a_quote_that_never_closes_names_its_row() -> None:
    """The row in which the open quote began is named, not the last line of the file."""
    with pytest.raises(FileMalformedError) as caught:
        list(cut_records([b'a,b\n1,2\n3,"4\n5,6\n'], first_row=-1))
    assert caught.value.row == 2
