"""MLflow's scoring protocol, and Azure ML's form of it."""

import csv
from io import StringIO
from typing import Any

from errors import (
    ExpansionError,
    FileEmptyError,
    FileMalformedError,
    ReferenceInvalidError,
)
from web.bodies import CSV
from web.openapi.columns import VALUE, Described
from web.openapi.operations import Answer, Operation, Operations, Schema, in_query, json_of, named, ref
from web.openapi.predictions import REFERENCE, ROWS

TAG = "mlflow"

_MODEL = "x-dropscore-model"


def mlflow_operations(models: list[Described]) -> Operations:
    """Return the operations of web/mlflow.py that score; `process.py` has the others."""
    rows = {"type": "array", "items": ref("MlflowPrediction")}
    wrapped = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": rows},
        "additionalProperties": False,
    }
    return {
        ("/invocations", "post"): _operation("invocations", "Score rows as MLflow's server does", wrapped, models),
        ("/endpoints/{model}/invocations", "post"): _operation(
            "endpointInvocations",
            "Score rows where mlflow.deployments asks",
            wrapped,
            models,
            REFERENCE,
        ),
        ("/score", "post"): _operation("score", "Score rows as Azure ML's endpoints do", rows, models),
    }


def mlflow_schemas() -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    return {"MlflowRows": _ROWS, "MlflowPrediction": {"type": "object", "additionalProperties": VALUE}}


def _operation(
    name: str, summary: str, answer: Schema, models: list[Described], reference: dict[str, Any] | None = None
) -> Operation:
    body = json_of(ref("MlflowRows"), _examples(models)) | {
        CSV: {"schema": {"type": "string", "description": "UTF-8, with a header."}}
        | named({model.version.name: as_csv(model) for model in models if model.example})
    }
    asked = {model.version.name: model.version.name for model in models}
    return Operation(
        name,
        TAG,
        summary,
        {
            200: Answer(
                "One prediction for each row, in order.",
                json_of(answer),
                {_MODEL: "The version that answered, such as churn@3."},
            )
        },
        description=(
            "A row that cannot be scored refuses the request: either all rows have a prediction, or none."
        ),
        parameters=[
            reference
            or in_query(
                "model",
                "The model; without it the one of the setting DROPSCORE_MODEL, or the only one registered.",
                {"type": "string"},
                asked,
            )
        ],
        body=body,
        errors=(*ROWS, ReferenceInvalidError, FileEmptyError, FileMalformedError, ExpansionError),
    )


def _examples(models: list[Described]) -> dict[str, Any]:
    examples: dict[str, Any] = {}
    for model in models:
        if not (rows := list(model.example)):
            continue
        names, name = list(rows[0]), model.version.name
        table = [[row[column] for column in names] for row in rows]
        examples |= {
            f"{name}: dataframe_split": {"dataframe_split": {"columns": names, "data": table}},
            f"{name}: dataframe_records": {"dataframe_records": rows},
            f"{name}: instances": {"instances": rows},
            f"{name}: inputs": {"inputs": {column: [row[column] for row in rows] for column in names}},
            f"{name}: input_data": {"input_data": {"columns": names, "data": table}},
        }
    return examples


def as_csv(model: Described) -> str:
    """Return a model's input example as CSV text."""
    text = StringIO()
    writer = csv.DictWriter(text, list(model.example[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(model.example)
    return text.getvalue()


_CELLS: dict[str, Any] = {"type": "array", "items": VALUE}
_RECORD: dict[str, Any] = {"type": "object", "additionalProperties": VALUE}
_RECORDS: dict[str, Any] = {"type": "array", "items": _RECORD}
_TABLE: dict[str, Any] = {"type": "array", "items": _CELLS}
_COLUMNS: dict[str, Any] = {"type": "object", "additionalProperties": _CELLS}
_LISTS = {
    "description": "Each row is a list of the model's inputs in order, or of the one input's values alone.",
    "anyOf": [_RECORDS, _TABLE, _CELLS],
}
_SPLIT: dict[str, Any] = {
    "type": "object",
    "description": "Without columns, a row's values are the model's inputs in order; the index is ignored.",
    "required": ["data"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "index": {},
        "data": _TABLE,
    },
}

_KEYS: dict[str, Any] = {
    "dataframe_split": _SPLIT,
    "dataframe_records": _RECORDS,
    "instances": _LISTS,
    "inputs": {"anyOf": [_COLUMNS, _RECORD, _LISTS]},
    "input_data": {"anyOf": [_SPLIT, _COLUMNS, _RECORD, _LISTS]},
}

_ROWS: dict[str, Any] = {
    "type": "object",
    "description": "Exactly one of these; other keys are ignored.",
    "properties": _KEYS | {"params": {"type": ["object", "null"], "description": "Our models take none: ignored."}},
    "oneOf": [{"required": [key]} for key in _KEYS],
}
