"""The Open Inference Protocol, version 2, for any model and typed for each registered one."""

from typing import Any

from errors import ColumnTypeError, ReferenceInvalidError
from model_store import Column
from web.binary_tensors import HEADER, SIZE
from web.openapi.columns import VALUE, Described
from web.openapi.operations import Answer, Operation, Operations, Schema, in_header, in_path, json_of, ref, whole
from web.openapi.predictions import MODEL, REFERENCE, ROWS
from web.tensors import DATATYPES, describe

TAG = "v2"

_NAME = in_path("model", "A model's name or reference.", REFERENCE["schema"])
_HEAD = in_header(HEADER, "Of a body with binary tensors: how many of its bytes are JSON.", {"type": "string"})
_BINARY = "application/octet-stream"
_VERSION = in_path("version", "A version's number, or an alias.", {"type": "string", "minLength": 1})


def inference_operations(models: list[Described]) -> Operations:
    """Return the operations of web/inference_v2.py, and `infer` of each model; health is in `process.py`."""
    found: dict[tuple[str, str], Operation] = {
        ("/v2", "get"): Operation(
            "server", TAG, "Say who answers", {200: Answer("The server.", json_of(ref("InferenceServer")))}
        ),
    }
    examples = {model.version.name: _example(model)["tensors"] for model in models if model.example}
    for ending, named, parameters in (("", "", [_NAME]), ("/versions/{version}", "Version", [_NAME, _VERSION])):
        path = f"/v2/models/{{model}}{ending}"
        found[path, "get"] = Operation(
            f"metadata{named}",
            TAG,
            "Say what a model takes and gives",
            {200: Answer("The model.", json_of(ref("InferenceModel")))},
            parameters=parameters,
            errors=(ReferenceInvalidError, *MODEL),
        )
        found[f"{path}/ready", "get"] = Operation(
            f"ready{named}",
            TAG,
            "Open a model, and say that it can answer",
            {200: Answer("The model is open.", json_of(whole(name={"type": "string"}, ready={"const": True})))},
            parameters=parameters,
            errors=(ReferenceInvalidError, *MODEL),
        )
        found[f"{path}/infer", "post"] = _infer(
            f"infer{named}", "Score rows that come as one tensor a column", parameters, "InferenceRequest", examples
        )
    for model in models:
        name = model.version.name
        found[f"/v2/models/{name}/infer", "post"] = _infer(
            f"infer_{name}", f"Score rows with {name}", [], f"{name}.InferenceRequest", _example(model)
        )
    return found


def inference_schemas(models: list[Described]) -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    return {
        "InferenceServer": whole(
            name={"type": "string"},
            version={"type": "string"},
            extensions={"type": "array", "items": {"type": "string"}},
        ),
        "InferenceModel": whole(
            name={"type": "string"},
            versions={"type": "array", "items": {"type": "string"}},
            platform={"type": "string"},
            inputs={"type": "array", "items": ref("TensorKind")},
            outputs={"type": "array", "items": ref("TensorKind")},
        ),
        "TensorKind": whole(
            name={"type": "string"}, datatype={"enum": sorted(set(DATATYPES.values()))}, shape={"const": [-1]}
        ),
        "InferenceParameters": _PARAMETERS,
        "Tensor": _tensor({"type": "string"}, {"enum": sorted(_SENT)}),
        "InferenceRequest": _request(ref("Tensor"), {"type": "string"}),
        "InferenceAnswer": _ANSWER,
    } | {
        f"{model.version.name}.InferenceRequest": _request(
            {"anyOf": [*map(_tensor_of, model.signature.inputs), _other(model)]},
            {"enum": [column.name for column in model.signature.outputs]},
        )
        for model in models
    }


def _infer(
    name: str, summary: str, parameters: list[dict[str, Any]], schema: str, example: dict[str, Any] | None = None
) -> Operation:
    return Operation(
        name,
        TAG,
        summary,
        {
            200: Answer(
                "One tensor an output; binary where that is asked for.",
                json_of(ref("InferenceAnswer")) | {_BINARY: {}},
                {HEADER: "Of a binary answer: how many of its bytes are JSON."},
            )
        },
        description=(
            "Tensors are of shape [n] or [n, 1], and all of the same n. A row that cannot be scored refuses the "
            "request. Inputs that the model does not know are ignored; null is no value. Binary tensors are as "
            f"Triton has them: their bytes stand behind the JSON, and {SIZE} says how many each has."
        ),
        parameters=[*parameters, _HEAD],
        body=json_of(ref(schema), example) | {_BINARY: {"schema": {"type": "string", "format": "binary"}}},
        errors=(ReferenceInvalidError, ColumnTypeError, *ROWS),
    )


def _tensor(name: Schema, datatype: Schema) -> dict[str, Any]:
    cells = {"anyOf": [VALUE, {"type": "array", "items": VALUE, "minItems": 1, "maxItems": 1}]}
    return {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": name,
            "shape": {
                "description": "[n] or [n, 1]",
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
                "maxItems": 2,
            },
            "datatype": datatype,
            "parameters": ref("InferenceParameters"),
            "data": {"type": "array", "items": cells},
        },
    }


def _tensor_of(column: Column) -> dict[str, Any]:
    kinds = _NUMBERS if DATATYPES[column.type] in _NUMBERS else [DATATYPES[column.type]]
    return {"title": column.name} | _tensor({"const": column.name}, {"enum": kinds})


def _other(model: Described) -> dict[str, Any]:
    known = {"enum": [column.name for column in model.signature.inputs]}
    return {"title": "ignored"} | _tensor({"type": "string", "not": known}, {"enum": sorted(_SENT)})


def _request(tensor: Schema, output: Schema) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"], "maxLength": 1000, "description": "Comes back."},
            "parameters": ref("InferenceParameters"),
            "inputs": {"type": "array", "items": tensor},
            "outputs": {
                "description": "Which outputs to answer, in this order; without it all of them.",
                "type": ["array", "null"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": output}},
                "uniqueItems": True,
            },
        },
    }


def _example(model: Described) -> dict[str, Any]:
    if not (rows := list(model.example)):
        return {}
    kinds = describe(model.signature.inputs)
    inputs = [
        kind | {"shape": [len(rows)], "data": [row[kind["name"]] for row in rows]}
        for kind in kinds
        if kind["name"] in rows[0]
    ]
    return {"tensors": {"id": "1", "inputs": inputs}}


_NUMBERS = [
    *(f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)), "FP16", "FP32", "FP64"
]  # fmt: skip
_SENT = {"BOOL", "BYTES", *_NUMBERS}

_PARAMETERS: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        "content_type": {
            "description": "MLServer's word for what tensors stand for.",
            "enum": [None, "pd", "np", "str", "datetime", "pd_json"],
        },
    },
}

_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    "datatype": {"enum": sorted(set(DATATYPES.values()))},
                    "parameters": {"type": "object"},
                    "data": {"type": "array", "items": VALUE},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
