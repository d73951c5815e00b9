"""A model's input and output columns, in MLflow's types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from errors import PackageInvalidError, SampleInvalidError


class ColumnType(StrEnum):
    """MLflow's column types that a model can take or give."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    DATETIME = "datetime"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that carries it."""
        return _ARROW[self]


_ARROW = {
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int32(),
    ColumnType.LONG: pa.int64(),
    ColumnType.FLOAT: pa.float32(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.STRING: pa.string(),
    ColumnType.DATETIME: pa.timestamp("us"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a signature."""

    name: str
    type: ColumnType
    required: bool = True
    """Whether the column must be there at all (MLflow's meaning); a missing optional column is all nulls."""
    nullable: bool = True
    """Whether a cell may be null: found out at packaging by asking the source model. Kept in dropscore.json."""
    categories: tuple[str, ...] | None = None
    """Of a string column: the values that the model tells apart, where they are known. Kept in dropscore.json."""
    allowed: tuple[str, ...] | None = None
    """Of a string column: the only texts taken, where the source model refuses all others; None for any."""
    limit: float | None = None
    """Of a column of numbers: the largest magnitude that the source model takes; None for any, infinities too."""

    def to_mlflow(self) -> dict[str, Any]:
        """Return the column as MLflow writes it."""
        return {"type": self.type.value, "name": self.name, "required": self.required}

    @property
    def refusals(self) -> dict[str, Any]:
        """What is refused of its cells beyond type and nulls, as JSON: `limit` and `allowed`, where there are."""
        limit = {} if self.limit is None else {"limit": self.limit}
        return limit | ({} if self.allowed is None else {"allowed": list(self.allowed)})


@dataclass(frozen=True, slots=True)
class Override:
    """What a user says of an input column instead of what was inferred; None leaves that as inferred."""

    type: ColumnType | None = None
    required: bool | None = None
    nullable: bool | None = None
    categories: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> tuple[str, "Override"]:
        """Read "age:double,optional": a column's name and words about it. SampleInvalidError for any other text.

        Words are the types, `required` or `optional`, and `nullable` or `not-nullable`.
        """
        name, _, words = text.rpartition(":")
        said: dict[str, Any] = {}
        for word in words.split(","):
            field, value = _WORDS.get(word.strip(), (None, None))
            if not name or field is None or field in said:
                raise SampleInvalidError(
                    f"{text!r} says nothing of a column: write NAME:WORD or NAME:WORD,WORD with words such as "
                    f"{', '.join(_WORDS)}"
                )
            said[field] = value
        return name, cls(**said)


_WORDS: Mapping[str, tuple[str, Any]] = {
    **{kind.value: ("type", kind) for kind in ColumnType},
    "required": ("required", True),
    "optional": ("required", False),
    "nullable": ("nullable", True),
    "not-nullable": ("nullable", False),
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives: a table in, a table out, row for row."""

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]

    def __post_init__(self) -> None:
        for side, columns in (("input", self.inputs), ("output", self.outputs)):
            names = [column.name for column in columns]
            if twice := {name for name in names if names.count(name) > 1}:
                raise PackageInvalidError(f"{side} column {min(twice)!r} appears twice in the signature")

    @property
    def input_schema(self) -> pa.Schema:
        """The Arrow schema that `Model.predict` takes."""
        return pa.schema([pa.field(c.name, c.type.arrow, c.nullable) for c in self.inputs])

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema that `Model.predict` gives."""
        return pa.schema([pa.field(c.name, c.type.arrow) for c in self.outputs])

    def to_mlflow(self) -> dict[str, str]:
        """Return the `signature` entry of an MLmodel file: two JSON strings."""
        return {
            "inputs": json.dumps([c.to_mlflow() for c in self.inputs]),
            "outputs": json.dumps([c.to_mlflow() for c in self.outputs]),
        }

    @classmethod
    def from_mlflow(
        cls,
        entry: Mapping[str, str],
        nullable: Mapping[str, bool],
        refusals: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> "Signature":
        """Read that entry back; PackageInvalidError if it does not fit.

        `nullable` and `refusals`, both by column, come from dropscore.json.
        """
        try:
            inputs, outputs = (json.loads(entry[side]) for side in ("inputs", "outputs"))
            return cls(
                tuple(_read_input(c, nullable[c["name"]], refusals.get(c["name"], {})) for c in inputs),
                tuple(Column(c["name"], ColumnType(c["type"])) for c in outputs),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PackageInvalidError(f"the signature in MLmodel cannot be read: {error!r}") from error


def _read_input(entry: Mapping[str, Any], nullable: Any, refusals: Mapping[str, Any]) -> Column:
    """Read an input column from MLflow's entry and what dropscore.json has beside it."""
    limit, allowed = refusals.get("limit"), refusals.get("allowed")
    return Column(
        entry["name"],
        ColumnType(entry["type"]),
        entry.get("required", True),
        nullable,
        allowed=None if allowed is None else tuple(allowed),
        limit=None if limit is None else float(limit),
    )
