"""Blobs in memory, and whole runs over them: to score thousands of small files, or huge ones made up."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError
from model_store import ModelReference
from model_store.model import Model
from model_store.registry import ModelVersion
from scoring.engine import Engine
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.receipt import Receipt, Receipts
from scoring.services import Services
from settings import Settings
from storage import ANY_ETAG, Blob, BlobPath, QueueMessage

Reads = Callable[[int, int], bytes]
"""Gives `length` bytes from `offset` of a blob that is made up as it is read."""


class MemoryBlobStore:
    """BlobStore over a dictionary. Containers need not be made; staged blocks and blobs are kept until `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[BlobPath, tuple[Blob, bytes | Reads]] = {}
        self._staged: dict[tuple[BlobPath, str], bytes] = {}
        self._versions = count(1)

    def clear(self) -> None:
        """Forget everything."""
        self._blobs.clear()
        self._staged.clear()

    def next_version(self, number: int) -> None:
        """Let the next blob that is written be version `number` of the store."""
        self._versions = count(number)

    def make_up(self, path: BlobPath, size: int, reads: Reads) -> None:
        """Put a blob of `size` bytes whose bytes `reads` makes up."""
        with self._lock:
            self._put(path, size, reads, {})

    def check(self, path: BlobPath) -> None: ...

    def create_container(self, container: str) -> None: ...

    def stat(self, path: BlobPath) -> Blob:
        return self._get(path)[0]

    def read(
        self, path: BlobPath, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> bytes:
        blob, content = self._get(path)
        if if_match is not None and if_match != blob.etag:
            raise ConditionFailedError(f"{path} has changed", file=str(path))
        end = blob.size if length is None else min(blob.size, offset + length)
        return content[offset:end] if isinstance(content, bytes) else content(offset, max(0, end - offset))

    def poll(self, path: BlobPath, etag: str | None = None) -> tuple[str, bytes] | None:
        blob = self.stat(path)
        return None if blob.etag == etag else (blob.etag, self.read(path))

    def write(
        self,
        path: BlobPath,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,  # noqa: ARG002  # Azure keeps it
    ) -> str:
        with self._lock:
            self._check(path, if_match, if_none_match)
            return self._put(path, len(data), bytes(data), metadata)

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        with self._lock:
            self._staged[path, block_id] = bytes(data)

    def commit_blocks(
        self,
        path: BlobPath,
        block_ids: Sequence[str],
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,  # noqa: ARG002  # Azure keeps it
    ) -> str:
        with self._lock:
            self._check(path, if_match, if_none_match)
            if any((path, name) not in self._staged for name in block_ids):
                raise BlocksMissingError(f"{path}: blocks to commit are not staged", file=str(path))
            data = b"".join(self._staged[path, name] for name in block_ids)
            self._staged = {key: block for key, block in self._staged.items() if key[0] != path}
            return self._put(path, len(data), data, metadata)

    def drop_blocks(self, path: BlobPath, prefix: str) -> None:
        with self._lock:
            for key in [key for key in self._staged if key[0] == path and key[1].startswith(prefix)]:
                del self._staged[key]

    def delete(self, path: BlobPath, *, if_match: str | None = None) -> None:
        with self._lock:
            self._get(path)
            self._check(path, if_match, None)
            del self._blobs[path]

    def list(self, container: str, prefix: str = "", *, metadata: bool = False) -> Iterator[Blob]:
        blobs = [blob for path, (blob, _) in sorted(self._blobs.items()) if path.container == container]
        found = [blob for blob in blobs if blob.path.name.startswith(prefix)]
        return iter(found if metadata else [replace(blob, metadata={}) for blob in found])

    def _get(self, path: BlobPath) -> tuple[Blob, bytes | Reads]:
        if path not in self._blobs:
            raise BlobNotFoundError(f"{path} does not exist", file=str(path))
        return self._blobs[path]

    def _put(self, path: BlobPath, size: int, content: bytes | Reads, metadata: Mapping[str, str] | None) -> str:
        blob = Blob(path, size, f"v{next(self._versions)}", datetime.now(UTC), dict(metadata or {}))
        self._blobs[path] = blob, content
        return blob.etag

    def _check(self, path: BlobPath, if_match: str | None, if_none_match: str | None) -> None:
        etag = self._blobs[path][0].etag if path in self._blobs else ""
        if (if_match is not None and if_match != etag) or (if_none_match == ANY_ETAG and etag):
            raise ConditionFailedError(f"{path}: the condition does not hold", file=str(path))


class MemoryQueueStore:
    """QueueStore over lists; messages are there for good once sent, whoever receives them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, list[str]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._sent.clear()

    def sent(self, queue: str) -> list[str]:
        """Return all that was ever sent to a queue."""
        return list(self._sent.get(queue, ()))

    def create_queue(self, queue: str) -> None: ...

    def send(self, queue: str, body: str, *, delay: float = 0) -> None:  # noqa: ARG002  # nothing is hidden here
        with self._lock:
            self._sent.setdefault(queue, []).append(body)

    def receive(self, queue: str, *, limit: int = 1, lease: float = 30) -> list[QueueMessage]:
        raise NotImplementedError("nothing here receives: look at `sent`")

    def delete(self, queue: str, message: QueueMessage) -> None:
        raise NotImplementedError("nothing here receives: look at `sent`")


@dataclass(frozen=True)
class OneModel:
    """A model cache that knows one model, whatever the reference."""

    model: Model

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        return ModelVersion(str(reference).partition("@")[0], 1, self.model.digest)

    def load(self, _version: ModelVersion) -> Model:
        return self.model


@dataclass(frozen=True)
class Outcome:
    """What came of a file."""

    receipt: Receipt
    result: bytes | None
    rejects: bytes | None

    @property
    def code(self) -> str | None:
        """The error's code; None for a run that succeeded."""
        return self.receipt.error["code"] if self.receipt.error else None


@dataclass
class Runs:
    """Scores files whole, as `run_job` does, with nothing on disk; each file is forgotten after its run."""

    model: Model
    engine: Engine
    settings: Settings = field(default_factory=lambda: Settings(threads=1, block_bytes=4096))
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    queues: MemoryQueueStore = field(default_factory=MemoryQueueStore)

    def score(self, name: str, content: bytes | tuple[int, Reads], **options: Any) -> Outcome:
        """Score a file given as its bytes, or as its size and a function that makes them up."""
        services = Services(
            self.settings,
            self.blobs,
            self.queues,
            OneModel(self.model),  # type: ignore[arg-type]  # all that a run asks of a cache
            Receipts(self.blobs, self.settings.runs),
            self.engine,
        )
        path = BlobPath(self.settings.incoming, f"echo/{name}")
        if isinstance(content, bytes):
            self.blobs.write(path, content)
        else:
            self.blobs.make_up(path, *content)
        try:
            receipt = run_job(replace(Job.for_dropped(path), options=Options.from_dict(options)), services)
            return Outcome(receipt, self._read(receipt.output), self._read(receipt.rejects))
        finally:
            self.blobs.clear()
            self.queues.clear()

    def _read(self, place: str | None) -> bytes | None:
        return self.blobs.read(BlobPath.parse(place)) if place else None
