"""Cut a stream of CSV bytes into blocks of whole records.

A line end inside a quoted field ends no record. Whether a quote opens, closes or is text depends on all that stands
before it, which cannot be found out by many bytes at once, with one exception: where every quote stands at the edge
of a field, as writers put them, a line end is inside quotes if and only if an odd number of quotes precedes it.
That is checked with NumPy for a whole block; a block in which it does not hold (`5" pipe`) is walked field by field
with the csv module's rules: a quote opens a field only as its first byte, two quotes inside are one.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from errors import FileMalformedError, RecordTooLargeError

NEWLINE, RETURN = 10, 13


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
    """int64 [records]: where each record ends in `data`, its line end included."""
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
    """Yield the records of `chunks` (any sizes), a block a chunk; memory is a chunk and a record.

    Blank lines are no records and are left out. RecordTooLargeError for a record of more than `max_record` bytes,
    FileMalformedError for a quote that is never closed: both name `file` and the row.
    """
    rest = b""
    sequence, rows = 0, first_row
    for chunk in chunks:
        data = rest + chunk if rest else chunk
        ends = record_ends(data, delimiter, quote)
        cut = int(ends[-1]) if len(ends) else 0
        rest = data[cut:]
        if len(rest) > max_record:
            raise RecordTooLargeError(
                f"a record is longer than {max_record:,} bytes; a quote that is never closed has that effect too, "
                "as has the wrong csv.quote or a file that is no CSV",
                file=file,
                row=rows + 1,
            )
        if block := _block(sequence, rows, data[:cut], ends, quote):
            yield block
            sequence += 1
            rows += len(block)
    if rest:
        if _is_open(rest, delimiter, quote):
            raise FileMalformedError(
                "a quoted field begins in this record and never ends: the file is cut short, or a quote is missing",
                file=file,
                row=rows + 1,
            )
        if block := _block(sequence, rows, rest, np.array([len(rest)], np.int64), quote):
            yield block


def _block(sequence: int, rows: int, data: bytes, ends: np.ndarray, quote: str) -> Records | None:
    """Return the records of `data` without blank lines; None where nothing is left."""
    if not len(ends):
        return None
    view = np.frombuffer(data, np.uint8)
    lengths = np.diff(ends, prepend=0)
    starts = ends - lengths
    blank = view[starts] == NEWLINE
    for place in np.flatnonzero(view[starts] == RETURN).tolist():
        blank[place] = not data[starts[place] : ends[place]].strip(b"\r\n")
    if blank.any():
        starts, ends = starts[~blank], ends[~blank]
        data = b"".join(data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
        ends = np.cumsum(ends - starts)
    if not len(ends):
        return None
    return Records(sequence, rows, data, ends, bool(quote) and quote.encode() in data)


def record_ends(data: bytes, delimiter: str, quote: str) -> np.ndarray:
    """Return where records end (after their line end), int64; `data` begins at the start of a record."""
    view = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(view == NEWLINE)
    if not quote or quote.encode() not in data:
        return newlines + 1
    quotes = np.flatnonzero(view == ord(quote))
    if _at_edges(view, quotes, ord(delimiter)):
        inside = np.searchsorted(quotes, newlines) % 2
        ends: np.ndarray = newlines[inside == 0] + 1
        return ends
    return _walk(data, delimiter, quote)


def _at_edges(view: np.ndarray, quotes: np.ndarray, delimiter: int) -> bool:
    """Say whether quotes 0, 2, 4, … open a field (or continue a doubled quote) and quotes 1, 3, 5, … close one."""
    opens, closes = quotes[0::2], quotes[1::2]
    before = view[opens - 1]  # index -1 of a quote at 0 is corrected below
    opened = (before == delimiter) | (before == NEWLINE)
    opened[1:] |= opens[1:] - 1 == closes[: len(opens) - 1]
    if len(opens) and opens[0] == 0:
        opened[0] = True
    after = view[np.minimum(closes + 1, len(view) - 1)]
    closed = (after == delimiter) | (after == NEWLINE) | (after == RETURN) | (closes + 1 == len(view))
    closed[: len(opens) - 1] |= closes[: len(opens) - 1] + 1 == opens[1:]
    return bool(opened.all() and closed.all())


@lru_cache(maxsize=16)
def _field(delimiter: str, quote: str) -> re.Pattern[bytes]:
    """Match one field with the delimiter or line end after it; group 1 holds a line end."""
    d, q = re.escape(delimiter.encode()), re.escape(quote.encode())
    # Possessive: a field is read one way only, so nothing is ever tried again.
    return re.compile(rb"(?:%b(?:[^%b]|%b%b)*+%b)?+[^%b\n]*+(?:%b|(\n))" % (q, q, q, q, q, d, d))


def _walk(data: bytes, delimiter: str, quote: str) -> np.ndarray:
    pattern = _field(delimiter, quote)
    ends = []
    position, opening = 0, quote.encode()
    while match := pattern.match(data, position):
        if data.startswith(opening, position) and not _closes(match.group(), opening):
            break  # the quoted part did not match: it goes on past `data`
        position = match.end()
        if match.group(1):
            ends.append(position)
    return np.array(ends, np.int64)


def _closes(field: bytes, quote: bytes) -> bool:
    """Say whether a field that begins with a quote has its closing one."""
    return re.match(rb"%b(?:[^%b]|%b%b)*+%b" % ((re.escape(quote),) * 5), field) is not None


def _is_open(record: bytes, delimiter: str, quote: str) -> bool:
    """Say whether an unfinished record ends inside quotes: a line end put behind it would not end it."""
    return bool(quote) and not len(record_ends(record.rstrip(b"\r\n") + b"\n", delimiter, quote))
