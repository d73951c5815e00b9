"""Score files in a process of its own, which may die of one, and say how much memory and time each took."""

import logging
import multiprocessing
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pyarrow as pa

from errors import DropscoreError
from scoring.engine import Engine
from settings import Settings
from tests.echo_model import open_echo_of_numbers
from tests.memory_store import MemoryBlobStore, Reads, Runs

THREADS = 2
ADDRESS_LIMIT = 12 * 1024**3
"""Bytes of address space of the process, so that a file that wants them all fails instead of this machine."""
PATIENCE = 300.0
"""Seconds after which a file counts as a hang; each takes a few on a quiet core."""

Content = bytes | tuple[int, Reads]


@dataclass(frozen=True)
class Measured:
    """What came of a file."""

    code: str | None
    """The error's; None for a run that succeeded."""
    message: str
    rows: dict[str, int]
    grown: int
    """Bytes that the process's peak RSS was above what it took before the run."""
    seconds: float
    staged: int
    """Bytes of results and rejects."""
    peak: int
    """Bytes of the process's peak RSS, all that it took."""


class MeasuredRuns:
    """The process. It is started by the first file, and again after one that it died of."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._process: multiprocessing.process.BaseProcess | None = None
        self._conn: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._conn:
            self._conn.close()
        if self._process:
            self._process.kill()
            self._process.join()

    def score(self, name: str, content: Content, **options: Any) -> Measured:
        """Score a file given as its bytes, or as its size and a function that makes them up."""
        if self._conn is None:
            self._start()
        assert self._conn is not None
        assert self._process is not None
        self._conn.send((name, content, options))
        if not self._conn.poll(self._patience):
            self.__exit__()
            self._conn = None
            raise AssertionError(f"{name} is not scored after {self._patience} seconds")
        try:
            answer = self._conn.recv()
        except EOFError:
            self._process.join()
            self._conn = None
            raise AssertionError(f"{name} ended the process: exit code {self._process.exitcode}") from None
        assert isinstance(answer, Measured)
        return answer

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


class _ForgetfulStore(MemoryBlobStore):
    """Forgets what is staged, which is no part of the memory that scoring takes, but for how much it was."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def stage_block(self, path: Any, block_id: str, data: bytes | memoryview) -> None:
        self.bytes += len(data)
        super().stage_block(path, block_id, b"")


def _serve(parent: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_LIMIT, ADDRESS_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()
    engine = Engine(THREADS)
    store = _ForgetfulStore()
    with TemporaryDirectory() as folder:
        runs = Runs(open_echo_of_numbers(Path(folder) / "echo"), engine, Settings(threads=THREADS), store)
        while True:
            try:
                name, content, options = parent.recv()
            except EOFError:
                break
            store.bytes = 0
            pa.default_memory_pool().release_unused()
            before, began = _forget_peak(), time.perf_counter()
            try:
                receipt = runs.score(name, content, **options).receipt
                code, message, rows = None, "", receipt.rows
                if receipt.error:
                    code, message = receipt.error["code"], receipt.error["message"]
            except DropscoreError as error:
                code, message, rows = f"raised {error.code}", error.message, {}
            seconds, peak = time.perf_counter() - began, _peak()
            parent.send(Measured(code, message, rows, peak - before, seconds, store.bytes, peak))
            del content
    engine.close()


def _forget_peak() -> int:
    """Return bytes of RSS, and let the peak begin there, on systems that can."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
