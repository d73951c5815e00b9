"""Read Parquet: row groups, batch by batch, by any number of threads, with nothing held that was not asked for."""

from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from errors import FileMalformedError, InputError
from model_store.arrays import scalar, to_numpy
from scoring.parquet.footer import Footer, read_footer
from scoring.parquet.pages import PageReader, check_rows
from storage import Blob, BlobStore

READ_BUFFER = 1024 * 1024  # bytes a column is read ahead by: one request each
MOST_FOOTER = 64 * 1024 * 1024  # bytes of a footer that we read; what is made of it takes several times that
# Plain, of a dictionary (two numbers), and of levels (two more): pyarrow makes no dictionaries of the deltas.
_AS_DICTIONARIES = {0, 2, 8, 3, 4}
PROBE_ROWS = 256  # read first of a row group's texts, to learn how large its rows are in memory


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn what pyarrow says of damaged content into FileMalformedError; our own errors pass through unchanged."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise  # this machine's trouble, not the file's
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FileMalformedError(
            f"the file cannot be read as Parquet (cut short, damaged, or another format): {reason}", file=file
        ) from error


@dataclass(frozen=True, slots=True)
class _Opened:
    """pyarrow's reader, and what it reads through; for one thread at a time."""

    file: pq.ParquetFile
    pages: PageReader


