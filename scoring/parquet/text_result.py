"""The CSV result of a Parquet file: rows are written as text, and staged, by the thread that scored them."""

from collections.abc import Sequence
from itertools import count

import pyarrow as pa

from errors import OptionsInvalidError
from scoring.codec import Work
from scoring.csv.dialect import Dialect
from scoring.csv.encoding import UTF_8, check_encoding, encoding_of_new
from scoring.csv.source import Wrapping
from scoring.csv.text import join_fields, lines
from scoring.csv.values import check_has_text, reject_textless, write_cells
from scoring.options import CsvOptions
from scoring.rejects import Rejects

MOST_BLOCKS = 50_000  # of a blob
OWN_BLOCKS = 40_000  # of these: pieces that are blocks of their own; those beyond are put together
BLOCK_BYTES = 8 * 1024 * 1024


class TextResult:
    """A CSV file in the making, of kept columns and the model's outputs behind them."""

    def __init__(self, work: Work, kept: Sequence[pa.Field], names: Sequence[str]) -> None:
        """Begin a file of the input's columns `kept` and of outputs called `names`.

        ColumnTypeError for a kept column that CSV has no text for, OptionsInvalidError for a file without quotes.
        """
        check_has_text(kept, work.file)
        self._file = work.file
        self._output = work.scored
        self._dialect = _dialect(work.options.csv)
        encoding, mark = encoding_of_new(self._dialect.encoding)
        self._wrap = Wrapping(work.file, encoding=encoding, mark=mark).wrap
        first, blocks = (work.split.first_block, work.split.blocks) if work.split else (1, MOST_BLOCKS - 1)
        self._own_end, self._end = first + blocks * OWN_BLOCKS // MOST_BLOCKS, first + blocks
        self._numbers, self._late = count(first), count(self._own_end)
        self._waiting: list[pa.Buffer] = []
        self._waiting_bytes = 0
        header = join_fields([*(field.name for field in kept), *names], self._line_end, self._dialect)
        begins = not (work.split and work.split.start)
        start = self._wrap(header if self._dialect.header else b"", first=True) if begins else b""
        self._blocks = [self._output.stage(0, start)] if len(start) else []

    @property
    def _line_end(self) -> bytes:
        return self._dialect.line_end.encode()

    def check(self, kept: pa.RecordBatch, rejects: Rejects) -> None:
        """Reject the rows of which no text can be made."""
        for name, column in zip(kept.schema.names, kept.columns, strict=True):
            reject_textless(column, name, rejects)

    def encode(self, columns: Sequence[pa.Array]) -> str | pa.Buffer | None:
        """Write some rows and stage them; return what `add` takes. Any thread may call it, in any order."""
        if not len(columns[0]):
            return None
        text = lines([write_cells(column, self._dialect) for column in columns], self._line_end, self._dialect)
        number = next(self._numbers)  # one step of the interpreter: no two threads get the same
        return self._output.stage(number, self._wrap(text)) if number < self._own_end else text

    def add(self, encoded: str | pa.Buffer | None) -> None:
        """Put rows behind those that are there: one thread calls it, in the rows' order."""
        if isinstance(encoded, str):
            self._flush()
            self._blocks.append(encoded)
        elif encoded is not None:
            self._waiting.append(encoded)
            self._waiting_bytes += encoded.size
            if self._waiting_bytes >= BLOCK_BYTES:
                self._flush()

    def finish(self) -> list[str]:
        """Return the ids of the file's blocks."""
        self._flush()
        return self._blocks

    def _flush(self) -> None:
        if self._waiting:
            if (number := next(self._late)) >= self._end:
                raise OptionsInvalidError(
                    f"the CSV result would have more than the {MOST_BLOCKS:,} blocks that a blob may have: leave "
                    "out output_format, so that it is Parquet, or keep fewer columns",
                    file=self._file,
                )
            self._blocks.append(self._output.stage(number, self._wrap(b"".join(self._waiting))))
            self._waiting.clear()
            self._waiting_bytes = 0


def _dialect(options: CsvOptions) -> Dialect:
    """Return how the file is written: as RFC 4180 says, but for line ends of LF, where `options` say nothing."""
    if options.quote == "":
        raise OptionsInvalidError("csv.quote cannot be empty where Parquet becomes CSV: texts may hold anything")
    return Dialect(
        delimiter=options.delimiter or (";" if options.decimal == "," else ","),
        quote=options.quote or '"',
        header=options.header,
        encoding=check_encoding(options.encoding) if options.encoding else UTF_8,
        decimal=options.decimal,
    )
