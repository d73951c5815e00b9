"""HTTP triggers and the host's own URLs."""

import json

import httpx2 as httpx
import pytest

from tests.devhost.conftest import wait_until


@pytest.fixture
def client(shared):
    with httpx.Client(base_url=shared[0].url, timeout=20) as made:
        yield made


def test_a_request_reaches_its_function_whole(client):
    """Binary body, route, query, headers and URL come through; so do the response's status, headers and cookies."""
    body = bytes(range(256)) * 300
    response = client.post("/echo/b%20b/5?x=1&x=2&empty=", content=body, headers={"X-Thing": "T"})
    assert (response.status_code, response.content) == (201, body)
    assert response.headers["content-type"] == "application/octet-stream"
    assert json.loads(response.headers["x-facts"]) == {
        "params": {"x": "1,2"},
        "route": {"name": "b b", "number": "5"},
        "header": "T",
        "url": f"{client.base_url}/echo/b%20b/5?x=1&x=2&empty=".replace("//echo", "/echo"),
        "length": len(body),
    }
    cookies = response.headers.get_list("set-cookie")
    assert cookies == ["a=1; Path=/; HttpOnly", "b=2; Max-Age=60; SameSite=Lax"]


def test_text_is_a_plain_response(client):
    """A function that returns a string answers 200 with it."""
    response = client.get("/text")
    assert (response.status_code, response.text) == (200, "plain")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_an_asgi_app_gets_what_no_other_route_takes(client):
    """The catch-all route of an AsgiFunctionApp sees path, query and the exact body bytes, also at the root."""
    answer = client.put("/v2/models/a%20b?q=1&r=%20", content=b"\x00\xff").json()
    assert answer == {"method": "PUT", "path": "/v2/models/a b", "query": "q=1&r=%20", "body": "00ff"}
    assert client.get("/").json()["path"] == "/"
    assert client.get("/echo/x").json()["method"] == "GET"  # echo takes POST only


def test_functions_are_asked_in_the_order_of_their_names(client):
    """A literal route does not win over a catch-all: as on the real host, the first function by name does."""
    assert client.get("/zealous").json()["path"] == "/zealous"
    assert client.get("/text").text == "plain"


def test_a_failure_is_500_with_its_traceback_on_the_console(client, shared):
    """An exception answers 500 with an empty body; the console shows the traceback and the function's name."""
    response = client.get("/fail")
    assert (response.status_code, response.content) == (500, b"")
    for text in ("Executed 'Functions.fail' (Failed, Id=", "ValueError: the app's own fault"):
        wait_until(lambda text=text: text in shared[0].output, f"{text} on the console")


def test_logs_name_their_function(client, shared):
    """What a function logs carries its name and invocation."""
    client.post("/echo/somebody")
    wait_until(
        lambda: any("] [echo " in line and "echo was asked by somebody" in line for line in shared[0].lines),
        "line of the function's own log",
    )


def test_a_body_over_100_mb_is_refused(client):
    """The host's body limit holds, and the server lives on."""
    assert client.post("/echo/big", content=bytes(100 * 1024 * 1024 + 1)).status_code == 413
    assert client.post("/echo/small", content=b"x").status_code == 201


def test_a_function_that_blocks_its_loop_does_not_block_the_host(client):
    """The host answers while an async function holds up the worker's event loop."""
    with httpx.Client(base_url=client.base_url, timeout=0.9) as other:
        blocked = other.build_request("GET", "/block?seconds=2")
        with pytest.raises(httpx.ReadTimeout):
            other.send(blocked)
        assert other.get("/admin/host/ping").status_code == 200
    assert client.get("/text").text == "plain"


def test_a_chunked_body_is_warned_of(client, shared):
    """A body without a length comes through, with a warning that in Azure it would not."""
    assert client.post("/echo/chunks", content=iter([b"a", b"b"])).content == b"ab"
    wait_until(lambda: "/echo/chunks came in chunks" in shared[0].output, "warning")


def test_the_host_reports_itself(client):
    """admin/host answers, and unknown admin URLs do not reach the app."""
    assert client.get("/admin/host/status").json()["state"] == "Running"
    assert client.post("/admin/host/ping").status_code == 200
    assert client.get("/admin/nothing").status_code == 404
    assert client.post("/admin/functions/nothing", json={"input": ""}).status_code == 404