class ParquetSource:
    """An open Parquet file, for any number of threads.

    FileMalformedError if it is none, ExpansionError if it has more than `max_expansion` rows for each of its bytes.
    """

    def __init__(self, blobs: BlobStore, blob: Blob, *, batch_bytes: int, max_expansion: int) -> None:
        self._blobs = blobs
        self._blob = blob
        self._batch_bytes = batch_bytes
        self._max_expansion = max_expansion
        self._idle: dict[tuple[str, ...], deque[_Opened]] = defaultdict(deque)
        self._metadata: pq.FileMetaData | None = None
        self.file = str(blob.path)
        first = self._open(())
        self._metadata = first.file.metadata
        with reading(self.file):
            self.schema: pa.Schema = first.file.schema_arrow
            # What is damaged may be read and yet not be written: nulls that may not be null, say.
            pq.ParquetWriter(pa.BufferOutputStream(), self.schema).close()
            self.rows = [self._metadata.row_group(group).num_rows for group in range(first.file.num_row_groups)]
        check_rows(sum(self.rows), blob.size, max_expansion, self.file)
        self.layout = self._read_layout()
        columns = self.layout.columns if self.layout else ()
        self._leaves = {column.name.decode("utf-8", "replace"): column for column in columns}
        self._idle[()].append(first)

    def read(self, part: range) -> bytes:
        """Return a part of the file's bytes as they are, of the version that was opened."""
        return self._blobs.read(self._blob.path, offset=part.start, length=len(part), if_match=self._blob.etag)

    def _read_layout(self) -> Footer | None:
        """Return the footer as we read it; None where it is too large for that, or there are no rows."""
        size = self._blob.size
        length = int.from_bytes(self.read(range(size - 8, size - 4)), "little")
        if length > MOST_FOOTER:
            return None
        start = size - 8 - length
        try:
            footer = read_footer(self.read(range(start, size - 8)), start)
        except InputError as error:
            if not any(self.rows):  # writers point nowhere for columns without a value
                return None
            raise type(error)(error.message, file=self.file) from None
        if [group.rows for group in footer.groups] != self.rows:
            raise FileMalformedError("the file's footer is damaged: it can be read in two ways", file=self.file)
        flat = [column.first_leaf for column in footer.columns if column.elements[0].is_flat]
        if any(group.chunks[leaf].values > group.rows for group in footer.groups for leaf in flat):
            raise FileMalformedError(
                "the file's footer is damaged: a column has more values than there are rows", file=self.file
            )
        return footer

    def dictionaries(self, group: int, columns: Sequence[str]) -> tuple[str, ...]:
        """Return which of these flat columns of text pyarrow can read as dictionaries in a row group."""
        if not self.layout:
            return ()
        chunks = self.layout.groups[group].chunks
        return tuple(
            name for name in columns if chunks[self._leaves[name].first_leaf].encodings <= _AS_DICTIONARIES
        )

    def batches(
        self, group: int, columns: Sequence[str], most: int, *, coded: tuple[str, ...] = ()
    ) -> Generator[pa.RecordBatch]:
        """Yield a row group's rows, at most `most` at a time and some blocks' bytes; it is never held whole.

        The `coded` columns, of text, come as dictionaries. FileMalformedError where it cannot be read, or has more
        or fewer rows than it says.
        """
        opened = self._take(coded)
        source = opened.file
        rows, declared = 0, self.rows[group]
        with reading(self.file):
            if self.layout:
                opened.pages.expect(self.layout.groups[group])
            most = min(most, self._fitting(source, group, columns))
            batches = _batches(source, group, columns, most)
            for batch in batches:
                rows += len(batch)
                for column in batch.columns:
                    _check_codes(column)
                if rows == declared and next(batches, None) is None:
                    self._idle[coded].append(opened)  # before whoever has all they want stops asking
                    yield from _cut(batch, self._batch_bytes)
                    return
                if rows >= declared:
                    break
                yield from _cut(batch, self._batch_bytes)
        raise FileMalformedError(
            f"row group {group + 1} has more or fewer rows than the {declared:,} that the file says it has",
            file=self.file,
        )

    def _take(self, coded: tuple[str, ...]) -> _Opened:
        """Return a reader that nobody uses: each has one position."""
        try:
            return self._idle[coded].popleft()
        except IndexError:
            return self._open(coded)

    def _open(self, coded: tuple[str, ...]) -> _Opened:
        pages = PageReader(self._blobs, self._blob, read_ahead=READ_BUFFER, max_expansion=self._max_expansion)
        with reading(self.file):
            file = pq.ParquetFile(
                pa.PythonFile(pages, "r"),
                metadata=self._metadata,
                read_dictionary=list(coded),
                pre_buffer=False,
                buffer_size=READ_BUFFER,
                page_checksum_verification=True,
                coerce_int96_timestamp_unit="us",  # as nanoseconds, Spark's times before 1678 would come out wrong
            )
        return _Opened(file, pages)

    def _fitting(self, source: pq.ParquetFile, group: int, columns: Sequence[str]) -> int:
        """Return how many rows of a row group are some blocks' bytes in memory.

        Where the columns' types do not say, some rows are read to be measured: what the file says of sizes is of
        encoded values, which can be a thousandth. It is asked as well: the first rows can be the smallest.
        """
        rows = max(self.rows[group], 1)
        widths = {name: _width(self.schema.field(name).type) for name in columns}
        size = sum(width for width in widths.values() if width)
        if unknown := [name for name, width in widths.items() if width is None]:
            probed = 0
            for probe in islice(_batches(source, group, unknown, PROBE_ROWS), int(rows > PROBE_ROWS)):
                probed = probe.nbytes // max(len(probe), 1)
            size += max(probed, sum(self._encoded(group, name) for name in unknown) // rows)
        return max(1, self._batch_bytes // max(size, 1))

    def _encoded(self, group: int, name: str) -> int:
        """Return how many bytes the file says that a column's encoded values are in a row group, decompressed."""
        column = self._leaves.get(name)
        if not self.layout or not column:
            return 0
        chunks = self.layout.groups[group].chunks
        return sum(chunk.size for chunk in chunks[column.first_leaf : column.first_leaf + column.leaves])


class GroupRows:
    """The rows of a row group, for several threads: each takes whatever batch is next."""

    def __init__(
        self, source: ParquetSource, group: int, columns: Sequence[str], most: int, *, coded: tuple[str, ...]
    ) -> None:
        self._batches = source.batches(group, columns, most, coded=coded)
        self._lock = Lock()
        self._offset = 0
        self._failure: BaseException | None = None

    def take(self) -> tuple[int, pa.RecordBatch] | None:
        """Return the next batch, and the number in the row group of its first row; None behind the last."""
        with self._lock:
            if self._failure:
                raise self._failure  # what one thread has met is true for the others
            try:
                batch = next(self._batches, None)
            except BaseException as failure:
                self._failure = failure
                raise
            if batch is None:
                return None
            offset = self._offset
            self._offset += len(batch)
            return offset, batch


class RowsInOrder:
    """The rows of a row group once more, from the first on, as many at a time as are asked for."""

    def __init__(self, source: ParquetSource, group: int, columns: Sequence[str], most: int) -> None:
        self._batches = source.batches(group, columns, most)
        self._rest: pa.RecordBatch | None = None
        self._offset = 0

    def read(self, offset: int, rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows from `offset` on, which must not be behind what was read before, in batches.

        With each comes the number, from `offset` on, of its first row.
        """
        end = offset + rows
        while self._offset < end:
            batch = self._rest if self._rest is not None else next(self._batches)
            skipped = min(max(offset - self._offset, 0), len(batch))
            taken = min(end - self._offset, len(batch))
            self._rest = batch.slice(taken) if taken < len(batch) else None
            place = self._offset + skipped - offset
            self._offset += taken
            if skipped < taken:
                yield place, batch.slice(skipped, taken - skipped)


def _batches(source: pq.ParquetFile, group: int, columns: Sequence[str], most: int) -> Iterator[pa.RecordBatch]:
    batches: Iterator[pa.RecordBatch] = source.iter_batches(
        most, row_groups=[group], columns=list(columns), use_threads=False
    )
    return batches


def _cut(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Yield a batch in pieces that have at most `most` bytes of text each once dictionaries are written out.

    A text of some MB is read once, however many rows have it, but scored as often. A row is never cut.
    """
    lengths = {
        place: _lengths(column.dictionary)
        for place, column in enumerate(batch.columns)
        if pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type)
    }
    longest = sum(int(each.max(initial=0)) for each in lengths.values())
    if len(batch) * longest <= most:
        yield batch
        return
    sizes = np.zeros(len(batch), np.int64)
    for place, each in lengths.items():
        indices = batch.column(place).indices
        sizes += np.append(each, 0)[to_numpy(pc.fill_null(indices, scalar(len(each), indices.type)))]
    ends, start = np.cumsum(sizes), 0
    while start < len(batch):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + most, "right")), start + 1)
        yield batch.slice(start, stop - start)
        start = stop


def _lengths(texts: pa.Array) -> np.ndarray:
    """Return each text's bytes, without what calls to pyarrow cost: this is done for every batch."""
    ends = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, 4 * texts.offset) if len(texts) else [0]
    return np.diff(ends)


def _check_codes(column: pa.Array) -> None:
    """Refuse codes that are none of their dictionary's: pyarrow reads them from damaged files, and then crashes."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        ends = pc.min_max(column.indices)
        low, high = ends["min"].as_py(), ends["max"].as_py()
        if low is not None and not 0 <= low <= high < len(column.dictionary):
            raise pa.ArrowIndexError("a value is not in its column's dictionary")
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            _check_codes(column.field(place))
    elif pa.types.is_nested(kind):  # lists and maps
        _check_codes(column.values)
    elif isinstance(kind, pa.BaseExtensionType):
        _check_codes(column.storage)


def _width(kind: pa.DataType) -> int | None:
    """Return the bytes of a value in memory; None where they differ, or nothing is known."""
    try:
        return int(kind.bit_width) // 8 + 1
    except ValueError:
        return None
