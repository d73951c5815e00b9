"""Log lines that people and machines can read: an event, then key=value pairs (logfmt).

The pairs are in the message itself, as the Functions worker passes on nothing else of a log record. A line is one
line whatever a blob is called: values with anything but plain characters are quoted, and their line ends, quotes
and invisible characters escaped as in JSON.
"""

import json
import re
import time
from collections.abc import Callable

from scoring.tally import Tally
from scoring.trail import trail

EVERY = 10.0
"""Seconds between two lines about the progress of one run."""

MOST = 1500
"""Characters of a value; what is more is cut off."""

_PLAIN = re.compile(r"[\w./:@+~-]+", re.ASCII)

Value = str | int | float | None


def line(event: str, **values: Value) -> str:
    """Return a log line; what is None is left out. Values must hold nothing of any row.

    The request and the trace that the work is done for are said, too.
    """
    followed = trail.get()
    pairs = values | {"request": followed.request, "trace": followed.trace}
    return " ".join([event, *(f"{key}={_text(value)}" for key, value in pairs.items() if value is not None)])


def _text(value: Value) -> str:
    if not isinstance(value, str):
        return f"{value:.3f}" if isinstance(value, float) else str(value)
    if len(value) > MOST:
        value = value[:MOST] + "..."
    if _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


class Pace:
    """Says when it is time to speak of a run's progress again, and what there is to say."""

    def __init__(self, total: int, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; `total` is the input's size in bytes, `every` the seconds between two lines."""
        self.total = total
        self._every = every
        self._clock = clock
        self._start = self._last = clock()

    def due(self) -> bool:
        """Say whether a line is due, and if so begin to wait for the next."""
        now = self._clock()
        if now - self._last < self._every:
            return False
        self._last = now
        return True

    def figures(self, read: int, tally: Tally) -> dict[str, Value]:
        """Return how far a run is that has read `read` bytes of its input; `seconds_left` is None at first."""
        seconds = self._clock() - self._start
        return {
            "bytes_read": read,
            "bytes": self.total,
            "rows_read": tally.read,
            "rows_rejected": tally.rejected,
            "seconds": seconds,
            "rows_per_second": round(tally.read / seconds) if seconds else None,
            "seconds_left": round((self.total - read) * seconds / read) if read else None,
        }
