"""Score rows at hand: a few rows of JSON instead of a file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from errors import ColumnMissingError, MessageInvalidError
from model_store import Column, ColumnType
from model_store.arrays import from_cells, from_numpy
from model_store.model import Model
from scoring.conform import conform, type_fault
from scoring.few_rows import answer_few
from scoring.rejects import Fault, Rejects

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of rows at hand."""

    count: int
    """How many rows there were."""
    outputs: Mapping[str, Sequence[Any]]
    """By output, in the signature's order: what each row that could be scored got, as JSON has it, in order."""
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """Why the others could not, by their 0-based numbers."""

    def rows(self) -> list[dict[str, Any]]:
        """Return for each row its outputs by name, or {"error": {code, column, message}}."""
        names = tuple(self.outputs)
        scored: Iterator[tuple[Any, ...]] = zip(*self.outputs.values(), strict=True)
        if not self.faults:
            return [dict(zip(names, cells, strict=True)) for cells in scored]
        return [
            {"error": asdict(self.faults[row])}
            if row in self.faults
            else dict(zip(names, next(scored), strict=True))
            for row in range(self.count)
        ]

    def check_whole(self) -> None:
        """Raise MessageInvalidError, which names the first of them, if there is a row that could not be scored."""
        if not self.faults:
            return
        row = min(self.faults)
        fault, others = self.faults[row], len(self.faults) - 1
        where = f"row {row + 1}" if fault.column is None else f"row {row + 1}, column {fault.column!r}"
        also = f"; {others} more row{' has' if others == 1 else 's have'} a fault" if others else ""
        raise MessageInvalidError(
            f"{where}: {fault.message}{also} (POST /api/predict/<model> answers the other rows)",
            row=row + 1,
            column=fault.column,
        )


def score_rows(rows: Sequence[Row], model: Model) -> list[dict[str, Any]]:
    """Return for each row its outputs by name, or {"error": {code, column, message}} if it cannot be scored.

    Cells are JSON's: null (or a missing key) for no value, NaN too. ColumnMissingError if no row has a column that
    the model needs: then it is not this row but this caller that has it wrong.
    """
    return answer_rows(rows, model).rows()


def answer_rows(rows: Sequence[Row], model: Model) -> Answers:
    """Score rows as `score_rows` does."""
    columns = {}
    for column in model.signature.inputs:
        name = column.name
        cells = [row.get(name) for row in rows]
        if cells.count(None) == len(rows) and rows and not any(name in row for row in rows):
            if column.required:
                raise ColumnMissingError(f"column {name!r}, which the model needs, is in no row", column=name)
            continue
        columns[name] = cells
    return _answer(columns, len(rows), model)


def answer_columns(columns: Mapping[str, Sequence[Any]], count: int, model: Model) -> Answers:
    """Score `count` rows whose cells, JSON's as above, are given by column; others than the model's are extra.

    ColumnMissingError for a column that the model needs and that is not there.
    """
    for column in model.signature.inputs:
        if column.required and column.name not in columns:
            raise ColumnMissingError(
                f"column {column.name!r}, which the model needs, is not there", column=column.name
            )
    return _answer(columns, count, model)


def answer_batch(batch: pa.RecordBatch, rejects: Rejects, model: Model) -> Answers:
    """Score what `conform` has made; rows in `rejects` are left out."""
    faults = {row: fault for row in rejects.indices().tolist() if (fault := rejects.find(row))} if rejects else {}
    good = batch.filter(from_numpy(~rejects.mask())) if faults else batch
    answers = model.predict(good)
    outputs = zip(model.signature.outputs, answers.columns, strict=True)
    return Answers(len(batch), {column.name: _to_json(cells) for column, cells in outputs}, faults)


def _answer(columns: Mapping[str, Sequence[Any]], count: int, model: Model) -> Answers:
    if (outputs := answer_few(columns, count, model)) is not None:
        return Answers(count, outputs)
    rejects = Rejects(count)
    arrays = {c.name: _array(columns[c.name], c, rejects) for c in model.signature.inputs if c.name in columns}
    return answer_batch(conform(arrays, model.signature, count, rejects), rejects, model)


def _array(given: Sequence[Any], column: Column, rejects: Rejects) -> pa.Array:
    kinds = _PYTHON[column.type]
    cells = list(given)
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
        elif type(cell) is int and column.type in (ColumnType.FLOAT, ColumnType.DOUBLE):
            # Rounded, as in files: JavaScript writes 1e20 as 100000000000000000000.
            try:
                cells[index] = float(cell)
            except OverflowError:
                rejects.add(index, type_fault(column))
                cells[index] = None
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


def _to_json(array: pa.Array) -> list[Any]:
    """Return an output's cells as JSON has them: null for NaN and infinities, ISO 8601 for times."""
    cells: list[Any] = array.to_pylist()
    if pa.types.is_floating(array.type):
        return [cell if cell is not None and math.isfinite(cell) else None for cell in cells]
    if pa.types.is_timestamp(array.type):
        return [cell.isoformat() if isinstance(cell, datetime) else None for cell in cells]
    return cells


_PYTHON: Mapping[ColumnType, tuple[type, ...]] = {
    ColumnType.BOOLEAN: (bool,),
    ColumnType.INTEGER: (int, float),
    ColumnType.LONG: (int, float),
    ColumnType.FLOAT: (int, float),
    ColumnType.DOUBLE: (int, float),
    ColumnType.STRING: (str,),
    ColumnType.DATETIME: (str,),
}
