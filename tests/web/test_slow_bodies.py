"""Bodies that come too slowly, or never."""

import asyncio
from dataclasses import replace

import pytest

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
