"""Files, dropped over HTTP."""

from typing import Any

from errors import (
    BlobNotFoundError,
    BlocksMissingError,
    BodyTimeoutError,
    ConditionFailedError,
    FileEmptyError,
    FormatUnsupportedError,
    MessageInvalidError,
    ModelNotFoundError,
    NameInvalidError,
    RecordTooLargeError,
    ReferenceInvalidError,
    TooManyTransfersError,
)
from web.bodies import CSV
from web.openapi.columns import Described
from web.openapi.mlflow import as_csv
from web.openapi.operations import (
    Answer,
    Operation,
    Operations,
    Schema,
    in_header,
    in_path,
    json_of,
    named,
    ref,
    whole,
)
from web.openapi.predictions import STORAGE
from web.openapi.results import FILES
from web.openapi.runs import TAG

_TEXT: dict[str, Any] = {"type": "string"}


def files_operations(models: list[Described], most_bytes: int) -> Operations:
    """Return the operations of web/files.py; `most_bytes` is the largest file that is taken."""
    body = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FILES}
    body[CSV] |= named({model.version.name: as_csv(model) for model in models if model.example})
    return {
        ("/api/files/{model}/{path}", "post"): Operation(
            "uploadFile",
            TAG,
            "Drop a file, which is scored as any file that is dropped",
            {
                201: Answer(
                    "It is there, whole.",
                    json_of(ref("Uploaded")),
                    {"Location": "Its run.", "ETag": "Of the file."},
                )
            },
            description=(
                f"The body is the file's bytes, at most {most_bytes:,}; behind the Functions host 100 MB. A path "
                "may have slashes, as they are: 2026/11/rows.csv."
            ),
            parameters=[
                in_path("model", "A model's name or reference.", _TEXT | {"minLength": 1}),
                in_path("path", "The file's path.", _TEXT | {"minLength": 1}),
                in_header("If-None-Match", "`*` keeps what is there already.", {"const": "*"}),
                in_header("If-Match", "An ETag: only that version is replaced.", _TEXT),
            ],
            body=body,
            errors=(
                MessageInvalidError,
                NameInvalidError,
                ReferenceInvalidError,
                ModelNotFoundError,
                BlobNotFoundError,
                FormatUnsupportedError,
                FileEmptyError,
                RecordTooLargeError,
                ConditionFailedError,
                BlocksMissingError,
                BodyTimeoutError,
                TooManyTransfersError,
                *STORAGE,
            ),
        ),
    }


def files_schemas() -> dict[str, Schema]:
    """Return the schemas that this operation refers to."""
    size = {"type": "integer", "minimum": 0}
    return {
        "Uploaded": whole(
            path=_TEXT | {"description": "container/name"}, etag=_TEXT, bytes=size, run_id=_TEXT, run=_TEXT
        ),
    }
