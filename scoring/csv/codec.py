"""CSV in, CSV out: each block of records is read, scored, written and staged by one thread."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa

from errors import ColumnMissingError, FileEmptyError, OutputEncodingError
from model_store.arrays import from_cells, from_numpy
from scoring import rejects as reject
from scoring.codec import Scored, Split, Work, output_names
from scoring.conform import check_columns
from scoring.csv.cells import CellReader, Cells
from scoring.csv.dialect import LOOKED_AT, Dialect, find_dialect
from scoring.csv.header import Header, absence_hint, delimiter_hint, read_header, space_hint, split
from scoring.csv.records import Records, cut_records
from scoring.csv.source import Source, Wrapping, look_ahead, open_source, open_split
from scoring.csv.table_result import TableResult
from scoring.csv.text import (
    added_text,
    appended,
    bytes_of,
    is_plain,
    join_fields,
    lines,
    spliced,
    to_text,
    without_delimiter,
)
from scoring.partitions import partition_values, read_partitions
from scoring.rejects import Rejects
from scoring.tally import Tally
from settings import VERSION

CONTENT_TYPE = "text/csv"


@dataclass(frozen=True, slots=True)
class _Block:
    """What one thread reports of its block."""

    tally: Tally
    size: int
    """Bytes."""
    scored: str | pa.RecordBatch | None
    """The id of the staged block of results, or rows that are still to be written; None where all were rejected."""
    rejected: str | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a CSV file's beginning tells of it."""

    dialect: Dialect
    header: Header
    wrapping: Wrapping


def score_csv(work: Work) -> Scored:
    """Score a CSV file, or a split of one, block by block; results and rejects are staged."""
    if work.split and work.split.start:
        return _score_later_split(work, work.split)
    with open_source(work) as source:
        beginning, blocks = _begin(work, source)
        result = _CsvFile(work, source, beginning).score(blocks)
    result.tally.add(source.reading)
    return result


def _score_later_split(work: Work, split: Split) -> Scored:
    with open_source(work) as start:
        beginning, _ = _begin(work, start)
    with open_split(work, split, beginning.wrapping) as source:
        blocks = work.tally.timed("cut", _cut(work, source, beginning.dialect, split.first_row))
        result = _CsvFile(work, source, beginning).score(blocks)
    result.tally.add(source.reading)
    return result


def look_into(work: Work) -> Beginning:
    """Look at a CSV file's beginning, and raise what can be known from it to be wrong with the file."""
    with open_source(work) as source:
        beginning, _ = _begin(work, source)
        _CsvFile(work, source, beginning)
        return beginning


def _begin(work: Work, source: Source) -> tuple[Beginning, Iterator[Records]]:
    """Return what a file's beginning tells, and the blocks of all its records but the header."""
    signature = work.model.signature
    start, source.chunks = look_ahead(source.chunks, LOOKED_AT)
    given = partition_values(work.input.path, (column.name for column in signature.inputs))
    dialect = find_dialect(start, work.options.csv, signature, work.input.path.name, given)
    blocks = _cut(work, source, dialect, -1 if dialect.header else 0)
    first = next(blocks, None)
    if first is None:
        raise FileEmptyError("the file has only blank lines", file=work.file)
    wrapping, line = source.wrapping, first.text(0)
    dialect = replace(
        dialect,
        encoding=wrapping.encoding,
        compression=wrapping.compression,
        line_end=line[len(line.rstrip(b"\r\n")) :].decode() or "\n",
    )
    header = read_header(first, dialect, signature, work.file, given)
    body = first.without_first() if dialect.header else first
    return Beginning(dialect, header, wrapping), work.tally.timed("cut", chain([body], blocks))


def _cut(work: Work, source: Source, dialect: Dialect, first_row: int) -> Iterator[Records]:
    return cut_records(
        source.chunks,
        delimiter=dialect.delimiter,
        quote=dialect.quote,
        max_record=work.max_record_bytes,
        first_row=first_row,
        file=work.file,
    )


