"""Bodies of requests: what the document's examples show, one place of which holds anything."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

CELL = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


JSON = "application/json"


def examples_of(operation: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the examples of an operation's body, each with its media type."""
    content = operation.get("requestBody", {}).get("content", {})
    return [
        (kind, example["value"]) for kind, body in content.items() for example in body.get("examples", {}).values()
    ]


@st.composite
def changed(draw: st.DrawFn, examples: Sequence[Any]) -> Any:
    """Draw an example, as it is or with another value in one place."""
    body = json.loads(json.dumps(draw(st.sampled_from(examples))))
    if draw(st.integers(0, 3)) == 0 or not isinstance(body, dict | list) or not body:
        return body
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
            place = place[key]
            continue
        if draw(st.booleans()) and isinstance(place, dict):
            del place[key]
        else:
            place[key] = draw(CELL | st.lists(CELL, max_size=3) | st.dictionaries(st.text(), CELL, max_size=3))
        return body


def mend(body: Any) -> Any:
    """Return a body with what JSON Schema cannot ask for: lists of one length, and shapes that say it."""
    if not isinstance(body, dict):
        return body
    columns = body.get("columns", body)
    if isinstance(columns, dict) and columns and all(isinstance(cells, list) for cells in columns.values()):
        count = min(map(len, columns.values()))
        cut = {name: cells[:count] for name, cells in columns.items()}
        return {"columns": cut} if columns is not body else cut
    tensors = body.get("inputs")
    if isinstance(tensors, list) and tensors and all(_is_tensor(tensor) for tensor in tensors):
        count = min(len(tensor["data"]) for tensor in tensors)
        mended = [
            tensor | {"data": tensor["data"][:count], "shape": [count, 1][: _rank(tensor)]} for tensor in tensors
        ]
        return body | {"inputs": mended}
    return body


def _is_tensor(tensor: Any) -> bool:
    return isinstance(tensor, dict) and isinstance(tensor.get("data"), list)


def _rank(tensor: Mapping[str, Any]) -> int:
    return 2 if isinstance(tensor.get("shape"), list) and len(tensor["shape"]) == 2 else 1
