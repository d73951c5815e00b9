"""Whatever is sent wherever: answers are strict JSON, and say no value of a body, no folder, no line of code."""

import json
from tempfile import gettempdir

import pytest
from starlette.testclient import TestClient

from errors import PackageInvalidError, SettingsError, StorageUnavailableError
from scoring.strict_json import read_json
from settings import VERSION
from tests.scoring.test_rows import ROW
from tests.web.test_any_body import GOOD
from web.app import create_app

MARKER = "zqxj-7319"
"""Stands for what a row holds."""
UPLOADS = "/api/files/"
"""What is sent there is a file, and no JSON."""
LAX = ("/invocations", "/score", "/endpoints/", "/v2/")
"""Clients of these protocols write NaN for no value, and mean null; nothing else is taken there, either."""
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY")
TYPES = ("application/json", "text/csv", MARKER)
BODIES = [
    b"",
    MARKER.encode(),
    b"\xff\xfe" + MARKER.encode(),
    json.dumps(MARKER).encode(),
    json.dumps([MARKER]).encode(),
    json.dumps({MARKER: MARKER}).encode(),
    json.dumps({"input": "nowhere", "model": [MARKER], "options": MARKER, "version": MARKER}).encode(),
    json.dumps({"input": f"incoming/churn/{'x' * 5000}.csv", "keep": [{"x": MARKER}]}).encode(),
    json.dumps({"input": "incoming/churn/a.csv", "csv": {"delimiter": MARKER}}).encode(),
    json.dumps([ROW | {name: MARKER} for name in ROW]).encode(),
    json.dumps(ROW | {"age": {"x": MARKER}}).encode(),
    json.dumps({name: [MARKER, None] for name in ROW}).encode(),
    f'{{"age": {MARKER}}}'.encode(),
    f"age,visits\n{MARKER},{MARKER}\n".encode(),
    *(json.dumps(body).replace("basic", MARKER).replace("20", f'"{MARKER}"').encode() for body in GOOD),
]


def paths(client) -> list[str]:
    """Return a path for each route, its parameters filled in, right or wrong."""
    values = {"model": "churn", "name": "churn", "version": "1", "alias": "champion"}
    found = set()
    for route in client.app.routes:
        for other in ("nobody-knows", None):
            path = route.path_format
            for name in route.param_convertors:
                path = path.replace(f"{{{name}}}", other or values.get(name, "churn/a.csv"))
            found.add(path)
    return sorted(found)


def check(answer, told: dict) -> None:
    where = {**told, "status": answer.status_code, "text": answer.text[:300]}
    assert answer.status_code < 500 or told.get("broken"), where
    is_json = answer.headers.get("content-type", "").startswith("application/json") and answer.content.strip()
    if is_json and answer.text != VERSION:  # MLflow calls that JSON, too
        read_json(answer.content, "the answer")
    for secret in (MARKER, "Traceback", "site-packages", '.py"', gettempdir(), "/srv/", ".onnx", "0x7f"):
        assert secret not in answer.text, where
        assert not [value for value in answer.headers.values() if secret in value], where


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_no_route_says_what_a_body_holds(client, body: bytes) -> None:
    """A value may stand at any place of a body, of any route: no answer and no header repeats it."""
    for path in paths(client):
        if path.startswith(UPLOADS):
            continue
        for kind in TYPES:
            answer = client.post(path, content=body, headers={"content-type": kind, "traceparent": MARKER})
            check(answer, {"path": path, "kind": kind, "body": body})
        check(client.put(path, content=body), {"path": path, "body": body, "method": "PUT"})


def test_no_route_says_what_headers_and_parameters_hold(client) -> None:
    """Keys and tokens, that is: they come in both."""
    headers = {"authorization": f"Bearer {MARKER}", "cookie": MARKER, "x-functions-key": MARKER, "range": MARKER}
    query = {"code": MARKER, "status": f"{MARKER}\0", "limit": "NaN", "after": "\ud7ff", "part": "-1"}
    for path in paths(client):
        for method in METHODS:
            check(client.request(method, path, headers=headers, params=query), {"path": path, "method": method})


@pytest.mark.parametrize(
    "broken",
    [
        RuntimeError(f"{MARKER} in /srv/x.py"),
        OSError(2, MARKER, f"/srv/{MARKER}"),
        PackageInvalidError(f"/srv/{MARKER} is no package"),
        SettingsError(f"/srv/{MARKER} cannot be read"),
        StorageUnavailableError(f"/srv/{MARKER}: the disk is full", file=f"models/{MARKER}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_broken_on_our_side_is_for_the_log(services, broken: Exception) -> None:
    """Storage, settings and packages that fail are told by a code alone, and not by folders and accounts."""

    def fail():
        raise broken

    with TestClient(create_app(fail, services.settings), raise_server_exceptions=False) as client:
        failed = 0
        for path in paths(client):
            for method in ("GET", "POST"):
                answer = client.request(
                    method, path, content=json.dumps(ROW).encode() if method == "POST" else None
                )
                check(answer, {"path": path, "method": method, "broken": True})
                failed += answer.status_code >= 500
        assert failed


@pytest.mark.parametrize("text", ['{"age": NaN}', '{"age": -Infinity}', '{"age": 1, "age": 1}', '{"age": 1e999}'])
def test_json_is_read_strictly_everywhere(client, text: str) -> None:
    """No route that takes JSON takes what is none, or an object with a key twice."""
    bodies = (text, f"[{text}]", f'{{"inputs": {text}, "model": "churn"}}')
    for route in client.app.routes:
        if route.path_format.startswith(UPLOADS) or not {"POST", "PUT"} & route.methods:
            continue
        path = route.path_format
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", "churn")
        if path.endswith(("/cancel", "/replay")):  # they take no body
            continue
        for method in {"POST", "PUT"} & route.methods:
            for body in bodies:
                answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
                if "NaN" in text and path.startswith(LAX):
                    check(answer, {"path": path, "body": body})
                    continue
                assert answer.status_code == 400, (path, body, answer.text)
                assert "not JSON" in answer.text, (path, body, answer.text)
