"""Below a prefix, as uvicorn's --root-path has it, all is as it is without one; and ways back have the prefix."""

import logging
import socket

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from tests.scoring.test_csv import GOOD
from tests.scoring.test_rows import ROW
from tests.web.test_transfers import serving
from web.app import create_app


@pytest.mark.parametrize("prefix", ["/pre", "/pre/", "/v2", "/score"])
def test_protocols_answer_as_they_do_without_one(services, prefix: str) -> None:
    """Azure ML's list is no object there, and each protocol's errors have its own form."""
    app, below = create_app(lambda: services, services.settings), prefix  # which uvicorn puts before each path
    with TestClient(app, root_path=prefix) as client:
        rows = {"dataframe_records": [ROW]}
        assert isinstance(client.post(f"{below}/score", json=rows).json(), list)
        assert isinstance(client.post(f"{below}/invocations", json=rows).json(), dict)
        assert client.post(f"{below}/invocations", json={}).json()["error_code"] == "BAD_REQUEST"
        assert isinstance(client.get(f"{below}/v2/models/nobody").json()["error"], str)
        assert client.get(f"{below}/api/runs/x").json()["error"]["code"] == "run_not_found"
        assert client.get(f"{below}/nowhere").status_code == 404


def test_ways_back_lead_below_it(services) -> None:
    """Whoever follows Location, or what an answer says, stays behind the same proxy."""
    with TestClient(create_app(lambda: services, services.settings), root_path="/pre") as client:
        sent = client.post("/pre/api/files/churn/a.csv", content=GOOD)
        place = sent.headers["location"]
        assert place == sent.json()["run"] == f"/pre/api/runs/{sent.json()['run_id']}"
        again = client.post("/pre/api/runs", json={"input": "incoming/churn/a.csv"})
        assert (again.status_code, again.headers["location"]) == (200, place)
        assert client.get(place).json()["status"] == "queued"
        folder = client.post("/pre/api/runs", json={"input": "incoming/churn/", "model": "churn"})
        assert folder.headers["location"] == folder.json()["runs"] == "/pre/api/runs?model=churn"


def test_a_path_that_is_not_below_it_is_what_it_is(services) -> None:
    """What only begins like the prefix is left as it is; so is what a proxy has taken the prefix off."""
    with TestClient(create_app(lambda: services, services.settings), root_path="/pre") as client:
        assert client.get("/preview").status_code == 404
        assert client.get("/pre").status_code == 404
        assert client.get("/ping").status_code == 200


def test_what_is_no_path_is_not_there(services) -> None:
    """`OPTIONS *` asks a server what it can do: that is a 404, and no bug."""
    with serving(services) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"http_404"' in answer


def test_a_key_in_the_query_is_not_in_uvicorns_log(services, caplog) -> None:
    """The log of requests has the path as it came, prefix and all, and of the query all but the key."""
    with caplog.at_level(logging.INFO, "uvicorn.access"), serving(services) as url:
        httpx.get(f"{url}/ping?x=1&code=s3cret&%43ode=s3cret&y=%20")
    [record] = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert '"GET /ping?x=1&y=%20 HTTP/1.1" 200' in record
