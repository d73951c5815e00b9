"""Files over HTTP: dropped whole or not at all, in bounded memory, and then scored as any other."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from errors import BlocksMissingError, ConditionFailedError
from scoring.intake import accept_file, accept_message
from scoring.sweeper import sweep
from scoring.uploads import BLOCK_BYTES, UPLOAD_KEY, Upload
from storage import BlobPath
from tests.scoring.test_csv import GOOD, HEADER
from tests.scoring.test_pipeline import INPUT
from web.app import create_app

URL = "/api/files/churn/a.csv"


def queued(services) -> list[str]:
    """Take the messages that wait."""
    found = services.queues.receive("scoring-jobs", limit=32)
    for message in found:
        services.queues.delete("scoring-jobs", message)
    return [message.body for message in found]


def stored(services) -> list[str]:
    return [blob.path.name for blob in services.blobs.list("incoming")]


def staged(services) -> list[Path]:
    folder = Path(services.settings.folder) / ".dropscore" / "staged"
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_file_is_uploaded_and_scored(client, services) -> None:
    """201 with path and ETag, and the run, which is queued at once and is the one that the blob trigger starts."""
    sent = client.post(URL, content=GOOD)
    blob = services.blobs.stat(INPUT)
    assert (sent.status_code, services.blobs.read(INPUT)) == (201, GOOD)
    body = sent.json()
    assert body == {
        "path": "incoming/churn/a.csv",
        "etag": blob.etag,
        "bytes": len(GOOD),
        "run_id": body["run_id"],
        "run": f"/api/runs/{body['run_id']}",
    }
    assert (sent.headers["location"], sent.headers["etag"]) == (body["run"], f'"{blob.etag}"')
    assert client.get(body["run"]).json()["status"] == "queued"
    assert queued(services) == []
    accept_file(INPUT, services)  # as the blob trigger does
    [message] = queued(services)
    accept_message(message, services)
    assert client.get(body["run"]).json()["status"] == "succeeded"
    assert client.get(f"{body['run']}/result").content.startswith(HEADER.rstrip())


@pytest.mark.parametrize("size", [1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 12345])
def test_files_of_any_size_arrive_byte_for_byte(client, services, size: int) -> None:
    """In one part or many, around the size of a block."""
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    for body in (content, (content[start : start + 65_521] for start in range(0, size, 65_521))):
        assert client.post(URL, content=body).json()["bytes"] == size
        assert services.blobs.read(INPUT) == content


@pytest.mark.parametrize(
    "name",
    [
        "2026/11/a.csv",
        "a b.csv",
        "100%.csv",
        "a?b#c.csv",
        "a+b.csv",
        "été 表 😀.csv",
        "a.CSV.GZ",
        "x/y.parquet",
        "a.b.c.tsv",
        "_a.csv",
    ],
)
def test_names_are_decoded_once_and_else_kept(client, services, name: str) -> None:
    """A file lies under the very name that the URL encodes."""
    sent = client.post(f"/api/files/churn@1/{quote(name)}", content=GOOD)
    assert (sent.status_code, sent.json()["path"]) == (201, f"incoming/churn@1/{name}")
    assert stored(services) == [f"churn@1/{name}"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("churn/%2e%2e/a.csv", 400, "name_invalid"),
        ("churn/x/%2e/a.csv", 400, "name_invalid"),
        ("churn/%2e%2e%2fother%2fa.csv", 400, "name_invalid"),
        ("churn/x//a.csv", 400, "name_invalid"),
        ("churn/x%2f%2fa.csv", 400, "name_invalid"),
        ("churn//a.csv", 400, "name_invalid"),
        ("churn/", 400, "name_invalid"),
        ("churn/a.csv/", 400, "name_invalid"),
        ("churn/a%5cb.csv", 400, "name_invalid"),
        ("churn/a%00b.csv", 400, "name_invalid"),
        ("churn/a%7fb.csv", 400, "name_invalid"),
        ("churn/a%ffb.csv", 400, "name_invalid"),
        ("churn/.a.csv", 400, "name_invalid"),
        ("churn/_temporary/a.csv", 400, "name_invalid"),
        ("churn/_SUCCESS", 400, "name_invalid"),
        ("churn/" + "a" * 1100 + ".csv", 400, "name_invalid"),
        ("churn/" + "a" * 300 + ".csv", 400, "name_invalid"),
        ("churn/" + "a/" * 260 + "a.csv", 400, "name_invalid"),
        ("churn/a.txt", 415, "format_unsupported"),
        ("churn/a", 415, "format_unsupported"),
        ("no%20model/a.csv", 400, "reference_invalid"),
        ("%2e%2e/a.csv", 400, "name_invalid"),
        ("nope/a.csv", 404, "model_not_found"),
        ("churn@9/a.csv", 404, "model_not_found"),
        ("churn@nope/a.csv", 404, "model_not_found"),
    ],
)
def test_what_could_not_be_scored_there_is_refused(client, services, path: str, status: int, code: str) -> None:
    """Before the body is read: names as those of dropped files, formats by the name, models that are there."""
    answer = client.post(f"/api/files/{path}", content=GOOD)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert stored(services) == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-encoding": "gzip"}, 415, "format_unsupported"),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "format_unsupported"),
        ({"if-none-match": '"x"'}, 400, "message_invalid"),
        ({"if-match": "x"}, 400, "message_invalid"),
        ({"if-match": "*"}, 400, "message_invalid"),
    ],
)
def test_bodies_that_are_no_file_are_refused(client, services, headers: dict, status: int, code: str) -> None:
    """Forms and compressed bodies would be stored as what they are not; conditions that are none would be lost."""
    answer = client.post(URL, content=GOOD, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert stored(services) == []


def test_an_empty_body_is_refused(client, services) -> None:
    """The words say how that may come about: under the Functions host a body in chunks arrives so."""
    answer = client.post(URL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "file_empty")
    assert "chunks" in answer.json()["error"]["message"]
    assert stored(services) == []


def test_a_file_that_is_too_large_is_refused(services) -> None:
    """By what its length says, before a byte is read; or, without one, as soon as it is more."""
    small = replace(services, settings=replace(services.settings, max_upload_bytes=100))
    with TestClient(create_app(lambda: small, small.settings)) as client:
        for body in (bytes(101), iter([bytes(60), bytes(60)])):
            answer = client.post(URL, content=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "record_too_large")
            assert "100 bytes" in answer.json()["error"]["message"]
        assert stored(services) == []
        assert client.post(URL, content=bytes(100)).status_code == 201


def test_conditions_are_held(client, services) -> None:
    """If-None-Match: * keeps what is there; If-Match replaces one version only; without either the last counts."""
    first = client.post(URL, content=GOOD, headers={"if-none-match": "*"})
    assert first.status_code == 201
    again = client.post(URL, content=b"other", headers={"if-none-match": "*"})
    assert (again.status_code, again.json()["error"]["code"]) == (412, "condition_failed")
    assert services.blobs.read(INPUT) == GOOD
    second = client.post(URL, content=GOOD + GOOD, headers={"if-match": first.headers["etag"]})
    assert second.status_code == 201
    late = client.post(URL, content=b"other", headers={"if-match": first.headers["etag"]})
    assert late.status_code == 412
    missing = client.post("/api/files/churn/b.csv", content=GOOD, headers={"if-match": '"x"'})
    assert missing.status_code == 412
    assert client.post(URL, content=GOOD).json()["run_id"] not in (first.json()["run_id"], second.json()["run_id"])
    assert services.blobs.read(INPUT) == GOOD


class Meddled:
    """A blob store in which something else happens just before, or after, the commits."""

    def __init__(
        self, blobs, *, before: Callable[[], object] = object, after: Callable[[], object] = object
    ) -> None:
        self._blobs, self._before, self._after = blobs, before, after

    def __getattr__(self, name: str):
        return getattr(self._blobs, name)

    def commit_blocks(self, path: BlobPath, block_ids, **options) -> str:
        self._before()
        etag = self._blobs.commit_blocks(path, block_ids, **options)
        self._after()
        return etag


def test_a_condition_that_fails_at_the_end_leaves_what_is_there(services) -> None:
    """Somebody else's file came while this one was on its way."""
    late = replace(services, blobs=Meddled(services.blobs, before=lambda: services.blobs.write(INPUT, b"first")))
    with TestClient(create_app(lambda: late, late.settings)) as client:
        answer = client.post(URL, content=GOOD, headers={"if-none-match": "*"})
    assert (answer.status_code, services.blobs.read(INPUT)) == (412, b"first")
    assert staged(services) == []


