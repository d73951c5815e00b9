"""The API by FastAPI, which measures how long requests take: only where DROPSCORE_TELEMETRY=on asks for that."""

from typing import Any

from fastapi import FastAPI

from web.layers import Api


class MeasuredApi(Api, FastAPI):
    """FastAPI within our layers, so that what measures sees no key either; it has nothing but the measuring."""

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
