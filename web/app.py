"""The HTTP API: one row now, and what became of files.

Mounted in function_app.py, or alone: `uvicorn web.app:app`, with the same settings.

Endpoints translate and delegate. Bodies are read on the event loop, which all invocations share; what asks storage
runs on Starlette's threads, and so does what scores, unless that is known to be quick (web.turns).
"""

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from errors import DropscoreError
from scoring.services import Services
from settings import VERSION, Settings
from telemetry import begin
from web.answers import answer, answer_bug, answer_error, answer_gone, answer_http
from web.bodies import Limits
from web.docs import docs_routes
from web.files import file_routes
from web.inference_v2 import inference_routes
from web.keys import Check, Guard, check_by, let_in
from web.layers import Api
from web.mlflow import mlflow_routes
from web.models import Models
from web.predict import predict_routes
from web.registry import registry_routes
from web.results import result_routes
from web.runs import run_routes
from web.turns import Turns


def create_app(services: Callable[[], Services], settings: Settings, check: Check = let_in) -> Starlette:
    """Return the API over `services`, which is called on each request and should remember what it made.

    `check` says whether a request may have what it asks for; by itself, the API refuses nobody.
    """
    models, limits = Models(services, settings), Limits.of(settings)
    turns = Turns(models, limits.room)

    async def health(_request: Request) -> Response:
        """Say that the process answers; nothing else is asked."""
        return answer({"status": "ok", "version": VERSION})

    app = _kind(settings)(
        routes=[
            *predict_routes(limits, turns),
            *mlflow_routes(limits, turns),
            *inference_routes(models, limits, turns),
            *file_routes(services, settings),
            *run_routes(services, limits),
            *result_routes(services, settings),
            *registry_routes(models, limits),
            *docs_routes(models, settings),
            Route("/api/health", health),
        ],
        middleware=[Middleware(Guard, check=check)],
        exception_handlers={
            DropscoreError: answer_error,
            HTTPException: answer_http,
            ClientDisconnect: answer_gone,
            Exception: answer_bug,
        },
    )
    app.router.redirect_slashes = False  # a client would follow to the address that a proxy in between talks to
    return app


def _kind(settings: Settings) -> type[Starlette]:
    """Return what serves: FastAPI where requests are to be measured, which it can; it takes long to import."""
    if settings.telemetry == "off":
        return Api
    from web.measured import MeasuredApi  # noqa: PLC0415  # cold start: measured, 0.25 s more than 0.38

    return MeasuredApi


def __getattr__(name: str) -> Any:
    """Make `app`, the API that runs alone, when it is first asked for; storage is opened by the first request."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _own_app()


@cache
def _own_app() -> Starlette:
    settings, opening = Settings.load(), Lock()
    begin(settings)
    opened = cache(Services.open)

    def services() -> Services:
        with opening:  # the first requests come at once, and a cache alone would let each open its own
            return opened(settings)

    return create_app(services, settings, check_by(settings))