@pytest.mark.parametrize("error", [BlocksMissingError, ConditionFailedError])
def test_a_commit_whose_answer_is_lost_is_known_by_its_mark(services, error) -> None:
    """Sent again, it finds its own work, and that is no conflict."""

    def lose() -> None:
        raise error("as the second request finds it")

    lossy = replace(services, blobs=Meddled(services.blobs, after=lose))
    with TestClient(create_app(lambda: lossy, lossy.settings)) as client:
        sent = client.post(URL, content=GOOD, headers={"if-none-match": "*"})
    blob = services.blobs.stat(INPUT)
    assert (sent.status_code, sent.json()["etag"]) == (201, blob.etag)
    assert UPLOAD_KEY in blob.metadata


def test_two_uploads_of_one_file_never_mix(services) -> None:
    """Whichever is committed first drops the other's blocks, and that one is told to send its file again."""
    size = BLOCK_BYTES + 10
    first, second = Upload(INPUT, services), Upload(INPUT, services)
    first.write([b"a" * size])
    second.write([b"b" * size])
    second.commit()
    with pytest.raises(BlocksMissingError, match="another upload"):
        first.commit()
    first.discard()
    assert services.blobs.read(INPUT) == b"b" * size
    assert staged(services) == []


def send_by_hand(app, messages: Iterable[dict], headers: tuple = ()) -> list[dict]:
    """Bring a request as a server does, and return what was sent."""
    sent: list[dict] = []
    rest = iter(messages)
    scope = {
        "type": "http",
        "method": "POST",
        "path": URL,
        "query_string": b"",
        "headers": [*headers],
    }

    async def receive() -> dict:
        message = next(rest, None)
        if message is None:
            await asyncio.Event().wait()  # nothing more comes
            raise AssertionError
        return message

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def part(body: bytes, *, more: bool = True) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_breaks_off_leaves_nothing(services) -> None:
    """A client that goes away in the middle of a block, or between two, was never there."""
    app = create_app(lambda: services, services.settings)
    for sizes in ((10,), (BLOCK_BYTES,), (BLOCK_BYTES, BLOCK_BYTES, 10)):
        sent = send_by_hand(app, [*(part(bytes(size)) for size in sizes), {"type": "http.disconnect"}])
        assert sent[0]["status"] == 400
        assert (stored(services), staged(services)) == ([], [])


