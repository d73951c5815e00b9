"""What the document promises of bodies, beyond what it says of each answer alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jsonschema import Draft202012Validator
from schemathesis.core import NOT_SET

STRICT = ("setAlias", "startRun")
"""Operations that refuse all that their schema does. A row that does not fit has its error in a 200."""


class Promises:
    """Checks that what fits a model's schema is scored, all of it, and that other bodies are refused."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        components = {"components": document["components"]}
        self._bodies = {
            operation["operationId"]: Draft202012Validator(
                operation["requestBody"]["content"]["application/json"]["schema"] | components
            )
            for methods in document["paths"].values()
            for operation in methods.values()
            if operation["operationId"].startswith("predict_") or operation["operationId"] in STRICT
        }

    def broken(self, operation: Any, body: Any, status: int, answer: Any) -> str | None:
        """Say what was promised and not kept; None if all was, or nothing."""
        name = operation.definition.raw["operationId"]
        validator = self._bodies.get(name)
        if validator is None or body is NOT_SET:
            return None
        fits = validator.is_valid(body)
        if name in STRICT:
            return f"a body that does not fit is answered {status}" if status < 400 and not fits else None
        return self._unscored(body, status, answer) if fits and _has_times(body) else None

    def _unscored(self, body: Any, status: int, answer: Any) -> str | None:
        if status != 200:
            return f"the body fits the model's schema, and the answer is {status}"
        if any("error" in row for row in answer["predictions"]):
            return "all rows fit the model's schema, and one of them was not scored"
        if len(answer["predictions"]) != (count := _count(body)):
            return f"{count} rows have {len(answer['predictions'])} predictions"
        return None


def _count(body: Any) -> int:
    if isinstance(body, list):
        return len(body)
    columns = body["columns"] if body.keys() == {"columns"} else body
    if columns and all(isinstance(cells, list) for cells in columns.values()):
        return len(next(iter(columns.values())))
    return 1


def _has_times(body: Any) -> bool:
    """Say whether the echo model's times are such: JSON Schema does not look at formats."""
    if isinstance(body, dict):
        return all(_has_times(value) and (name != "at" or _is_time(value)) for name, value in body.items())
    if isinstance(body, list):
        return all(_has_times(value) for value in body)
    return True


def _is_time(value: Any) -> bool:
    cells = value if isinstance(value, list) else [value]
    try:
        return all(isinstance(cell, str) and bool(datetime.fromisoformat(cell)) for cell in cells)
    except ValueError:
        return False
