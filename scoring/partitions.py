"""Columns that a file's path has, as Hive and Spark write them: `country=DE/date=2026-11-01/part-0.parquet`."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

import pyarrow as pa

from errors import ColumnTypeError, NameInvalidError
from model_store import Column, ColumnType, Signature
from model_store.arrays import from_cells
from scoring.conform import conform, read_text, type_fault
from scoring.rejects import Rejects
from storage import BlobPath

NULL = "__HIVE_DEFAULT_PARTITION__"
"""How a path writes null."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """The columns of a model that a file's path has and the file has not: one value for all of its rows."""

    cells: Mapping[str, pa.Array] = field(default_factory=dict)
    """By column, an array of one cell in the signature's type."""

    def extend(self, schema: pa.Schema) -> pa.Schema:
        """Return a file's schema with these columns behind its own."""
        return pa.schema([*schema, *(pa.field(name, cell.type) for name, cell in self.cells.items())])

    def columns(self, rows: int) -> dict[str, pa.Array]:
        """Return the columns, `rows` cells long."""
        return {name: pa.repeat(cell[0], rows) for name, cell in self.cells.items()}


NO_PARTITIONS = Partitions()


def read_partitions(path: BlobPath, signature: Signature, names: Collection[str]) -> Partitions:
    """Read the columns of a model that `path` has and the file, whose columns are `names`, has not.

    Texts are read as cells of a CSV file are, but for null, which only NULL is. ColumnTypeError for a value that
    the model cannot take, NameInvalidError where the path says two things of one column.
    """
    values = partition_values(path, (column.name for column in signature.inputs if column.name not in names))
    return Partitions({c.name: _read(values[c.name], c, path) for c in signature.inputs if c.name in values})


def partition_values(path: BlobPath, names: Iterable[str]) -> dict[str, str | None]:
    """Return the text that the folders of `path` have for each of `names`; nothing for those they do not name."""
    found: dict[str, str | None] = {}
    wanted = set(names)
    for folder in path.name.split("/")[:-1]:
        name, mark, text = folder.partition("=")
        name = unquote(name)
        if not mark or name not in wanted:
            continue
        value = None if text == NULL else unquote(text)
        if found.setdefault(name, value) != value:
            raise NameInvalidError(
                f"two folders of the path have different values for column {name!r}: which of them is meant?",
                file=str(path),
            )
    return found


def _read(text: str | None, column: Column, path: BlobPath) -> pa.Array:
    rejects = Rejects(1)
    cells = from_cells([text], pa.string())
    if column.type is not ColumnType.STRING:
        cells, lost = read_text(cells, column.type)
        rejects.add_all(lost, type_fault(column))
    batch = conform({column.name: cells}, Signature((column,), ()), 1, rejects)
    if fault := rejects.find(0):
        raise ColumnTypeError(
            f"column {column.name!r} is not in the file but in its path, and not as the model takes it: "
            f"{fault.message}",
            file=str(path),
            column=column.name,
        )
    return batch.column(0)