def test_a_body_shorter_than_it_said_is_refused(services) -> None:
    """What a proxy has cut off is not put up for the whole."""
    app = create_app(lambda: services, services.settings)
    sent = send_by_hand(app, [part(GOOD, more=False)], ((b"content-length", b"%d" % (len(GOOD) + 1)),))
    assert sent[0]["status"] == 400
    assert stored(services) == []


def test_an_upload_of_which_nothing_comes_is_given_up(services, monkeypatch) -> None:
    """It would hold its memory for good."""
    monkeypatch.setattr("web.files.STALLED_SECONDS", 0.05)
    app = create_app(lambda: services, services.settings)
    sent = send_by_hand(app, [part(bytes(BLOCK_BYTES))])
    assert sent[0]["status"] == 408
    assert (stored(services), staged(services)) == ([], [])


class Gate:
    """A blob store that stages nothing until it is opened."""

    def __init__(self, blobs) -> None:
        self._blobs = blobs
        self.reached, self.open = threading.Event(), threading.Event()

    def __getattr__(self, name: str):
        return getattr(self._blobs, name)

    def stage_block(self, path: BlobPath, block_id: str, data) -> None:
        self.reached.set()
        assert self.open.wait(60)
        self._blobs.stage_block(path, block_id, data)


def test_no_more_is_read_than_can_be_staged(services) -> None:
    """While storage takes its time no part of the body is taken, so that the client has to wait."""
    gate = Gate(services.blobs)
    slow = replace(services, blobs=gate)
    app = create_app(lambda: slow, services.settings)
    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": []}
    size, taken, statuses = 3 * BLOCK_BYTES, 0, []

    async def receive() -> dict:
        nonlocal taken
        taken += 65_536
        return part(bytes(65_536), more=taken < size)

    async def send(message: dict) -> None:
        statuses.append(message.get("status"))

    async def upload() -> int:
        under_way = asyncio.create_task(app(scope, receive, send))
        assert await asyncio.to_thread(gate.reached.wait, 60)
        for _ in range(1000):
            await asyncio.sleep(0)
        so_far = taken
        gate.open.set()
        await under_way
        return so_far

    assert asyncio.run(upload()) == BLOCK_BYTES
    assert (taken, statuses[0], services.blobs.stat(INPUT).size) == (size, 201, size)


def test_more_uploads_than_there_is_memory_for_are_told_to_wait(services, monkeypatch) -> None:
    """One more than may be under way is 503, and the next that comes when one has ended is taken."""
    monkeypatch.setattr("web.files.MOST_UPLOADS", 1)
    gate = Gate(services.blobs)
    slow = replace(services, blobs=gate)
    with TestClient(create_app(lambda: slow, services.settings)) as client:
        first = threading.Thread(target=client.post, args=(URL,), kwargs={"content": GOOD})
        first.start()
        assert gate.reached.wait(60)
        refused = client.post("/api/files/churn/b.csv", content=GOOD)
        gate.open.set()
        first.join()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_uploads")
        assert int(refused.headers["retry-after"]) > 0
        assert client.post("/api/files/churn/b.csv", content=GOOD).status_code == 201
    assert stored(services) == ["churn/a.csv", "churn/b.csv"]


def test_the_sweeper_queues_a_file_that_no_trigger_has_found(client, services) -> None:
    """Its run was written down with the file, so that it is missed when nothing comes of it."""
    run = client.post(URL, content=GOOD).json()["run"]
    later = datetime.now(UTC) + timedelta(seconds=services.settings.sweep_seconds + 1)
    assert sweep(services, later) == 1
    [message] = queued(services)
    accept_message(message, services)
    assert client.get(run).json()["status"] == "succeeded"
