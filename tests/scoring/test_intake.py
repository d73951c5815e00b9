"""What triggers call."""

import base64
import hashlib
import json
from dataclasses import replace
from urllib.parse import quote

import pytest

from errors import StorageUnavailableError
from model_store import ModelReference
from scoring.blob_events import BLOB_CREATED
from scoring.entering import begin
from scoring.intake import accept_file, accept_message, accept_poisoned_blob, give_up
from scoring.job import Job
from scoring.runs import list_runs
from scoring.terminal import summary
from settings import Connection
from storage import BlobPath, QueueStore
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
    """A message without a version, whose input is replaced meanwhile, is queued for the newer one."""
    services.blobs.write(INPUT, GOOD)
    newer = GOOD.splitlines(keepends=True)
    changed = interrupt(
        services,
        "stage_block",
        BlobPath("scored", "churn/a.csv"),
        lambda: replace_input(services, b"".join(newer[:2])),
    )
    job = {"input": str(INPUT), "model": "churn", "version": 1}
    assert accept_message(json.dumps(job), changed).status == "superseded"
    [message] = services.queues.receive("scoring-jobs")
    assert (json.loads(message.body)["etag"], json.loads(message.body)["version"]) == (None, 1)
    receipt = accept_message(message.body, services)
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 1)


def test_a_job_for_whichever_version_finds_a_run_that_was_for_this_one(services) -> None:
    """Whoever began that named the version; the newer one that replaces it is scored for the job that did not."""
    services.blobs.create_container("data")
    path = BlobPath("data", "a.csv")
    etag = services.blobs.write(path, GOOD)
    job = Job(path, ModelReference("churn"), etag=etag)
    entry = services.open_runs.open(begin(job, services))
    assert entry.newer is None
    place = BlobPath("scored", "churn/_from/data/a.csv")
    changed = interrupt(services, "stage_block", place, lambda: services.blobs.write(path, GOOD) and None)
    assert accept_message(replace(job, etag=None).to_json(), changed).status == "superseded"
    [message] = services.queues.receive("scoring-jobs")
    assert accept_message(message.body, services).status == "succeeded"


def replace_input(services, data: bytes) -> None:
    services.blobs.write(INPUT, data)


def test_a_job_whose_input_is_replaced_again_and_again_is_queued_each_time(fleets) -> None:
    """One delivery is of one version, and drops nothing either: the newest has no other job."""
    fleet = fleets()
    job = replace(fleet.drop("a.csv", GOOD), etag=None)
    path = BlobPath("scored", "churn/a.csv")

    class Restless:
        def __getattr__(self, name: str):
            return getattr(fleet.services.blobs, name)

        def stage_block(self, *arguments) -> None:
            fleet.services.blobs.write(INPUT, GOOD)
            fleet.services.blobs.stage_block(*arguments)

    receipt = accept_message(job.to_json(), replace(fleet.services, blobs=Restless()))
    assert receipt.status == "superseded"
    [body] = fleet.services.queues.sent("scoring-jobs")
    assert accept_message(body, fleet.services).status == "succeeded"
    assert fleet.services.blobs.stat(path).size > len(GOOD)


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


def event(name: str, etag: str | None, **changed: object) -> dict:
    """Return what Event Grid says of a dropped file."""
    data = {
        "api": "PutBlob",
        "url": f"http://127.0.0.1:10000/devstoreaccount1/incoming/{quote(name, safe='~/')}",
        "eTag": etag,
    }
    return {"eventType": BLOB_CREATED, "subject": f"{SUBJECT}{name}", "data": data | changed}


SUBJECT = "/blobServices/default/containers/incoming/blobs/"
AZURITE = Connection("AzureWebJobsStorage", "UseDevelopmentStorage=true")


@pytest.fixture
def told(services):
    """Services whose settings name an account, so that URLs of its blobs can be told."""
    return replace(services, settings=replace(services.settings, storage=AZURITE))


def queued(services) -> list[str]:
    bodies = []
    while batch := services.queues.receive("scoring-jobs", limit=32):
        for message in batch:
            services.queues.delete("scoring-jobs", message)
            bodies.append(message.body)
    return bodies


def ended(services) -> list[dict]:
    """Return the events that were sent of runs that have ended."""
    return [json.loads(message.body) for message in services.queues.receive("scoring-events", limit=32)]


def test_an_event_is_the_same_run_as_the_dropped_file(told) -> None:
    """Where both the blob trigger and an event tell of a file, it is scored once."""
    etag = told.blobs.write(INPUT, GOOD)
    by_event = accept_message(json.dumps(event("churn/a.csv", f'"{etag}"')), told)
    accept_file(INPUT, told)
    [body] = queued(told)
    assert accept_message(body, told) == by_event
    assert by_event.status == "succeeded"


