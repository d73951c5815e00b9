"""Page headers are looked at as pyarrow reads them, however its reads are cut; what it reads stays the same."""

from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from errors import ExpansionError, FileMalformedError
from scoring.parquet.footer import Group, read_footer
from scoring.parquet.pages import FREE_VALUES, OPEN_PAGES, PageReader, check_rows
from storage import Blob, BlobPath
from tests.bound_files import MB, table, with_page_size, written
from tests.memory_store import MemoryBlobStore

PATH = BlobPath("incoming", "churn/a.parquet")


def opened(data: bytes, *, max_expansion: int = 200) -> PageReader:
    store = MemoryBlobStore()
    store.write(PATH, data)
    blob: Blob = store.stat(PATH)
    return PageReader(store, blob, read_ahead=MB, max_expansion=max_expansion)


def group_of(data: bytes) -> Group:
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return read_footer(data[start:-8], start).groups[0]


def read_in_pieces(data: bytes, size: int) -> bytes:
    """Read a file `size` bytes at a time, with its pages watched."""
    reader = opened(data)
    reader.expect(group_of(data))
    return b"".join(iter(lambda: reader.read(size), b""))


def text_file(*, pages: int = 3) -> bytes:
    """Return a file of several pages a column."""
    texts = pa.array([str(number) * 20 for number in range(100 * pages)])
    return written(pa.table({"text": texts, "number": range(len(texts))}), max_rows_per_page=100)


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_what_is_read_is_the_file(size: int) -> None:
    """Pages of the usual size pass, whole or in pieces that cut their headers anywhere."""
    data = text_file()
    assert read_in_pieces(data, size) == data


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 100, 10**6])
@pytest.mark.parametrize("dictionary", [False, True])
def test_a_huge_page_is_seen_however_reads_are_cut(size: int, dictionary: bool) -> None:
    """Its header is put together again where a read ends inside of it."""
    data = with_page_size(text_file(), 0, OPEN_PAGES + 1, dictionary=dictionary)
    with pytest.raises(ExpansionError, match="smaller pages"):
        read_in_pieces(data, size)


def test_later_pages_are_seen_too() -> None:
    """Not only a column's first page is looked at: each is, up to the number of values that the footer says."""
    data = text_file(pages=50)
    reader = opened(data)
    reader.expect(group_of(data))
    reader.read()
    assert {chunk.values for chunk in reader._chunks} == {0}  # nothing else shows it
    assert [chunk.end for chunk in reader._chunks] == [chunk.next for chunk in reader._chunks]


def test_the_largest_pages_of_all_columns_are_added_up() -> None:
    """Each column that is read has a page open: two of half the limit are as much as one of it."""
    data = with_page_size(text_file(), 0, OPEN_PAGES // 2 + 1, dictionary=False)
    assert read_in_pieces(data, 10**6) == data
    data = with_page_size(data, 1, OPEN_PAGES // 2 + 1, dictionary=False)
    with pytest.raises(ExpansionError, match="smaller pages"):
        read_in_pieces(data, 10**6)


def test_a_dictionary_counts_several_times() -> None:
    """It is there as a page, as an array, and as what is made of that."""
    for size, refused in ((OPEN_PAGES // 4 - MB, False), (OPEN_PAGES // 4 + MB, True)):
        data = with_page_size(text_file(), 0, size, dictionary=True)
        if refused:
            with pytest.raises(ExpansionError, match="smaller pages"):
                read_in_pieces(data, 10**6)
        else:
            assert read_in_pieces(data, 10**6) == data


def test_bytes_that_are_no_page_header_are_damage() -> None:
    """They are refused by what is wrong with them, and pyarrow never sees them."""
    data = text_file()
    start = group_of(data).chunks[0].start
    with pytest.raises(FileMalformedError, match="a page's header is damaged") as caught:
        read_in_pieces(data[:start] + b"\xff" * 30 + data[start + 30 :], 10**6)
    assert caught.value.file == str(PATH)


def test_nothing_is_watched_before_a_group_is_expected() -> None:
    """The footer is read first, by which nobody knows yet where pages are."""
    data = with_page_size(text_file(), 0, 2**31 - 1, dictionary=False)
    assert opened(data).read() == data


def test_a_column_of_far_too_many_values_is_refused() -> None:
    """A list's values can be more than the rows; but not so many more for each of their bytes."""
    sink = BytesIO()
    pq.write_table(pa.table({"list": [[1] * 50] * 50}), sink)
    group = group_of(sink.getvalue())
    reader = opened(sink.getvalue())
    reader.expect(group)
    chunk = group.chunks[0]
    forged = Group(group.rows, [replace(chunk, values=FREE_VALUES + 1)], [])
    with pytest.raises(ExpansionError, match="a column says"):
        reader.expect(forged)
    opened(sink.getvalue(), max_expansion=FREE_VALUES).expect(forged)


@pytest.mark.parametrize(
    ("rows", "size", "refused"),
    [
        (FREE_VALUES, 1, False),
        (FREE_VALUES + 1, 1, True),
        (10**9, 5 * 10**6, False),
        (10**9 + 1, 5 * 10**6, True),
    ],
)
def test_rows_are_bounded_by_the_files_bytes(rows: int, size: int, refused: bool) -> None:
    """16 million rows are any file's right; more are those that it has bytes for."""
    codes = []
    try:
        check_rows(rows, size, 200, "a")
    except ExpansionError as error:
        codes.append(error.code)
    assert codes == ["expansion_limit"] * refused


def test_the_limit_is_far_above_what_writers_make() -> None:
    """A file whose row group is one page a column of 60 MB is read."""
    texts = pa.chunked_array([pa.array(["x" * 1000] * 1000)] * 60)
    data = written(table(60_000, texts), use_dictionary=False, data_page_size=2**30)
    assert read_in_pieces(data, 10**6) == data
