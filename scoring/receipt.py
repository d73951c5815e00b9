"""The record of a run's outcome, written last."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from errors import (
    BlobNotFoundError,
    ConditionFailedError,
    DropscoreError,
    NameInvalidError,
    RetriesExhaustedError,
    RunNotFoundError,
    ThresholdExceededError,
)
from observing import RunEnded, tell
from scoring.ended_runs import EndedRuns, Summary, known_fields
from scoring.job import Run
from scoring.tally import Tally
from scoring.trail import current_traceparent
from storage import ANY_ETAG, BlobPath, BlobStore

_JSON = "application/json"

Status = Literal["succeeded", "failed", "superseded", "cancelled"]

STATUSES: Mapping[str, Status] = {"superseded": "superseded", "run_cancelled": "cancelled"}
"""What a run's status is by the code of its error; `failed` for any other."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a run ended. `rows["read"]` is always `rows["scored"] + rows["rejected"]`."""

    run_id: str
    status: Status
    input: Mapping[str, Any]
    """path, etag, size in bytes."""
    model: Mapping[str, Any]
    """reference; and name, version, digest where it was found."""
    options: Mapping[str, Any]
    rows: Mapping[str, int]
    """read, scored, rejected."""
    dialect: Mapping[str, Any] | None = None
    """How a CSV input is written: delimiter, quote, encoding, compression, line_end, decimal; null if none."""
    reject_codes: Mapping[str, int] = field(default_factory=dict)
    """Rejected rows by error code."""
    output: str | None = None
    """container/name of the result."""
    rejects: str | None = None
    """container/name of the rejected rows."""
    error: Mapping[str, Any] | None = None
    """code, message and where, of a run that did not succeed."""
    warnings: tuple[Mapping[str, Any], ...] = ()
    """code and message of what is odd but no error."""
    started: str = ""
    """UTC, ISO 8601; so is `finished`."""
    finished: str = ""
    seconds: float = 0
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Wall and CPU seconds by stage, summed over threads; `rest` is what is none of the others."""
    rates: Mapping[str, float | None] = field(default_factory=dict)
    """rows_per_second and bytes_per_second (of the input) of the whole run; null if it was not read to the end."""
    peak_memory_bytes: int | None = None
    """The most memory this process has held since it began, whatever it did; null where that is not known."""
    attempt: int = 0
    """How often the job had been replayed: each time is a run of its own."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended for good; one whose job failed at every try may be run again."""
        return not self.error or self.error["code"] != RetriesExhaustedError.code

    @property
    def summary(self) -> Summary:
        """What a list of runs says of it."""
        return Summary(
            run_id=self.run_id,
            status=self.status,
            input=self.input.get("path"),
            model=self.model.get("reference"),
            version=self.model.get("version"),
            rows=self.rows,
            error=self.error["code"] if self.error else None,
            started=self.started,
            finished=self.finished,
            seconds=self.seconds,
            attempt=self.attempt,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON has it."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the receipt as its blob holds it."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Receipt":
        """Read a receipt back; what a newer Dropscore says in it, which may run beside this one, is passed over."""
        values = known_fields(cls, json.loads(text))
        return cls(**values | {"warnings": tuple(values["warnings"])})


def begun(run: Run) -> dict[str, Any]:
    """Return what is known of a run before it ends: its plan, and the first fields of its receipt."""
    source: dict[str, Any] = {"path": str(run.job.input)}
    if run.input:
        source |= {"etag": run.input.etag, "size": run.input.size}
    elif run.job.etag:  # it is gone, and still is what the run is of
        source |= {"etag": run.job.etag}
    model: dict[str, Any] = {"reference": str(run.job.model)}
    if run.model:
        model |= {"name": run.model.name, "version": run.model.version, "digest": run.model.digest}
    known = {"run_id": run.id, "input": source, "model": model, "options": run.job.options.to_dict()}
    return known | {"attempt": run.job.attempt}


def write_up(
    run: Run,
    started: datetime,
    *,
    tally: Tally | None = None,
    error: DropscoreError | None = None,
    output: BlobPath | None = None,
    rejects: BlobPath | None = None,
    dialect: Mapping[str, Any] | None = None,
) -> Receipt:
    """Return the receipt of a run that has just ended."""
    tally = tally or Tally()
    finished = datetime.now(UTC)
    status: Status = "succeeded"
    if error:
        status = STATUSES.get(error.code, "failed")
    seconds = (finished - started).total_seconds()
    is_read = run.input is not None and (not error or error.code == ThresholdExceededError.code)
    warning = {"code": "no_rows", "message": "the file has columns and no rows: the result has none either"}
    return Receipt(
        **begun(run),
        status=status,
        rows={"read": tally.read, "scored": tally.scored, "rejected": tally.rejected},
        dialect=dialect,
        reject_codes=dict(tally.codes),
        output=str(output) if output else None,
        rejects=str(rejects) if rejects else None,
        error=error.to_dict() if error else None,
        warnings=(warning,) if not error and not tally.read else (),
        started=started.isoformat(),
        finished=finished.isoformat(),
        seconds=round(seconds, 3),
        stages={"wall": _rounded(tally.wall), "cpu": _rounded(tally.cpu)},
        rates={
            "rows_per_second": round(tally.read / seconds, 1) if is_read and seconds else None,
            "bytes_per_second": round(run.input.size / seconds, 1) if run.input and is_read and seconds else None,
        },
        peak_memory_bytes=_peak_memory(),
    )


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(value, 3) for stage, value in seconds.items()}


