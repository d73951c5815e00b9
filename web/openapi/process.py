"""What says how the process is, and what describes it: health, the document itself and its page."""

from collections.abc import Mapping, Sequence
from typing import Any

from errors import DropscoreError
from web.openapi.operations import JSON, Answer, Operation, Operations, in_header, in_path, json_of, whole
from web.openapi.predictions import STORAGE

TAG = "health"
DOCS_TAG = "docs"

_IF_NONE_MATCH = in_header(
    "If-None-Match", "An ETag: what is still the same is not sent again.", {"type": "string"}
)
_SAME = Answer("It is what If-None-Match says already.")
_ETAG = {"ETag": "What tells this version from others."}


def process_operations(assets: Sequence[str]) -> Operations:
    """Return the operations that need no model; `assets` are the names of the page's files."""
    return {
        ("/api/health", "get"): _says(
            "health", "Say that the process answers", {"status": {"const": "ok"}, "version": {"type": "string"}}
        ),
        ("/ping", "get"): _bare("ping", "Say that the process answers", "Nothing but a line end."),
        ("/health", "get"): _bare("mlflowHealth", "Say that the process answers", "Nothing but a line end."),
        ("/version", "get"): _bare("version", "Say which version of Dropscore answers", "The version, bare."),
        ("/v2/health/live", "get"): _says("serverLive", "Say that the process answers", {"live": {"const": True}}),
        ("/v2/health/ready", "get"): _says(
            "serverReady",
            "Say that storage can be opened, so that models can",
            {"ready": {"const": True}},
            errors=STORAGE,
        ),
        ("/api/openapi.json", "get"): Operation(
            "openapi",
            DOCS_TAG,
            "Describe the API: this document",
            {200: Answer("OpenAPI 3.1.", json_of({"type": "object"}), _ETAG), 304: _SAME},
            parameters=[_IF_NONE_MATCH],
            errors=STORAGE,
        ),
        ("/api/docs", "get"): Operation(
            "docs", DOCS_TAG, "Show this document as a page", {200: Answer("The page.", {"text/html": {}})}
        ),
        ("/api/docs/assets/{path}", "get"): Operation(
            "asset",
            DOCS_TAG,
            "Serve a file of that page",
            {200: Answer("The file.", {"text/javascript": {}, "text/css": {}}, _ETAG), 304: _SAME},
            parameters=[in_path("path", "Its name.", {"enum": list(assets)}), _IF_NONE_MATCH],
        ),
    }


def _says(
    name: str, summary: str, properties: Mapping[str, Any], errors: Sequence[type[DropscoreError]] = ()
) -> Operation:
    return Operation(name, TAG, summary, {200: Answer("It is so.", json_of(whole(**properties)))}, errors=errors)


def _bare(name: str, summary: str, text: str) -> Operation:
    """Return an operation of MLflow's, whose answer says that it is JSON and is none."""
    return Operation(name, TAG, summary, {200: Answer(text, {JSON: {}})})
