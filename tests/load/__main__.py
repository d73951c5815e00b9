"""Press a real server of ours hard, and see that it answers the next request in time and gives its memory back.

`python -m tests.load [--only NAME]`; `make test-load` runs it. Everything is on 127.0.0.1, in a folder that is
removed, and ends by itself after about two minutes. Ends with 1 if anything did not hold.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from model_store.packaging import build_package
from model_store.registry import Registry
from settings import Settings
from storage import open_storage
from tests.hand_model import make_conversion
from tests.load.cases import CASES, PREDICT, ROW, Case, Statuses
from tests.load.wire import connect, request
from tests.real_server import RealServer, serve

IN_TIME = 1.0
"""Seconds until the next request is answered."""
SPARE = 50.0
"""Megabytes more than before that count as given back: what Python's and the system's allocators keep."""
SETTLING = 10.0
"""Seconds that memory has to come back."""
FILES = 8192
"""Open files that this process needs: a connection is one."""

HEAD = (
    f"{'what':<28}{'clients':>8}{'seconds':>9}{'next answer':>13}{'meanwhile':>11}"
    f"{'MB before':>11}{'most':>7}{'after':>7}  answers"
)


@dataclass
class Outcome:
    """How a case went."""

    case: Case
    seconds: float
    statuses: Statuses
    after: float
    """Seconds until the next request was answered, behind the case."""
    during: list[float] = field(default_factory=list)
    """Seconds until each of the requests of somebody else was answered, during it."""
    memory: list[float] = field(default_factory=list)
    """Megabytes before, during, and, last, after it."""

    def faults(self) -> list[str]:
        """Return what did not hold."""
        found = []
        if strange := set(self.statuses) - self.case.answers:
            found.append(f"answers with {sorted(strange)}")
        if self.after > IN_TIME:
            found.append(f"the next answer took {self.after:.2f} s")
        if self.case.idle and max(self.during) > IN_TIME:
            found.append(f"meanwhile an answer took {max(self.during):.2f} s")
        if self.memory[-1] > self.memory[0] + SPARE:
            found.append(f"{self.memory[-1] - self.memory[0]:.0f} MB were not given back")
        return found

    def line(self) -> str:
        """Return a line of the table."""
        answers = ", ".join(f"{count} x {status or 'closed'}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.case.name:<28}{self.case.connections:>8,}{self.seconds:>9.1f}{self.after:>12.3f}s"
            f"{max(self.during):>10.3f}s{self.memory[0]:>11.0f}{max(self.memory):>7.0f}{self.memory[-1]:>7.0f}  "
            f"{answers or '-'}"
        )


async def press(case: Case, server: RealServer) -> Outcome:
    """Run a case, with somebody else asking for a row all the time."""
    memory, during = [server.memory()], [await ask(server)]
    started = time.monotonic()
    async with watching(server, memory, during):
        statuses = await case.press(server.port, case.connections)
    seconds = time.monotonic() - started
    after = await ask(server)
    memory.append(await settled(server, memory[0]))
    return Outcome(case, seconds, statuses, after, during, memory)


@contextlib.asynccontextmanager
async def watching(server: RealServer, memory: list[float], during: list[float]) -> AsyncIterator[None]:
    """Ask for a row and look at the memory, again and again, until the block ends."""

    async def watch() -> None:
        while True:
            during.append(await ask(server))
            memory.append(server.memory())
            await asyncio.sleep(0.2)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def ask(server: RealServer) -> float:
    """Ask for one row on a new connection; return the seconds until its answer, and fail if it is none."""
    started = time.monotonic()
    async with connect(server.port) as wire:
        status = await wire.ask(request(PREDICT, json.dumps(ROW).encode()))
    if status != 200:
        raise RuntimeError(f"a row got {status}:\n{server.log.read_text('utf-8', 'replace')[-3000:]}")
    return time.monotonic() - started


async def settled(server: RealServer, before: float) -> float:
    """Return the memory once it is back, or after some seconds."""
    for _ in range(50):
        if server.memory() <= before + SPARE:
            break
        await asyncio.sleep(SETTLING / 50)
    return server.memory()


def main() -> None:
    """Press with every case, print a table, and end with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--share", type=float, default=1.0, help="of each case's clients, to try it")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if arguments.only in case.name]
    allow_files()
    faults = 0
    with TemporaryDirectory() as name, serve(registered(Path(name))) as server:
        asyncio.run(CASES[0].press(server.port, 50))  # what is loaded once is in the memory before
        tell(HEAD)
        first = server.memory()
        for case in chosen:
            clients = max(4, int(case.connections * arguments.share))
            outcome = asyncio.run(press(replace(case, connections=clients), server))
            tell(outcome.line())
            for fault in outcome.faults():
                faults += 1
                tell(f"    {fault}")
        last = asyncio.run(settled(server, first))
        tell(f"{last - first:+.0f} MB in the end")
        if last > first + SPARE:
            faults += 1
            tell("    they were not given back")
        if server.process.poll() is not None:
            faults += 1
            tell(f"    the server ended: {server.log.read_text('utf-8', 'replace')[-3000:]}")
    tell(f"{len(chosen)} cases, {faults} did not hold" if faults else f"{len(chosen)} cases, all held")
    sys.exit(1 if faults else 0)


def registered(folder: Path) -> Path:
    """Put the hand-built model into the folder's registry, and return the folder."""
    storage = open_storage(Settings(folder=str(folder / "store")))
    storage.blobs.create_container("models")
    build_package(make_conversion(), folder / "churn")
    Registry(storage.blobs, "models").add("churn", folder / "churn")
    return folder


def allow_files() -> None:
    """Let this process, and the server that it starts, have so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))


def tell(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
