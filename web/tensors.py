"""Tensors of the Open Inference Protocol as columns of rows, and back: one tensor a column, [n] or [n, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import ColumnTypeError, MessageInvalidError
from model_store import Column, ColumnType
from scoring.strict_json import read_json
from web.binary_tensors import SIZE, to_bytes, to_cells

DATATYPES: Mapping[ColumnType, str] = {
    ColumnType.BOOLEAN: "BOOL",
    ColumnType.INTEGER: "INT32",
    ColumnType.LONG: "INT64",
    ColumnType.FLOAT: "FP32",
    ColumnType.DOUBLE: "FP64",
    ColumnType.STRING: "BYTES",
    ColumnType.DATETIME: "BYTES",
}
"""What a column of each type is called there; times are texts in ISO 8601."""

_WHOLE = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""The smallest and the largest of each type of whole numbers."""
_MOST = _WHOLE["INT64"][1]
"""Of rows, in a shape: what is more, nobody can have."""
_FRACTIONS = ("FP16", "FP32", "FP64")
_NUMBERS = (*_WHOLE, *_FRACTIONS)

_TAKEN: Mapping[ColumnType, Sequence[str]] = {
    ColumnType.BOOLEAN: ("BOOL",),
    ColumnType.INTEGER: _NUMBERS,
    ColumnType.LONG: _NUMBERS,
    ColumnType.FLOAT: _NUMBERS,
    ColumnType.DOUBLE: _NUMBERS,
    ColumnType.STRING: ("BYTES",),
    ColumnType.DATETIME: ("BYTES",),
}
"""What may be sent for a column. Of numbers any: each value is looked at, and none may change on its way."""

_TEXTS_OF_JSON = "pd_json"
_CONTENT_TYPES = (None, "pd", "np", "str", "datetime", _TEXTS_OF_JSON)
"""MLServer's words for what tensors stand for. Only the last changes anything: its pandas codec writes each cell of
a column of texts as JSON of its own where one of them is null."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a request."""

    name: str
    tall: bool
    """Whether its shape is [n, 1] and not [n]."""
    datatype: str
    cells: Sequence[Any]

    @classmethod
    def parse(cls, entry: Any, number: int, content: bytes | None = None) -> "Tensor":
        """Read the request's input `number`, counted from 1, and its bytes where it came with some.

        MessageInvalidError says what is wrong with it.
        """
        which = f"input {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise MessageInvalidError(f"{which} must be an object with a name")
        check_parameters(entry.get("parameters"), which)
        shape, datatype = entry.get("shape"), entry.get("datatype")
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size <= _MOST for size in shape):
            raise MessageInvalidError(f"{which} has no shape: write [n] or [n, 1]")
        if len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
            raise MessageInvalidError(f"the shape of {which} must be [n] or [n, 1]: one tensor a column")
        if datatype not in (*_NUMBERS, "BOOL", "BYTES"):
            raise MessageInvalidError(
                f"{which} has no datatype: BOOL, INT8 to INT64, UINT8 to UINT64, FP16 to FP64, BYTES"
            )
        tall = len(shape) == 2
        if content is None:
            data = _listed(entry.get("data"), shape[0], tall=tall, which=which)
        elif "data" in entry:
            raise MessageInvalidError(f"{which} has its data twice, in binary and in JSON")
        else:
            data = to_cells(content, datatype, shape[0], which)
        if datatype == "BYTES" and (entry.get("parameters") or {}).get("content_type") == _TEXTS_OF_JSON:
            data = [read_json(cell, f"a value of {which}") if isinstance(cell, str) else cell for cell in data]
        if len(data) != shape[0]:
            raise MessageInvalidError(f"{which} has {len(data):,} values where its shape says {shape[0]:,}")
        if not all(cell is None or _is_of(cell, datatype) for cell in data):
            raise MessageInvalidError(f"a value of {which} is not of its datatype")
        return cls(entry["name"], tall, datatype, data)

    def check_fits(self, column: Column) -> None:
        """Raise ColumnTypeError where the model's column takes nothing of this datatype."""
        if self.datatype not in _TAKEN[column.type]:
            raise ColumnTypeError(
                f"input {column.name!r} is {self.datatype}, the model takes {DATATYPES[column.type]}",
                column=column.name,
            )


def check_parameters(parameters: Any, which: str) -> None:
    """Raise MessageInvalidError for parameters that ask for what is not done here."""
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise MessageInvalidError(f"the parameters of {which} must be an object")
    content_type = parameters.get("content_type")
    if not (content_type is None or isinstance(content_type, str)) or content_type not in _CONTENT_TYPES:
        raise MessageInvalidError(f"the content_type of {which} must be one of pd, np, str, datetime, pd_json")


def describe(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return columns as a model's metadata has them."""
    return [{"name": column.name, "datatype": DATATYPES[column.type], "shape": [-1]} for column in columns]


def to_tensor(
    column: Column, cells: Sequence[Any], *, tall: bool, binary: bool = False
) -> tuple[dict[str, Any], bytes]:
    """Return an output as a tensor, and its bytes if it is `binary`; of one that bytes have no words for, none.

    Texts say that they are such, as MLServer's codecs want to know.
    """
    shape = [len(cells), 1] if tall else [len(cells)]
    tensor: dict[str, Any] = {"name": column.name, "shape": shape, "datatype": DATATYPES[column.type]}
    if tensor["datatype"] == "BYTES":
        tensor["parameters"] = {"content_type": "str"}
    content = to_bytes(cells, tensor["datatype"]) if binary else None
    if content is None:
        return tensor | {"data": cells}, b""
    return tensor | {"parameters": tensor.get("parameters", {}) | {SIZE: len(content)}}, content


def _listed(data: Any, count: int, *, tall: bool, which: str) -> list[Any]:
    """Return a tensor's data as JSON has it, flat."""
    if not isinstance(data, list):
        raise MessageInvalidError(f"{which} has no data: a list of {count:,} values")
    if tall and data and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


def _is_of(cell: Any, datatype: str) -> bool:
    kind = type(cell)
    if datatype in _FRACTIONS:
        return kind is float or kind is int
    if datatype in _WHOLE:
        least, most = _WHOLE[datatype]
        return kind is int and least <= cell <= most
    return kind is (bool if datatype == "BOOL" else str)
