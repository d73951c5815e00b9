"""Our own way to score rows, for any model and typed for each registered one."""

from typing import Any

from errors import (
    BodyTimeoutError,
    ColumnMissingError,
    FormatUnsupportedError,
    MessageInvalidError,
    ModelNotFoundError,
    PackageInvalidError,
    RecordTooLargeError,
    ReferenceInvalidError,
    SettingsError,
    StorageDeniedError,
    StorageUnavailableError,
    TooManyTransfersError,
)
from web.bodies import Limits
from web.openapi.columns import ROW_ERROR, VALUE, Described, columns_taken, row_given, row_taken
from web.openapi.operations import Answer, Operation, Operations, Schema, in_path, json_of, ref

TAG = "predict"

STORAGE = (SettingsError, StorageDeniedError, StorageUnavailableError)
MODEL = (ModelNotFoundError, PackageInvalidError, *STORAGE)
"""What may keep a model from answering."""
BODY = (MessageInvalidError, FormatUnsupportedError, RecordTooLargeError, BodyTimeoutError, TooManyTransfersError)
"""What may be wrong with any small body."""
ROWS = (*BODY, ColumnMissingError, *MODEL)
"""What may be wrong with rows in a body."""

REFERENCE = in_path(
    "model",
    "A model: `churn`, `churn@champion`, `churn@3`, `models:/churn/3` or `models:/churn@champion`.",
    {"type": "string", "minLength": 1},
)


def predict_operations(models: list[Described], limits: Limits) -> Operations:
    """Return the operations of web/predict.py, and one for each model."""
    examples = {f"{model.version.name}": model.example[0] for model in models if model.example}
    found: dict[tuple[str, str], Operation] = {
        ("/api/predict/{model}", "post"): Operation(
            "predict",
            TAG,
            "Score rows",
            {200: _answered(ref("PredictAnswer"))},
            description=(
                "A row that cannot be scored gets its own error entry; the others are answered. A path with one of "
                "the registered models in it is described on its own, typed by what that model takes and gives."
            ),
            parameters=[REFERENCE],
            body=json_of(_body({"type": "object", "additionalProperties": VALUE}, _COLUMNS, limits), examples),
            errors=(ReferenceInvalidError, *ROWS),
        )
    }
    for model in models:
        name = model.version.name
        found[f"/api/predict/{name}", "post"] = Operation(
            f"predict_{name}",
            TAG,
            f"Score rows with {name}",
            {200: _answered(ref(f"{name}.PredictAnswer"))},
            description=f"Described by what {model.version} takes and gives.",
            body=json_of(_body(ref(f"{name}.Row"), ref(f"{name}.Columns"), limits), _examples(model)),
            errors=ROWS,
        )
    return found


def predict_schemas(models: list[Described]) -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    anything: dict[str, Any] = {"type": "object", "additionalProperties": VALUE}
    schemas: dict[str, Schema] = {
        "RowError": ROW_ERROR,
        "Served": _SERVED,
        "PredictAnswer": _answer({"type": "string"}, {"anyOf": [ref("RowError"), anything]}),
    }
    for model in models:
        name, signature = model.version.name, model.signature
        outputs = {"enum": [column.name for column in signature.outputs]}
        schemas[f"{name}.Row"] = row_taken(signature)
        schemas[f"{name}.Columns"] = columns_taken(signature)
        schemas[f"{name}.Prediction"] = row_given(signature)
        schemas[f"{name}.PredictAnswer"] = _answer(outputs, {"anyOf": [ref(f"{name}.Prediction"), ref("RowError")]})
    return schemas


def _body(row: dict[str, Any], columns: dict[str, Any], limits: Limits) -> dict[str, Any]:
    return {
        "description": f"At most {limits.bytes:,} bytes and {limits.rows:,} rows.",
        "anyOf": [
            {"title": "one row"} | row,
            {"title": "rows", "type": "array", "items": row, "maxItems": limits.rows},
            {
                "title": "columns",
                "type": "object",
                "required": ["columns"],
                "properties": {"columns": columns},
                "additionalProperties": False,
            },
            {"title": "columns, as they are"} | columns,
        ],
    }


_COLUMNS: dict[str, Any] = {
    "type": "object",
    "description": "All lists are of one length.",
    "minProperties": 1,
    "additionalProperties": {"type": "array", "items": VALUE},
}


def _answered(schema: Schema) -> Answer:
    return Answer("One prediction for each row, in order.", json_of(schema))


def _answer(output: Schema, prediction: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model", "outputs", "predictions"],
        "properties": {
            "model": ref("Served"),
            "outputs": {"type": "array", "items": output, "description": "The outputs' names."},
            "predictions": {"type": "array", "items": prediction},
        },
        "additionalProperties": False,
    }


def _examples(model: Described) -> dict[str, Any]:
    rows = list(model.example)
    if not rows:
        return {}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {"one row": rows[0], "rows": rows, "columns": {"columns": columns}}


_SERVED: dict[str, Any] = {
    "type": "object",
    "description": "Which version answered.",
    "required": ["name", "version", "digest"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "integer", "minimum": 1},
        "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "The sha256 of what serves."},
        "refused": {
            "type": "object",
            "description": "The version that should answer and cannot be opened; this one goes on meanwhile.",
            "required": ["version", "code"],
            "properties": {"version": {"type": "integer", "minimum": 1}, "code": {"type": "string"}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
