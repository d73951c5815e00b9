"""Cut a stream of CSV bytes into blocks of whole records, as Python's csv module has them.

Every byte is looked at once, by NumPy, many at a time; `record_ends.py` says what makes that possible with quotes.
LF, CR LF and a lone CR each end a record, also mixed in one file; a line end inside a quoted field ends none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from errors import FileMalformedError, RecordTooLargeError
from scoring.csv.record_ends import NEWLINE, RETURN, RecordEnds


@dataclass(frozen=True, slots=True)
class Records:
    """Whole CSV records: what one thread scores."""

    sequence: int
    """0-based number of the block in the file."""
    first_row: int
    """0-based number in the file of the first row here; -1 is the header."""
    data: bytes
    """The records' text; every record ends with a line end, but for the last of the file, which may lack it."""
    ends: np.ndarray
    """int64 [records]: where each record ends in `data`, its line end (LF, CR LF or CR) included."""
    quoted: bool
    """Whether any quote occurs."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def starts(self) -> np.ndarray:
        """int64 [records]: where each record begins in `data`."""
        return np.concatenate([np.zeros(min(len(self.ends), 1), np.int64), self.ends[:-1]])

    def text(self, index: int) -> bytes:
        """Return one record with its line end."""
        return self.data[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]

    def without_first(self) -> "Records":
        """Return the block without its first record: the header."""
        cut = int(self.ends[0])
        return Records(self.sequence, self.first_row + 1, self.data[cut:], self.ends[1:] - cut, self.quoted)


def cut_records(
    chunks: Iterable[bytes],
    *,
    delimiter: str = ",",
    quote: str = '"',
    max_record: int = 16 * 1024 * 1024,
    first_row: int = 0,
    file: str | None = None,
) -> Iterator[Records]:
    """Yield the records of `chunks` (any sizes), a block a chunk at most; memory is a chunk and a record.

    Blank lines are no records and are left out. `delimiter` is an ASCII character, `quote` one or empty for none.
    RecordTooLargeError for a record of more than `max_record` bytes with its line end, FileMalformedError for a
    quote that is never closed: both name `file` and the row, and neither depends on where the chunks end.
    """
    scan = RecordEnds(delimiter, quote)
    begun: list[bytes] = []  # what there is of a record that no chunk has ended yet
    size = 0  # of `begun`, in bytes
    sequence, rows = 0, first_row
    for chunk in chunks:
        ends = scan.find(chunk)
        if len(ends):
            cut = int(ends[-1])
            data = b"".join([*begun, memoryview(chunk)[:cut]])
            if block := _block(sequence, rows, data, ends + size, quote):
                _check_sizes(block, max_record, file)
                yield block
                sequence += 1
                rows += len(block)
            begun, size, chunk = [], 0, chunk[cut:]  # noqa: PLW2901  # the rest of it begins the next record
        begun.append(chunk)
        size += len(chunk)
        if size > max_record:
            raise too_large(max_record, file, rows)
    if scan.is_open():
        raise FileMalformedError(
            "a quoted field begins in this record and never ends: the file is cut short, or a quote is missing",
            file=file,
            row=rows + 1,
        )
    if size and (block := _block(sequence, rows, b"".join(begun), np.array([size], np.int64), quote)):
        yield block


def _block(sequence: int, rows: int, data: bytes, ends: np.ndarray, quote: str) -> Records | None:
    """Return the records of `data` without blank lines; None where nothing is left."""
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    view = np.frombuffer(data, np.uint8)
    blank = (view[starts] == NEWLINE) | (view[starts] == RETURN)
    if blank.any():
        kept = np.ones(len(data), bool)
        kept[starts[blank]] = kept[ends[blank] - 1] = False  # a blank line is one byte or CR LF
        data = view[kept].tobytes()
        ends = np.cumsum((ends - starts)[~blank])
    if not len(ends):
        return None
    return Records(sequence, rows, data, ends, bool(quote) and quote.encode() in data)


def _check_sizes(block: Records, max_record: int, file: str | None) -> None:
    if len(block.data) > max_record and len(large := np.flatnonzero(block.ends - block.starts > max_record)):
        raise too_large(max_record, file, block.first_row + int(large[0]))


def too_large(max_record: int, file: str | None, row: int) -> RecordTooLargeError:
    """Return the error of a record of more than `max_record` bytes, the 0-based `row` of `file`."""
    return RecordTooLargeError(
        f"a record is longer than {max_record:,} bytes; a quote that is never closed has that effect too, "
        "as has the wrong csv.quote or a file that is no CSV; if it is meant, raise DROPSCORE_MAX_RECORD_BYTES",
        file=file,
        row=row + 1,
    )
