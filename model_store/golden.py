"""Golden rows: a few rows and the source model's answers, which a package carries and every load checks again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from errors import PackageInvalidError
from model_store.arrays import from_cells
from model_store.comparison import compare
from model_store.packages import PackageInfo

GOLDEN_ROWS = 20


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """Rows in the inputs' schema, and what the source model answered."""

    inputs: pa.Table
    answers: pa.Table
    classifier: bool
    tolerance: float
    """As the package was held to: see model_store.comparison."""

    @classmethod
    def read(cls, info: PackageInfo) -> "GoldenRows":
        """Return a package's golden rows; PackageInvalidError if they do not fit its signature."""
        try:
            return cls(
                _from_json(info.golden["inputs"], info.signature.input_schema),
                _from_json(info.golden["answers"], info.signature.output_schema),
                classifier=bool(info.labels),
                tolerance=info.parity.tolerance,
            )
        except (KeyError, TypeError, ValueError) as error:  # Arrow's errors are of these kinds, and quote cells
            raise PackageInvalidError(f"the golden rows cannot be read: {type(error).__name__}") from error

    def check(self, predict: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
        """Raise PackageInvalidError if `predict` does not answer as the source model did."""
        answers = predict(self.inputs.combine_chunks().to_batches()[0])
        comparison = compare(self.answers, answers, classifier=self.classifier)
        failing = np.flatnonzero(comparison.failing(self.tolerance))
        if len(failing):
            column, difference = comparison.worst(int(failing[0]), self.tolerance)
            how = "has another label" if difference is None else f"is off by {difference:.3g}"
            raise PackageInvalidError(
                f"{len(failing)} of {len(self.answers)} golden rows get other answers here than the source model "
                f"gave: {column!r} of golden row {failing[0] + 1} {how}"
            )


def golden_entry(inputs: pa.Table, answers: pa.Table) -> dict[str, Any]:
    """Return rows and answers as dropscore.json keeps them: columns of JSON values, exact to the last bit."""
    return {"inputs": _to_json(inputs), "answers": _to_json(answers)}


def _to_json(table: pa.Table) -> dict[str, list[Any]]:
    columns = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        cells = column.cast(pa.int64()) if pa.types.is_timestamp(field.type) else column
        columns[field.name] = [_to_cell(value) for value in cells.to_pylist()]
    return columns


def _to_cell(value: Any) -> Any:
    """Return a JSON value: NaN is null, as both are fed alike; infinities are texts, as JSON has none."""
    if isinstance(value, float) and value - value != 0:
        return None if value != value else str(value)  # noqa: PLR0124  # NaN alone differs from itself
    return value


def _from_json(columns: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        cells = columns[field.name]
        if pa.types.is_floating(field.type):
            cells = [float(cell) if isinstance(cell, str) else cell for cell in cells]
        kind = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        arrays.append(from_cells(cells, kind).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
