"""Score rows at hand: a few JSON objects instead of a file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from errors import ColumnMissingError
from model_store import Column, ColumnType
from model_store.arrays import from_cells, from_numpy
from model_store.model import Model
from scoring.conform import conform, type_fault
from scoring.rejects import Rejects

Row = Mapping[str, Any]


def score_rows(rows: Sequence[Row], model: Model) -> list[dict[str, Any]]:
    """Return for each row its outputs by name, or {"error": {code, column, message}} if it cannot be scored.

    Cells are JSON's: null (or a missing key) for no value, NaN too. ColumnMissingError if no row has a column that
    the model needs: then it is not this row but this caller that has it wrong.
    """
    rejects = Rejects(len(rows))
    columns = {}
    for column in model.signature.inputs:
        if column.required and rows and not any(column.name in row for row in rows):
            raise ColumnMissingError(
                f"column {column.name!r}, which the model needs, is in no row", column=column.name
            )
        columns[column.name] = _column(rows, column, rejects)
    batch = conform(columns, model.signature, len(rows), rejects)
    if rejects:
        batch = batch.filter(from_numpy(~rejects.mask()))
    outputs = iter(model.predict(batch).to_pylist())
    faults = [rejects.find(index) for index in range(len(rows))]
    return [{"error": asdict(fault)} if fault else _finite(next(outputs)) for fault in faults]


def _column(rows: Sequence[Row], column: Column, rejects: Rejects) -> pa.Array:
    kinds = _PYTHON[column.type]
    cells = [row.get(column.name) for row in rows]
    for index, cell in enumerate(cells):
        # bool is an int to Python, not to people.
        if cell is not None and (not isinstance(cell, kinds) or (isinstance(cell, bool) and bool not in kinds)):
            rejects.add(index, type_fault(column))
            cells[index] = None
        elif isinstance(cell, float) and column.type in (ColumnType.LONG, ColumnType.INTEGER):
            # pyarrow would cut 3.5 off to 3.
            if not (cell.is_integer() or math.isnan(cell)):
                rejects.add(index, type_fault(column))
            cells[index] = int(cell) if cell.is_integer() else None
    kind = pa.string() if column.type is ColumnType.DATETIME else column.type.arrow  # texts are read by `conform`
    try:
        return from_cells(cells, kind)
    except (ValueError, OverflowError):  # a lone surrogate is a ValueError
        return _one_by_one(cells, kind, column, rejects)


def _one_by_one(cells: list[Any], kind: pa.DataType, column: Column, rejects: Rejects) -> pa.Array:
    """Convert each cell on its own, because one of them does not fit."""
    for index, cell in enumerate(cells):
        try:
            from_cells([cell], kind)
        except (ValueError, OverflowError):
            rejects.add(index, type_fault(column))
            cells[index] = None
    return from_cells(cells, kind)


def _finite(outputs: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: say null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in outputs.items()
    }


_PYTHON: Mapping[ColumnType, tuple[type, ...]] = {
    ColumnType.BOOLEAN: (bool,),
    ColumnType.INTEGER: (int, float),
    ColumnType.LONG: (int, float),
    ColumnType.FLOAT: (int, float),
    ColumnType.DOUBLE: (int, float),
    ColumnType.STRING: (str,),
    ColumnType.DATETIME: (str,),
}
