"""Cutting CSV text into records, checked against Python's csv module."""

import csv
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from errors import FileMalformedError, RecordTooLargeError
from scoring.csv_records import cut_records

TEXT = st.text(st.sampled_from('ab,"\n'), max_size=30)


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def texts(data: bytes, size: int) -> list[bytes]:
    return [block.text(i) for block in cut_records(chunks(data, size)) for i in range(len(block))]


def rows(text: str) -> list[list[str]]:
    return [row for row in csv.reader(StringIO(text, newline="")) if row]


@given(TEXT, st.integers(1, 31), st.booleans())
@example('a,5" pipe\nb,"6"" pipe\n"\n', 3, False)
@example('"a"b"\n",c\n', 1, False)
@example('""",\n', 1, False)
def test_records_are_those_of_the_csv_module(text: str, size: int, crlf: bool) -> None:
    """Any text, cut into chunks of any size, has the records that Python's csv module reads from it."""
    text = text.replace("\n", "\r\n") if crlf else text
    try:
        records = texts(text.encode(), size)
    except FileMalformedError:
        with pytest.raises(csv.Error):  # strict mode names whichever fault comes first
            list(csv.reader(StringIO(text, newline=""), strict=True))
        return
    assert [rows(record.decode()) for record in records] == [[row] for row in rows(text)]


@given(st.lists(st.lists(st.text(st.sampled_from('ab,"\n\r é'), max_size=6), min_size=2, max_size=3), min_size=1))
def test_written_tables_come_back_at_every_cut(table: list[list[str]]) -> None:
    """A table the csv module wrote is cut into its own rows whatever the chunk size."""
    sink = StringIO(newline="")
    csv.writer(sink).writerows(table)
    data = sink.getvalue().encode()
    for size in range(1, len(data) + 1):
        assert [rows(record.decode()) for record in texts(data, size)] == [[row] for row in table]


def test_rows_and_blocks_are_numbered() -> None:
    """Blocks carry their sequence and the number of their first row; blank lines are no rows."""
    blocks = list(cut_records([b"a\n\nb\n", b"\r\n", b"c\nd"], first_row=-1))
    assert [(b.sequence, b.first_row, b.data) for b in blocks] == [(0, -1, b"a\nb\n"), (1, 1, b"c\n"), (2, 2, b"d")]


def test_a_record_that_never_ends_is_refused_in_bounded_memory() -> None:
    """A line longer than allowed ends the reading, naming its row, before more of it is read."""
    read = 0

    def endless() -> object:
        nonlocal read
        yield b"id\n"
        while True:
            read += 100
            yield b"x" * 100

    with pytest.raises(RecordTooLargeError) as caught:
        list(cut_records(endless(), max_record=1000, first_row=-1))  # type: ignore[arg-type]
    assert caught.value.row == 1
    assert read <= 1100


def test_a_quote_that_never_closes_names_its_row() -> None:
    """The row in which the open quote began is named, not the last line of the file."""
    with pytest.raises(FileMalformedError) as caught:
        list(cut_records([b'a,b\n1,2\n3,"4\n5,6\n'], first_row=-1))
    assert caught.value.row == 2