class _CsvFile:
    """One CSV file being scored."""

    def __init__(self, work: Work, source: Source, beginning: Beginning) -> None:
        header, dialect = beginning.header, beginning.dialect
        self._work = work
        self._source = source
        self._wrap = source.wrapping.wrap
        self._header = header
        self._dialect = dialect
        self._first_block = work.split.first_block if work.split else 1
        self._begins = not (work.split and work.split.start)
        signature = work.model.signature
        hint = delimiter_hint(header, dialect) or space_hint(header, signature) or absence_hint(header, signature)
        given = read_partitions(work.input.path, signature, header.positions)
        check_columns(signature, given.extend(header.schema), work.file, hint=hint)
        keep = work.options.keep
        self._keeps_all = keep == "all"
        kept = () if isinstance(keep, str) else keep
        for name in kept:
            if name not in header.positions:
                raise ColumnMissingError(f"column {name!r} of keep is not in the file", file=work.file, column=name)
        self._kept = kept
        self._table: TableResult | None = None
        if work.options.output_format == "parquet":
            self._table = TableResult(work, header.names if self._keeps_all else kept)
        texts = self._table.texts if self._table else kept
        self._cells = CellReader(header, signature, texts, dialect, given)
        self._line_end = dialect.line_end.encode()

    def score(self, blocks: Iterator[Records]) -> Scored:
        """Score all blocks."""
        tally = Tally()
        # Where the file has a mark, or is compressed, even an empty result is not without bytes.
        start = b"" if self._table or not self._begins else self._wrap(self._scored_start(), first=True)
        scored = [self._work.scored.stage(0, start)] if len(start) else []
        rejected: list[str] = []
        read = len(self._header.line) if self._begins else 0
        with closing(self._work.engine.map(self._score_block, blocks)) as done:
            for block in done:
                tally.add(block.tally)
                read += block.size
                if isinstance(block.scored, str):
                    scored.append(block.scored)
                elif self._table and block.scored is not None:
                    with self._work.tally.stage("write"):
                        self._table.add(block.scored)
                if block.rejected:
                    rejected.append(block.rejected)
                self._work.progress(min(self._source.position(read), self._work.input.size), tally)
        # Each split that has rejects begins with the header: its block is the same one, whoever stages it.
        start = self._wrap(self._rejected_start(), first=True)
        if rejected and len(start):
            rejected.insert(0, self._work.rejected.stage(0, start))
        if self._table:
            with self._work.tally.stage("write"):
                scored = self._table.finish()
        return Scored(tally, scored, rejected, self._dialect.to_dict())

    def _score_block(self, records: Records) -> _Block:
        tally = Tally(read=len(records))
        with tally.stage("rest"):
            return self._score_records(records, tally)

    def _score_records(self, records: Records, tally: Tally) -> _Block:
        if not len(records):
            return _Block(tally, len(records.data), None, None)
        with tally.stage("parse"):
            cells = self._cells.read(records)
        rejects = cells.rejects
        tally.rejected, tally.codes = len(rejects), Counter(rejects.counts())
        tally.scored = tally.read - tally.rejected
        good = ~rejects.mask() if rejects else None
        scored: str | pa.RecordBatch | None = None
        rejected = None
        if tally.scored:
            batch = cells.batch if good is None else cells.batch.filter(from_numpy(good))
            with tally.stage("score"):
                outputs = self._work.model.predict(batch)
            if self._table:
                with tally.stage("encode"):
                    scored = self._table.rows(cells, good, outputs)
            else:
                with tally.stage("encode"):
                    plain, sign = self._scored_text(records, cells, good, outputs)
                    text = self._wrap(plain)
                with tally.stage("write"):
                    scored = self._work.scored.stage(self._first_block + records.sequence, text, sign)
        if rejects:
            with tally.stage("encode"):
                text = self._wrap(self._rejected_text(records, rejects))
            with tally.stage("write"):
                rejected = self._work.rejected.stage(self._first_block + records.sequence, text)
        return _Block(tally, len(records.data), scored, rejected)

    def _scored_text(
        self, records: Records, cells: Cells, good: np.ndarray | None, outputs: pa.RecordBatch
    ) -> tuple[pa.Buffer, bytes | None]:
        """Return a block of the result, and its sign if it has one: see Output.stage."""
        columns = [to_text(column, self._dialect) for column in outputs.columns]
        self._check_plain(columns)
        if self._keeps_all:
            added = added_text(columns, self._dialect)
            text = spliced(records, good, added)
            return text, _sign(records, text, added) if good is None else None
        kept = [cells.kept[name] for name in self._kept]
        kept = kept if good is None else [column.filter(from_numpy(good)) for column in kept]
        return lines([*(to_text(c, self._dialect) for c in kept), *columns], self._line_end, self._dialect), None

    def _check_plain(self, columns: Sequence[pa.Array]) -> None:
        """Raise OutputEncodingError where what the model gives, as text, needs quotes that the file has not."""
        if not self._dialect.quote and not is_plain(columns, self._dialect):
            raise OutputEncodingError(
                "one of the model's outputs, or its name, has a delimiter or a line end in it, which a file "
                "without quotes cannot hold: write the file with quotes, or let the result be Parquet",
                file=self._work.file,
            )

    def _rejected_text(self, records: Records, rejects: Rejects) -> pa.Buffer:
        numbers, *words = rejects.columns(records.first_row)
        if not self._dialect.quote:
            words = [without_delimiter(word, self._dialect) for word in words]
        columns = [to_text(column, self._dialect) for column in (numbers, *words)]
        ragged = rejects.with_code(reject.FIELDS)
        if not ragged.any():
            return appended(records, rejects.mask(), columns, self._dialect)
        texts = [
            self._squared(records.text(row)) if ragged[row] else records.text(row)
            for row in rejects.indices().tolist()
        ]
        ends = np.cumsum([len(text) for text in texts])
        return appended(replace(records, data=b"".join(texts), ends=ends), None, columns, self._dialect)

    def _squared(self, record: bytes) -> bytes:
        """Give a record the header's number of fields, so that the rejects file is a table.

        Missing fields are added empty; surplus ones go, with their delimiters, into the last: nothing is lost.
        """
        fields = split(record, self._dialect)
        width = len(self._header.names)
        text = record.rstrip(b"\r\n")
        end = record[len(text) :]
        if len(fields) < width:
            return text + self._dialect.delimiter.encode() * (width - len(fields)) + end
        last = self._dialect.delimiter.join(fields[width - 1 :])
        return join_fields([*fields[: width - 1], last], end, self._dialect)

    def _scored_start(self) -> bytes:
        """Return what the result begins with, before its first row."""
        if not self._dialect.header:
            return b""
        kept = self._header.names if self._keeps_all else self._kept
        names = output_names(self._work.model.signature, kept)
        self._check_plain([from_cells(names, pa.string())])
        if self._keeps_all:
            return self._header_with(names)
        return join_fields([*kept, *names], self._line_end, self._dialect)

    def _rejected_start(self) -> bytes:
        return self._header_with(list(reject.COLUMNS)) if self._dialect.header else b""

    def _header_with(self, names: list[str]) -> bytes:
        line = self._header.line.rstrip(b"\r\n")
        end = self._header.line[len(line) :]
        return line + self._dialect.delimiter.encode() + join_fields(names, end, self._dialect)


def _sign(records: Records, text: pa.Buffer, added: pa.Array) -> bytes:
    """Return what tells a block of all its records from any other that the run can have in its place.

    Runs of one id read the same text and splice it the same way, if they are of one version: what can differ is
    where they cut it and what a model answers. Hashing that alone takes a tenth of the time.
    """
    start = f"{VERSION} {records.first_row} {len(records)} {text.size}\n"
    return b"".join([start.encode(), bytes_of(added)])
