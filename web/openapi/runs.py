"""Runs of files: start one, look at it, stop it."""

from typing import Any

from errors import (
    BlobNotFoundError,
    FormatUnsupportedError,
    MessageInvalidError,
    ModelNotFoundError,
    NameInvalidError,
    OptionsInvalidError,
    ReferenceInvalidError,
    RunEndedError,
    RunNotFoundError,
    RunUnderWayError,
    SupersededError,
)
from scoring.job import LAST_VERSION, MOST_ATTEMPTS
from web.bodies import Limits
from web.openapi.operations import Answer, Operation, Operations, Schema, in_path, in_query, json_of, ref, whole
from web.openapi.predictions import BODY, STORAGE
from web.runs import MOST_RUNS

TAG = "runs"

RUN = in_path("run_id", "A run's id.", {"type": "string", "minLength": 1})
_WAIT = {"Retry-After": "Seconds to wait before asking how it is."}
_PLACE = {"Location": "Where the run is found."}

_REPLAY_ERRORS = (RunNotFoundError, RunEndedError, RunUnderWayError, MessageInvalidError, FormatUnsupportedError)
_JOB_ERRORS = (
    OptionsInvalidError,
    NameInvalidError,
    ReferenceInvalidError,
    BlobNotFoundError,
    ModelNotFoundError,
    SupersededError,
)


def runs_operations(limits: Limits) -> Operations:
    """Return the operations of web/runs.py."""
    summary, receipt = json_of(ref("RunSummary")), json_of(ref("Receipt"))
    folder = json_of({"anyOf": [ref("RunSummary"), ref("Folder")]})
    job = json_of(
        ref("Job"), {"a file": {"input": f"{limits.incoming}/churn/rows.csv", "model": "churn", "keep": "all"}}
    )
    return {
        ("/api/runs", "get"): Operation(
            "listRuns",
            TAG,
            "List runs: those under way, then those that have ended, each the newest first",
            {200: Answer("A page of the list.", json_of(ref("RunPage")))},
            parameters=[
                in_query("status", "Only runs of this status.", {"enum": _STATUSES}),
                in_query(
                    "model", "Only runs of a model, or of one reference.", {"type": "string"}, {"name": "churn"}
                ),
                in_query(
                    "limit",
                    "Runs of a page, at most.",
                    {"type": "integer", "minimum": 1, "maximum": MOST_RUNS, "default": 50},
                ),
                in_query("after", "The `next` of the page before.", {"type": "string"}),
            ],
            errors=(OptionsInvalidError, ReferenceInvalidError, *STORAGE),
        ),
        ("/api/runs", "post"): Operation(
            "startRun",
            TAG,
            "Score a stored file, or each file of a folder",
            {
                200: Answer("The run of this job on this version of the file is known already.", summary, _PLACE),
                202: Answer("It is queued.", folder, _PLACE | _WAIT),
            },
            body=job,
            errors=(*BODY, *_JOB_ERRORS, *STORAGE),
        ),
        ("/api/runs/{run_id}", "get"): Operation(
            "showRun",
            TAG,
            "Show how a run ended, or how far it is",
            {200: Answer("The run.", json_of({"anyOf": [ref("Receipt"), ref("RunUnderWay")]}), _WAIT)},
            parameters=[RUN],
            errors=(RunNotFoundError, *STORAGE),
        ),
        ("/api/runs/{run_id}/cancel", "post"): Operation(
            "cancelRun",
            TAG,
            "End a run that has not ended",
            {200: Answer("It is cancelled: nothing of it is put up.", receipt)},
            parameters=[RUN],
            errors=(RunNotFoundError, RunEndedError, *STORAGE),
        ),
        ("/api/runs/{run_id}/replay", "post"): Operation(
            "replayRun",
            TAG,
            "Have the job of a run that has not succeeded run once more",
            {202: Answer("A run of its own is queued.", summary, _PLACE | _WAIT)},
            description="It works on the input's current version, with the model that the reference means now.",
            parameters=[RUN],
            errors=(*_REPLAY_ERRORS, *_JOB_ERRORS, *STORAGE),
        ),
    }


def runs_schemas() -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    return {
        "Job": _JOB,
        "RunSummary": _SUMMARY,
        "RunPage": whole(
            runs={"type": "array", "items": ref("RunSummary"), "maxItems": MOST_RUNS},
            next=_TEXT_OR_NULL | {"description": "What to ask for as `after`; null at the end of the list."},
        ),
        "Folder": whole(input=_TEXT, model=_TEXT, status={"const": "queued"}, runs=_TEXT),
        "Receipt": _RECEIPT,
        "RunUnderWay": _UNDER_WAY,
    }


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_ENDED = ["succeeded", "failed", "superseded", "cancelled"]
_UNENDED = ["queued", "running"]
_STATUSES = [*_UNENDED, *_ENDED]
_KNOWN = {
    "run_id": {"type": "string"},
    "input": {"type": "object", "description": "path, etag, size in bytes."},
    "model": {"type": "object", "description": "reference; name, version and digest where it was found."},
    "options": {"type": "object", "description": "Every option of the job."},
    "attempt": _COUNT | {"description": "How often the job was replayed before."},
    "started": {"type": "string", "description": "UTC, ISO 8601."},
}
_STAGES = {"type": "object", "additionalProperties": {"type": "number"}}

