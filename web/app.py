"""The HTTP API: one row now, and what became of files.

Mounted in function_app.py, or alone: `uvicorn web.app:app`, with the same settings.

Endpoints translate and delegate. Bodies are read on the event loop, which all invocations share; what scores or
asks storage runs on Starlette's threads.
"""

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from errors import DropscoreError
from scoring.services import Services
from settings import VERSION, Settings
from web.answers import answer_bug, answer_error, answer_gone, answer_http
from web.bodies import Limits
from web.files import file_routes
from web.inference_v2 import inference_routes
from web.mlflow import mlflow_routes
from web.models import Models
from web.predict import predict_routes
from web.registry import registry_routes
from web.results import result_routes
from web.runs import run_routes


def create_app(services: Callable[[], Services], settings: Settings) -> FastAPI:
    """Return the API over `services`, which is called on each request and should remember what it made."""
    models, limits = Models(services, settings), Limits.of(settings)
    app = FastAPI(
        title="Dropscore",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a client would follow to the address that a proxy in between talks to
        # Plain routes: FastAPI's own take a row's bytes apart in ways that nobody here needs.
        routes=[
            *predict_routes(models, limits),
            *mlflow_routes(models, limits),
            *inference_routes(models, limits),
            *file_routes(services, settings),
            *run_routes(services, limits),
            *result_routes(services, settings),
            *registry_routes(models, limits),
        ],
    )
    app.add_exception_handler(DropscoreError, answer_error)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(ClientDisconnect, answer_gone)
    app.add_exception_handler(Exception, answer_bug)

    @app.get("/api/health")
    def health() -> dict[str, str]:
        """Say that the process answers; nothing else is asked."""
        return {"status": "ok", "version": VERSION}

    return app


def __getattr__(name: str) -> Any:
    """Make `app`, the API that runs alone, when it is first asked for; storage is opened by the first request."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _own_app()


@cache
def _own_app() -> FastAPI:
    settings, opening = Settings.load(), Lock()
    opened = cache(Services.open)

    def services() -> Services:
        with opening:  # the first requests come at once, and a cache alone would let each open its own
            return opened(settings)

    return create_app(services, settings)
