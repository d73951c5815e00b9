"""What is told of the work that is done, to whoever listens: nobody, unless telemetry.py was asked to.

Floors tell, and know nothing of who listens or what becomes of it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run has ended, and this process has written its receipt: told once, however often it was delivered."""

    run_id: str
    status: str
    """The receipt's."""
    error: str | None
    """The error's code."""
    model: str | None
    """A name, without version or alias; None where the run never had a model."""
    version: int | None
    scored: int
    rejected: int
    seconds: float
    codes: Mapping[str, int] = field(default_factory=dict)
    """Rejected rows by code."""
    wall: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, summed over threads and, of a run in splits, over machines."""
    cpu: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds by stage, likewise."""
    traceparent: str | None = None
    """The trace that the run belongs to."""


@dataclass(frozen=True, slots=True)
class SplitScored:
    """One split of a run has been scored, here; its rows are told when the run has ended."""

    run_id: str
    split: int
    model: str
    version: int
    rows: int
    seconds: float
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RequestScored:
    """The rows of a request have been scored."""

    model: str
    version: int
    scored: int
    rejected: int


@dataclass(frozen=True, slots=True)
class ModelOpened:
    """A model has been opened, or could not be."""

    model: str
    version: int
    seconds: float
    error: str | None = None
    """The error's code, or its type where it is none of ours."""


Event = RunEnded | SplitScored | RequestScored | ModelOpened
Listener = Callable[[Event], None]


class _Audience:
    """Who listens, for the whole process."""

    listener: Listener | None = None
    traceparent: Callable[[], str | None] | None = None


def listen(listener: Listener | None, traceparent: Callable[[], str | None] | None = None) -> None:
    """Tell `listener` from here on, or nobody; `traceparent` says which span the caller is in, if any."""
    _Audience.listener, _Audience.traceparent = listener, traceparent


def is_anybody_listening() -> bool:
    """Say whether it is worth while to make an event."""
    return _Audience.listener is not None


def tell(event: Event) -> None:
    """Tell what has happened."""
    if _Audience.listener is None:
        return
    try:
        _Audience.listener(event)
    except Exception:  # whatever is wrong with the measuring, what is measured goes on
        log.exception("%s could not be measured", type(event).__name__)


def here() -> str | None:
    """Return the traceparent of the span that this is a part of; None where nobody keeps such."""
    return _Audience.traceparent() if _Audience.traceparent else None
