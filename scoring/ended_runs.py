"""Runs that have ended, newest first: a short list beside the receipts, whose names are in no order of time.

An entry's name begins with the time counted backwards, so that a listing, which is by name, begins with the newest;
and what there is to say of the run is in the entry's metadata, so that one request shows hundreds of runs.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from errors import BlobNotFoundError
from storage import Blob, BlobPath, BlobStore

FOLDER = "_ended"
"""Where the entries are in the container of runs; no run's id begins with it."""

NOT_ENDED = "open-"
"""What the keys of runs begin with that have not ended: these have no entry here, and come before all others."""

LONGEST = 6_000
"""Characters of metadata: Azure takes 8 KiB of it, with names."""

_KEY = "dropscore_run"
_END_OF_TIME = 10**13  # milliseconds since 1970: in the year 2286


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list of runs says of one."""

    run_id: str
    status: str
    """A receipt's; or running."""
    input: str | None
    """container/name; None where there is no such thing, as for rows in a message."""
    model: str | None
    """The reference, as it was given."""
    version: int | None
    rows: Mapping[str, int]
    """read, scored, rejected; none while it is running."""
    error: str | None
    """The error's code."""
    started: str
    """UTC, ISO 8601; so is `finished`, which is empty while it is running."""
    finished: str
    seconds: float
    attempt: int = 0

    @property
    def key(self) -> str:
        """What the list goes on behind."""
        milliseconds = round(datetime.fromisoformat(self.finished or self.started).timestamp() * 1000)
        return f"{'' if self.finished else NOT_ENDED}{_END_OF_TIME - milliseconds:013d}-{self.run_id}"

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EndedRuns:
    """The list: <container>/_ended/<time, backwards>-<run id>.json, one for each receipt that was ever written."""

    blobs: BlobStore
    container: str

    def add(self, summary: Summary) -> None:
        """Put a run on the list; done again, it is there once."""
        text = json.dumps(summary.to_dict())  # ASCII, as metadata has to be
        metadata = {_KEY: text} if len(text) <= LONGEST else None
        self.blobs.write(self._path(summary), text.encode(), metadata=metadata, content_type="application/json")

    def remove(self, summary: Summary) -> None:
        """Take a run off the list; one that is not on it is as good."""
        with suppress(BlobNotFoundError):
            self.blobs.delete(self._path(summary))

    def list(self, after: str = "") -> Iterator[Summary]:
        """Yield the runs that have ended, the newest first; only those behind the one with the key `after`."""
        try:
            for blob in self.blobs.list(self.container, f"{FOLDER}/", metadata=True):
                if blob.path.name > f"{FOLDER}/{after}.json" or not after:
                    yield self._read(blob)
        except BlobNotFoundError:  # not even the container is there
            return

    def _path(self, summary: Summary) -> BlobPath:
        return BlobPath(self.container, f"{FOLDER}/{summary.key}.json")

    def _read(self, blob: Blob) -> Summary:
        values = json.loads(blob.metadata.get(_KEY) or self.blobs.read(blob.path))
        return Summary(**known_fields(Summary, values))


def known_fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is a field of the dataclass `kind`: a newer Dropscore, beside this one, may write more."""
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}