def test_a_path_and_a_url_are_scored(told) -> None:
    """A message that is nothing but a path or a URL scores what it names, and a folder's queues its files."""
    told.blobs.write(INPUT, GOOD)
    by_path = accept_message("incoming/churn/a.csv", told)
    assert accept_message("http://localhost:10000/devstoreaccount1/incoming/churn/a.csv", told) == by_path
    assert by_path.status == "succeeded"
    assert accept_message("incoming/churn/", told) is None
    assert [json.loads(body)["input"] for body in queued(told)] == ["incoming/churn/a.csv"]


def test_each_event_of_an_array_gets_its_job(told) -> None:
    """Events of one message are queued as jobs of their own; a file that can have none gets its receipt."""
    first = told.blobs.write(INPUT, GOOD)
    second = told.blobs.write(BlobPath("incoming", "churn/b.csv"), GOOD)
    told.blobs.write(BlobPath("incoming", "churn/_SUCCESS"), b"")
    body = json.dumps(
        [
            event("churn/a.csv", first),
            event("churn/b.csv", second),
            event("churn/_SUCCESS", None),
            event("churn/gone.csv", "0x1"),
            event("loose.csv", "0x1"),
        ]
    )
    told.blobs.write(BlobPath("incoming", "loose.csv"), GOOD)
    for _ in range(2):  # delivered again, they are the same jobs
        assert accept_message(body, told) is None
        jobs = [json.loads(body) for body in queued(told)]
        assert [(job["input"], job["etag"]) for job in jobs] == [
            ("incoming/churn/a.csv", first),
            ("incoming/churn/b.csv", second),
        ]
    [run] = list_runs(told)
    assert (run.status, run.input, run.error) == ("failed", "incoming/loose.csv", "name_invalid")


def test_an_array_of_events_that_fails_half_way_is_done_again(told) -> None:
    """What was queued before the fault is queued once more: the same jobs, and so the same runs."""
    etags = [told.blobs.write(BlobPath("incoming", f"churn/{name}.csv"), GOOD) for name in "ab"]
    body = json.dumps([event(f"churn/{name}.csv", etag) for name, etag in zip("ab", etags, strict=True)])
    queues = SendsOnce(told.queues)
    with pytest.raises(StorageUnavailableError):
        accept_message(body, replace(told, queues=queues))
    accept_message(body, told)
    receipts = [accept_message(body, told) for body in queued(told)]
    assert len(receipts) == 3
    assert {receipt.run_id for receipt in receipts} == {run.run_id for run in list_runs(told)}
    assert [run.status for run in list_runs(told)] == ["succeeded", "succeeded"]


class SendsOnce:
    """A queue store that can send one message."""

    def __init__(self, real: QueueStore) -> None:
        self._real, self._sent = real, 0

    def send(self, queue: str, body: str) -> None:
        self._sent += 1
        if self._sent > 1:
            raise StorageUnavailableError("try again")
        self._real.send(queue, body)


def test_no_event_of_an_array_acts_if_one_is_not_understood(told) -> None:
    """All are understood before any acts: a message is done whole or refused whole."""
    etag = told.blobs.write(INPUT, GOOD)
    other = event("churn/b.csv", "0x1", url="http://elsewhere.example/incoming/churn/b.csv")
    receipt = accept_message(json.dumps([event("churn/a.csv", etag), other]), told)
    assert receipt.error["code"] == "name_invalid"
    assert queued(told) == []


@pytest.mark.parametrize("name", ["churn/_SUCCESS", "churn/.part-0.csv.crc", "churn/gone.csv"])
def test_an_event_of_what_is_not_scored_leaves_no_trace(told, name) -> None:
    """What lies beside data, and a file that is gone already, need no run."""
    assert accept_message(json.dumps(event(name, "0x1")), told) is None
    assert list(told.blobs.list("runs")) == []


def test_an_event_whose_name_was_damaged_is_not_forgotten(told) -> None:
    """Where characters were lost on the way there is a file that is not scored: its receipt says so."""
    accept_message(json.dumps(event("churn/\ufffd\ufffd.csv", "0x1")), told)
    [run] = list_runs(told)
    assert (run.status, run.error) == ("failed", "blob_not_found")


def test_an_event_of_an_older_version_is_superseded(told) -> None:
    """Events may come late: the older version's ends, and the newer one's scores."""
    old = told.blobs.write(INPUT, GOOD)
    new = told.blobs.write(INPUT, GOOD)
    assert accept_message(json.dumps(event("churn/a.csv", old)), told).status == "superseded"
    assert accept_message(json.dumps(event("churn/a.csv", new)), told).status == "succeeded"


