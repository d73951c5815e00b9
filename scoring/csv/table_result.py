"""The Parquet result of a CSV file: what the model knows in its types, everything else as text."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from errors import FileMalformedError
from model_store.arrays import from_numpy, scalar
from scoring.codec import Work, output_names
from scoring.csv.cells import Cells
from scoring.parquet.writer import TableWriter


class TableResult:
    """A Parquet file in the making, of a CSV file's columns `kept` and the model's outputs behind them."""

    def __init__(self, work: Work, kept: Sequence[str]) -> None:
        """Begin the file; FileMalformedError where two kept columns have one name."""
        for name, times in Counter(kept).items():
            if times > 1:
                raise FileMalformedError(
                    f"there are two columns {name!r}, which Parquet readers could not tell apart: leave them out "
                    "with keep, or let the result be CSV",
                    file=work.file,
                    column=name,
                )
        signature = work.model.signature
        known = {column.name: column.type.arrow for column in signature.inputs}
        self._kept = kept
        self.texts = [name for name in kept if name not in known]
        """The kept columns that are wanted as text."""
        self._is_text = [name not in known for name in kept]
        self._schema = pa.schema(
            [pa.field(name, known.get(name, pa.string())) for name in kept]
            + [
                field.with_name(name)
                for field, name in zip(signature.output_schema, output_names(signature, kept), strict=True)
            ]
        )
        self._writer = TableWriter(work.scored, self._schema)

    def rows(self, cells: Cells, good: np.ndarray | None, outputs: pa.RecordBatch) -> pa.RecordBatch:
        """Return a block's rows as the file has them; `good` are those that were scored, None for all."""
        columns = [
            _or_null(cells.kept[name] if is_text else cells.batch.column(name))
            for name, is_text in zip(self._kept, self._is_text, strict=True)
        ]
        if good is not None:
            columns = [column.filter(from_numpy(good)) for column in columns]
        columns += [_with_one_nan(column) for column in outputs.columns]
        arrays = [
            column if column.type == field.type else pc.cast(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def add(self, rows: pa.RecordBatch) -> None:
        """Put a block's rows behind those that are there: one thread calls it, in the blocks' order."""
        self._writer.write(rows)

    def finish(self) -> list[str]:
        """End the file and return the ids of its blocks."""
        return self._writer.finish()


def _or_null(cells: pa.Array) -> pa.Array:
    """Return a kept column with null for empty texts and for NaN: CSV tells neither from no value.

    Whether `NaN` is read as a null or as a number depends on what else is in its block.
    """
    if pa.types.is_floating(cells.type):
        empty = pc.is_nan(cells)
    elif pa.types.is_string(cells.type):
        empty = pc.equal(cells, scalar("", cells.type))
    else:
        return cells
    return pc.if_else(empty, scalar(None, cells.type), cells) if pc.any(empty).as_py() else cells


def _with_one_nan(outputs: pa.Array) -> pa.Array:
    """Return a column of outputs in which all NaN have the same bits.

    A cell of `-NaN` is a NaN with a sign or a null, as `_or_null` says, and the model may give back which.
    """
    if not pa.types.is_floating(outputs.type):
        return outputs
    nan = pc.is_nan(outputs)
    return pc.if_else(nan, scalar(float("nan"), outputs.type), outputs) if pc.any(nan).as_py() else outputs
