"""Runs under way: what each is pinned to, so that every delivery of its job goes on with the very same run.

An alias may move, and the process may die, between two deliveries of one job. Whoever begins it first writes down
which run that is; whoever comes later finds it and asks no alias again. The entry is removed last of all, so what
is listed here is either under way or was left behind by a process that died: the sweeper looks through these alone,
and never through all the runs there ever were.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from errors import BlobNotFoundError, ConditionFailedError, MessageInvalidError
from model_store.registry import ModelVersion
from scoring.ended_runs import LONGEST
from scoring.job import Job, Run
from storage import ANY_ETAG, Blob, BlobPath, BlobStore

FOLDER = "_open"
"""Where the entries are in the container of runs; no run's id begins with it."""

_JSON = "application/json"
_KEY = "dropscore_open"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has begun and is not known to have ended."""

    path: BlobPath
    """Where the entry is."""
    run: Run
    started: datetime
    """UTC."""
    sweeps: int
    """How often the sweeper has sent its messages again, without a sign of life since."""
    etag: str
    """Of the entry."""
    newer: Job | None
    """What the run's end queues if its input was replaced: the job, if that was for whichever version is current.
    The newer one may have no other."""
    is_queued: bool = False
    """Whether its job was queued under this run's id, and nobody has taken it yet."""

    def serves(self, job: Job) -> bool:
        """Say whether a job of the same kind means this run: a job that names no version means any."""
        return job.version in (None, self.run.job.version)


@dataclass(frozen=True, slots=True)
class OpenRuns:
    """The entries of runs under way: <container>/_open/<key>.json, one for each job on one version of its input.

    A job that names another version of the model than the run that is under way has an entry beside that one's.
    """

    blobs: BlobStore
    container: str

    def open(self, run: Run, *, is_queued: bool = False) -> OpenRun:
        """Say that a run begins, or is queued; return the one that counts: another, if its job has begun before."""
        path, *others = self._paths(run)
        newer = run.job if run.job.etag is None else None
        while True:
            entry = OpenRun(path, pinned(run), datetime.now(UTC), 0, "", newer, is_queued)
            try:
                etag = self._write(entry, if_none_match=ANY_ETAG)
            except ConditionFailedError:
                found = self._read(path)
                if found and not found.serves(run.job):
                    path = others[0]
                elif found and (found.newer or newer is None):
                    return found
                elif found:  # whoever began it named the input's version; this job may be a newer one's only
                    self._change(replace(found, newer=newer))
                continue  # changed now, or closed by somebody: look again
            return replace(entry, etag=etag)

    def take(self, entry: OpenRun) -> None:
        """Say that somebody has begun with a run that was queued; whoever else has changed the entry says more."""
        self._change(replace(entry, is_queued=False, started=datetime.now(UTC)))

    def find(self, run: Run) -> OpenRun | None:
        """Return the open run of the same job on the same version of its input as `run`; None if there is none."""
        found = (self._read(path) for path in self._paths(run))
        return next((entry for entry in found if entry and entry.serves(run.job)), None)

    def close(self, run: Run) -> None:
        """Remove a run's entry; one of another run of the same job is left alone, and none at all is as good."""
        for path in self._paths(run):
            while (found := self._read(path)) and found.run.id == run.id:
                try:
                    self.blobs.delete(path, if_match=found.etag)
                except BlobNotFoundError:
                    break
                except ConditionFailedError:
                    continue  # swept, or opened anew, just now: look again at whose it is
                break

    def sweep(self, entry: OpenRun, sweeps: int) -> bool:
        """Write down that the messages of a run are sent again; False if somebody else has changed the entry."""
        return self._change(replace(entry, sweeps=sweeps))

    def list(self) -> Iterator[Blob]:
        """Yield the entries as blobs, `read` them: most need no look, as they were written a moment ago."""
        return self._list()

    def read(self, blob: Blob) -> OpenRun | None:
        """Return what an entry says; None if it has just been removed."""
        return self._read(blob.path)

    def each(self) -> Iterator[OpenRun]:
        """Yield the open runs, hundreds of them by one request: many may wait."""
        for blob in self._list(metadata=True):
            text = blob.metadata.get(_KEY)
            entry = self._parse(blob.path, blob.etag, text.encode()) if text else self.read(blob)
            if entry:
                yield entry

    def find_by_id(self, run_id: str) -> OpenRun | None:
        """Return the open run of this id; None if there is none."""
        return next((entry for entry in self.each() if entry.run.id == run_id), None)

    def _list(self, *, metadata: bool = False) -> Iterator[Blob]:
        try:
            yield from self.blobs.list(self.container, f"{FOLDER}/", metadata=metadata)
        except BlobNotFoundError:  # not even the container is there
            return

    def _write(self, entry: OpenRun, **conditions: str) -> str:
        text = _to_json(entry)
        metadata = {_KEY: text} if len(text) <= LONGEST else None
        return self.blobs.write(entry.path, text.encode(), metadata=metadata, content_type=_JSON, **conditions)

    def _change(self, entry: OpenRun) -> bool:
        try:
            self._write(entry, if_match=entry.etag)
        except (BlobNotFoundError, ConditionFailedError):
            return False
        return True

    def _read(self, path: BlobPath) -> OpenRun | None:
        try:
            found = self.blobs.poll(path)
        except BlobNotFoundError:
            return None
        return None if found is None else self._parse(path, *found)

    def _parse(self, path: BlobPath, etag: str, text: bytes) -> OpenRun:
        try:
            return _from_json(path, etag, text)
        except (ValueError, KeyError, TypeError) as error:
            raise MessageInvalidError(
                f"{path} is no run's entry, or a newer Dropscore's: update, or delete it if it was made by hand",
                file=str(path),
            ) from error

    def _paths(self, run: Run) -> Sequence[BlobPath]:
        """Return where a run's entry may be: the second is where another version's is at the first."""
        versions = [None, run.job.version] if run.job.version else [None]
        return [BlobPath(self.container, f"{FOLDER}/{key_of(run, version)}.json") for version in versions]


