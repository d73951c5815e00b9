"""What triggers call."""

import json

import pytest

from scoring.intake import accept_file, accept_message, give_up
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import interrupt

INPUT = BlobPath("incoming", "churn/a.csv")


def test_a_dropped_file_becomes_a_job_and_a_result(services) -> None:
    """The job a dropped file is queued as scores it."""
    services.blobs.write(INPUT, GOOD)
    accept_file(INPUT, services)
    [message] = services.queues.receive("scoring-jobs")
    receipt = accept_message(message.body, services)
    assert (receipt.status, receipt.output) == ("succeeded", "scored/churn/a.csv")


def test_a_file_outside_any_models_folder_gets_a_receipt(services) -> None:
    """A loose file is not queued; a failed receipt says where to drop it."""
    services.blobs.write(BlobPath("incoming", "a.csv"), GOOD)
    assert accept_file(BlobPath("incoming", "a.csv"), services) is None
    assert services.queues.receive("scoring-jobs") == []
    [blob] = [blob for blob in services.blobs.list("runs") if blob.path.name.endswith("/receipt.json")]
    receipt = json.loads(services.blobs.read(blob.path))
    assert (receipt["status"], receipt["error"]["code"]) == ("failed", "name_invalid")


def test_a_message_that_cannot_be_understood_gets_a_receipt(services) -> None:
    """Garbage on the queue ends at once, with the code and an example of a good message."""
    receipt = accept_message("not json", services)
    assert receipt.error
    assert receipt.error["code"] == "message_invalid"
    assert '"input"' in receipt.error["message"]


def test_a_job_that_failed_at_every_try_can_be_sent_again(services) -> None:
    """A poisoned job's run ends as failed under the job's own run id; sent again, it succeeds under the same."""
    services.blobs.write(INPUT, GOOD)
    body = json.dumps({"input": str(INPUT), "model": "churn"})
    given_up = give_up(body, services)
    assert given_up.error
    assert given_up.error["code"] == "retries_exhausted"
    receipt = accept_message(body, services)
    assert (receipt.run_id, receipt.status) == (given_up.run_id, "succeeded")
    assert services.receipts.get(receipt.run_id) == receipt


def test_giving_up_an_old_version_leaves_the_new_one_alone(services) -> None:
    """A poisoned message of a replaced version never ends the run of the version that came after."""
    services.blobs.write(INPUT, GOOD)
    accept_file(INPUT, services)
    [old] = services.queues.receive("scoring-jobs")
    services.blobs.write(INPUT, GOOD)
    accept_file(INPUT, services)
    [new] = services.queues.receive("scoring-jobs")
    given_up = give_up(old.body, services)
    receipt = accept_message(new.body, services)
    assert (given_up.status, receipt.status) == ("failed", "succeeded")
    assert given_up.run_id != receipt.run_id
    assert accept_message(old.body, services).status == "superseded"


def test_giving_up_never_overrules_a_receipt(services) -> None:
    """A job that did succeed before it was poisoned keeps its receipt."""
    services.blobs.write(INPUT, GOOD)
    body = json.dumps({"input": str(INPUT), "model": "churn"})
    succeeded = accept_message(body, services)
    assert give_up(body, services) == succeeded


def test_a_job_for_whichever_version_begins_anew_when_it_is_replaced(services) -> None:
    """A message without a version, whose input is replaced meanwhile, scores the newer one: nothing else would."""
    services.blobs.write(INPUT, GOOD)
    newer = GOOD.splitlines(keepends=True)
    changed = interrupt(
        services,
        "stage_block",
        BlobPath("scored", "churn@1/churn/a.csv"),
        lambda: replace_input(services, b"".join(newer[:2])),
    )
    receipt = accept_message(json.dumps({"input": str(INPUT), "model": "churn@1"}), changed)
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 1)


def replace_input(services, data: bytes) -> None:
    services.blobs.write(INPUT, data)


@pytest.mark.parametrize(
    "message",
    [
        {"error_threshold": float("inf")},
        {"error_threshold": float("nan")},
        {"csv": {"delimiter": "\ud800"}},
        {"input": "Incoming/churn/a.csv"},
        {"input": "nowhere/churn/a.csv"},
        {"input": "incoming/churn/" + "x" * 1100},
        {"input": "incoming/churn/" + "x" * 300},
        {"input": "incoming/churn/a\u0001.csv"},
        {"etag": 5},
    ],
    ids=str,
)
def test_permanent_faults_of_a_message_are_never_retried(services, message) -> None:
    """Whatever is wrong with a message for good ends in a receipt, from its first run and from the poison queue."""
    services.blobs.write(INPUT, GOOD)
    body = json.dumps({"input": str(INPUT), "model": "churn"} | message)
    assert accept_message(body, services).status == "failed"
    assert give_up(body, services).status == "failed"


def test_deep_messages_are_never_retried(services) -> None:
    """Nesting beyond Python's depth is a malformed message, not a bug to retry."""
    receipt = accept_message("[" * 60_000, services)
    assert receipt.error
    assert receipt.error["code"] == "message_invalid"
