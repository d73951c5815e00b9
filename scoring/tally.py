"""What has been done so far: rows, rejects and where the time went."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts of one block, or of a whole run."""

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
        """Time what runs inside as one stage of the work."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.wall[name] += time.perf_counter() - wall  # type: ignore[assignment]  # Counter adds floats too
            self.cpu[name] += time.thread_time() - cpu  # type: ignore[assignment]  # the same