def key_of(run: Run, version: int | None = None) -> str:
    """Return 32 hexadecimal digits that are the same for all deliveries of a job on one version of its input.

    Its replays have the same: of all attempts of a job, one at a time is under way. And so have all that name a
    version of the model, since a job that names none has it named when it is sent again; but for those that find
    another version's run there, which have it from `version`.
    """
    text = replace(pinned(run).job, attempt=0, version=version, traceparent=None).to_json()
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def pinned(run: Run) -> Run:
    """Return a run whose job says which versions of input and model are meant, for whoever takes it, and when."""
    etag = run.job.etag or (run.input.etag if run.input else None)
    version = run.job.version or (run.model.version if run.model else None)
    return replace(run, job=replace(run.job, etag=etag, version=version))


def _to_json(entry: OpenRun) -> str:
    run = entry.run
    source, model = run.input, run.model
    values = {
        "run_id": run.id,
        "job": json.loads(run.job.to_json()),
        "newer": {"version": entry.newer.version} if entry.newer else None,
        "is_queued": entry.is_queued,
        "input": {"etag": source.etag, "size": source.size, "modified": source.modified.isoformat()}
        if source
        else None,
        "model": {"name": model.name, "version": model.version, "digest": model.digest} if model else None,
        "started": entry.started.isoformat(),
        "sweeps": entry.sweeps,
    }
    return json.dumps(values)  # in one line and in ASCII, as metadata has to be


def _from_json(path: BlobPath, etag: str, text: bytes) -> OpenRun:
    entry: dict[str, Any] = json.loads(text)
    job, source, model = Job.from_json(json.dumps(entry["job"])), entry["input"], entry["model"]
    blob = source and Blob(job.input, source["size"], source["etag"], datetime.fromisoformat(source["modified"]))
    run = Run(job, blob, model and ModelVersion(**model))
    started, newer = datetime.fromisoformat(entry["started"]), entry.get("newer")
    newer = newer and replace(job, etag=None, version=newer["version"])
    return OpenRun(path, run, started, entry["sweeps"], etag, newer, entry.get("is_queued", False))
