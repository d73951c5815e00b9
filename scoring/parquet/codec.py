"""Parquet in, Parquet out: row groups are scored by threads, and written in order.

Only the columns that the model needs are decoded. A row group without rejects is copied, and gets the model's
outputs as further columns (`parquet/splice.py`); of one with rejects the other rows are read and written anew.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from errors import ColumnMissingError, FileEmptyError, FileMalformedError
from model_store import Column, ColumnType
from model_store.arrays import from_numpy, scalar
from scoring import rejects as reject
from scoring.codec import Scored, Work, output_names
from scoring.conform import check_columns, conform
from scoring.parquet.choosing import choose
from scoring.parquet.properties import with_columns
from scoring.parquet.source import GroupRows, ParquetSource, RowsInOrder
from scoring.parquet.splice import SplicedFile, copyable
from scoring.parquet.text_result import TextResult
from scoring.parquet.utf8 import find_bad_text
from scoring.parquet.writer import TableWriter
from scoring.partitions import read_partitions
from scoring.rejects import Fault, Rejects
from scoring.tally import Tally

CONTENT_TYPE = "application/vnd.apache.parquet"

SLICE_ROWS = 32_768  # measured: twice as many are no faster, and take 40 MB more
MOST_ROWS = 64 * 1024 * 1024  # of a row group that pyarrow writes
HELD_BYTES = 64 * 1024 * 1024  # outputs of one row group that are held until it is complete and can be copied


@dataclass(slots=True)
class _Piece:
    """Some rows of a row group, scored."""

    offset: int
    """0-based row in the group of the first."""
    rows: int
    outputs: pa.RecordBatch
    """Of the rows that were not rejected."""
    rejects: Rejects
    text: str | pa.Buffer | None = None
    """The same rows as CSV, where the result is that: see TextResult.encode."""


@dataclass(slots=True)
class _Group:
    """A row group being scored."""

    number: int
    first_row: int
    """0-based row in the file of the first."""
    rows: int
    source: GroupRows
    copied: bool
    """Whether it will be copied if none of its rows is rejected; otherwise its pieces are written as they come."""
    scored: dict[int, _Piece] = field(default_factory=dict)
    """By offset: what was scored and is not written yet."""
    done: int = 0
    """Rows that are written."""
    kept: RowsInOrder | None = None
    """Its rows once more, of the columns that are kept, where they are written anew."""
    own: RowsInOrder | None = None
    """The same, of all columns, for rejects."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """What one thread scores at a time: at least so many rows of a group, whichever are next."""

    group: _Group
    rows: int


@dataclass(frozen=True, slots=True)
class _ScoredSlice:
    group: _Group
    pieces: list[_Piece]
    tally: Tally


class _NotAlikeError(Exception):
    """Rows have to be written of columns that pyarrow would write in another way than the file does."""


def score_parquet(work: Work) -> Scored:
    """Score a Parquet file, or a split of one, row group by row group; results and rejects are staged."""
    source = _open(work)
    try:
        return _ParquetFile(work, source, copies=True).score()
    except _NotAlikeError:
        return _ParquetFile(work, source, copies=False).score()


def look_into(work: Work) -> ParquetSource:
    """Open a Parquet file, and raise what its columns alone say to be wrong with it."""
    source = _open(work)
    _ParquetFile(work, source, copies=False)
    return source


def _open(work: Work) -> ParquetSource:
    if work.input.size == 0:
        raise FileEmptyError("the file is empty: it is no Parquet file", file=work.file)
    return ParquetSource(work.blobs, work.input, batch_bytes=4 * work.block_bytes, max_expansion=work.max_expansion)


class _ParquetFile:
    """One Parquet file being scored."""

    def __init__(self, work: Work, source: ParquetSource, *, copies: bool) -> None:
        self._work = work
        self._source = source
        self._groups = range(work.split.start, work.split.stop) if work.split else range(len(source.rows))
        schema = source.schema
        signature = work.model.signature
        _check_twice(schema.names, work.file)
        names = set(schema.names)
        self._given = read_partitions(work.input.path, signature, names)
        check_columns(signature, self._given.extend(schema), work.file)
        keep = work.options.keep
        self._kept = schema.names if keep == "all" else [] if keep == "none" else list(keep)
        for name in self._kept:
            if name not in names:
                raise ColumnMissingError(f"column {name!r} of keep is not in the file", file=work.file, column=name)
        # A model may need none of the columns that are there; rows are counted by reading one.
        self._needed = [c.name for c in signature.inputs if c.name in names] or schema.names[:1]
        self._coded = tuple(c.name for c in signature.inputs if c.name in names and _is_text(schema.field(c.name)))
        outputs = [
            field.with_name(name)
            for field, name in zip(signature.output_schema, output_names(signature, self._kept), strict=True)
        ]
        self._scored_schema = _schema([*(schema.field(name) for name in self._kept), *outputs], schema)
        types = (pa.int64(), pa.string(), pa.string(), pa.string())
        # A rejects file that is dropped again has these columns already: they are about the last time.
        self._own = [name for name in schema.names if name not in reject.COLUMNS]
        self._rejected_schema = _schema(
            [
                *(schema.field(name) for name in self._own),
                *(pa.field(name, kind) for name, kind in zip(reject.COLUMNS, types, strict=True)),
            ],
            schema,
        )
        self._text: TextResult | None = None
        if work.options.output_format == "csv":
            fields = list(self._scored_schema)[: len(self._kept)]
            self._text = TextResult(work, fields, [field.name for field in outputs])
            self._needed = list(dict.fromkeys([*self._needed, *self._kept]))
        layout = copyable(source) if copies and not self._text else None
        self._spliced = layout and SplicedFile(source, layout, work.scored, self._kept, self._scored_schema)
        if work.split and self._spliced and not self._spliced.takes_rows:
            self._spliced = None  # all parts of a table are to have the same columns, with rejects or without
        self._scored = self._text or self._spliced or TableWriter(work.scored, self._scored_schema)
        self._rejected: TableWriter | None = None

    def score(self) -> Scored:
        """Score all row groups."""
        tally = Tally()
        total = max(sum(self._source.rows[group] for group in self._groups), 1)
        with self._spliced or nullcontext():
            with closing(self._work.engine.map(self._score_slice, self._slices())) as done:
                for piece in done:
                    tally.add(piece.tally)
                    with self._work.tally.stage("write"):
                        self._write(piece.group, piece.pieces)
                    self._work.progress(self._work.input.size * tally.read // total, tally)
            with self._work.tally.stage("write"):
                scored = self._scored.finish()
                if self._spliced:
                    tally.add(self._spliced.took())
                return Scored(tally, scored, self._rejected.finish() if self._rejected else [])

    def _slices(self) -> Iterator[_Slice]:
        row = 0
        for number, rows in enumerate(self._source.rows):
            if number not in self._groups:
                row += rows
                continue
            count = -(-rows // SLICE_ROWS)
            size = -(-rows // max(count, 1))
            coded = self._source.dictionaries(number, self._coded)
            source = GroupRows(self._source, number, self._needed, size, coded=coded)
            copied = self._spliced is not None and rows <= MOST_ROWS
            group = _Group(number, row, rows, source, copied=copied)
            for _ in range(count):
                yield _Slice(group, size)
            row += rows

    def _score_slice(self, piece: _Slice) -> _ScoredSlice:
        tally, pieces = Tally(), []
        with tally.stage("rest"):
            while tally.read < piece.rows:
                with tally.stage("parse"):
                    taken = piece.group.source.take()
                if taken is None:
                    break
                pieces.append(self._score_batch(*taken, tally))
            # Otherwise pyarrow's allocator holds on to what was given back: measured, 50 MB of 360.
            pa.default_memory_pool().release_unused()
        return _ScoredSlice(piece.group, pieces, tally)

    def _score_batch(self, offset: int, batch: pa.RecordBatch, tally: Tally) -> _Piece:
        rejects = Rejects(len(batch))
        with tally.stage("conform"):
            columns = self._given.columns(len(batch)) | {
                column.name: _checked_text(batch.column(column.name), column, rejects)
                for column in self._work.model.signature.inputs
                if column.name in batch.schema.names
            }
            rows = conform(columns, self._work.model.signature, len(batch), rejects)
            if self._text:
                self._text.check(batch.select(self._kept), rejects)
            if rejects:
                rows = rows.filter(from_numpy(~rejects.mask()))
        tally.read += len(batch)
        tally.rejected += len(rejects)
        tally.scored += len(batch) - len(rejects)
        tally.codes.update(rejects.counts())
        with tally.stage("score"):
            outputs = self._work.model.predict(rows)
        piece = _Piece(offset, len(batch), outputs, rejects)
        if self._text:
            with tally.stage("encode"):
                kept = batch.select(self._kept)
                kept = choose(kept, ~rejects.mask()) if rejects else kept
                piece.text = self._text.encode([*kept.columns, *outputs.columns])
        return piece

    def _write(self, group: _Group, pieces: Iterable[_Piece]) -> None:
        """Write what is complete of a row group: all of it, or what is next where it is not to be copied."""
        group.scored.update((piece.offset, piece) for piece in pieces)
        if group.copied and sum(piece.rows for piece in group.scored.values()) < group.rows:
            group.copied = sum(piece.outputs.nbytes for piece in group.scored.values()) <= HELD_BYTES
            if group.copied:
                return
        ready = []
        while piece := group.scored.pop(group.done, None):
            ready.append(piece)
            group.done += piece.rows
        rejected = any(piece.rejects for piece in ready)
        if self._spliced and group.copied and not rejected:
            self._spliced.copy(group.number, [piece.outputs for piece in ready])
            return
        for piece in ready:
            self._write_anew(group, piece)

    def _write_anew(self, group: _Group, piece: _Piece) -> None:
        """Write a piece's rows: as the text they are already, or read once more with all columns that are kept."""
        if isinstance(self._scored, TextResult):
            self._scored.add(piece.text)
            self._write_rejects(group, piece)
            return
        if self._spliced and not self._spliced.takes_rows:
            raise _NotAlikeError
        all_at_once = set(self._own) <= set(self._kept)
        good, done = ~piece.rejects.mask(), 0
        group.kept = group.kept or RowsInOrder(self._source, group.number, self._kept, SLICE_ROWS)
        for place, batch in group.kept.read(piece.offset, piece.rows):
            kept = choose(batch.select(self._kept), good[place : place + len(batch)])
            outputs = piece.outputs.slice(done, len(kept))
            done += len(kept)
            self._scored.write(
                pa.RecordBatch.from_arrays([*kept.columns, *outputs.columns], schema=self._scored_schema)
            )
            if piece.rejects and all_at_once:
                self._reject(group, piece, place, batch)
        if not all_at_once:
            self._write_rejects(group, piece)

    def _write_rejects(self, group: _Group, piece: _Piece) -> None:
        """Read a piece's rows once more with all columns of the file, and write those that were rejected."""
        if piece.rejects:
            group.own = group.own or RowsInOrder(self._source, group.number, self._own, SLICE_ROWS)
            for place, batch in group.own.read(piece.offset, piece.rows):
                self._reject(group, piece, place, batch)

    def _reject(self, group: _Group, piece: _Piece, place: int, batch: pa.RecordBatch) -> None:
        """Write those rows of a batch, which begins at `place` of a piece, that were rejected."""
        rows = piece.rejects.indices()
        start, stop = np.searchsorted(rows, (place, place + len(batch))).tolist()
        if start == stop:
            return
        own = choose(batch.select(self._own), piece.rejects.mask()[place : place + len(batch)])
        faults = [column[start:stop] for column in piece.rejects.columns(group.first_row + piece.offset)]
        self._rejected = self._rejected or TableWriter(self._work.rejected, self._rejected_schema)
        self._rejected.write(pa.RecordBatch.from_arrays([*own.columns, *faults], schema=self._rejected_schema))


