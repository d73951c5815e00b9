"""Faults of delivery, made on purpose: messages twice, out of order, and a host that is killed.

All of this happens in Azure, but rarely and never while one looks. What is random is drawn from a seed: the same
seed gives the same draws. What they meet is a matter of timing, and that no seed repeats.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from devhost.console import Console


@dataclass(frozen=True, slots=True)
class Faults:
    """Which faults are rehearsed; none by default."""

    duplicate: int = 0
    """How many more times every message is delivered."""
    reorder: bool = False
    """Whether messages are taken in random order."""
    kill_every: float | None = None
    """Seconds of work between two kills, on average; None never kills."""
    seed: int = 0
    life: int | None = None
    """How often the host was killed before; None where nobody would start it again."""

    def random(self, what: str) -> Random:
        """Return the draws for one purpose, of this life of the host."""
        return Random(f"{self.seed} {self.life} {what}")  # noqa: S311  # to be repeated, not to be secret

    def describe(self) -> str:
        """Return what is rehearsed, for the console; empty if nothing is."""
        parts = [f"every message {self.duplicate + 1} times"] if self.duplicate else []
        parts += ["messages in random order"] if self.reorder else []
        parts += [f"a kill after {self.kill_every:g} s of work on average"] if self.kill_every else []
        return f"Rehearsing (seed {self.seed}): {', '.join(parts)}" if parts else ""


class KillTimer:
    """Kill this process, as a machine that is lost ends it: in the middle of a function, without any farewell.

    Only time in which functions run is counted, so a kill always meets one, and a host that is just starting is
    left alone, however short the time.
    """

    def __init__(self, faults: Faults, console: Console) -> None:
        self._console = console
        self._worked = 0.0
        self._due: float | None = None
        if faults.kill_every is not None:
            self._due = faults.random("kill").uniform(0, 2 * faults.kill_every)
        self._running = 0
        self._begin = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count the time of a block; blocks may overlap."""
        loop = asyncio.get_running_loop()
        self._running += 1
        if self._running == 1 and self._due is not None:
            self._begin = loop.time()
            self._timer = loop.call_later(self._due - self._worked, self._kill)
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0 and self._timer is not None:
                self._timer.cancel()
                self._worked += loop.time() - self._begin

    def disarm(self) -> None:
        """Kill no more: the host is stopping."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()

    def _kill(self) -> None:
        met = ", ".join(self._console.running) or "a message's end"
        self._console.print(f"Killing this host after {self._due:.1f} s of work, in the middle of {met}")
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Faults, and the timer of the worst of them."""

    faults: Faults
    kill_timer: KillTimer


class Turns:
    """Let so many work at once; whose turn is next is drawn among those who wait."""

    def __init__(self, count: int, random: Random) -> None:
        self._free = count
        self._random = random
        self._waiting: list[asyncio.Future[bool]] = []
        self._closed = False

    async def wait(self) -> bool:
        """Wait for a turn, which `end` must give back; False if there will be none."""
        if self._closed:
            return False
        if self._free:
            self._free -= 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return await turn

    def end(self) -> None:
        """Give a turn back."""
        if self._waiting:
            self._waiting.pop(self._random.randrange(len(self._waiting))).set_result(True)
        else:
            self._free += 1

    def close(self) -> None:
        """Give no more turns."""
        self._closed = True
        for turn in self._waiting:
            turn.set_result(False)
        self._waiting.clear()
