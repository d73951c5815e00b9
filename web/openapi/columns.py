"""A model's columns as JSON Schema: what its rows and its answers look like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_store import Column, ColumnType, Signature
from model_store.registry import ModelVersion
from scoring.rejects import CODES

_FLOAT_MAX = 3.4028234663852886e38
_MOST_NAMED = 30
"""Categories that a description names; more of them nobody reads."""

_TYPES: dict[ColumnType, dict[str, Any]] = {
    ColumnType.BOOLEAN: {"type": "boolean"},
    ColumnType.INTEGER: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    ColumnType.LONG: {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    ColumnType.FLOAT: {"type": "number", "format": "float", "minimum": -_FLOAT_MAX, "maximum": _FLOAT_MAX},
    ColumnType.DOUBLE: {"type": "number", "format": "double"},
    ColumnType.STRING: {"type": "string"},
    ColumnType.DATETIME: {
        "type": "string",
        "format": "date-time",
        "description": "ISO 8601, a date alone too; a time without a zone is UTC.",
    },
}

VALUE: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
"""A cell of which the column is not known."""


@dataclass(frozen=True, slots=True)
class Described:
    """A registered model, as far as the document knows it."""

    version: ModelVersion
    """What its bare name means: the champion, or the newest."""
    signature: Signature
    example: Sequence[dict[str, Any]] = ()
    """Rows of its input example."""


def cell_taken(column: Column) -> dict[str, Any]:
    """Return what a cell of an input may be."""
    schema: dict[str, Any] = dict(_TYPES[column.type])
    if column.limit is not None:
        least, most = -column.limit, column.limit
        schema["minimum"], schema["maximum"] = (
            max(schema.get("minimum", least), least),
            min(schema.get("maximum", most), most),
        )
    if column.allowed is not None:
        schema["enum"] = list(column.allowed)
    elif column.categories:
        some = ", ".join(column.categories[:_MOST_NAMED])
        more = ", …" if len(column.categories) > _MOST_NAMED else ""
        schema["description"] = f"Known to the model: {some}{more}"
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def cell_given(column: Column) -> dict[str, Any]:
    """Return what a cell of an output may be; null stands for NaN."""
    schema = {key: value for key, value in _TYPES[column.type].items() if key in ("type", "format")}
    if column.type is ColumnType.DATETIME:
        return {"type": "string", "description": "ISO 8601, UTC, without a zone."}
    if column.type in (ColumnType.FLOAT, ColumnType.DOUBLE):
        schema["type"] = [schema["type"], "null"]
    return schema


def row_taken(signature: Signature) -> dict[str, Any]:
    """Return what a row is; columns that the model does not know are ignored."""
    return {
        "type": "object",
        "required": [column.name for column in signature.inputs if column.required],
        "properties": {column.name: cell_taken(column) for column in signature.inputs},
    }


def columns_taken(signature: Signature) -> dict[str, Any]:
    """Return what columns are: a list for each, all of one length."""
    return {
        "type": "object",
        "description": "All lists are of one length.",
        "minProperties": 1,
        "required": [column.name for column in signature.inputs if column.required],
        "properties": {column.name: {"type": "array", "items": cell_taken(column)} for column in signature.inputs},
        "additionalProperties": {"type": "array", "items": VALUE},
    }


def row_given(signature: Signature) -> dict[str, Any]:
    """Return what a row that could be scored gets."""
    return {
        "type": "object",
        "required": [column.name for column in signature.outputs],
        "properties": {column.name: cell_given(column) for column in signature.outputs},
        "additionalProperties": False,
    }


ROW_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "Why one row could not be scored; the others were.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "column", "message"],
            "properties": {
                "code": {"enum": list(CODES)},
                "column": {"type": ["string", "null"]},
                "message": {"type": "string"},
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
