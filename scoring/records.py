"""Rows in a message, scored at once: their answer goes to the events queue."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from errors import (
    BlobNotFoundError,
    ConditionFailedError,
    DropscoreError,
    InputError,
    MessageInvalidError,
    ModelError,
    RecordTooLargeError,
    RetriesExhaustedError,
)
from model_store import ModelReference
from model_store.registry import ModelVersion
from scoring.events import send_ended
from scoring.receipt import Receipt
from scoring.records_runs import RecordsRun, RecordsRuns
from scoring.rows import Row, score_rows
from scoring.services import Services
from storage import ANY_ETAG, Blob, BlobPath

_EXAMPLE = 'write {"model": "churn", "records": [{"age": 20}], "id": "of your own, if you like"}'
_LONGEST_ID = 200  # characters


def is_of_records(message: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is meant as rows to score."""
    return "records" in message


@dataclass(frozen=True, slots=True)
class Records:
    """Rows to score at once, and the model to do it with."""

    model: ModelReference
    rows: tuple[Row, ...]
    id: str | None = None
    """What the sender calls them; comes back in the answer, and tells messages with the same rows apart."""

    @classmethod
    def from_dict(cls, message: Mapping[str, Any], most: int) -> "Records":
        """Read a message of at most `most` rows; MessageInvalidError, or the error of the part that is wrong."""
        model, rows, name = message.get("model"), message["records"], message.get("id")
        if unknown := len(set(message) - {"model", "records", "id"}):
            raise MessageInvalidError(
                f"{unknown} keys of the message are not known where there are records; {_EXAMPLE}"
            )
        if not isinstance(model, str):
            raise MessageInvalidError(f'"model" must be a text such as "churn" or "churn@3"; {_EXAMPLE}')
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise MessageInvalidError(f'"records" must be a list of rows; {_EXAMPLE}')
        if name is not None and (not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ID):
            raise MessageInvalidError(f'"id" must be a text of at most {_LONGEST_ID} characters; {_EXAMPLE}')
        if len(rows) > most:
            raise RecordTooLargeError(f"{len(rows):,} records are more than {most:,}: drop them as a file instead")
        return cls(ModelReference.parse(model), tuple(rows), name)

    @property
    def key(self) -> str:
        """32 hexadecimal digits that are the same for each delivery of the message, however it is written."""
        return self._hash(None)

    def run(self, version: ModelVersion | None) -> RecordsRun:
        """Return the run, begun now, that scores the rows with this version of the model, or finds none."""
        found = asdict(version) if version else {}
        model = {"reference": str(self.model)} | found
        run_id = self._hash(list(found.values()))
        return RecordsRun(run_id, self.key, model, len(self.rows), self.id, datetime.now(UTC))

    def _hash(self, model: list[Any] | None) -> str:
        identity = {"records": self.rows, "id": self.id, "reference": str(self.model), "model": model}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def score_records(records: Records, services: Services) -> Receipt:
    """Score rows and send the answer; done again, the same answer is sent again.

    Rows that cannot be scored have the reason in the answer. What is wrong with all of them ends in a failed
    receipt; what a retry can mend is raised. The answer is kept beside the receipt: the event has it where it fits.
    """
    run = records.run(None)
    try:
        run = _pin(records, services)
        if (known := services.receipts.find(run.id)) and known.is_final:
            return _tell_again(known, run, services)
        model = services.models.load(run.version)
        with services.engine.requests:
            predictions = score_rows(records.rows, model)
    except (InputError, ModelError) as error:
        return _end(run, services, error=error)
    answer = ({"id": records.id} if records.id else {}) | {"predictions": predictions}
    with suppress(ConditionFailedError):  # an earlier delivery has answered the same
        services.blobs.write(
            _answer_of(run, services),
            json.dumps(answer).encode(),
            if_none_match=ANY_ETAG,
            content_type="application/json",
        )
    return _end(run, services, predictions=predictions)


def give_up_records(records: Records, error: DropscoreError, services: Services) -> Receipt:
    """Write the failed receipt of rows whose message failed at every try, unless they were scored after all."""
    run = _runs(services).find(records.key)
    if run is None:
        try:
            run = records.run(services.models.resolve(records.model))
        except ModelError:
            run = records.run(None)
    return _end(run, services, error=error)


def look_after_records(blob: Blob, services: Services, *, is_hopeless: bool) -> bool:
    """End a run of rows that nobody works on any more, given its entry; False where it may still go on.

    What was scored is told of; what was not has been lost with its message, and is given up if it `is_hopeless`.
    """
    run = _runs(services).read(blob)
    if run is None:
        return False
    receipt = services.receipts.find(run.id)
    if receipt and receipt.is_final:
        _tell_again(receipt, run, services)
    elif answer := _read(_answer_of(run, services), services):
        _end(run, services, predictions=answer["predictions"])
    elif is_hopeless:
        error = RetriesExhaustedError(
            "the rows' message was lost before they were scored, and rows are not kept: send them again"
        )
        _end(run, services, error=error)
    else:
        return False
    return True


def _end(
    run: RecordsRun,
    services: Services,
    *,
    error: DropscoreError | None = None,
    predictions: Sequence[Mapping[str, Any]] = (),
) -> Receipt:
    """Write the receipt of rows that were scored, or could not be, and send its event."""
    faults = [fault for each in predictions if isinstance(fault := each.get("error"), Mapping)]  # no output is one
    finished = datetime.now(UTC)
    receipt = Receipt(
        run_id=run.id,
        status="failed" if error else "succeeded",
        input={"path": None, "records": run.count} | ({"id": run.sender_id} if run.sender_id else {}),
        model=run.model,
        options={},
        rows={
            "read": len(predictions),
            "scored": len(predictions) - len(faults),
            "rejected": len(faults),
        },
        reject_codes=dict(Counter(fault["code"] for fault in faults)),
        output=None if error else str(_answer_of(run, services)),
        error=error.to_dict() if error else None,
        started=run.started.isoformat(),
        finished=finished.isoformat(),
        seconds=round((finished - run.started).total_seconds(), 3),
    )
    return _tell(services.receipts.record(receipt), run, services)


def _tell(receipt: Receipt, run: RecordsRun, services: Services) -> Receipt:
    """Send the event of a receipt, with the answer that is kept beside it; then nothing of the run is open."""
    answer = json.loads(services.blobs.read(BlobPath.parse(receipt.output))) if receipt.output else None
    send_ended(receipt, services, answer=answer)
    _runs(services).close(run)
    return receipt


def _tell_again(receipt: Receipt, run: RecordsRun, services: Services) -> Receipt:
    """Do what is left to do for a run that has its receipt: whoever wrote that may have died then."""
    return _tell(services.receipts.enlist(receipt), run, services)


def _pin(records: Records, services: Services) -> RecordsRun:
    """Return the run of these rows: with the version of the model that an earlier delivery has begun with.

    That is written down while the run is open, since an alias may move between two deliveries. ModelError if there
    is none.
    """
    if found := _runs(services).find(records.key):
        return found
    return _runs(services).open(records.run(services.models.resolve(records.model)))


def _answer_of(run: RecordsRun, services: Services) -> BlobPath:
    return BlobPath(services.settings.runs, f"{run.id}/answer.json")


def _read(path: BlobPath, services: Services) -> Any:
    try:
        return json.loads(services.blobs.read(path))
    except BlobNotFoundError:
        return None


def _runs(services: Services) -> RecordsRuns:
    return RecordsRuns(services.blobs, services.settings.runs)
