"""Events of runs that have ended."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ColumnMissingError, RetriesExhaustedError
from scoring.events import MOST_BYTES, send_ended, to_event
from scoring.receipt import Receipt
from scoring.services import Services
from settings import Settings
from storage import BlobPath
from storage.names import check_body
from tests.scoring.test_csv import GOOD

INPUT = BlobPath("incoming", "churn/a.csv")
RECEIPT = Receipt(
    run_id="0" * 32,
    status="failed",
    input={"path": str(INPUT), "etag": "0x1", "size": 7},
    model={"reference": "churn", "name": "churn", "version": 1, "digest": "d"},
    options={},
    rows={"read": 0, "scored": 0, "rejected": 0},
    started="2026-11-20T12:00:00+00:00",
    finished="2026-11-20T12:00:01+00:00",
)


class Sent:
    """A queue store that remembers what is sent."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send(self, queue: str, body: str) -> None:
        assert queue == "scoring-events"
        check_body(body)
        self.bodies.append(body)


def changed(**values: Any) -> Receipt:
    return replace(RECEIPT, **values)


def services_with(queues: Any) -> Services:
    missing: Any = None
    return Services(Settings(), missing, queues, missing, missing, missing)


def send(receipt: Receipt, **answer: Any) -> dict[str, Any]:
    sent = Sent()
    send_ended(receipt, services_with(sent), **answer)
    [body] = sent.bodies
    assert len(body.encode()) <= MOST_BYTES
    event: dict[str, Any] = json.loads(body)
    return event


def test_an_event_says_what_came_of_a_run(services, drop) -> None:
    """A succeeded run's event is a CloudEvent that names its run, input, model, rows and result."""
    receipt = drop("a.csv", GOOD)
    event = to_event(receipt, services)
    data = event.pop("data")
    assert datetime.fromisoformat(event.pop("time")).tzinfo == UTC
    assert event == {
        "specversion": "1.0",
        "id": receipt.run_id,
        "source": "/dropscore",
        "type": "dropscore.run.succeeded",
        "subject": "incoming/churn/a.csv",
        "datacontenttype": "application/json",
    }
    assert data["run_id"] == receipt.run_id
    assert data["input"] == receipt.input
    assert data["model"] == {"reference": "churn", "name": "churn", "version": 1}
    assert data["rows"] == {"read": 3, "scored": 3, "rejected": 0}
    assert (data["status"], data["output"], data["rejects"]) == ("succeeded", "scored/churn/a.csv", None)
    assert services.blobs.read(BlobPath.parse(data["receipt"])) == receipt.to_json().encode()


def test_the_same_receipt_makes_the_same_event() -> None:
    """Sent twice, it is the same event, so that consumers can tell by its id."""
    assert send(RECEIPT) == send(RECEIPT)


def test_giving_up_is_other_news_than_what_comes_of_the_job_later() -> None:
    """A given-up run has an event id of its own: its final end must not be taken for a duplicate."""
    given_up = changed(error=RetriesExhaustedError("why").to_dict())
    assert send(given_up)["id"] != send(RECEIPT)["id"] == RECEIPT.run_id


TEXTS = st.text(st.characters(), max_size=30).flatmap(
    lambda text: st.integers(1, 4000).map(lambda times: text * times)
)


@given(message=TEXTS, column=TEXTS, path=TEXTS)
def test_an_event_always_fits_into_a_message(message: str, column: str, path: str) -> None:
    """However long an error's texts are, and whatever is in them, the event is sent, and JSON readers take it."""
    error = ColumnMissingError(message, file=path, column=column).to_dict()
    event = send(changed(error=error))
    assert event["data"]["error"]["code"] == "column_missing"
    json.dumps(event, ensure_ascii=False).encode()


@pytest.mark.parametrize("character", ["a", "é", "中", "😀", '"'])
def test_the_longest_paths_are_never_cut_off(character: str) -> None:
    """An event whose error is far too long still names input, result and rejects in full."""
    name = character * 1024
    places = {"output": f"scored/{name}", "rejects": f"rejected/{name}", "input": {"path": f"incoming/{name}"}}
    error = ColumnMissingError(character * 60_000, file=f"incoming/{name}", column=character * 60_000).to_dict()
    receipt = changed(**places, error=error)
    event = send(receipt)
    assert (event["data"]["output"], event["data"]["rejects"]) == (f"scored/{name}", f"rejected/{name}")
    assert (
        event["subject"] == event["data"]["input"]["path"] == event["data"]["error"]["file"] == f"incoming/{name}"
    )
    assert event["data"]["error"]["message"].endswith("…")


def test_an_answer_too_large_for_a_message_is_left_out() -> None:
    """The predictions of rows are in the event if they fit; else it says where they are, and nothing is cut."""
    small = {"predictions": [{"score": 0.5}] * 10}
    assert send(RECEIPT, answer=small)["data"]["predictions"] == small["predictions"]
    large = {"predictions": [{"score": 0.5}] * 10_000}
    assert "predictions" not in send(RECEIPT, answer=large)["data"]


def test_opening_services_makes_the_queue(services) -> None:
    """The events queue is there from the start, so that the first run can send."""
    send_ended(RECEIPT, services)
    [message] = services.queues.receive("scoring-events")
    assert json.loads(message.body)["id"] == RECEIPT.run_id
