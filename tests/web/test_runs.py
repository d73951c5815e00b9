"""Runs over HTTP: started, listed, looked at, cancelled and replayed."""

import json
import re

import pytest

from errors import StorageUnavailableError
from model_store.registry import Registry
from scoring.entering import begin
from scoring.intake import accept_message
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.runs import list_page
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT

JOB = {"input": str(INPUT), "model": "churn"}


@pytest.fixture
def dropped(services) -> str:
    """Put a file of rows where jobs find it, and return its ETag."""
    return services.blobs.write(INPUT, GOOD)


def drop(services, data: bytes = GOOD, name: str = "b.csv", model: str = "churn"):
    path = BlobPath("incoming", f"{model}/{name}")
    services.blobs.write(path, data)
    return run_job(Job.for_dropped(path), services)


def queued(services) -> list[str]:
    """Take the messages that wait."""
    found = services.queues.receive("scoring-jobs", limit=32)
    for message in found:
        services.queues.delete("scoring-jobs", message)
    return [message.body for message in found]


@pytest.mark.usefixtures("dropped")
def test_a_run_is_started_polled_and_ends(client, services) -> None:
    """202 with where to look, and when; there it is queued at once, and has its receipt in the end."""
    started = client.post("/api/runs", json=JOB | {"keep": "none"})
    assert started.status_code == 202
    body = started.json()
    location = started.headers["location"]
    assert location == f"/api/runs/{body['run_id']}"
    assert int(started.headers["retry-after"]) > 0
    assert (body["status"], body["input"], body["model"], body["version"]) == ("queued", str(INPUT), "churn", 1)
    waiting = client.get(location)
    assert (waiting.status_code, waiting.json()["status"]) == (200, "queued")
    assert int(waiting.headers["retry-after"]) > 0
    [message] = queued(services)
    assert accept_message(message, services)
    ended = client.get(location)
    assert (ended.json()["status"], ended.json()["rows"]) == ("succeeded", {"read": 3, "scored": 3, "rejected": 0})
    assert ended.json()["options"]["keep"] == "none"
    assert "retry-after" not in ended.headers


@pytest.mark.usefixtures("dropped")
def test_a_run_that_is_known_is_not_started_again(client, services) -> None:
    """The same job on the same version of its input is 200 with the same place, whether it waits or has ended."""
    first = client.post("/api/runs", json=JOB)
    [message] = queued(services)
    waiting = client.post("/api/runs", json=JOB)
    assert (waiting.status_code, waiting.json()["status"]) == (200, "queued")
    accept_message(message, services)
    ended = client.post("/api/runs", json=JOB)
    assert (ended.status_code, ended.json()["status"], ended.json()["rows"]["read"]) == (200, "succeeded", 3)
    assert {waiting.headers["location"], ended.headers["location"]} == {first.headers["location"]}
    assert queued(services) == []
    other = client.post("/api/runs", json=JOB | {"keep": "none"})
    services.blobs.write(INPUT, GOOD + b"4,1,1,true,pro\n")
    newer = client.post("/api/runs", json=JOB)
    assert (other.status_code, newer.status_code) == (202, 202)
    assert len({answer.headers["location"] for answer in (first, other, newer)}) == 3


def test_a_job_may_name_the_version_of_its_input_and_write_it_in_quotes(client, services, dropped: str) -> None:
    """As Event Grid and HTTP write ETags; the run is the one that a dropped file's job is."""
    started = client.post("/api/runs", json=JOB | {"etag": f'"{dropped}"'})
    assert started.status_code == 202
    assert json.loads(queued(services)[0])["etag"] == dropped


