"""Bodies that come too slowly, or never."""

import asyncio
import json
from dataclasses import replace

import pytest

from tests.scoring.test_rows import ROW
from web import bodies
from web.app import create_app


@pytest.mark.parametrize("path", ["/api/predict/churn", "/invocations", "/v2/models/churn/infer"])
def test_a_body_that_does_not_come_is_given_up(services, path: str) -> None:
    """408 in the protocol's own form, and the connection is closed: it would hold memory for nothing."""
    app = create_app(lambda: services, replace(services.settings, max_request_seconds=0))
    sent = []

    async def receive() -> dict:
        await asyncio.Event().wait()  # for ever
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"50")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"0 s" in sent[1]["body"]


def test_bodies_together_have_only_so_much_room(services, monkeypatch) -> None:
    """What does not fit beside what others send is 503 and told when to come again; it fits once they have gone."""
    monkeypatch.setattr(bodies, "ROOM", 100_000)
    app = create_app(lambda: services, replace(services.settings, max_request_bytes=12_000))
    large = json.dumps([ROW] * 150).encode()
    whole, go = asyncio.Event(), asyncio.Event()
    assert 100_000 // len(large) == 11

    async def ask(body: bytes, *, waits: bool = False) -> int:
        parts = iter([{"type": "http.request", "body": body[:-1], "more_body": True}])
        status = 0

        async def receive() -> dict:
            if part := next(parts, None):
                return part
            whole.set()
            if waits:
                await go.wait()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": body[-1:], "more_body": False}

        async def send(message: dict) -> None:
            nonlocal status
            status = message.get("status", status)
            headers.update(message.get("headers", ()))

        scope = {"type": "http", "method": "POST", "path": "/api/predict/churn", "query_string": b"", "headers": []}
        await app(scope, receive, send)
        return status

    headers: dict[bytes, bytes] = {}

    async def main() -> list[int]:
        slow = [asyncio.create_task(ask(large, waits=True)) for _ in range(11)]
        await whole.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        refused = await ask(large)
        assert int(headers[b"retry-after"]) > 0
        small = await ask(json.dumps(ROW).encode())
        go.set()
        await asyncio.gather(*slow)
        return [refused, small, *[await ask(large) for _ in range(11)]]

    assert asyncio.run(main()) == [503, 200, *[200] * 11]
