"""Answers in the forms of each protocol: JSON that any reader takes, and errors that say no row's values."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from errors import DropscoreError
from scoring.log_lines import line

log = logging.getLogger(__name__)

_JSON = "application/json"

_FAILED = "the request failed, by no fault of its own"

# Starlette calls what is no coroutine on a thread, and refusals must not wait until one is free.

_MORE: Mapping[int, Mapping[str, str]] = {
    # no scheme that makes browsers ask for a password
    401: {"www-authenticate": 'APIKey realm="dropscore", in="header", name="x-functions-key"'},
    408: {"connection": "close"},  # whoever sent too slowly may go on doing so
    503: {"retry-after": "5"},  # seconds
}
"""Headers of errors, by their status."""


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `content` as JSON in ASCII: whatever a text holds, half a surrogate pair too, can be written."""
    return Response(encode(content), status, headers, _JSON)


def encode(content: Any) -> bytes:
    """Return `content` as JSON in ASCII; ValueError where it holds NaN or an infinity."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer with what one of our own errors says."""
    if not isinstance(error, DropscoreError):
        raise error
    more = _MORE.get(error.status)
    if error.status < 500:
        return _answer_as(request, error.to_dict(), error.status, more)
    # What is wrong on our side may name folders and accounts: that is for whoever reads the log.
    log.warning(line("request_failed", error=error.code, message=error.message, file=error.file))
    what = "try again later" if error.retryable else "the log says what is wrong"
    return _answer_as(request, {"code": error.code, "message": f"{_FAILED}: {what}"}, error.status, more)


async def answer_http(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, such as an unknown path, in the form of all errors there."""
    if not isinstance(error, HTTPException):
        raise error
    body = {"code": f"http_{error.status_code}", "message": str(error.detail)}
    return _answer_as(request, body, error.status_code, error.headers)


async def answer_bug(request: Request, error: Exception) -> Response:
    """Answer that the request failed; Starlette raises the error again behind this, so the log has its trace."""
    log.error(line("request_failed", error=type(error).__name__))
    return _answer_as(request, {"code": "internal", "message": f"{_FAILED}: the log says what is wrong"}, 500)


async def answer_gone(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the client went away before its body was here."""
    return Response(status_code=400)


def _answer_as(
    request: Request, error: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    return answer(form_of(request.scope["path"])(error, status), status, headers)


def form_of(path: str) -> "Form":
    """Return how errors are written below a path."""
    return _FORMS.get(path.partition("/")[2].partition("/")[0], _ours)  # `*` is a path, too


def _ours(error: Mapping[str, Any], _status: int) -> dict[str, Any]:
    return {"error": error}


def _mlflow(error: Mapping[str, Any], status: int) -> dict[str, Any]:
    named = "INVALID_PARAMETER_VALUE" if error["code"] in _OF_SCHEMAS else _MLFLOW_CODES.get(status, "BAD_REQUEST")
    return {"error_code": named, "message": error["message"]}


def _inference(error: Mapping[str, Any], _status: int) -> dict[str, Any]:
    return {"error": error["message"]}


Form = Callable[[Mapping[str, Any], int], dict[str, Any]]
"""Writes an error, given as our own form has it, and its status."""

_FORMS: Mapping[str, Form] = {
    "invocations": _mlflow,
    "endpoints": _mlflow,
    "score": _mlflow,
    "v2": _inference,
}
"""How errors are written, by the first part of the path."""

_OF_SCHEMAS = ("column_missing", "column_type")
"""What MLflow finds when it enforces a model's schema, which has a code of its own there."""

_MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