def test_a_folder_is_a_run_for_each_of_its_files(client, services) -> None:
    """Its job is queued as it is, and the answer says where the runs will be listed."""
    for name in ("a.csv", "b.csv"):
        services.blobs.write(BlobPath("incoming", f"churn@1/day/{name}"), GOOD)
    for path in ("incoming/churn@1/day/", "incoming/churn@1/day"):
        started = client.post("/api/runs", json={"input": path})
        assert (started.status_code, started.json()["input"]) == (202, "incoming/churn@1/day/")
        [message] = queued(services)
        accept_message(message, services)
        jobs = queued(services)
        assert len(jobs) == 2
    for job in jobs:
        accept_message(job, services)
    listed = client.get(started.headers["location"]).json()["runs"]
    assert [(run["status"], run["model"]) for run in listed] == [("succeeded", "churn@1")] * 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "message_invalid"),
        ("[]", 400, "message_invalid"),
        ('"incoming/churn/a.csv"', 400, "message_invalid"),
        ("{}", 400, "message_invalid"),
        ('{"input": 3}', 400, "message_invalid"),
        ('{"input": "incoming/churn/a.csv", "input": "b"}', 400, "message_invalid"),
        ('{"input": "incoming/churn/a.csv", "keep": NaN}', 400, "message_invalid"),
        ('{"input": "incoming/churn/a.csv", "keep": ' + "[" * 300 + "]" * 300 + "}", 400, "message_invalid"),
        ('{"model": "churn", "records": []}', 400, "message_invalid"),
        ('{"input": "incoming/churn/a.csv", "colour": "red"}', 400, "options_invalid"),
        ('{"input": "incoming/churn/a.csv", "keep": 7}', 400, "options_invalid"),
        ('{"input": "incoming/churn/a.csv", "model": "no model"}', 400, "reference_invalid"),
        ('{"input": "incoming/churn/a.csv", "model": "nope"}', 404, "model_not_found"),
        ('{"input": "incoming/churn/a.csv", "model": "churn@9"}', 404, "model_not_found"),
        ('{"input": "incoming/churn/none.csv"}', 404, "blob_not_found"),
        ('{"input": "nowhere/churn/none.csv", "model": "churn"}', 404, "blob_not_found"),
        ('{"input": "incoming/churn/none/"}', 404, "blob_not_found"),
        ('{"input": "incoming/nope/day/"}', 404, "model_not_found"),
        ('{"input": "incoming/churn/a.txt"}', 415, "format_unsupported"),
        ('{"input": "incoming/churn/../a.csv"}', 400, "name_invalid"),
        ('{"input": "incoming/churn//a.csv"}', 400, "name_invalid"),
        ('{"input": "incoming/a.csv"}', 400, "name_invalid"),
        ('{"input": "a.csv"}', 400, "name_invalid"),
        ('{"input": "https://example.com/incoming/churn/a.csv"}', 400, "name_invalid"),
    ],
)
def test_a_job_that_cannot_run_is_refused_at_once(client, services, body: str, status: int, code: str) -> None:
    """With the error that its receipt would have; nothing is queued, and there is no run of it."""
    for name in ("a.csv", "a.txt"):
        services.blobs.write(BlobPath("incoming", f"churn/{name}"), GOOD)
    answer = client.post("/api/runs", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]
    assert queued(services) == []
    assert client.get("/api/runs").json() == {"runs": [], "next": None}


def test_a_runs_id_is_no_path(client) -> None:
    """What is no run is not found, however it is written, whatever is asked of it."""
    for run_id in ("nope", "0" * 32, "..%2F..%2Fmodels", "%2e%2e", "a%00b", "x" * 2000, "_open"):
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/replay")):
            assert client.request(method, f"/api/runs/{run_id}{path}").status_code == 404


