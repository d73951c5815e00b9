"""Files up and down through a real server and its sockets, and with Azure's SDK as storage."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import httpx2 as httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from model_store.registry import Registry
from scoring.intake import accept_message
from scoring.services import Services
from settings import Connection, Settings
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.web.test_files import staged, stored
from web.app import create_app

BIG = 24 * 1024 * 1024


@contextmanager
def serving(services) -> Iterator[str]:
    """Serve the API on a port of this machine, on a thread."""
    app = create_app(lambda: services, services.settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Watched:
    """A blob store that tells of some of its calls."""

    def __init__(self, blobs, **told: Callable[[], object]) -> None:
        self._blobs, self._told = blobs, told

    def __getattr__(self, name: str):
        real = getattr(self._blobs, name)
        if name not in self._told:
            return real

        def call(*arguments, **options):
            try:
                return real(*arguments, **options)
            finally:
                self._told[name]()

        return call


def test_names_are_decoded_once_by_the_server(services) -> None:
    """A percent sign of a name is one, and bytes that are no UTF-8 are refused."""
    with serving(services) as url, httpx.Client(base_url=url) as client:
        for path, name in (("%252e.csv", "%2e.csv"), ("a%2Fb.csv", "a/b.csv"), ("%C3%A9.csv", "é.csv")):
            assert client.post(f"/api/files/churn/{path}", content=GOOD).json()["path"] == f"incoming/churn/{name}"
        refused = client.post("/api/files/churn/a%ffb.csv", content=GOOD)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "name_invalid")


def test_an_upload_that_breaks_off_leaves_nothing(services) -> None:
    """A connection that is closed in the middle of a body, with a length or in chunks."""
    dropped = threading.Semaphore(0)
    watched = replace(services, blobs=Watched(services.blobs, drop_blocks=dropped.release))
    with serving(watched) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        for framing, prefix in ((f"Content-Length: {BIG}", b""), ("Transfer-Encoding: chunked", b"1000000\r\n")):
            with socket.create_connection((host, int(port))) as connection:
                head = f"POST /api/files/churn/a.csv HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
                connection.sendall(head.encode() + prefix + bytes(BIG // 2))
            assert dropped.acquire(timeout=60)
            assert (stored(services), staged(services)) == ([], [])
        with httpx.Client(base_url=url) as client:
            assert client.post("/api/files/churn/a.csv", content=GOOD).status_code == 201


def test_a_download_breaks_off_when_the_result_is_replaced(services) -> None:
    """The connection is closed: the client sees that bytes are missing, and has none of the newer result."""
    with serving(services) as url, httpx.Client(base_url=url) as client:
        run = client.post("/api/files/churn/a.csv", content=GOOD).json()["run"]
        accept_message('{"input": "incoming/churn/a.csv"}', services)
        place = BlobPath("scored", "churn/a.csv")
        owner = services.blobs.stat(place).metadata
        services.blobs.write(place, b"o" * BIG, metadata=owner)
        with client.stream("GET", f"{run}/result") as answer:
            assert answer.headers["content-length"] == str(BIG)
            parts = answer.iter_bytes()
            received = next(parts)
            services.blobs.write(place, b"n" * BIG, metadata=owner)
            with pytest.raises(httpx.RemoteProtocolError):
                received += b"".join(parts)
        assert set(received) == {ord("o")}
        assert client.get(f"{run}/result").content == b"n" * BIG


def test_a_file_of_many_blocks_goes_up_and_its_result_comes_down(services) -> None:
    """Through the sockets, in chunks and in ranges, byte for byte."""
    content = GOOD + b"".join(b"%d,20,3,true,basic\n" % number for number in range(200_000))
    large = replace(services, settings=replace(services.settings, block_bytes=1_000_000, max_record_bytes=10_000))
    with serving(large) as url, httpx.Client(base_url=url, timeout=120) as client:
        body = (content[start : start + 50_000] for start in range(0, len(content), 50_000))
        sent = client.post("/api/files/churn/a.csv", content=body).json()
        assert sent["bytes"] == len(content)
        receipt = accept_message('{"input": "incoming/churn/a.csv"}', large)
        assert receipt
        assert (receipt.run_id, receipt.rows["scored"]) == (sent["run_id"], 200_003)
        result = services.blobs.read(BlobPath("scored", "churn/a.csv"))
        assert client.get(f"{sent['run']}/result").content == result
        half = len(result) // 2
        halves = [f"bytes=0-{half - 1}", f"bytes={half}-"]
        fetched = [client.get(f"{sent['run']}/result", headers={"range": each}).content for each in halves]
        assert b"".join(fetched) == result


@pytest.fixture
def in_azurite(azurite: str, tmp_path, hand_package) -> Iterator[Services]:
    """Services on containers and queues of an Azurite that nobody else uses."""
    mark = uuid4().hex[:12]
    places = {name: f"{name}-{mark}" for name in ("incoming", "scored", "rejected", "runs", "models")}
    queues = {f"{name}_queue": f"{name}-{mark}" for name in ("jobs", "splits", "events")}
    storage = Connection("Azurite", azurite)
    settings = Settings(storage=storage, cache=str(tmp_path / "cache"), threads=2, **places, **queues)
    opened = Services.open(settings)
    Registry(opened.blobs, settings.models).add("churn", hand_package)
    yield opened
    opened.engine.close()


@pytest.mark.azurite
def test_all_of_it_with_azures_sdk(in_azurite) -> None:
    """Conditions, ranges, a break-off, and the road of a file, as Azure Storage has them."""
    services = in_azurite
    with TestClient(create_app(lambda: services, services.settings)) as client:
        place = "/api/files/churn/2026/été 1.csv"
        content = GOOD + b"5,20,3,true,basic\n" * 300_000
        sent = client.post(place, content=content, headers={"if-none-match": "*"})
        assert sent.status_code == 201
        assert client.post(place, content=GOOD, headers={"if-none-match": "*"}).status_code == 412
        assert client.post(place, content=GOOD, headers={"if-match": '"0x1"'}).status_code == 412
        run = sent.json()["run"]
        assert client.get(run).json()["status"] == "queued"
        started = client.post("/api/runs", json={"input": sent.json()["path"]})
        assert (started.status_code, started.headers["location"]) == (200, run)
        services.queues.send(services.settings.jobs_queue, f'{{"input": "{sent.json()["path"]}"}}')
        [message] = services.queues.receive(services.settings.jobs_queue)
        receipt = accept_message(message.body, services)
        assert receipt
        result = services.blobs.read(BlobPath.parse(str(receipt.output)))
        whole = client.get(f"{run}/result")
        assert (whole.content, whole.headers["content-disposition"][-8:]) == (result, "%201.csv")
        etag = whole.headers["etag"]
        asked = {"range": "bytes=5000000-5000099", "if-range": etag}
        assert client.get(f"{run}/result", headers=asked).content == result[5_000_000:5_000_100]
        assert client.get(f"{run}/result", headers={"if-none-match": etag}).status_code == 304
        assert client.get(f"{run}/rejected").status_code == 404
        assert client.post(place, content=GOOD, headers={"if-match": sent.headers["etag"]}).status_code == 201
        listed = client.get("/api/runs").json()["runs"]
        assert [entry["status"] for entry in listed] == ["queued", "succeeded"]
        cancelled = client.post(f"/api/runs/{listed[0]['run_id']}/cancel")
        assert cancelled.json()["status"] == "cancelled"
        assert client.put("/api/models/churn/aliases/champion", json={"version": 1}).status_code == 200
        assert client.get("/api/models").json()["models"][0]["aliases"] == {"champion": 1}