def test_our_own_results_start_nothing(told) -> None:
    """With a subscription of the whole account, all that a run writes makes events, and none of them a run."""
    told.blobs.write(INPUT, GOOD)
    accept_message(str(INPUT), told)
    accept_message("not json", told)
    written = [blob.path for name in ("scored", "rejected", "runs") for blob in told.blobs.list(name)]
    assert len(written) >= 3
    for path in written:
        url = f"http://127.0.0.1:10000/devstoreaccount1/{path}"
        assert accept_message(json.dumps(event(path.name, "0x1", url=url)), told) is None
    sent = ended(told)
    assert sent
    assert accept_message(json.dumps(sent), told) is None
    assert queued(told) == []
    assert [blob.path for name in ("scored", "rejected", "runs") for blob in told.blobs.list(name)] == written


@pytest.mark.parametrize("handle", [accept_message, give_up])
@pytest.mark.parametrize("body", ["not json", b"\xff\xfe", '{"age": 41}', "[]"])
def test_a_refused_message_can_be_told_by_its_receipt(services, handle, body) -> None:
    """Whoever reads it, the receipt says why, and size and hash of the message; its event is sent; told once."""
    receipt = handle(body, services)
    assert handle(body, services) == receipt
    data = body if isinstance(body, bytes) else body.encode()
    assert (receipt.status, receipt.error["code"]) == ("failed", "message_invalid")
    described = receipt.input["message"]
    assert (described["bytes"], described["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert {sent["id"] for sent in ended(services)} == {receipt.run_id}
    assert services.receipts.get(receipt.run_id) == receipt
    assert [run.run_id for run in list_runs(services)] == [receipt.run_id]
    assert f"{len(data)} bytes" in summary(receipt, "")


def test_giving_up_handles_every_form(told) -> None:
    """Each run that a poisoned message asked for has a failed receipt of its own."""
    first = told.blobs.write(INPUT, GOOD)
    second = told.blobs.write(BlobPath("incoming", "churn/b.csv"), GOOD)
    give_up(json.dumps([event("churn/a.csv", first), event("churn/b.csv", second)]), told)
    give_up("incoming/churn/", told)
    give_up("incoming/churn/a.csv", told)
    give_up(json.dumps({"model": "churn", "records": [{"age": 1}]}), told)
    assert give_up(json.dumps(event("churn/a.csv", first, api="CreateFile")), told) is None
    sent = [each["data"] for each in ended(told)]
    assert {each["error"]["code"] for each in sent} == {"retries_exhausted"}
    inputs = {each["run_id"]: each["input"]["path"] for each in sent}
    places = ["None", "None", "incoming/churn/a.csv", "incoming/churn/b.csv"]
    assert sorted(str(place) for place in inputs.values()) == places


def poisoned(name: str, container: str = "incoming") -> dict:
    return {
        "Type": "BlobTrigger",
        "FunctionId": "Host.Functions.dropped",
        "BlobType": "BlockBlob",
        "ContainerName": container,
        "BlobName": name,
        "ETag": '"0x8D1DC6E70A277EF"',
    }


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
def test_a_dropped_file_whose_intake_failed_is_queued_after_all(services, encode) -> None:
    """The host's message about a poisoned blob, in base64 as it writes them, becomes the file's job."""
    etag = services.blobs.write(INPUT, GOOD)
    accept_poisoned_blob(encode(json.dumps(poisoned("churn/a.csv"))), services)
    [body] = queued(services)
    assert json.loads(body)["etag"] == etag
    assert accept_message(body, services).status == "succeeded"


@pytest.mark.parametrize(
    "message", [poisoned("a.csv", "of-another-app"), poisoned("churn/gone.csv"), poisoned("churn/_SUCCESS")]
)
def test_other_poisoned_blobs_start_nothing(services, message) -> None:
    """Files of other apps of the account, files that are gone, and what is no data, are passed over."""
    assert accept_poisoned_blob(json.dumps(message), services) is None
    assert queued(services) == []
    assert list(services.blobs.list("runs")) == []


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", '{"ContainerName": "incoming"}', '{"ContainerName": 1, "BlobName": 2}']
)
def test_a_damaged_message_of_a_poisoned_blob_gets_a_receipt(services, body) -> None:
    """Nothing is raised, since the host would deliver it for ever."""
    assert accept_poisoned_blob(body, services) is None
    [sent] = ended(services)
    assert sent["data"]["error"]["code"] == "message_invalid"


def test_a_poisoned_blob_that_can_have_no_job_gets_a_receipt(services) -> None:
    """As when it was dropped: a receipt says where to drop it instead."""
    services.blobs.write(BlobPath("incoming", "loose.csv"), GOOD)
    assert accept_poisoned_blob(json.dumps(poisoned("loose.csv")), services) is None
    [sent] = ended(services)
    assert sent["data"]["error"]["code"] == "name_invalid"