def test_runs_are_listed_a_page_at_a_time(client, services) -> None:
    """Those under way first, then those that have ended; `next` leads through all of them, once each."""
    ended = [drop(services, name=f"{number}.csv").run_id for number in range(4)]
    waiting = []
    for number in range(3):
        path = BlobPath("incoming", f"churn/w{number}.csv")
        services.blobs.write(path, GOOD)
        waiting.append(client.post("/api/runs", json={"input": str(path)}).json()["run_id"])
    expected = [*reversed(waiting), *reversed(ended)]
    whole = client.get("/api/runs").json()
    assert ([run["run_id"] for run in whole["runs"]], whole["next"]) == (expected, None)
    for limit in (1, 2, 3, 6, 7):
        found, after, pages = [], "", 0
        while after is not None:
            page = client.get("/api/runs", params={"limit": limit, "after": after}).json()
            found += [run["run_id"] for run in page["runs"]]
            after, pages = page["next"], pages + 1
        assert (limit, found) == (limit, expected)
        assert pages == -(-len(expected) // limit)


def test_a_run_that_ends_between_two_pages_is_not_missed(client, services) -> None:
    """It leaves the runs under way, whose pages go on, and is then the newest of those that have ended."""
    ids = []
    for number in range(2):
        path = BlobPath("incoming", f"churn/w{number}.csv")
        services.blobs.write(path, GOOD)
        ids.append(client.post("/api/runs", json={"input": str(path)}).json()["run_id"])
    page = client.get("/api/runs", params={"limit": 1}).json()
    assert [run["run_id"] for run in page["runs"]] == [ids[1]]
    accept_message(queued(services)[0], services)
    rest = client.get("/api/runs", params={"after": page["next"]}).json()
    assert [(run["run_id"], run["status"]) for run in rest["runs"]] == [(ids[0], "succeeded")]


def test_runs_are_listed_by_status_and_model(client, services) -> None:
    """A name means all its versions and aliases, a reference itself, in any of its forms."""
    plain, pinned = drop(services), drop(services, model="churn@1")
    failed = drop(services, b"id\n1\n", "c.csv")

    def listed(**asked: str) -> list[str]:
        return [run["run_id"] for run in client.get("/api/runs", params=asked).json()["runs"]]

    assert listed(status="failed") == [failed.run_id]
    assert listed(status="succeeded", model="churn") == [pinned.run_id, plain.run_id]
    assert listed(model="models:/churn/1") == [pinned.run_id]
    assert listed(status="queued") == listed(model="other") == []
    assert listed(status="", model="", limit="", after="") == [failed.run_id, pinned.run_id, plain.run_id]


def test_a_page_may_be_short_of_runs_that_fit(services) -> None:
    """Of a long list few are looked at a time; `next` leads on, also behind what did not fit."""
    first = drop(services, b"id\n1\n", "a.csv").run_id
    for number in range(5):
        drop(services, name=f"{number}.csv")
    page = list_page(services, status="failed", most_looked=3)
    assert page.runs == []
    rest = list_page(services, status="failed", most_looked=3, after=page.next)
    assert ([run.run_id for run in rest.runs], rest.next) == ([first], None)


@pytest.mark.parametrize(
    "asked",
    [
        {"status": "done"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "-1"},
        {"limit": "1e1"},
        {"limit": "9" * 5000},
        {"after": "x"},
        {"after": "../receipts"},
    ],
)
def test_a_list_that_cannot_be_asked_for(client, asked: dict) -> None:
    """A filter or cursor that is none is said to be so, rather than passed over."""
    answer = client.get("/api/runs", params=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "options_invalid")


@pytest.mark.usefixtures("dropped")
def test_a_waiting_run_is_cancelled_and_replayed(client, services) -> None:
    """Its receipt says so, its job does nothing any more; the replay is a run of its own, at a place of its own."""
    first = client.post("/api/runs", json=JOB).headers["location"]
    cancelled = client.post(f"{first}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json() == client.get(first).json()
    again = client.post(f"{first}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "run_ended")
    accept_message(queued(services)[0], services)
    assert client.get(first).json()["status"] == "cancelled"
    replayed = client.post(f"{first}/replay")
    second = replayed.headers["location"]
    assert (replayed.status_code, replayed.json()["attempt"], second != first) == (202, 1, True)
    assert client.get(second).json()["status"] == "queued"
    accept_message(queued(services)[0], services)
    assert client.get(second).json()["status"] == "succeeded"
    assert client.get(first).json()["status"] == "cancelled"
    over = client.post(f"{first}/replay")
    assert (over.status_code, over.json()["error"]["code"]) == (409, "run_ended")


@pytest.mark.usefixtures("dropped")
def test_a_run_under_way_cannot_be_replayed(client) -> None:
    """It has to end first, or be cancelled."""
    place = client.post("/api/runs", json=JOB).headers["location"]
    answer = client.post(f"{place}/replay")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_under_way")


def test_a_replay_says_what_is_missing(client, services, packages) -> None:
    """A run whose input is gone cannot be replayed; nor can a message that never was a job."""
    failed = drop(services, b"id\n1\n")
    Registry(services.blobs, services.settings.models).add("churn", packages(-1.0))
    services.blobs.delete(BlobPath("incoming", "churn/b.csv"))
    gone = client.post(f"/api/runs/{failed.run_id}/replay")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "blob_not_found")
    refused = accept_message("no job", services)
    assert refused
    never = client.post(f"/api/runs/{refused.run_id}/replay")
    assert (never.status_code, never.json()["error"]["code"]) == (400, "message_invalid")


def test_storage_that_fails_is_503(client, services, monkeypatch) -> None:
    """What a retry can mend is told from what it cannot."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise StorageUnavailableError("the storage service throttles or fails: try again later")

    services.blobs.write(INPUT, GOOD)
    monkeypatch.setattr(type(services.queues), "send", fail)
    answer = client.post("/api/runs", json=JOB)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")


def test_heads_and_other_methods(client) -> None:
    """HEAD works where GET does, and a wrong method is told the right ones."""
    assert client.head("/api/runs").status_code == 200
    assert client.head("/api/runs/nope").status_code == 404
    wrong = client.delete("/api/runs")
    assert (wrong.status_code, set(re.split(", *", wrong.headers["allow"]))) == (405, {"GET", "HEAD", "POST"})
    assert client.get("/api/runs/nope/cancel").status_code == 405


def test_a_running_run_says_how_far_it_is(client, services) -> None:
    """Between queued and ended it is running, and whoever waits is told when to ask again."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(Job.for_dropped(INPUT), services)).run
    services.receipts.announce(run)
    services.receipts.report(run.id, {"rows_read": 2})
    answer = client.get(f"/api/runs/{run.id}")
    assert (answer.json()["status"], answer.json()["progress"]) == ("running", {"rows_read": 2})
    assert int(answer.headers["retry-after"]) > 0
