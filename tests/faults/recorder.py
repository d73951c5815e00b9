"""A worker's storage, call by call: numbered, written down, and struck at one of them."""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scoring.receipt import Receipt
from storage import BlobPath, Storage
from tests.faults.places import Reader
from tests.faults.results import digest, read_result

Answer = TypeVar("Answer")

CHANGES = {"write", "stage_block", "commit_blocks", "delete"}
"""What readers may see the effect of."""


def kill(_storage: Storage) -> None:
    """End this process as the kernel does when memory is out: nothing is cleaned up, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Strike:
    """What happens to a worker just before, or just after, its call number `call` (from 1) of storage."""

    call: int
    after: bool
    act: Callable[[Storage], None] = kill
    """Given the storage itself: what it calls is not counted. It travels to the worker's process by pickle."""

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} call {self.call}"


class Recorder:
    """Writes down a worker's calls, one JSON line each, so that a killed process has told all it did."""

    def __init__(
        self,
        storage: Storage,
        direct: Storage,
        log: Path,
        *,
        reader: Reader,
        looks: Sequence[BlobPath],
        strike: Strike | None,
    ) -> None:
        self._direct = direct
        self._reader = reader
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._looks = looks
        self._containers = {path.container for path in looks}
        self._strike = strike
        self._lock = threading.Lock()
        self._calls = 0
        self.recorded = Storage(_Recorded(storage.blobs, self), _Recorded(storage.queues, self))  # type: ignore[arg-type]  # every method, by name

    def note(self, **what: Any) -> None:
        """Write down what happened."""
        os.write(self._log, json.dumps(what).encode() + b"\n")

    def call(self, name: str, subject: object, work: Callable[[], Answer]) -> Answer:
        """Do one call of storage, and strike if it is the one."""
        with self._lock:
            self._calls += 1
            number = self._calls
        self.note(call=number, what=f"{name} {subject}")
        self._hit(number, after=False)
        try:
            answer = work()
        except Exception as error:
            self.note(call=number, error=type(error).__name__)
            raise
        else:
            self.note(call=number, done=f"{name} {subject}")
            if name == "write" and isinstance(subject, BlobPath) and subject.name.endswith("/receipt.json"):
                self._look_at_receipt(subject)
            return answer
        finally:
            self._hit(number, after=True)
            if name in CHANGES and isinstance(subject, BlobPath) and subject.container in self._containers:
                self.look()  # a call changes one container, or a queue

    def look(self) -> None:
        """Read the results as anybody may at this moment, and write down what was there."""
        for path in self._looks:
            if found := read_result(self._reader, path):
                self.note(seen=str(path), etag=found[0], digest=digest(found[1]))

    def _look_at_receipt(self, path: BlobPath) -> None:
        etag, data = self._reader.poll(path) or ("", b"")
        self.note(receipt=str(path), etag=etag, is_final=Receipt.from_json(data).is_final)

    def _hit(self, number: int, *, after: bool) -> None:
        if self._strike and (self._strike.call, self._strike.after) == (number, after):
            self.note(struck=str(self._strike))
            self._strike.act(self._direct)


class _Recorded:
    """A BlobStore or QueueStore whose every call goes through a recorder."""

    def __init__(self, store: Any, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)

        def call(subject: object, *arguments: Any, **options: Any) -> Any:
            def work() -> Any:
                answer = real(subject, *arguments, **options)
                return iter(list(answer)) if name == "list" else answer  # or it would be asked for later

            return self._recorder.call(name, subject, work)

        return call


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return what was written down; a line that a kill cut short is left out."""
    return [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]] if log.exists() else []
