"""The HTTP API: one row now, and what became of files.

Endpoints translate and delegate; they are plain functions, which Starlette runs on its threads, so that a request
that scores never stalls the event loop all invocations share.
"""

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from errors import DropscoreError, MessageInvalidError, RecordTooLargeError
from model_store import ModelReference
from model_store.cache import Served
from scoring.rows import score_rows
from scoring.services import Services
from scoring.strict_json import read_json
from settings import VERSION, Settings

log = logging.getLogger(__name__)


def create_app(services: Callable[[], Services], settings: Settings) -> FastAPI:
    """Return the API over `services`, which is called on each request and should remember what it made."""
    app = FastAPI(title="Dropscore", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(DropscoreError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)

    @app.get("/api/health")
    def health() -> dict[str, str]:
        """Say that the process answers; nothing else is asked."""
        return {"status": "ok", "version": app.version}

    @app.post("/api/predict/{model}")
    def predict(model: str, body: Annotated[bytes, Depends(_body(settings.max_request_bytes))]) -> JSONResponse:
        """Score one row (an object) or several (a list of objects)."""
        content = read_json(body, "the body")
        rows = content if isinstance(content, list) else [content]
        if not all(isinstance(row, dict) for row in rows):
            raise MessageInvalidError('send one row, {"column": value, …}, or a list of them')
        if len(rows) > settings.max_request_rows:
            raise RecordTooLargeError(
                f"{len(rows):,} rows are more than the {settings.max_request_rows:,} of one request: drop them "
                "as a file into the incoming container"
            )
        served = services().models.current(ModelReference.parse(model))
        with services().engine.requests:
            predictions = score_rows(rows, served.model)
        return JSONResponse({"model": _named(served), "predictions": predictions})

    @app.get("/api/runs/{run_id}")
    def run(run_id: str) -> JSONResponse:
        """Return a run's receipt, or what is known of it while it is running."""
        from scoring.runs import describe_run  # noqa: PLC0415  # it knows how files are scored: rows need not wait

        return JSONResponse(describe_run(run_id, services()))

    return app


def _named(served: Served) -> dict[str, Any]:
    """Say which version answers; and which one should, but cannot be opened."""
    version, refused = served.version, served.refused
    named: dict[str, Any] = {"name": version.name, "version": version.version, "digest": version.digest}
    if refused is not None:
        code = refused.error.code if isinstance(refused.error, DropscoreError) else "internal"
        named["refused"] = {"version": refused.version.version, "code": code}
    return named


def _body(limit: int) -> Callable[[Request], Any]:
    # On the event loop: nothing here may wait for anything but the body.
    async def read(request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise RecordTooLargeError(
                    f"the body is larger than {limit:,} bytes: drop it as a file into the incoming container"
                )
            parts.append(part)
        return b"".join(parts)

    return read


def _answer_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, DropscoreError):
        raise error
    return JSONResponse({"error": error.to_dict()}, error.status)


def _answer_http(_request: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses, such as an unknown path, in the form of all our errors."""
    if not isinstance(error, HTTPException):
        raise error
    body = {"code": f"http_{error.status_code}", "message": str(error.detail)}
    return JSONResponse({"error": body}, error.status_code, error.headers)


def _answer_bug(_request: Request, error: Exception) -> JSONResponse:
    # Starlette raises it again behind this answer, so that the host's log has its trace.
    log.error("a request failed: %r", type(error))
    return JSONResponse({"error": {"code": "internal", "message": "the request failed; the log says why"}}, 500)
