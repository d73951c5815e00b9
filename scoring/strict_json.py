"""Read JSON as its standard has it: no NaN, no infinity, no number beyond a double, no key twice."""

import json
import math
from typing import Any

from errors import MessageInvalidError


def read_json(text: str | bytes, what: str, *, nan: bool = False) -> Any:
    """Return what `text` holds; MessageInvalidError says where `what` is not JSON, without a word of it.

    With `nan`, NaN is read as null: the clients of some protocols write a missing number so.
    """
    constant = _null_for_nan if nan else _no_constant
    try:
        return json.loads(text, parse_constant=constant, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MessageInvalidError(f"{what} is not JSON: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if isinstance(error, _RefusedError) else "a number has too many digits"  # beyond 4,300


class _RefusedError(ValueError):
    """What Python would take, but is no JSON."""


def _no_constant(name: str) -> Any:
    raise _RefusedError(f"{name} is no JSON value: write null for no value")


def _null_for_nan(name: str) -> None:
    if name != "NaN":
        _no_constant(name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # readers disagree about which of them counts
        raise _RefusedError("an object has the same key twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedError("a number is too large for a double")
    return number
