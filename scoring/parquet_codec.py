"""Parquet in, Parquet out: slices of row groups are scored by threads and written by one writer, in order."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from errors import ColumnMissingError, FileEmptyError, FileMalformedError
from model_store import Column, ColumnType
from model_store.arrays import from_numpy, scalar
from scoring import rejects as reject
from scoring.codec import Scored, Work, output_names
from scoring.conform import check_columns, conform
from scoring.parquet_writer import TableWriter
from scoring.rejects import Fault, Rejects
from scoring.tally import Tally
from storage.reader import BlobReader

CONTENT_TYPE = "application/vnd.apache.parquet"

READ_BUFFER = 1024 * 1024  # bytes a column is read ahead by: one request each
SLICE_ROWS = 65_536  # more rows a slice gain nothing (MEASURED: the model runs in batches of 4,096)
PROBE_ROWS = 256  # read first of a row group, to learn how large its rows are in memory


@dataclass(frozen=True, slots=True)
class _Slice:
    """Rows that one thread scores."""

    group: int
    """The row group they are of."""
    offset: int
    """0-based row in that group of the first."""
    first_row: int
    """0-based row in the file of the first."""
    batch: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class _ScoredSlice:
    tally: Tally
    size: int
    """Bytes, in memory, of the rows read."""
    scored: pa.RecordBatch
    rejected: pa.RecordBatch | None


def score_parquet(work: Work) -> Scored:
    """Score a Parquet file slice by slice; results and rejects are staged."""
    if work.input.size == 0:
        raise FileEmptyError("the file is empty: it is no Parquet file", file=work.file)
    with BlobReader(work.blobs, work.input, read_ahead=READ_BUFFER) as reader:
        with _reading(work.file):
            source = _open(reader)
            file = _ParquetFile(work, source)
        return file.score()


@contextmanager
def _reading(file: str) -> Iterator[None]:
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


def _open(reader: BlobReader) -> pq.ParquetFile:
    return pq.ParquetFile(
        pa.PythonFile(reader, "r"), pre_buffer=False, buffer_size=READ_BUFFER, page_checksum_verification=True
    )


def _batches(source: pq.ParquetFile, group: int, rows: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield a row group's rows, `rows` at a time; a group is streamed, never held whole."""
    batches: Iterator[pa.RecordBatch] = source.iter_batches(
        rows, row_groups=[group], columns=columns, use_threads=False
    )
    return batches