_RECEIPT: Schema = {
    "type": "object",
    "description": "How a run ended: rows read are those scored and those rejected.",
    "required": ["run_id", "status", "input", "model", "options", "rows", "started", "finished"],
    "properties": _KNOWN
    | {
        "status": {"enum": _ENDED},
        "rows": {
            "type": "object",
            "required": ["read", "scored", "rejected"],
            "properties": {"read": _COUNT, "scored": _COUNT, "rejected": _COUNT},
            "additionalProperties": False,
        },
        "dialect": {"type": ["object", "null"], "description": "How a CSV input is written."},
        "reject_codes": {"type": "object", "additionalProperties": _COUNT},
        "output": _TEXT_OR_NULL | {"description": "container/name of the result."},
        "rejects": _TEXT_OR_NULL | {"description": "container/name of the rejected rows."},
        "error": {"type": ["object", "null"], "required": ["code", "message"]},
        "warnings": {"type": "array", "items": {"type": "object", "required": ["code", "message"]}},
        "finished": {"type": "string", "description": "UTC, ISO 8601."},
        "seconds": {"type": "number"},
        "stages": {"type": "object", "properties": {"wall": _STAGES, "cpu": _STAGES}},
        "rates": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "peak_memory_bytes": {"type": ["integer", "null"]},
    },
}

_UNDER_WAY: Schema = {
    "type": "object",
    "description": "What is known of a run that has not ended.",
    "required": ["run_id", "status", "input", "model", "options", "attempt"],
    "properties": _KNOWN
    | {
        "status": {"enum": _UNENDED},
        "queued": {"type": "string", "description": "When it was asked for; UTC, ISO 8601."},
        "progress": {"type": "object", "description": "How far it is, after half a minute."},
        "splits": {
            "type": "object",
            "description": "Of a large file: how many parts there are, and how many are scored.",
            "required": ["all", "done"],
            "properties": {"all": _COUNT, "done": _COUNT},
        },
    },
}

_SUMMARY: dict[str, Any] = whole(
    run_id=_TEXT,
    status={"enum": _STATUSES},
    input=_TEXT_OR_NULL,
    model=_TEXT_OR_NULL,
    version={"type": ["integer", "null"]},
    rows={
        "type": "object",
        "additionalProperties": _COUNT,
        "description": "read, scored, rejected; of a run that has ended.",
    },
    error=_TEXT_OR_NULL | {"description": "The error's code."},
    started=_TEXT,
    finished=_TEXT | {"description": "Empty while it has not ended."},
    seconds={"type": "number"},
    attempt=_COUNT,
)

_MARK = {"type": ["string", "null"], "maxLength": 1}

_JOB: Schema = {
    "type": "object",
    "description": "What to score; the same names as in messages on the queue of jobs.",
    "required": ["input"],
    "properties": {
        "input": _TEXT | {"description": "container/name of a file; or of a folder, `container/name/`."},
        "model": _TEXT_OR_NULL | {"description": "A reference; without it, the input's first folder."},
        "etag": _TEXT_OR_NULL | {"description": "The version of the input that is meant; else whichever is there."},
        "keep": {
            "description": "Which of the input's columns the result keeps.",
            "anyOf": [{"enum": ["all", "none"]}, {"type": "array", "items": _TEXT, "uniqueItems": True}],
        },
        "output_format": {"enum": ["csv", "parquet", None], "description": "As the input's, if it is not said."},
        "error_threshold": {
            "description": "Rejected rows allowed: below 1 a fraction of the rows, from 1 a count, -1 any.",
            "anyOf": [
                {"const": -1},
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                {"type": "integer", "minimum": 1, "exclusiveMaximum": 2**53},
            ],
        },
        "csv": {
            "type": "object",
            "properties": {
                "delimiter": _MARK,
                "quote": _MARK,
                "header": {"type": "boolean"},
                "encoding": _TEXT_OR_NULL,
                "decimal": {"enum": [".", ","]},
            },
            "additionalProperties": False,
        },
        "attempt": {"type": "integer", "minimum": 0, "maximum": MOST_ATTEMPTS},
        "traceparent": _TEXT_OR_NULL | {"description": "The W3C trace that the run belongs to."},
        "version": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": LAST_VERSION,
            "description": "The model's version that is meant; else the one that the reference means.",
        },
    },
    "additionalProperties": False,
}
