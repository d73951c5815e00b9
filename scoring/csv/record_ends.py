"""Find where CSV records end, chunk by chunk, without walking through the fields.

Python's csv module reads quotes so: one that is the first byte of a field opens it; inside, two in a row are text
and a single one closes; anywhere else a quote is text (`5" pipe`), as is what follows a closing one (`"a"b`). Taken
run by run, a run being quotes side by side, that comes to very little:

- a run of even length leaves things as they were: inside it is doubled quotes; outside it is an empty quoted field,
  perhaps with text behind it, or text;
- a run of odd length at the edge of a field (after a delimiter, a line end, or nothing) opens where no field is
  open, and closes where one is;
- any other run of odd length can only close: after it no field is open, whatever was before.

So whether a line end is inside quotes is the number of odd runs at edges since the last odd run elsewhere,
modulo 2: sums over arrays, and no quote, wherever it stands, makes it slower.
"""

import numpy as np

NEWLINE, RETURN = 10, 13

_NONE = np.zeros(0, np.int64)


class RecordEnds:
    """Finds the records' ends in chunks of a CSV file given one after another, the first at a record's start."""

    def __init__(self, delimiter: str, quote: str) -> None:
        self._delimiter = ord(delimiter)
        self._quote = quote.encode()
        self._inside = False
        """Whether a field is open, the run of quotes that the last chunk ended with left aside."""
        self._run = False
        """Whether that run is of odd length; it may go on."""
        self._edge = True
        """Whether that run, or the next byte if there is none, is at the edge of a field."""
        self._returned = False
        """Whether the last chunk ended with a CR that ends a record, unless a LF follows."""

    def find(self, chunk: bytes) -> np.ndarray:
        """Return where records end in `chunk`, behind their line ends: int64, ascending.

        A CR that is the chunk's last byte is not decided on until the next one is known: where that is no LF, its
        ends begin with 0.
        """
        if not chunk:
            return _NONE
        view = np.frombuffer(chunk, np.uint8)
        returned = self._returned and chunk[0] != NEWLINE
        if self._quote and self._quote in chunk:
            ends = self._outside(view, _line_ends(chunk, view))
        else:
            self._end_run()
            ends = _NONE if self._inside else _line_ends(chunk, view) + 1
            self._edge = bool(self._at_edge(view[-1:])[0])
        self._returned = not self._inside and chunk[-1] == RETURN
        return np.concatenate([np.zeros(1, np.int64), ends]) if returned else ends

    def is_open(self) -> bool:
        """Say whether the chunks end inside a quoted field."""
        return self._edge and not self._inside if self._run else self._inside

    def _end_run(self) -> None:
        self._inside, self._run = self.is_open(), False

    def _outside(self, view: np.ndarray, line_ends: np.ndarray) -> np.ndarray:
        """Return where the line ends outside quotes end; keep what the next chunk needs to know."""
        runs, edges = self._odd_runs(view)
        before = np.searchsorted(runs, line_ends)  # the number of runs before each line end
        if edges[self._inside :: 2].all():  # every second run opens; so the others close, wherever they are
            inside = (before + self._inside) & 1 == 1
            self._inside ^= len(runs) % 2 == 1
        else:
            toggles = np.cumsum(edges) + self._inside
            since = toggles - np.maximum.accumulate(np.where(edges, 0, toggles))
            after = np.concatenate([np.array([self._inside]), since & 1 == 1])
            inside = after[before]
            self._inside = bool(after[-1])
        ends: np.ndarray = line_ends[~inside] + 1
        return ends

    def _odd_runs(self, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where odd runs begin and which of them are at edges; leave out one at the end of the chunk."""
        quotes = np.flatnonzero(view == self._quote[0])
        starts, odd = quotes, np.ones(len(quotes), bool)
        apart = quotes[1:] - quotes[:-1] != 1
        if not apart.all():
            firsts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(apart) + 1])
            starts, odd = quotes[firsts], np.diff(firsts, append=len(quotes)) & 1 == 1
        edges = self._at_edge(view[starts - 1])
        if starts[0] == 0:  # it goes on from the last chunk, where that ended with quotes
            odd[0] ^= self._run
            edges[0] = self._edge
        else:
            self._end_run()
        if quotes[-1] + 1 == len(view):
            self._run, self._edge = bool(odd[-1]), bool(edges[-1])
            odd[-1] = False
        else:
            self._run, self._edge = False, bool(self._at_edge(view[-1:])[0])
        return (starts, edges) if odd.all() else (starts[odd], edges[odd])

    def _at_edge(self, before: np.ndarray) -> np.ndarray:
        """Say of the bytes before something whether that is at the edge of a field, if no field is open."""
        edges: np.ndarray = (before == self._delimiter) | (before == NEWLINE) | (before == RETURN)
        return edges


def _line_ends(chunk: bytes, view: np.ndarray) -> np.ndarray:
    """Return the place of each line end's last byte; a CR at the end of the chunk is left out."""
    feeds = np.flatnonzero(view == NEWLINE)
    if b"\r" not in chunk:
        return feeds
    # Are all CRs followed by LF? Where LF is the first byte, the last one is taken for the one before: no harm,
    # a CR there is left out anyway.
    if np.count_nonzero(view == RETURN) == np.count_nonzero(view[feeds - 1] == RETURN):
        return feeds
    returns = np.flatnonzero(view[:-1] == RETURN)
    lone = returns[view[returns + 1] != NEWLINE]
    if not len(feeds) or not len(lone):
        return lone if len(lone) else feeds
    both = np.concatenate([feeds, lone])
    both.sort(kind="stable")  # two sorted runs: merged
    return both
