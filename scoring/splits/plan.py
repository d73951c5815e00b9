"""A run's plan: its splits, and all that those who score them have to agree on, whatever happens meanwhile."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from errors import BlobNotFoundError, ConditionFailedError, MessageInvalidError
from model_store.registry import ModelVersion
from scoring.codec import Split
from scoring.job import Job, Run
from scoring.options import CsvOptions
from scoring.receipt import begun
from storage import ANY_ETAG, Blob, BlobPath, BlobStore


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is scored in splits; written once, before the first of them is scored."""

    run: Run
    splits: tuple[Split, ...]
    block_bytes: int
    """Bytes of input that a thread takes at a time: block numbers depend on it."""
    csv: CsvOptions
    """How a CSV file is written, as it was found out."""
    dialect: Mapping[str, Any] | None
    """The same, for the receipt; None for Parquet."""
    started: datetime
    """When the run began; UTC."""

    def to_json(self) -> str:
        """Return the plan as its blob holds it; to who asks how the run is, it is running."""
        assert self.run.input is not None  # noqa: S101  # what is not there is not planned
        return json.dumps(
            begun(self.run)
            | {
                "status": "running",
                "started": self.started.isoformat(),
                "job": json.loads(replace(self.run.job, etag=self.run.input.etag).to_json()),
                "modified": self.run.input.modified.isoformat(),
                "block_bytes": self.block_bytes,
                "csv": asdict(self.csv),
                "dialect": self.dialect,
                "splits": [asdict(split) for split in self.splits],
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Plan | None":
        """Read a plan back; None if it is that of a run without splits."""
        values = json.loads(text)
        if "splits" not in values:
            return None
        job, given, model = Job.from_json(json.dumps(values["job"])), values["input"], values["model"]
        source = Blob(job.input, given["size"], given["etag"], datetime.fromisoformat(values["modified"]))
        run = Run(job, source, ModelVersion(model["name"], model["version"], model["digest"]))
        if run.id != values["run_id"]:
            raise AssertionError(f"the plan of run {values['run_id']} is read as that of {run.id}")
        return cls(
            run=run,
            splits=tuple(Split(**split) for split in values["splits"]),
            block_bytes=values["block_bytes"],
            csv=CsvOptions(**values["csv"]),
            dialect=values["dialect"],
            started=datetime.fromisoformat(values["started"]),
        )


@dataclass(frozen=True, slots=True)
class Plans:
    """Where plans are: <container>/<run id>/plan.json."""

    blobs: BlobStore
    container: str

    def find(self, run_id: str) -> Plan | None:
        """Return a run's plan; None if it has none, or no splits."""
        try:
            return Plan.from_json(self.blobs.read(self._path(run_id)))
        except BlobNotFoundError:
            return None

    def record(self, plan: Plan) -> Plan | None:
        """Write a plan and return the one that counts: another process may have written its own just before."""
        data, path = plan.to_json().encode(), self._path(plan.run.id)
        while True:
            try:
                self.blobs.write(path, data, if_none_match=ANY_ETAG, content_type="application/json")
            except ConditionFailedError:
                try:
                    return Plan.from_json(self.blobs.read(path))
                except BlobNotFoundError:
                    continue  # on its way, but not there yet: a file this large is not scored whole for that
            return plan

    def note_sent(self, run_id: str) -> None:
        """Write down that all splits of a run have had their messages."""
        self.blobs.write(self._path(run_id, "sent.json"), b"{}\n", content_type="application/json")

    def was_sent(self, run_id: str) -> bool:
        """Say whether that is written down: those that are missing still were lost, or are being worked on."""
        try:
            self.blobs.stat(self._path(run_id, "sent.json"))
        except BlobNotFoundError:
            return False
        return True

    def _path(self, run_id: str, name: str = "plan.json") -> BlobPath:
        return BlobPath(self.container, f"{run_id}/{name}")


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a message on the queue of splits says: which split of which run is to be scored."""

    run_id: str
    split: int
    attempt: int = 0
    """How often the run's blocks had to be staged anew, all of them."""

    def to_json(self) -> str:
        """Return the message."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Pointer":
        """Read a message; MessageInvalidError for what is none."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MessageInvalidError(_UNREADABLE) from error
        if not isinstance(values, dict) or not {"run_id", "split"} <= set(values) <= {"run_id", "split", "attempt"}:
            raise MessageInvalidError(_UNREADABLE)
        run_id, *numbers = values["run_id"], values["split"], values.get("attempt", 0)
        if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
            raise MessageInvalidError(_UNREADABLE)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise MessageInvalidError(_UNREADABLE)
        return cls(run_id, *numbers)


_RUN_ID = re.compile("[0-9a-z]{1,32}")
_UNREADABLE = 'a message on the queue of splits must be {"run_id": "…", "split": 0}: only Dropscore sends them'