class _ParquetFile:
    """One Parquet file being scored."""

    def __init__(self, work: Work, source: pq.ParquetFile) -> None:
        self._work = work
        self._source = source
        schema = source.schema_arrow
        signature = work.model.signature
        _check_twice(schema.names, work.file)
        check_columns(signature, schema, work.file)
        keep = work.options.keep
        kept = schema.names if keep == "all" else () if keep == "none" else keep
        for name in kept:
            if name not in schema.names:
                raise ColumnMissingError(f"column {name!r} of keep is not in the file", file=work.file, column=name)
        self._kept = list(kept)
        needed = [c.name for c in signature.inputs if c.name in schema.names]
        self._read = [name for name in schema.names if name in {*kept, *needed}]
        outputs = signature.output_schema
        names = output_names(signature, kept)
        self._scored_schema = pa.schema(
            [schema.field(name) for name in self._kept]
            + [field.with_name(name) for field, name in zip(outputs, names, strict=True)],
            schema.metadata,
        )
        types = (pa.int64(), pa.string(), pa.string(), pa.string())
        # A rejects file that is dropped again has these columns already: they are about the last time.
        self._own = [field.name for field in schema if field.name not in reject.COLUMNS]
        self._rejected_schema = pa.schema(
            [
                *(schema.field(name) for name in self._own),
                *(pa.field(name, kind) for name, kind in zip(reject.COLUMNS, types, strict=True)),
            ],
            schema.metadata,
        )

    def score(self) -> Scored:
        """Score all row groups."""
        tally = Tally()
        scored = TableWriter(self._work.scored, self._scored_schema)
        rejected: TableWriter | None = None
        total = max(self._source.metadata.num_rows, 1)
        with closing(self._work.engine.map(self._score_slice, self._slices())) as done:
            for piece in done:
                tally.add(piece.tally)
                with tally.stage("write"):
                    scored.write(piece.scored)
                    if piece.rejected is not None:
                        rejected = rejected or TableWriter(self._work.rejected, self._rejected_schema)
                        rejected.write(piece.rejected)
                self._work.progress(self._work.input.size * tally.read // total, tally)
        return Scored(tally, scored.finish(), rejected.finish() if rejected else [])

    def _slices(self) -> Iterator[_Slice]:
        row = 0
        for group in range(self._source.num_row_groups):
            offset = 0
            with _reading(self._work.file):
                for batch in _batches(self._source, group, self._slice_rows(group), self._read):
                    yield _Slice(group, offset, row, batch)
                    offset += len(batch)
                    row += len(batch)

    def _slice_rows(self, group: int) -> int:
        """Return how many rows of a row group make some blocks' bytes in memory.

        They are read to be measured: what the file says of sizes is of encoded values, which can be a thousandth.
        """
        probe = next(_batches(self._source, group, PROBE_ROWS, self._read), None)
        if not probe:
            return SLICE_ROWS
        wanted = 4 * self._work.block_bytes * len(probe) // max(probe.nbytes, 1)
        return int(min(SLICE_ROWS, max(1, wanted)))

    def _score_slice(self, piece: _Slice) -> _ScoredSlice:
        batch, rejects = piece.batch, Rejects(len(piece.batch))
        tally = Tally(read=len(batch))
        with tally.stage("conform"):
            columns = {
                column.name: _checked_text(batch.column(column.name), column, rejects)
                for column in self._work.model.signature.inputs
                if column.name in batch.schema.names
            }
            rows = conform(columns, self._work.model.signature, len(batch), rejects)
        tally.rejected, tally.codes = len(rejects), Counter(rejects.counts())
        tally.scored = tally.read - tally.rejected
        kept = batch.select(self._kept)
        if rejects:
            good = from_numpy(~rejects.mask())
            rows, kept = rows.filter(good), kept.filter(good)
        with tally.stage("score"):
            outputs = self._work.model.predict(rows)
        scored = pa.RecordBatch.from_arrays([*kept.columns, *outputs.columns], schema=self._scored_schema)
        rejected = self._rejected(piece, rejects) if rejects else None
        return _ScoredSlice(tally, batch.nbytes, scored, rejected)

    def _rejected(self, piece: _Slice, rejects: Rejects) -> pa.RecordBatch:
        whole = piece.batch
        if len(self._read) < len(self._source.schema_arrow.names):
            whole = self._read_whole(piece)
        rows = whole.select(self._own).take(from_numpy(rejects.indices()))
        return pa.RecordBatch.from_arrays(
            [*rows.columns, *rejects.columns(piece.first_row)], schema=self._rejected_schema
        )

    def _read_whole(self, piece: _Slice) -> pa.RecordBatch:
        """Read a slice again with all its columns, of which the model and `keep` need only some."""
        # On a reader of its own: this runs on a scoring thread, and a reader has one position.
        end = piece.offset + len(piece.batch)
        parts: list[pa.RecordBatch] = []
        offset = 0
        with (
            BlobReader(self._work.blobs, self._work.input, read_ahead=READ_BUFFER) as reader,
            _reading(self._work.file),
        ):
            for batch in _batches(_open(reader), piece.group, len(piece.batch), None):
                start, stop = max(piece.offset - offset, 0), min(end - offset, len(batch))
                if start < stop:
                    parts.append(batch.slice(start, stop - start))
                offset += len(batch)
                if offset >= end:
                    break
        return pa.concat_batches(parts)


def _check_twice(names: list[str], file: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise FileMalformedError(
                f"there are two columns {name!r}: no reader could tell them apart", file=file, column=name
            )


def _checked_text(array: pa.Array, column: Column, rejects: Rejects) -> pa.Array:
    """Reject the cells of a text column that are not UTF-8: Parquet files can hold any bytes there."""
    if column.type is not ColumnType.STRING or pa.types.is_null(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        valid = np.array([_is_utf8(cell) for cell in array.cast(pa.binary()).to_pylist()])
        rejects.add_all(~valid, Fault(reject.TEXT, column.name, "the value is not UTF-8 text"))
        return pc.if_else(from_numpy(valid), array, scalar(None, array.type))
    return array


def _is_utf8(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
