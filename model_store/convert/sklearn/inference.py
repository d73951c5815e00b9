"""Find a model's signature out by asking it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.sklearn.source import Source, SourceColumn
from model_store.signature import Column, ColumnType, Override, Signature

_ROWS = 5
"""How many rows are tried with a null; what a scikit-learn estimator accepts does not depend on the row."""


def infer_signature(source: Source, table: pa.Table, overrides: Mapping[str, Override]) -> Signature:
    """Return the columns of a source and which may be null: those it can predict with a null in them."""
    if unknown := overrides.keys() - {column.name for column in source.columns}:
        raise SampleInvalidError(
            f"there is no input column {min(unknown)!r} to override: the estimator does not read it"
        )
    rows = table.drop_null().slice(0, _ROWS)
    if not rows.num_rows:
        rows = table.slice(0, _ROWS)
    try:
        source.answer(rows)
    except EstimatorInvalidError:
        raise
    except Exception as error:  # an estimator is code of any kind
        raise SampleInvalidError(
            f"the estimator fails on rows of the sample ({type(error).__name__}): pass rows as it was fitted on"
        ) from error
    inputs = tuple(
        overridden(_infer(source, column, rows), overrides.get(column.name, Override()))
        for column in source.columns
    )
    for column in inputs:
        if table[column.name].null_count and not column.nullable:
            raise SampleInvalidError(
                f"column {column.name!r} of the sample has nulls, with which the estimator cannot predict: fill or "
                "drop them, or fit with an imputer",
                column=column.name,
            )
        if column.name in {output.name for output in source.outputs.columns}:
            raise SampleInvalidError(
                f"column {column.name!r} has the name of an output: rename it and fit again", column=column.name
            )
    return Signature(inputs, source.outputs.columns)


def overridden(column: Column, override: Override) -> Column:
    """Return an inferred column with what the user says of it."""
    said: dict[str, Any] = {
        "required": override.required,
        "nullable": override.nullable,
        "categories": override.categories,
    }
    return replace(column, **{field: value for field, value in said.items() if value is not None})


def _infer(source: Source, column: SourceColumn, rows: pa.Table) -> Column:
    nullable = column.type is not ColumnType.BOOLEAN and _takes_null(source, column, rows)
    # ONNX knows no null integer: a null of a double column is NaN, which is what pandas makes of it too.
    number = column.type is ColumnType.LONG and nullable
    return Column(column.name, ColumnType.DOUBLE if number else column.type, nullable=nullable)


def _takes_null(source: Source, column: SourceColumn, rows: pa.Table) -> bool:
    place = rows.schema.get_field_index(column.name)
    nulls = pa.nulls(rows.num_rows, rows.schema.field(place).type)
    try:
        answers = source.answer(rows.set_column(place, column.name, nulls))
    except Exception:  # refusing a null is how the estimator answers the question
        return False
    # An answer that is not a number is none.
    return all(np.isfinite(answer).all() for answer in answers if answer.dtype.kind == "f")
