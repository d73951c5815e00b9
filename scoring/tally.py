"""What has been done so far: rows, rejects and where the time went."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


@dataclass(slots=True)
class Tally:
    """Counts of one block, or of a whole run; only one thread at a time writes to it."""

    read: int = 0
    """Rows, the header not counted."""
    scored: int = 0
    rejected: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    """Rejected rows by error code."""
    wall: Counter[str] = field(default_factory=Counter)
    """Seconds by stage, summed over threads."""
    cpu: Counter[str] = field(default_factory=Counter)
    """CPU seconds by stage, of the threads that ran it."""
    _open: list[list[float]] = field(default_factory=list, repr=False, compare=False)
    """For each stage that is running, the outermost first: wall and CPU seconds of the stages inside it."""

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.read += other.read
        self.scored += other.scored
        self.rejected += other.rejected
        self.codes.update(other.codes)
        self.wall.update(other.wall)
        self.cpu.update(other.cpu)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside as one stage of the work; a stage within another is its own and not the other's."""
        inside = [0.0, 0.0]
        self._open.append(inside)
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            self._open.pop()
            if self._open:
                self._open[-1][0] += wall
                self._open[-1][1] += cpu
            self.wall[name] += wall - inside[0]  # type: ignore[assignment]  # Counter adds floats too
            self.cpu[name] += cpu - inside[1]  # type: ignore[assignment]  # the same

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items`; what making each takes is a stage, what the caller does with it is not."""
        making = iter(items)
        while True:
            with self.stage(name):
                item = next(making, _END)
            if item is _END:
                return
            yield item  # type: ignore[misc]  # it is not _END
