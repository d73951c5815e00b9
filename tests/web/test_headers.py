"""Every answer, whatever made it, has its request's id, and headers that make browsers wary of it."""

import logging

import pytest
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from scoring.log_lines import line
from tests.scoring.test_rows import ROW
from tests.scoring.test_trail import PARENT, TRACE
from web.app import create_app
from web.keys import Keys


@pytest.fixture
def odd(services):
    """Return the API, locked, with routes more: one that fails, two with headers of their own, one that logs."""
    log = logging.getLogger("odd")

    def fail(_request) -> Response:
        raise ValueError("secret")

    def own(_request) -> Response:
        return Response("x", headers={"cache-control": "max-age=9", "content-security-policy": "sandbox"})

    def tagged(_request) -> Response:
        return Response("x", headers={"etag": '"1"'})

    def speak(_request) -> Response:
        log.warning(line("spoken"))
        return Response("x")

    app = create_app(lambda: services, services.settings, Keys("key", "").check)
    app.router.routes += [
        Route(f"/ping/{call.__name__}", call, methods=["GET", "POST"]) for call in (fail, own, tagged, speak)
    ]
    with TestClient(app, raise_server_exceptions=False, headers={"x-functions-key": "key"}) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("GET", "/v2", 200),
        ("HEAD", "/v2", 200),
        ("POST", "/api/predict/churn", 400),
        ("GET", "/nowhere", 404),
        ("DELETE", "/v2", 405),
        ("GET", "/ping/fail", 500),
    ],
)
def test_answers_of_every_kind_have_them(odd, method: str, path: str, status: int) -> None:
    """Good ones, refusals, the router's own and those to bugs."""
    answer = odd.request(method, path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["content-type"]


def test_refusals_for_want_of_a_key_have_them(odd) -> None:
    """Who does not get in has an id to ask about."""
    answer = odd.get("/v2", headers={"x-functions-key": "wrong", "x-request-id": "mine"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "mine")
    assert answer.headers["cache-control"] == "no-store"


def test_an_answers_own_headers_stay(odd) -> None:
    """A page has a policy of its own; what has an ETag may be kept, if it is asked for each time."""
    own, tagged = odd.get("/ping/own"), odd.get("/ping/tagged")
    assert (own.headers["cache-control"], own.headers["content-security-policy"]) == ("max-age=9", "sandbox")
    assert tagged.headers["cache-control"] == "private, no-cache"
    assert own.headers.get_list("cache-control") == ["max-age=9"]


@pytest.mark.parametrize("name", ["a", "0af7-65_1.9:x/y+z=@", "x" * 128])
def test_a_requests_id_comes_back(odd, name: str) -> None:
    """Whoever sent it finds it in the answer, and in what is logged for it."""
    assert odd.get("/ping", headers={"x-request-id": name}).headers["x-request-id"] == name


@pytest.mark.parametrize("name", ["", " ", "x" * 129, "a b", 'a"b', "a\x7f", "é", "a,b", "${jndi:x}", "a\\nb"])
def test_an_id_that_could_do_harm_does_not(odd, name: str) -> None:
    """One that is too long, or has odd characters, is replaced by one of ours."""
    answer = odd.get("/ping", headers={"x-request-id": name.encode()})
    assert len(answer.headers["x-request-id"]) == 32


def test_no_two_requests_have_one_id(odd) -> None:
    """Where a request brings none, one is made for it alone."""
    assert len({odd.get("/ping").headers["x-request-id"] for _ in range(50)}) == 50


def test_what_is_logged_for_a_request_says_its_id_and_trace(odd, caplog) -> None:
    """Also by code on other threads; a request behind it has nothing of them."""
    odd.get("/ping/speak", headers={"x-request-id": "mine", "traceparent": PARENT})
    odd.get("/ping/speak", headers={"x-request-id": "next", "traceparent": "nonsense"})
    spoken = [record.getMessage() for record in caplog.records if record.name == "odd"]
    assert spoken == [f"spoken request=mine trace={TRACE}", "spoken request=next"]


def test_a_bug_is_logged_with_its_request_and_told_nobody(odd, caplog) -> None:
    """The log has the error's type, its trace and whose request it was; the answer none of them."""
    answer = odd.get("/ping/fail", headers={"x-request-id": "mine"})
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "request_failed error=ValueError request=mine" in caplog.text
    assert "ValueError: secret" in caplog.text


def test_an_api_that_a_bug_has_hit_answers_on(odd) -> None:
    """An answer to a bug is the whole answer: no server has to replace it by one of its own."""
    assert odd.post("/ping/fail").status_code == 500
    assert odd.post("/api/predict/churn", json=ROW).status_code == 200
