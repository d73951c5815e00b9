"""The HTTP API over the real services, folder storage and the hand-built model."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Semaphore

import pytest
from anyio import fail_after, to_thread
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model_store.cache import ModelCache
from model_store.registry import Registry
from scoring.job import Job
from scoring.pipeline import run_job
from storage import BlobPath
from tests.hand_model import hand_scores
from tests.scoring.test_csv import GOOD
from web.app import create_app

ROW = {"age": 20, "visits": 3, "member": True, "plan": "basic"}


def test_one_row_is_scored(client) -> None:
    """One object in, one prediction out, with the model that made it."""
    answer = client.post("/api/predict/churn", json=ROW)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["model"]["name"], body["model"]["version"]) == ("churn", 1)
    [prediction] = body["predictions"]
    assert prediction["probability_leave"] == pytest.approx(hand_scores([(20, 3, True, "basic")])[0], abs=1e-15)


def test_a_list_is_scored_in_order_with_errors_in_place(client) -> None:
    """A bad row in a list is answered by its error; the others by their predictions."""
    body = client.post("/api/predict/churn@1", json=[ROW, ROW | {"age": "x"}, ROW]).json()
    assert [list(p) for p in body["predictions"]] == [
        ["prediction", "probability_leave"],
        ["error"],
        list(body["predictions"][0]),
    ]


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("churn", b"{", 400, "message_invalid"),
        ("churn", b"[1]", 400, "message_invalid"),
        ("churn", b'{"age": NaN}', 400, "message_invalid"),
        ("churn", b'{"age": 1e999}', 400, "message_invalid"),
        ("churn", b"\xff", 400, "message_invalid"),
        ("churn", b"[" * 100_000, 400, "message_invalid"),
        ("churn", b"{}", 400, "column_missing"),
        ("churn", b" " * 5_000_000, 413, "record_too_large"),
        ("churn", b"[" + b"{}," * 10_000 + b"{}]", 413, "record_too_large"),
        ("nope", b"{}", 404, "model_not_found"),
        ("churn@9", b"{}", 404, "model_not_found"),
        ("ch urn", b"{}", 400, "reference_invalid"),
    ],
)
def test_bad_requests_say_what_is_wrong(client, path, content, status, code) -> None:
    """Each bad request has its status and stable code, and a message."""
    answer = client.post(f"/api/predict/{path}", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_a_version_that_cannot_be_opened_is_named_beside_the_old_ones_answers(services, packages) -> None:
    """A moved alias changes no answer before the new version is open; why it is not, the answer says."""
    services, registry = registered(services, packages)
    with TestClient(create_app(lambda: services, services.settings)) as client:
        assert client.post("/api/predict/churn", json=ROW).json()["model"]["version"] == 1
        services.blobs.write(BlobPath("models", "churn/2/model.onnx"), b"damaged")
        registry.set_alias("churn", "champion", 2)
        model = client.post("/api/predict/churn", json=ROW).json()["model"]
    assert (model["version"], model["refused"]) == (1, {"version": 2, "code": "package_invalid"})


def test_aliases_move_under_a_thousand_requests(services, packages) -> None:
    """A hundred moves during a thousand requests on eight threads: each answer is of the version it names."""
    services, registry = registered(services, packages)
    expected = {}
    with TestClient(create_app(lambda: services, services.settings)) as client, ThreadPoolExecutor(9) as pool:
        for number in (1, 2, 3):
            expected[number] = client.post(f"/api/predict/churn@{number}", json=[ROW] * 3).json()["predictions"]
        answered = Semaphore(0)

        def move() -> None:
            for turn in range(100):
                registry.set_alias("churn", "champion", 1 + turn % 3)
                for _ in range(10):
                    assert answered.acquire(timeout=60)

        def ask(_: int) -> int:
            try:
                answer = client.post("/api/predict/churn", json=[ROW] * 3)
                assert answer.status_code == 200
                body = answer.json()
                assert body["predictions"] == expected[body["model"]["version"]]
                return body["model"]["version"]
            finally:
                answered.release()

        moving = pool.submit(move)
        seen = list(pool.map(ask, range(1000)))
        moving.result()
    assert set(seen) == {1, 2, 3}
    assert len({str(predictions) for predictions in expected.values()}) == 3


def registered(services, packages):
    """Return services that look at aliases at every request, and their registry with three versions of churn."""
    registry = Registry(services.blobs, services.settings.models)
    for bias in (-1.0, -1.5):
        registry.add("churn", packages(bias))
    registry.set_alias("churn", "champion", 1)
    models = ModelCache(registry, Path(services.settings.cache), alias_seconds=0)
    return replace(services, models=models), registry


def test_a_runs_receipt_can_be_read(client, services) -> None:
    """GET /api/runs/{id} is the receipt; an unknown id is a 404."""
    services.blobs.write(BlobPath("incoming", "churn/a.csv"), GOOD)
    receipt = run_job(Job.for_dropped(BlobPath("incoming", "churn/a.csv")), services)
    answer = client.get(f"/api/runs/{receipt.run_id}")
    assert answer.json()["rows"] == {"read": 3, "scored": 3, "rejected": 0}
    missing = client.get("/api/runs/nope")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "run_not_found")


@pytest.mark.parametrize("run_id", ["..%2F..%2Fmodels", "%2e%2e", "a%00b", "x" * 2000])
def test_run_ids_cannot_leave_their_container(client, run_id) -> None:
    """An id that is no id is not found, whatever path it spells."""
    answer = client.get(f"/api/runs/{run_id}")
    assert answer.status_code in (400, 404)


def test_health_and_unknown_paths(client) -> None:
    """The process says it is there; what is not there is a 404 in the form of all errors."""
    assert client.get("/api/health").json()["status"] == "ok"
    assert client.get("/api/nope").json()["error"]["code"] == "http_404"


CELL = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.lists(st.none())
)
ROWS = st.dictionaries(st.sampled_from(sorted(ROW)) | st.text(), CELL)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS | st.lists(ROWS) | CELL)
def test_any_json_is_answered_with_a_score_or_a_reason(client, body) -> None:
    """No JSON whatsoever makes a 500: it is scored, or the answer says why not."""
    assert client.post("/api/predict/churn", json=body).status_code in (200, 400)


def test_a_slash_too_many_is_no_redirect(client) -> None:
    """A path is not there, rather than at an address that only a proxy can reach."""
    assert client.post("/invocations/", json={}, follow_redirects=False).status_code == 404


def test_a_client_that_goes_away_is_no_fault(services) -> None:
    """A body that ends in the middle raises nothing: there is nobody to tell."""
    app = create_app(lambda: services, services.settings)
    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "headers": []}
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> dict:
        return next(messages)

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 400


def test_refusals_wait_for_no_thread(client) -> None:
    """While all threads wait for storage, who asks for what is not there, or too much, is told so."""
    assert client.portal is not None

    asked = (("/no", 0), ("/invocations", 10**9))

    async def ask_without_threads() -> list[int]:
        limiter = to_thread.current_default_thread_limiter()
        holders = [object() for _ in range(int(limiter.total_tokens))]
        for holder in holders:
            limiter.acquire_on_behalf_of_nowait(holder)
        try:
            with fail_after(60):
                return [await status(client.app, path, size) for path, size in asked]
        finally:
            for holder in holders:
                limiter.release_on_behalf_of(holder)

    assert client.portal.call(ask_without_threads) == [404, 413]


async def status(app, path: str, size: int) -> int:
    """Ask as a server does, with a body that is said to be so large; return the status."""
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"content-length", str(size).encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    return sent[0]["status"]
