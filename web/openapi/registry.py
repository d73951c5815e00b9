"""The registered models: what there is, what a version takes and gives, and which version an alias means."""

from typing import Any

from errors import (
    ModelNotFoundError,
    PackageInvalidError,
    ReferenceInvalidError,
    RegistryConflictError,
)
from model_store import ColumnType
from web.openapi.operations import Answer, Operation, Operations, Schema, in_path, json_of, ref, whole
from web.openapi.predictions import BODY, STORAGE

TAG = "models"

_NAME = in_path("name", "A model's name.", {"type": "string", "minLength": 1})
_ALIAS = in_path("alias", "An alias, such as champion.", {"type": "string", "minLength": 1})
_VERSION = in_path("version", "A version's number, or an alias.", {"type": "string", "minLength": 1})

_FINDING = (ReferenceInvalidError, ModelNotFoundError, *STORAGE)
_MOVING = (*_FINDING, RegistryConflictError, PackageInvalidError)


def registry_operations() -> Operations:
    """Return the operations of web/registry.py."""
    listed = whole(models={"type": "array", "items": ref("Model")})
    return {
        ("/api/models", "get"): Operation(
            "listModels",
            TAG,
            "List the registered models",
            {200: Answer("All of them, by name.", json_of(listed))},
            errors=STORAGE,
        ),
        ("/api/models/{name}", "get"): Operation(
            "showModel",
            TAG,
            "Show a model's versions and aliases",
            {200: Answer("The model.", json_of(ref("ModelVersions")))},
            parameters=[_NAME],
            errors=_FINDING,
        ),
        ("/api/models/{name}/versions/{version}", "get"): Operation(
            "showVersion",
            TAG,
            "Show what a version takes and gives, and how it compares with what was trained",
            {200: Answer("The version.", json_of(ref("ModelVersion")))},
            parameters=[_NAME, _VERSION],
            errors=(*_FINDING, PackageInvalidError),
        ),
        ("/api/models/{name}/aliases/{alias}", "put"): Operation(
            "setAlias",
            TAG,
            "Point an alias at a version",
            {200: Answer("It points there.", json_of(_pointed({"type": "integer", "minimum": 1})))},
            description="Requests that name the alias are answered by that version as soon as it is open.",
            parameters=[_NAME, _ALIAS],
            body=json_of(
                whole(version={"type": "integer", "minimum": 1, "maximum": 999_999_999}), {"move": {"version": 1}}
            ),
            errors=(*BODY, *_MOVING),
        ),
        ("/api/models/{name}/aliases/{alias}", "delete"): Operation(
            "removeAlias",
            TAG,
            "Take an alias away",
            {200: Answer("It is gone; the version it pointed at stays.", json_of(_pointed({"type": "null"})))},
            parameters=[_NAME, _ALIAS],
            errors=_MOVING,
        ),
    }


def registry_schemas() -> dict[str, Schema]:
    """Return the schemas that these operations refer to."""
    return {
        "Model": whole(name=_TEXT, versions={"type": "array", "items": _NUMBER}, aliases=_ALIASES),
        "ModelVersions": whole(
            name=_TEXT,
            current=_NUMBER | {"description": "What the bare name means: the champion, or the newest."},
            aliases=_ALIASES,
            versions={
                "type": "array",
                "items": whole(
                    version=_NUMBER,
                    digest={"type": ["string", "null"], "description": "null for a version that is damaged"},
                    aliases=_TEXTS,
                ),
            },
        ),
        "ModelVersion": whole(
            name=_TEXT,
            version=_NUMBER,
            digest=_TEXT,
            aliases=_TEXTS,
            created=_TEXT,
            framework=_TEXT,
            built_with={"type": "object", "additionalProperties": _TEXT},
            bytes={"type": "integer", "minimum": 0},
            signature=whole(
                inputs={"type": "array", "items": _INPUT},
                outputs={"type": "array", "items": whole(name=_TEXT, type=_TYPE)},
            ),
            labels={"type": "array", "description": "A classifier's classes; of several targets, a list for each."},
            parity={"type": "object", "description": "How its answers compare with the source model's."},
        ),
    }


def _pointed(version: Schema) -> dict[str, Any]:
    return whole(name=_TEXT, alias=_TEXT, version=version)


_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_NUMBER: dict[str, Any] = {"type": "integer", "minimum": 1}
_ALIASES = {"type": "object", "additionalProperties": _NUMBER, "description": "The version each alias points at."}
_TYPE = {"enum": [kind.value for kind in ColumnType]}
_INPUT: dict[str, Any] = {
    "type": "object",
    "required": ["name", "type", "required", "nullable"],
    "properties": {
        "name": _TEXT,
        "type": _TYPE,
        "required": {"type": "boolean"},
        "nullable": {"type": "boolean"},
        "limit": {"type": "number", "description": "The largest magnitude it takes."},
        "allowed": {"type": "array", "items": _TEXT, "description": "The only texts it takes."},
    },
    "additionalProperties": False,
}
