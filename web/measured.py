"""The API by FastAPI, which measures how long requests take: only where DROPSCORE_TELEMETRY=on asks for that."""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from web.headers import Edge
from web.keys import hide_key
from web.prefix import without_prefix


class MeasuredApi(FastAPI):
    """FastAPI with the layers of web.app.Api around it; of its own, it has nothing but the measuring."""

    def __init__(self, **what: Any) -> None:
        """Take what Starlette does."""
        super().__init__(
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            # Logs would have an exception's message in them, and with it what a row holds.
            telemetry={
                "tracing": True,
                "metrics": True,
                "logs": False,
                "operation_spans": False,
                "auto_configure": False,
            },
            **what,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what measures is to see no key either."""
        if scope["type"] == "http":
            hide_key(scope)
            scope = without_prefix(scope)
        await super().__call__(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers requests."""
        return Edge(super().build_middleware_stack())
