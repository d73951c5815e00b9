"""Runs of rows in messages that are under way: which version scores them, and what there is to say of them.

The rows themselves are not kept: they are in the message alone. So a run whose message is lost cannot be set going
again; but whoever finds what was written down of it can end it, and tell its sender.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from errors import BlobNotFoundError, ConditionFailedError, MessageInvalidError
from model_store.registry import ModelVersion
from storage import ANY_ETAG, Blob, BlobPath, BlobStore

FOLDER = "_records"
"""Where the entries are in the container of runs; no run's id begins with it."""


@dataclass(frozen=True, slots=True)
class RecordsRun:
    """The rows of one message, scored with one version of a model: all that its receipt says, and no row."""

    id: str
    key: str
    """The same for each delivery of the message, whatever its model means by then."""
    model: Mapping[str, Any]
    """reference; and name, version, digest where it was found."""
    count: int
    """Of rows."""
    sender_id: str | None
    """What the sender calls them."""
    started: datetime
    """UTC."""

    @property
    def version(self) -> ModelVersion:
        """The version that scores the rows; KeyError where none was found."""
        return ModelVersion(self.model["name"], self.model["version"], self.model["digest"])

    @classmethod
    def from_json(cls, text: bytes) -> "RecordsRun":
        """Read an entry."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values | {"started": datetime.fromisoformat(values["started"])})

    def to_json(self) -> bytes:
        """Return the run as its entry holds it."""
        return json.dumps(asdict(self) | {"started": self.started.isoformat()}).encode()


@dataclass(frozen=True, slots=True)
class RecordsRuns:
    """The entries: <container>/_records/<key>.json, one for each message whose rows are being scored."""

    blobs: BlobStore
    container: str

    def open(self, run: RecordsRun) -> RecordsRun:
        """Say that a run begins; return the one that counts: another, if its message was delivered before."""
        try:
            self.blobs.write(
                self._path(run.key), run.to_json(), if_none_match=ANY_ETAG, content_type="application/json"
            )
        except ConditionFailedError:  # another delivery was faster, or even is done by now
            return self.find(run.key) or run
        return run

    def find(self, key: str) -> RecordsRun | None:
        """Return the run of a message that is under way; None if there is none."""
        return self._read(self._path(key))

    def close(self, run: RecordsRun) -> None:
        """Remove a run's entry; none at all is as good."""
        try:
            self.blobs.delete(self._path(run.key))
        except BlobNotFoundError:
            return

    def list(self) -> Iterator[Blob]:
        """Yield the entries as blobs, `read` them: most need no look, as they were written a moment ago."""
        try:
            yield from self.blobs.list(self.container, f"{FOLDER}/")
        except BlobNotFoundError:  # not even the container is there
            return

    def read(self, blob: Blob) -> RecordsRun | None:
        """Return what an entry says; None if it has just been removed."""
        return self._read(blob.path)

    def _read(self, path: BlobPath) -> RecordsRun | None:
        try:
            return RecordsRun.from_json(self.blobs.read(path))
        except BlobNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise MessageInvalidError(
                f"{path} is no run's entry, or another Dropscore's: update, or delete it if it was made by hand",
                file=str(path),
            ) from error

    def _path(self, key: str) -> BlobPath:
        return BlobPath(self.container, f"{FOLDER}/{key}.json")
