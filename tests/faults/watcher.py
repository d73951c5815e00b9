"""A reader that looks at a case's results and receipts all the time, as a customer might."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from scoring.receipt import Receipt
from storage import BlobPath
from tests.faults.lab import Site
from tests.faults.results import digest, read_result

PAUSE = 0.05  # seconds between two looks: Azurite has one core, and workers look at each step themselves
IDLE = 0.5
"""The same while no worker writes down anything. They do before and after each call of storage, so whatever they
change is looked at within a PAUSE of their knowing; hosts that write nothing down are looked at all the time."""


@dataclass
class Watcher:
    """Polls on a thread of its own, inside a `with`; what was seen stays readable afterwards."""

    site: Site
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    """Digest by (path, ETag)."""
    receipts: dict[tuple[str, str], Receipt] = field(default_factory=dict)
    """By (path, ETag)."""
    early: list[str] = field(default_factory=list)
    """Receipts that said "succeeded" while there was no result."""
    looks: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _broken: Exception | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._broken and not error:
            raise self._broken
        self.look()  # what is there in the end counts too

    def look(self) -> None:
        """Look once: at receipts first, so that what they promise must be there a moment later."""
        self.looks += 1
        promised = [path for path, etag in self._receipts() if self.receipts[path, etag].status == "succeeded"]
        found = [self._look_at(path) for path in (self.site.result, self.site.rejects)]
        if promised and not found[0]:
            self.early += promised

    def _watch(self) -> None:
        last, known = 0.0, -1
        try:
            while not self._over.wait(PAUSE):
                written = self.site.written()
                if written != known or not written or time.monotonic() - last > IDLE:
                    last, known = time.monotonic(), written
                    self.look()
        except Exception as error:  # raised where the case is: one that nobody watched proves nothing
            self._broken = error

    def _receipts(self) -> list[tuple[str, str]]:
        """Return the receipts that are there, and read those that are new."""
        found = []
        for blob in self.site.reader.list(self.site.settings.runs):
            if not blob.path.name.endswith("/receipt.json"):
                continue
            key = str(blob.path), blob.etag
            found.append(key)
            if key not in self.receipts:
                self.receipts[key] = Receipt.from_json((self.site.reader.poll(blob.path) or ("", b""))[1])
        return found

    def _look_at(self, path: BlobPath) -> bool:
        if found := read_result(self.site.reader, path):
            self.seen[str(path), found[0]] = digest(found[1])
        return found is not None
