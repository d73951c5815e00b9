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
)
from model_store import ModelReference
from model_store.registry import ModelVersion
from scoring.events import send_ended
from scoring.receipt import Receipt
from scoring.rows import Row, score_rows
from scoring.services import Services
from storage import ANY_ETAG, BlobPath

_EXAMPLE = 'write {"model": "churn", "records": [{"age": 20}], "id": "of your own, if you like"}'
_LONGEST_ID = 200  # characters
_JSON = "application/json"

FOLDER = "_records"
"""Where the pins are in the container of runs; no run's id begins with it."""


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

    def run_id(self, version: ModelVersion | None) -> str:
        """Return the id of the run that scores the rows with this version of the model, or finds none."""
        return self._hash([version.name, version.version, version.digest] if version else [])

    def _hash(self, model: list[Any] | None) -> str:
        identity = {"records": self.rows, "id": self.id, "reference": str(self.model), "model": model}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def score_records(records: Records, services: Services) -> Receipt:
    """Score rows and send the answer; done again, the same answer is sent again.

    Rows that cannot be scored have the reason in the answer. What is wrong with all of them ends in a failed
    receipt; what a retry can mend is raised. The answer is kept beside the receipt: the event has it where it fits.
    """
    started = datetime.now(UTC)
    version: ModelVersion | None = None
    try:
        version = _pin(records, services)
        run_id = records.run_id(version)
        if (known := services.receipts.find(run_id)) and known.is_final:
            return _tell(known, records, services)
        model = services.models.load(version)
        with services.engine.requests:
            predictions = score_rows(records.rows, model)
    except (InputError, ModelError) as error:
        return end_records(records, version, services, started, error=error)
    place = BlobPath(services.settings.runs, f"{run_id}/answer.json")
    answer = ({"id": records.id} if records.id else {}) | {"predictions": predictions}
    with suppress(ConditionFailedError):  # an earlier delivery has answered the same
        services.blobs.write(place, json.dumps(answer).encode(), if_none_match=ANY_ETAG, content_type=_JSON)
    return end_records(records, version, services, started, predictions=predictions, output=place)


def end_records(
    records: Records,
    version: ModelVersion | None,
    services: Services,
    started: datetime,
    *,
    error: DropscoreError | None = None,
    predictions: Sequence[Mapping[str, Any]] = (),
    output: BlobPath | None = None,
) -> Receipt:
    """Write the receipt of rows that were scored, or could not be, and send its event."""
    faults = [fault for each in predictions if isinstance(fault := each.get("error"), Mapping)]  # no output is one
    model: dict[str, Any] = {"reference": str(records.model)}
    if version:
        model |= {"name": version.name, "version": version.version, "digest": version.digest}
    finished = datetime.now(UTC)
    receipt = Receipt(
        run_id=records.run_id(version),
        status="failed" if error else "succeeded",
        input={"path": None, "records": len(records.rows)} | ({"id": records.id} if records.id else {}),
        model=model,
        options={},
        rows={
            "read": len(predictions),
            "scored": len(predictions) - len(faults),
            "rejected": len(faults),
        },
        reject_codes=dict(Counter(fault["code"] for fault in faults)),
        output=str(output) if output else None,
        error=error.to_dict() if error else None,
        started=started.isoformat(),
        finished=finished.isoformat(),
        seconds=round((finished - started).total_seconds(), 3),
    )
    return _tell(services.receipts.record(receipt), records, services)


def give_up_records(records: Records, error: DropscoreError, services: Services) -> Receipt:
    """Write the failed receipt of rows whose message failed at every try, unless they were scored after all."""
    try:
        version = _pinned(records, services) or services.models.resolve(records.model)
    except ModelError:
        version = None
    return end_records(records, version, services, datetime.now(UTC), error=error)


def _tell(receipt: Receipt, records: Records, services: Services) -> Receipt:
    """Send the event of a receipt, with the answer that is kept beside it; then nothing of the run is open."""
    answer = json.loads(services.blobs.read(BlobPath.parse(receipt.output))) if receipt.output else None
    send_ended(receipt, services, answer=answer)
    with suppress(BlobNotFoundError):
        services.blobs.delete(_pin_of(records, services))
    return receipt


def _pin(records: Records, services: Services) -> ModelVersion:
    """Return the version that scores these rows: the one that an earlier delivery of the message has begun with.

    That is written down while the run is open, since an alias may move between two deliveries. ModelError if there
    is none.
    """
    if found := _pinned(records, services):
        return found
    version = services.models.resolve(records.model)
    data = json.dumps(asdict(version)).encode()
    try:
        services.blobs.write(_pin_of(records, services), data, if_none_match=ANY_ETAG, content_type=_JSON)
    except ConditionFailedError:  # another delivery was faster, or even is done by now
        return _pinned(records, services) or version
    return version


def _pinned(records: Records, services: Services) -> ModelVersion | None:
    try:
        return ModelVersion(**json.loads(services.blobs.read(_pin_of(records, services))))
    except BlobNotFoundError:
        return None


def _pin_of(records: Records, services: Services) -> BlobPath:
    return BlobPath(services.settings.runs, f"{FOLDER}/{records.key}.json")