def _schema(fields: list[pa.Field], like: pa.Schema) -> pa.Schema:
    return pa.schema(fields, with_columns(like.metadata, pa.schema(fields)))


def _check_twice(names: list[str], file: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise FileMalformedError(
                f"there are two columns {name!r}: no reader could tell them apart", file=file, column=name
            )


def _checked_text(array: pa.Array, column: Column, rejects: Rejects) -> pa.Array:
    """Return a text column as strings, or a dictionary of them; cells that are not UTF-8 reject their rows.

    Parquet files can hold any bytes there.
    """
    if column.type is not ColumnType.STRING or pa.types.is_null(array.type):
        return array
    coded = pa.types.is_dictionary(array.type)
    if find_bad_text(array.dictionary if coded else array) is not None:
        array = array.dictionary_decode() if coded else array
        bad = find_bad_text(array)
        if bad is None:  # a text of the dictionary that no row has
            return array
        rejects.add_all(bad, Fault(reject.TEXT, column.name, "the value is not UTF-8 text"))
        return pc.if_else(from_numpy(bad), scalar(None, array.type), array)
    if not coded:
        return array
    if len(array.dictionary) > len(array):  # looking up each of them takes longer than looking up each row's
        return array.dictionary_decode()
    return pa.DictionaryArray.from_arrays(array.indices, array.dictionary.cast(pa.string()))


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