def _peak_memory() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@dataclass(frozen=True, slots=True)
class Found:
    """A receipt as it is stored."""

    etag: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Receipts:
    """Where runs' records are: <container>/<run id>/plan.json, and receipt.json once the run has ended.

    Of a run whose job was queued under its id there is queued.json before.
    """

    blobs: BlobStore
    container: str

    def announce(self, run: Run) -> None:
        """Write down that a run has begun, for those who ask before it ends."""
        self._announce(run, "plan.json", {"status": "running", "started": datetime.now(UTC).isoformat()})

    def announce_queued(self, run: Run) -> None:
        """Write down that a run's job is about to be queued, for those who ask before somebody takes it."""
        self._announce(run, "queued.json", {"status": "queued", "queued": datetime.now(UTC).isoformat()})

    def _announce(self, run: Run, name: str, how: dict[str, str]) -> None:
        data = (json.dumps(begun(run) | how, indent=2) + "\n").encode()
        try:
            path = BlobPath(self.container, f"{run.id}/{name}")
            self.blobs.write(path, data, if_none_match=ANY_ETAG, content_type=_JSON)
        except ConditionFailedError:
            return  # an earlier try of the same run has written the same

    def report(self, run_id: str, figures: Mapping[str, Any]) -> None:
        """Write down how far a run is: for those who ask, and as a sign that it is alive."""
        data = (json.dumps(figures, indent=2) + "\n").encode()
        self.blobs.write(BlobPath(self.container, f"{run_id}/progress.json"), data, content_type=_JSON)

    def status(self, run_id: str) -> dict[str, Any]:
        """Return a run's receipt, or its plan and progress while it is running; RunNotFoundError for neither.

        A file that is cut into splits is looked through before there is a plan of it; and before that, a run may
        have been queued.
        """
        names = ("receipt.json", "plan.json", "scan.json", "queued.json")
        record = next((record for name in names if (record := self._record(run_id, name))), None)
        if record is None:
            raise RunNotFoundError(f"there is no run {run_id!r}; its job may still be waiting in the queue")
        if record["status"] == "running" and (progress := self._record(run_id, "progress.json")):
            record["progress"] = progress
        return record

    def _record(self, run_id: str, name: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads(self.blobs.read(BlobPath(self.container, f"{run_id}/{name}")))
        except (BlobNotFoundError, NameInvalidError):
            return None
        return record

    def find(self, run_id: str) -> Receipt | None:
        """Return a run's receipt; None while there is none."""
        return found.receipt if (found := self.look(run_id)) else None

    def look(self, run_id: str, etag: str | None = None) -> "Found | None":
        """Return a run's receipt with its ETag; None while there is none, or none but that of `etag`."""
        try:
            found = self.blobs.poll(self._path(run_id), etag)
        except (BlobNotFoundError, NameInvalidError):  # people may ask for any id
            return None
        return found and Found(found[0], Receipt.from_json(found[1]))

    def get(self, run_id: str) -> Receipt:
        """Return a run's receipt; RunNotFoundError while there is none."""
        if receipt := self.find(run_id):
            return receipt
        raise RunNotFoundError(f"run {run_id!r} has no receipt: it is waiting or under way")

    def record(self, receipt: Receipt, over: str | None = ANY_ETAG) -> Receipt:
        """Write a receipt, unless the run has a final one, and return the one that counts.

        One that is not final is replaced by one that is: any, or only that with the ETag `over`, where somebody
        else may have taken back what this one names (see `stir`). Safe to do twice, as after a write whose answer
        was lost: the second time finds what the first has written.
        """
        data, path = receipt.to_json().encode(), self._path(receipt.run_id)
        while True:
            found = None
            try:
                self.blobs.write(path, data, if_none_match=ANY_ETAG, content_type=_JSON)
            except ConditionFailedError:
                if (found := self.look(receipt.run_id)) is None:
                    continue  # it was there, and was deleted by hand
            if found is None:
                return self._ended(receipt)
            if found.receipt.is_final or not receipt.is_final or over not in (ANY_ETAG, found.etag):
                return self.enlist(found.receipt)
            # The job was given up and has ended after all; if somebody else says so first, that is as good.
            try:
                self.blobs.write(path, data, if_match=found.etag, content_type=_JSON)
            except (BlobNotFoundError, ConditionFailedError):
                continue
            EndedRuns(self.blobs, self.container).remove(found.receipt.summary)
            return self._ended(receipt)

    def stir(self, receipt: Receipt) -> bool:
        """Change the ETag of a receipt that is not final, for who is about to replace it; False if it is final."""
        while (found := self.look(receipt.run_id)) and not found.receipt.is_final:
            data = found.receipt.to_json().encode()
            try:
                self.blobs.write(self._path(receipt.run_id), data, if_match=found.etag, content_type=_JSON)
            except (BlobNotFoundError, ConditionFailedError):
                continue
            return True
        return False

    def enlist(self, receipt: Receipt) -> Receipt:
        """Put a receipt that is written on the list of runs that have ended, and return it; safe to do twice."""
        EndedRuns(self.blobs, self.container).add(receipt.summary)
        return receipt

    def _ended(self, receipt: Receipt) -> Receipt:
        tell(
            RunEnded(
                run_id=receipt.run_id,
                status=receipt.status,
                error=receipt.error["code"] if receipt.error else None,
                model=receipt.model.get("name"),
                version=receipt.model.get("version"),
                scored=receipt.rows["scored"],
                rejected=receipt.rows["rejected"],
                seconds=receipt.seconds,
                codes=receipt.reject_codes,
                wall=receipt.stages.get("wall", {}),
                cpu=receipt.stages.get("cpu", {}),
                traceparent=current_traceparent(),
            )
        )
        return self.enlist(receipt)

    def _path(self, run_id: str) -> BlobPath:
        return BlobPath(self.container, f"{run_id}/receipt.json")
