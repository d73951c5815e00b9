"""Rows in a message, and the answer they get."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from errors import MessageInvalidError, StorageUnavailableError
from model_store.registry import Registry
from scoring.events import MOST_BYTES
from scoring.intake import accept_message, give_up
from scoring.receipt import Receipt, Receipts
from scoring.runs import list_runs, replay
from scoring.services import Services
from scoring.sweeper import sweep
from storage import BlobPath
from web.app import create_app

ROW = {"age": 20, "visits": 3, "member": True, "plan": "basic"}


def message(*rows: Any, **more: Any) -> str:
    return json.dumps({"model": "churn", "records": list(rows)} | more)


def send(services: Services, body: str) -> Receipt:
    receipt = accept_message(body, services)
    assert receipt is not None
    return receipt


def events(services: Services) -> list[dict[str, Any]]:
    received = []
    while batch := services.queues.receive("scoring-events", limit=32):
        for each in batch:
            services.queues.delete("scoring-events", each)
            received.append(json.loads(each.body))
    return received


def test_rows_are_answered_on_the_events_queue(services) -> None:
    """Each row's outputs, or why it has none, come in the rows' order, under the sender's own id."""
    receipt = send(services, message(ROW, ROW | {"age": "old"}, ROW, id="order-17"))
    [event] = events(services)
    assert (event["id"], event["type"], event["subject"]) == (
        receipt.run_id,
        "dropscore.run.succeeded",
        "order-17",
    )
    data = event["data"]
    assert data["id"] == "order-17"
    assert data["rows"] == {"read": 3, "scored": 2, "rejected": 1}
    assert data["model"] == {"reference": "churn", "name": "churn", "version": 1}
    good, bad, again = data["predictions"]
    assert good == again
    assert good["prediction"] == "stay"
    assert (bad["error"]["code"], bad["error"]["column"]) == ("value_type", "age")
    assert receipt.reject_codes == {"value_type": 1}
    assert services.receipts.get(receipt.run_id) == receipt


def test_the_answer_is_what_http_answers(services) -> None:
    """Rows in a message are scored as those of a request are: by the same code, to the same numbers."""
    send(services, message(ROW, ROW | {"visits": None}))
    [event] = events(services)
    client = TestClient(create_app(lambda: services, services.settings))
    answer = client.post("/api/predict/churn", json=[ROW, ROW | {"visits": None}]).json()
    assert event["data"]["predictions"] == answer["predictions"]


def test_no_rows_have_an_empty_answer(services) -> None:
    """An empty list is answered with one."""
    assert send(services, message()).status == "succeeded"
    [event] = events(services)
    assert event["data"]["predictions"] == []


def test_a_message_delivered_again_is_the_same_run(services) -> None:
    """However it is written, the same rows for the same model are one run, whose answer is sent again."""
    first = send(services, message(ROW, id="a"))
    again = send(services, json.dumps({"id": "a", "records": [ROW], "model": "churn"}, indent=2))
    assert again == first
    one, two = events(services)
    assert one == two
    assert send(services, message(ROW, id="b")).run_id != first.run_id
    assert send(services, message(ROW)).run_id != first.run_id


def test_a_newer_version_answers_anew(services, packages) -> None:
    """The same rows sent again after the model has changed are scored by the model that is current now."""
    first = send(services, message(ROW))
    Registry(services.blobs, "models").add("churn", packages(0.5))
    newer = replace(services, models=replace_cache(services))
    second = send(newer, message(ROW))
    assert second.run_id != first.run_id
    assert second.model["version"] == 2
    old, new = events(services)
    assert old["data"]["predictions"] != new["data"]["predictions"]


def test_an_alias_that_moves_between_deliveries_changes_nothing(services, packages) -> None:
    """A message whose run has begun goes on with the version it began with: one message, one run, one answer."""
    broken = replace(services, queues=Failing(services.queues, "send", 1))
    with pytest.raises(StorageUnavailableError):
        send(broken, message(ROW))
    Registry(services.blobs, "models").add("churn", packages(0.5))
    newer = replace(services, models=replace_cache(services))
    assert send(newer, message(ROW)).model["version"] == 1
    assert [run.version for run in list_runs(services)] == [1]
    [event] = events(services)
    assert event["data"]["model"]["version"] == 1
    assert send(newer, message(ROW)).model["version"] == 2, "the first run has ended: this is another message"
    assert list(services.blobs.list("runs", "_records/")) == []


def replace_cache(services: Services) -> Any:
    """Return a cache that has not resolved any alias yet."""
    return Services.open(services.settings).models


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (message(ROW, model="nobody"), "model_not_found"),
        (message({"age": 1}), "column_missing"),
        (message(ROW, model="churn@"), "reference_invalid"),
        (message(ROW, keep="all"), "message_invalid"),
    ],
)
def test_what_is_wrong_with_all_rows_ends_in_a_failed_receipt(services, body: str, code: str) -> None:
    """There is a receipt and an event that say why, and nothing is raised for the host to retry."""
    receipt = send(services, body)
    assert receipt.error is not None
    assert (receipt.status, receipt.error["code"]) == ("failed", code)
    [event] = events(services)
    assert event["type"] == "dropscore.run.failed"
    assert event["data"]["error"]["code"] == code
    assert "predictions" not in event["data"]


def test_an_answer_too_large_for_a_message_is_in_its_blob(services) -> None:
    """Far more outputs than a queue message holds: the event says where all of them are."""
    receipt = send(services, message(*[ROW] * 900))
    [event] = events(services)
    assert "predictions" not in event["data"]
    answer = services.blobs.read(BlobPath.parse(event["data"]["output"]))
    assert len(answer) > MOST_BYTES
    assert len(json.loads(answer)["predictions"]) == receipt.rows["read"] == 900


