"""What came of runs: results and rejected rows, fetched whole, in ranges or in parts."""

from typing import Any

from errors import (
    AnswerTooLargeError,
    BlobNotFoundError,
    ConditionFailedError,
    RangeInvalidError,
    ResultGoneError,
    RunNotFoundError,
    RunUnderWayError,
    TooManyTransfersError,
)
from scoring.pipeline import COMPRESSED_TYPES, CONTENT_TYPES
from web.openapi.operations import (
    JSON,
    Answer,
    Operation,
    Operations,
    Schema,
    in_header,
    in_query,
    json_of,
    ref,
    whole,
)
from web.openapi.predictions import STORAGE
from web.openapi.runs import RUN, TAG

FILES = sorted({*CONTENT_TYPES.values(), *COMPRESSED_TYPES.values()})
"""The media types of files of rows."""

_TEXT = {"type": "string"}
_FETCHED = (
    RunNotFoundError,
    RunUnderWayError,
    BlobNotFoundError,
    ResultGoneError,
    ConditionFailedError,
    RangeInvalidError,
    AnswerTooLargeError,
    TooManyTransfersError,
    *STORAGE,
)


def results_operations() -> Operations:
    """Return the operations of web/results.py."""
    return {
        ("/api/runs/{run_id}/result", "get"): _fetch("result", "Return a run's result"),
        ("/api/runs/{run_id}/rejected", "get"): _fetch("rejected", "Return the rows that a run has rejected"),
    }


def results_schemas() -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    return {
        "RecordsAnswer": {
            "type": "object",
            "description": "What rows in a message became.",
            "required": ["predictions"],
            "properties": {"id": _TEXT, "predictions": {"type": "array", "items": {"type": "object"}}},
            "additionalProperties": False,
        },
        "Parts": whole(
            run_id=_TEXT,
            parts={"type": "array", "items": whole(part=_TEXT, bytes=_SIZE, etag=_TEXT, href=_TEXT)},
        ),
    }


def _fetch(name: str, summary: str) -> Operation:
    files: dict[str, Any] = {kind: {} for kind in FILES}
    known = json_of({"anyOf": [ref("Parts"), ref("RecordsAnswer")]})
    headers = {
        "ETag": "Of the file.",
        "Last-Modified": "When it was put up.",
        "Accept-Ranges": "bytes",
        "Content-Disposition": "The name to save it under.",
    }
    return Operation(
        name,
        TAG,
        summary,
        {
            200: Answer("The file; or, of one in parts, the list of them.", files | known, headers),
            206: Answer(
                "The bytes that Range asks for.", files | {JSON: {}}, headers | {"Content-Range": "Which they are."}
            ),
            304: Answer("It is what If-None-Match or If-Modified-Since says already."),
        },
        parameters=[
            RUN,
            in_query("part", "The name of a part.", _TEXT),
            in_header("Range", "One range of bytes; several are ignored.", _TEXT),
            in_header("If-Range", "An ETag: of any other version, the whole file is sent.", _TEXT),
            in_header("If-None-Match", "An ETag: what is still the same is not sent again.", _TEXT),
            in_header("If-Match", "An ETag: no other version is sent.", _TEXT),
            in_header("If-Modified-Since", "A date; counts where If-None-Match is not sent.", _TEXT),
            in_header("If-Unmodified-Since", "A date; counts where If-Match is not sent.", _TEXT),
        ],
        errors=_FETCHED,
    )


_SIZE: dict[str, Any] = {"type": "integer", "minimum": 0}
