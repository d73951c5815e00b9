"""Answers in the forms of each protocol: JSON that any reader takes, and errors that say no row's values."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from errors import DropscoreError

log = logging.getLogger(__name__)

_JSON = "application/json"

_RETRY = {"retry-after": "5"}
"""What a 503 says: seconds."""


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `content` as JSON in ASCII: whatever a text holds, half a surrogate pair too, can be written."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Response(text.encode("ascii"), status, headers, _JSON)


def answer_error(request: Request, error: Exception) -> Response:
    """Answer with what one of our own errors says."""
    if not isinstance(error, DropscoreError):
        raise error
    return _answer_as(request, error.to_dict(), error.status, _RETRY if error.status == 503 else None)


def answer_http(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, such as an unknown path, in the form of all errors there."""
    if not isinstance(error, HTTPException):
        raise error
    body = {"code": f"http_{error.status_code}", "message": str(error.detail)}
    return _answer_as(request, body, error.status_code, error.headers)


def answer_bug(request: Request, error: Exception) -> Response:
    """Answer that the request failed; Starlette raises the error again behind this, so the log has its trace."""
    log.error("a request failed: %r", type(error))
    return _answer_as(request, {"code": "internal", "message": "the request failed; the log says why"}, 500)


def answer_gone(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the client went away before its body was here."""
    return Response(status_code=400)


def _answer_as(
    request: Request, error: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    first = request.scope["path"].split("/", 2)[1]
    return answer(_FORMS.get(first, _ours)(error, status), status, headers)


def _ours(error: Mapping[str, Any], _status: int) -> dict[str, Any]:
    return {"error": error}


def _mlflow(error: Mapping[str, Any], status: int) -> dict[str, Any]:
    named = "INVALID_PARAMETER_VALUE" if error["code"] in _OF_SCHEMAS else _MLFLOW_CODES.get(status, "BAD_REQUEST")
    return {"error_code": named, "message": error["message"]}


def _inference(error: Mapping[str, Any], _status: int) -> dict[str, Any]:
    return {"error": error["message"]}


_FORMS: Mapping[str, Callable[[Mapping[str, Any], int], dict[str, Any]]] = {
    "invocations": _mlflow,
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