class Failing:
    """A queue store or blob store whose method fails a number of times with what a retry can mend."""

    def __init__(self, real: Any, method: str, times: int) -> None:
        self._real, self._method, self._times = real, method, times

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self._times:
            self._times -= 1
            raise StorageUnavailableError("try again")
        return getattr(self._real, name)


@pytest.mark.parametrize(
    "broken",
    [
        lambda services: replace(services, queues=Failing(services.queues, "send", 1)),
        lambda services: replace(services, blobs=Failing(services.blobs, "write", 1)),
        lambda services: replace(services, blobs=Failing(services.blobs, "read", 1)),
    ],
)
def test_a_fault_on_the_way_is_mended_by_the_next_delivery(services, broken) -> None:
    """Whichever step fails, it is raised, and the message delivered again ends in one receipt and one answer."""
    once = broken(services)
    with pytest.raises(StorageUnavailableError):
        send(once, message(ROW))
    receipt = send(once, message(ROW))
    assert receipt.status == "succeeded"
    sent = events(services)
    assert {event["id"] for event in sent} == {receipt.run_id}
    assert sent[-1]["data"]["predictions"]
    assert sum(blob.path.name.endswith("receipt.json") for blob in services.blobs.list("runs")) == 1


def test_rows_given_up_can_be_sent_again(services) -> None:
    """Poisoned rows have a failed receipt; sent again they are answered, in an event of another id."""
    given_up = give_up(message(ROW), services)
    assert given_up is not None
    assert given_up.error is not None
    assert given_up.error["code"] == "retries_exhausted"
    receipt = send(services, message(ROW))
    assert (receipt.status, receipt.run_id) == ("succeeded", given_up.run_id)
    first, second = events(services)
    assert first["id"] != second["id"]
    assert give_up(message(ROW), services) == receipt


def test_runs_of_rows_cannot_be_replayed(services) -> None:
    """Rows are not kept: the error says to send them again."""
    receipt = send(services, message(ROW, model="nobody"))
    with pytest.raises(MessageInvalidError, match="not kept"):
        replay(receipt.run_id, services)


def test_no_value_of_a_row_is_in_its_receipt(services) -> None:
    """Receipts say how many rows there were, and never what was in them."""
    receipt = send(services, message(ROW | {"plan": "Jane Doe"}, ROW | {"age": "Jane Doe"}))
    assert "Jane" not in receipt.to_json()


class Dying:
    """A store whose process dies where it writes a blob of such a name, or sends a message."""

    def __init__(self, real: Any, where: str) -> None:
        self._real, self._where = real, where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, path: BlobPath, data: bytes, **conditions: Any) -> str:
        if self._where in path.name:
            raise KeyboardInterrupt
        return self._real.write(path, data, **conditions)

    def send(self, *_message: str) -> None:
        raise KeyboardInterrupt


def die(services: Services, where: str, body: str) -> None:
    """Score rows in a process that is killed on the way."""
    blobs = Dying(services.blobs, where)
    queues = Dying(services.queues, where) if where == "send" else services.queues
    with pytest.raises(KeyboardInterrupt):
        send(replace(services, blobs=blobs, queues=queues, receipts=Receipts(blobs, "runs")), body)


def entries(services: Services) -> list[Any]:
    return list(services.blobs.list("runs", "_records/"))


def later(minutes: float) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


@pytest.mark.parametrize("where", ["receipt.json", "_ended/", "send"])
def test_rows_that_were_scored_are_told_of_by_the_sweeper(services, where: str) -> None:
    """Their process died behind the answer, and their message is gone: the answer is sent all the same."""
    body = message(ROW, ROW | {"age": "old"}, id="order-17")
    whole = send(services, body)
    [expected] = events(services)
    for blob in services.blobs.list("runs"):
        services.blobs.delete(blob.path)
    die(services, where, body)
    assert (sweep(services, later(14)), events(services)) == (0, [])
    assert sweep(services, later(16)) == 1
    [event] = events(services)
    assert event | {"time": ""} == expected | {"time": ""}
    assert services.receipts.get(whole.run_id).rows == {"read": 2, "scored": 1, "rejected": 1}
    assert [(run.run_id, run.status) for run in list_runs(services)] == [(whole.run_id, "succeeded")]
    assert (entries(services), sweep(services, later(600))) == ([], 0)


def test_rows_that_were_lost_are_given_up_by_the_sweeper(services) -> None:
    """Nobody can score them any more: their sender is told, but not before the host's own tries are over."""
    body = message(ROW | {"plan": "Jane Doe"})
    die(services, "answer.json", body)
    [entry] = entries(services)
    assert b"Jane" not in services.blobs.read(entry.path)
    assert sweep(services, later(479)) == 0
    assert sweep(services, later(481)) == 1
    [event] = events(services)
    assert event["id"] == f"{event['data']['run_id']}-given-up"
    assert (event["data"]["error"]["code"], event["data"]["input"]["records"]) == ("retries_exhausted", 1)
    assert entries(services) == []
    receipt = send(services, body)  # it was only late
    assert (receipt.status, receipt.run_id) == ("succeeded", event["data"]["run_id"])


def test_an_entry_of_rows_that_cannot_be_read_does_not_keep_the_others(services) -> None:
    """What was put there by hand is told of in the host's log; all else is looked after."""
    services.blobs.write(BlobPath("runs", "_records/0.json"), b"{}")
    die(services, "receipt.json", message(ROW))
    with pytest.raises(MessageInvalidError, match=r"_records/0\.json is no run's entry"):
        sweep(services, later(16))
    assert len(events(services)) == 1
    assert [blob.path.name for blob in entries(services)] == ["_records/0.json"]
