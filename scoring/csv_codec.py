"""CSV in, CSV out: each block of records is read, scored, written and staged by one thread."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa

from errors import ColumnMissingError, FileEmptyError
from model_store.arrays import from_numpy
from scoring import rejects as reject
from scoring.codec import Scored, Work, output_names
from scoring.conform import check_columns
from scoring.csv_cells import CellReader
from scoring.csv_header import BOM, Header, check_is_text, delimiter_hint, read_header, split
from scoring.csv_records import Records, cut_records
from scoring.csv_text import appended, join_fields, lines, to_text
from scoring.rejects import Rejects
from scoring.tally import Tally
from storage.reader import stream

CONTENT_TYPE = "text/csv"


@dataclass(frozen=True, slots=True)
class _Block:
    """What one thread reports of its block."""

    tally: Tally
    size: int
    """Bytes."""
    scored: str | None
    """The id of the staged block of results; None where every row was rejected."""
    rejected: str | None


def score_csv(work: Work) -> Scored:
    """Score a CSV file block by block; results and rejects are staged."""
    options = work.options.csv
    if work.input.size == 0:
        raise FileEmptyError("the file is empty: it has not even a header", file=work.file)
    reading = Tally()  # a thread of its own reads ahead
    chunks = stream(work.blobs, work.input, chunk=work.block_bytes, timer=partial(reading.stage, "read"))
    waited = work.tally.timed("wait", chunks)
    start = next(waited)
    check_is_text(start, work.file)
    mark = BOM if start.startswith(BOM) else b""
    blocks = cut_records(
        chain([start[len(mark) :]], waited),
        delimiter=options.delimiter,
        quote=options.quote,
        max_record=work.max_record_bytes,
        first_row=-1 if options.header else 0,
        file=work.file,
    )
    first = next(blocks, None)
    if first is None:
        raise FileEmptyError("the file has only blank lines", file=work.file)
    header = read_header(first, options, work.model.signature, work.file)
    body = first.without_first() if options.header else first
    with closing(chunks):
        result = _CsvFile(work, header, mark).score(work.tally.timed("cut", chain([body], blocks)))
    result.tally.add(reading)
    return result


class _CsvFile:
    """One CSV file being scored."""

    def __init__(self, work: Work, header: Header, mark: bytes) -> None:
        self._mark = mark  # the byte order mark, if the file begins with one
        self._work = work
        self._header = header
        self._options = work.options.csv
        signature = work.model.signature
        check_columns(signature, header.schema, work.file, hint=delimiter_hint(header, self._options))
        keep = work.options.keep
        self._keeps_all = keep == "all"
        kept = () if isinstance(keep, str) else keep
        for name in kept:
            if name not in header.names:
                raise ColumnMissingError(f"column {name!r} of keep is not in the file", file=work.file, column=name)
        self._kept = kept
        self._cells = CellReader(header, signature, kept, self._options)
        self._line_end = header.line[len(header.line.rstrip(b"\r\n")) :] or b"\n"

    def score(self, blocks: Iterator[Records]) -> Scored:
        """Score all blocks."""
        tally = Tally()
        start = self._scored_start()
        scored = [self._work.scored.stage(0, start)] if start else []
        rejected: list[str] = []
        read = len(self._mark) + len(self._header.line)
        with closing(self._work.engine.map(self._score_block, blocks)) as done:
            for block in done:
                tally.add(block.tally)
                read += block.size
                if block.scored:
                    scored.append(block.scored)
                if block.rejected:
                    rejected.append(block.rejected)
                self._work.progress(min(read, self._work.input.size), tally)
        start = self._rejected_start()
        if rejected and start:
            rejected.insert(0, self._work.rejected.stage(0, start))
        return Scored(tally, scored, rejected)

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
        scored = rejected = None
        if tally.scored:
            batch = cells.batch if good is None else cells.batch.filter(from_numpy(good))
            with tally.stage("score"):
                outputs = self._work.model.predict(batch)
            with tally.stage("encode"):
                columns = [to_text(column, self._options) for column in outputs.columns]
                if self._keeps_all:
                    text = appended(records, good, columns, self._options)
                else:
                    kept = [cells.kept[name] for name in self._kept]
                    kept = kept if good is None else [column.filter(from_numpy(good)) for column in kept]
                    text = lines(
                        [*(to_text(c, self._options) for c in kept), *columns], self._line_end, self._options
                    )
            with tally.stage("write"):
                scored = self._work.scored.stage(records.sequence + 1, memoryview(text))
        if rejects:
            with tally.stage("encode"):
                text = self._rejected_text(records, rejects)
            with tally.stage("write"):
                rejected = self._work.rejected.stage(records.sequence + 1, memoryview(text))
        return _Block(tally, len(records.data), scored, rejected)

    def _rejected_text(self, records: Records, rejects: Rejects) -> pa.Buffer:
        columns = [to_text(column, self._options) for column in rejects.columns(records.first_row)]
        ragged = rejects.with_code(reject.FIELDS)
        if not ragged.any():
            return appended(records, rejects.mask(), columns, self._options)
        texts = [
            self._squared(records.text(row)) if ragged[row] else records.text(row)
            for row in rejects.indices().tolist()
        ]
        ends = np.cumsum([len(text) for text in texts])
        return appended(replace(records, data=b"".join(texts), ends=ends), None, columns, self._options)

    def _squared(self, record: bytes) -> bytes:
        """Give a record the header's number of fields, so that the rejects file is a table.

        Missing fields are added empty; surplus ones go, with their delimiters, into the last: nothing is lost.
        """
        fields = split(record, self._options)
        width = len(self._header.names)
        last = self._options.delimiter.join(fields[width - 1 :])
        fields = [*fields[: width - 1], last] if len(fields) > width else fields + [""] * (width - len(fields))
        return join_fields(fields, record[len(record.rstrip(b"\r\n")) :], self._options)

    def _scored_start(self) -> bytes:
        """Return what the result begins with, before its first row."""
        if not self._options.header:
            return self._mark if self._keeps_all else b""
        kept = self._header.names if self._keeps_all else self._kept
        names = output_names(self._work.model.signature, kept)
        return self._mark + (
            self._header_with(names)
            if self._keeps_all
            else join_fields([*kept, *names], self._line_end, self._options)
        )

    def _rejected_start(self) -> bytes:
        return self._mark + (self._header_with(list(reject.COLUMNS)) if self._options.header else b"")

    def _header_with(self, names: list[str]) -> bytes:
        line = self._header.line.rstrip(b"\r\n")
        end = self._header.line[len(line) :]
        return line + self._options.delimiter.encode() + join_fields(names, end, self._options)
