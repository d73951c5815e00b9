"""Look at Parquet's page headers before pyarrow does.

pyarrow takes as much memory for a page as its header says that it becomes, and a header can say 2 GB of ten bytes.
So the bytes it reads go through here, and what it would have to hold at once is added up before it sees them;
nothing is read for that. The footer as we read it says where pages are: pyarrow aborts when asked that of a damaged
one.

Field numbers are those of parquet.thrift in apache/parquet-format.
"""

from dataclasses import dataclass
from typing import Final

from errors import ExpansionError, FileMalformedError
from scoring.parquet.footer import Group
from scoring.parquet.thrift import Struct, damaged, number, read_struct
from storage import Blob, BlobStore
from storage.reader import BlobReader

OPEN_PAGES: Final = 512 * 1024 * 1024
"""Bytes that the pages a reader has open may become, one and a dictionary of each column."""
DICTIONARY_COPIES: Final = 4
"""How often a dictionary is in memory at least: its page, as an array, and as what is made of that."""
FREE_VALUES: Final = 16 * 1024 * 1024
"""Rows of a file, or values of a column in a row group, that any may have before their bytes are counted."""

_LONGEST_HEADER = 1024 * 1024  # bytes; a page's has its smallest and largest value
_DICTIONARY = 2  # a kind of page
_SPECIAL = {0: 5, 2: 7, 3: 8}  # kinds of pages, and the field with what is special to each
_SLACK = 100  # bytes that old writers leave out of a column's length (PARQUET-816)
_ENTRY = 16  # bytes that pyarrow takes for each value of a dictionary before it reads one


def check_rows(rows: int, size: int, most: int, file: str) -> None:
    """Raise ExpansionError where a file declares more than `most` rows for each of its `size` bytes."""
    if rows > max(FREE_VALUES, size * most):
        raise ExpansionError(
            f"the file says it has {rows:,} rows in {size:,} bytes, more than {most} for one: if that is no "
            "attack, raise DROPSCORE_MAX_EXPANSION",
            file=file,
        )


class PageReader(BlobReader):
    """A Parquet file as pyarrow reads it; ExpansionError before it reads what would take far too much memory."""

    def __init__(self, store: BlobStore, blob: Blob, *, read_ahead: int, max_expansion: int) -> None:
        super().__init__(store, blob, read_ahead=read_ahead)
        self._max_expansion = max_expansion
        self._file = str(blob.path)
        self._chunks: list[_Pages] = []

    def expect(self, group: Group) -> None:
        """Watch the pages of this row group from now on, which is read from its beginning."""
        for chunk in group.chunks:
            if chunk.values > max(FREE_VALUES, group.rows, chunk.length * self._max_expansion):
                raise ExpansionError(
                    f"a column says it has {chunk.values:,} values for {group.rows:,} rows in {chunk.length:,} "
                    f"bytes, more than {self._max_expansion} for one: if that is no attack, raise "
                    "DROPSCORE_MAX_EXPANSION",
                    file=self._file,
                )
        self._chunks = [
            _Pages(chunk.start, chunk.start + chunk.length, chunk.values, chunk.start) for chunk in group.chunks
        ]

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, as BlobReader does, and look at the page headers among them."""
        start = self.tell()
        data = super().read(size)
        for chunk in self._chunks:
            if chunk.start < start + len(data) and start < chunk.end and chunk.values > 0:
                try:
                    chunk.take(start, data)
                except FileMalformedError as error:
                    reason = error.message.rpartition(": ")[2]
                    raise FileMalformedError(f"a page's header is damaged: {reason}", file=self._file) from None
                self._check()
        return data

    def _check(self) -> None:
        size = sum(DICTIONARY_COPIES * chunk.dictionary + chunk.page for chunk in self._chunks)
        if size > OPEN_PAGES:
            raise ExpansionError(
                f"the file's pages would take {size:,} bytes of memory at once, more than {OPEN_PAGES:,}: write it "
                "with smaller pages (most writers' own page size is 1 MB)",
                file=self._file,
            )


@dataclass(slots=True)
class _Pages:
    """The pages of one column in a row group, as far as they were seen."""

    start: int
    end: int
    values: int
    """That are still to come."""
    next: int
    """Where the next page's header begins."""
    begun: bytes = b""
    """What there is of that header, if it was cut off by the end of what was read."""
    dictionary: int = 0
    """Bytes, decompressed."""
    page: int = 0
    """Bytes of the largest page, decompressed."""

    def take(self, start: int, data: bytes) -> None:
        """See the next bytes of the file."""
        if self.begun and start == self.next + len(self.begun):
            data, start = self.begun + data, self.next
        self.begun = b""
        while self.values > 0 and start <= self.next < start + len(data):
            at = self.next - start
            try:
                header, behind = read_struct(data, at)
            except FileMalformedError:
                if len(data) - at < _LONGEST_HEADER and start + len(data) < self.end:
                    self.begun = data[at:]
                    return
                raise
            self._note(header)
            self.next = start + behind + max(number(header, 3), 0)
            if self.next > self.end + _SLACK:
                raise damaged("a page reaches beyond its column")

    def _note(self, header: Struct) -> None:
        kind, size = number(header, 1), max(number(header, 2), 0)
        special, _ = read_struct(header[_SPECIAL[kind]][1], 0) if _SPECIAL.get(kind) in header else ({}, 0)
        values = max(number(special, 1, 0), 0)
        if kind == _DICTIONARY:
            if values > size:
                raise damaged(f"a dictionary says it has {values:,} values in {size:,} bytes")
            self.dictionary = max(self.dictionary, size + _ENTRY * values)
        elif kind in _SPECIAL:
            if values > self.values:
                raise damaged(f"a page says it has {values:,} values where its column has {self.values:,} more")
            self.page = max(self.page, size)
            self.values -= values
