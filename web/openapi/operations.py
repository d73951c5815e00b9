"""One operation of the document: what is sent, what is answered, and which of our errors it may end with."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import DropscoreError, ForbiddenError, UnauthorizedError
from web.access import Level, level_of
from web.answers import form_of

JSON = "application/json"

Schema = Mapping[str, Any]
Operations = Mapping[tuple[str, str], "Operation"]
"""By path, as OpenAPI writes it, and method in lower case."""


def ref(name: str) -> dict[str, str]:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def whole(**properties: Schema) -> dict[str, Any]:
    """Return an object that has all of these, always, and nothing else."""
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def json_of(schema: Schema, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a JSON body."""
    return {JSON: {"schema": schema} | named(examples)}


def named(examples: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return examples by name as a media type has them."""
    return {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}


def in_path(
    name: str, description: str, schema: Schema, examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a part of the path."""
    return _parameter("path", name, description, schema, examples) | {"required": True}


def in_query(
    name: str, description: str, schema: Schema, examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a parameter behind the path."""
    return _parameter("query", name, description, schema, examples)


def in_header(name: str, description: str, schema: Schema) -> dict[str, Any]:
    """Return a header of the request."""
    return _parameter("header", name, description, schema, None)


def _parameter(
    place: str, name: str, description: str, schema: Schema, examples: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema} | named(examples)


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back where all went well."""

    description: str
    content: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    """By name, what each says."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as the document has it."""
        answer: dict[str, Any] = {"description": self.description}
        if self.headers:
            answer["headers"] = {
                name: {"description": text, "schema": {"type": "string"}} for name, text in self.headers.items()
            }
        return answer | ({"content": self.content} if self.content else {})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    id: str
    """The name that generated clients give it."""
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    """By status; those of errors come on top."""
    description: str = ""
    parameters: Sequence[Mapping[str, Any]] = ()
    body: Mapping[str, Any] | None = None
    """The content of the request's body, by media type."""
    errors: Sequence[type[DropscoreError]] = ()
    """What it may end with, beside a bug."""

    def to_dict(self, path: str) -> dict[str, Any]:
        """Return it as the document has it below `path`."""
        entry: dict[str, Any] = {"operationId": self.id, "tags": [self.tag], "summary": self.summary}
        if self.description:
            entry["description"] = self.description
        if self.parameters:
            entry["parameters"] = list(self.parameters)
        if self.body:
            entry["requestBody"] = {"required": True, "content": self.body}
        level = level_of(path)
        entry["security"] = [{scheme: []} for scheme in SECURITY[level]]
        answers = {status: answer.to_dict() for status, answer in self.answers.items()}
        for status, refusal in _refusals(path, (*_OF_KEYS[level], *self.errors)).items():
            answers.setdefault(status, refusal)
        return entry | {"responses": {str(status): answers[status] for status in sorted(answers)}}


def _refusals(path: str, errors: Sequence[type[DropscoreError]]) -> dict[int, dict[str, Any]]:
    """Return the errors' answers by status, in the form of the path's protocol."""
    codes: dict[int, dict[str, str]] = {}
    for kind in errors:
        codes.setdefault(kind.status, {})[kind.code] = inspect.getdoc(kind) or ""
    codes.setdefault(500, {})["internal"] = "The request failed; the log says why."
    if "{" in path:
        codes.setdefault(404, {})["http_404"] = "There is no such path."
    return {status: _refusal(path, status, kinds) for status, kinds in codes.items()}


def _refusal(path: str, status: int, kinds: Mapping[str, str]) -> dict[str, Any]:
    form = form_of(path)
    described = "\n".join(f"- `{code}`: {' '.join(text.split())}" for code, text in kinds.items())
    # Each protocol's own form, made by what makes the answers, so that the document cannot say another.
    written = [form({"code": code, "message": ""}, status) for code in kinds]
    schema: dict[str, Any]
    if "error_code" in written[0]:
        codes = sorted({entry["error_code"] for entry in written})
        schema = {"allOf": [ref("MlflowError"), {"properties": {"error_code": {"enum": codes}}}]}
    elif isinstance(written[0]["error"], str):
        schema = ref("InferenceError")
    else:
        error = {"properties": {"code": {"enum": sorted(kinds)}}}
        schema = {"allOf": [ref("Error"), {"properties": {"error": error}}]}
    return {"description": described, "content": json_of(schema)}


SECURITY: Mapping[Level, Sequence[str]] = {
    Level.ANONYMOUS: (),
    Level.FUNCTION: ("functionKey", "functionCode"),
    Level.ADMIN: ("adminKey", "adminCode"),
}
"""What opens a path, by its level: one of these schemes of the document."""

_OF_KEYS: Mapping[Level, Sequence[type[DropscoreError]]] = {
    Level.ANONYMOUS: (),
    Level.FUNCTION: (UnauthorizedError,),
    Level.ADMIN: (UnauthorizedError, ForbiddenError),
}

ERRORS: Mapping[str, Schema] = {
    "Error": {
        "type": "object",
        "description": "Why a request was refused: programs go by the code, the message is for people.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "file": {"type": "string", "description": "container/name"},
                    "row": {"type": "integer", "minimum": 1},
                    "column": {"type": "string"},
                },
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    },
    "MlflowError": {
        "type": "object",
        "description": "An error as MLflow's server writes it.",
        "required": ["error_code", "message"],
        "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        "additionalProperties": False,
    },
    "InferenceError": {
        "type": "object",
        "description": "An error of the Open Inference Protocol.",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
        "additionalProperties": False,
    },
}
"""The three forms of errors."""
