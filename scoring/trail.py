"""What work is done for: a request, a trace. Log lines say it, and jobs carry the trace on to whoever runs them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trail:
    """Where a piece of work comes from; nothing is known of most."""

    request: str | None = None
    """The id of the request that it is done for."""
    traceparent: str | None = None
    """The trace that it belongs to, as W3C's header has it."""

    @property
    def trace(self) -> str | None:
        """The trace's id, which is what logs are searched for."""
        return self.traceparent[3:35] if self.traceparent else None


_NONE = Trail()

trail: ContextVar[Trail] = ContextVar("trail", default=_NONE)
"""The trail of whatever is being done here."""

_IDS = "(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(f"00-{_IDS}|(?!00|ff)[0-9a-f]{{2}}-{_IDS}(?:-[!-~]{{0,200}})?")


def read_traceparent(text: object) -> str | None:
    """Return a traceparent that is well formed; None for anything else, as W3C asks: a trace then begins anew."""
    return text if isinstance(text, str) and _TRACEPARENT.fullmatch(text) else None


def current_traceparent() -> str | None:
    """Return the trace of what is being done here, if any."""
    return trail.get().traceparent


@contextmanager
def follow(traceparent: str | None) -> Iterator[None]:
    """Do what is inside as a part of a trace; where that is None, of the one that is there already."""
    if traceparent is None:
        yield
        return
    token = trail.set(Trail(trail.get().request, traceparent))
    try:
        yield
    finally:
        trail.reset(token)
