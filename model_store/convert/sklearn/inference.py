"""Find a model's signature out by asking it."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.exceptions import NotFittedError

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.sklearn.source import Source, SourceColumn
from model_store.signature import Column, ColumnType, Override, Signature

_ROWS = 5
"""How many rows are tried with a null; what a scikit-learn estimator accepts does not depend on the row."""

_WHOLE = (ColumnType.INTEGER, ColumnType.LONG)
_NUMBERS = (*_WHOLE, ColumnType.FLOAT, ColumnType.DOUBLE)

_LARGEST = float(np.finfo(np.float64).max)
_LARGEST_SINGLE = float(np.nextafter(2.0**128 - 2.0**103, 0))
"""The largest double that float32 does not round to infinity."""


def infer_signature(source: Source, table: pa.Table, overrides: Mapping[str, Override]) -> Signature:
    """Return the columns of a source and what may be in them: what it can predict with.

    SampleInvalidError names the column where sample, estimator or `overrides` do not fit each other.
    """
    if unknown := overrides.keys() - {column.name for column in source.columns}:
        raise SampleInvalidError(
            f"there is no input column {min(unknown)!r} to override: the estimator does not read it",
            column=min(unknown),
        )
    rows = table.drop_null().slice(0, _ROWS)
    if not rows.num_rows:
        rows = table.slice(0, _ROWS)
    try:
        source.answer(rows)
    except EstimatorInvalidError:
        raise
    except NotFittedError as error:  # it names the step and quotes no cell
        raise EstimatorInvalidError(f"a step is not fitted: {error}") from error
    except Exception as error:  # an estimator is code of any kind
        culprit = _culprit(source, rows)
        where = "" if culprit is None else f"; with other cells in column {culprit!r} it does not"
        raise SampleInvalidError(
            f"the estimator fails on rows of the sample ({type(error).__name__}){where}: pass rows as it was "
            "fitted on",
            column=culprit,
        ) from error
    inputs = tuple(
        _infer(source, column, rows, overrides.get(column.name, Override())) for column in source.columns
    )
    for column in inputs:
        _check_sample(table[column.name], column, said=overrides.get(column.name, Override()))
        if column.name in {output.name for output in source.outputs.columns}:
            raise SampleInvalidError(
                f"column {column.name!r} has the name of an output: rename it and fit again", column=column.name
            )
    return Signature(inputs, source.outputs.columns)


def _infer(source: Source, column: SourceColumn, rows: pa.Table, said: Override) -> Column:
    """Return what a column is to the source, or what is said of it where the source agrees."""

    def refuse(reason: str) -> SampleInvalidError:
        return SampleInvalidError(f"column {column.name!r} {reason}", column=column.name)

    # ONNX knows no null boolean, integer or time.
    takes_null = column.type not in {ColumnType.BOOLEAN, ColumnType.DATETIME} and _takes_null(source, column, rows)
    nullable = takes_null if said.nullable is None else said.nullable
    if nullable and not takes_null:
        raise refuse("cannot be nullable: the estimator does not predict with a null there (fit with an imputer)")
    # A null among integers is NaN among doubles, which is what pandas makes of it too.
    kind = said.type or (ColumnType.DOUBLE if column.type is ColumnType.LONG and nullable else column.type)
    if kind is not column.type and not {kind, column.type} <= {*_NUMBERS}:
        raise refuse(f"cannot be {kind.value}: the estimator was fitted on {column.type.value} there")
    if kind in _WHOLE and nullable:
        if said.nullable:
            raise refuse(f"cannot be {kind.value} and nullable, as ONNX knows no null integer: make it double")
        nullable = False
    required = said.required is not False
    if not required and not nullable:
        raise refuse("cannot be optional: where it is missing it is all nulls, which the model does not take")
    if said.categories is not None and kind is not ColumnType.STRING:
        raise refuse(f"cannot have categories: it is {kind.value}")
    limit = _limit(source, column, rows) if kind in {ColumnType.FLOAT, ColumnType.DOUBLE} else None
    if limit is not None and kind is ColumnType.FLOAT:
        limit = min(limit, float(np.finfo(np.float32).max))
    return Column(column.name, kind, required, nullable, said.categories, limit=limit)


def _check_sample(cells: pa.ChunkedArray, column: Column, said: Override) -> None:
    """Raise SampleInvalidError for a sample with cells that the signature does not take."""
    if cells.null_count and not column.nullable:
        reason = (
            "with which the estimator cannot predict: fill or drop them, or fit with an imputer"
            if said == Override()
            else "which the signature you asked for does not take: drop those rows, or leave the column as inferred"
        )
        raise SampleInvalidError(f"column {column.name!r} of the sample has nulls, {reason}", column=column.name)
    try:
        cells.cast(column.type.arrow)
    except pa.ArrowInvalid as error:
        raise SampleInvalidError(
            f"column {column.name!r} cannot be {column.type.value}: the sample has other numbers there, such as "
            "fractions or larger ones",
            column=column.name,
        ) from error


def check_cells(table: pa.Table, signature: Signature) -> None:
    """Raise SampleInvalidError for a sample with cells that the source refuses and serving would reject."""
    for column in signature.inputs:
        cells = table[column.name]
        refused = 0
        if column.allowed is not None:
            refused = pc.sum(pc.invert(pc.is_in(cells, pa.array([*column.allowed, None], cells.type)))).as_py()
            reason = "categories that the estimator was not fitted on, and it refuses others"
        elif column.limit is not None:
            refused = pc.sum(pc.greater(pc.abs(cells.cast(pa.float64())), column.limit)).as_py()
            reason = "infinite numbers, or too large ones, which the estimator refuses"
        if refused:
            raise SampleInvalidError(
                f"column {column.name!r} of the sample has {reason} (rows: {refused}): drop them, or pass rows as "
                "it was fitted on",
                column=column.name,
            )


def _culprit(source: Source, rows: pa.Table) -> str | None:
    """Return the column that, with cells of another type, lets the estimator answer; None if none alone does."""
    for place, column in enumerate(source.columns):
        text = column.type is not ColumnType.STRING
        other = (
            SourceColumn(column.name, ColumnType.STRING, object, None)
            if text
            else SourceColumn(column.name, ColumnType.DOUBLE, np.dtype(np.float64), np.nan)
        )
        columns = (*source.columns[:place], other, *source.columns[place + 1 :])
        cells = pa.repeat("" if text else 0.0, rows.num_rows)
        try:
            replace(source, columns=columns).answer(rows.set_column(place, column.name, cells))
        except Exception:  # noqa: S112  # then the trouble is elsewhere
            continue
        return column.name
    return None


def _takes_null(source: Source, column: SourceColumn, rows: pa.Table) -> bool:
    place = rows.schema.get_field_index(column.name)
    nulls = pa.nulls(rows.num_rows, rows.schema.field(place).type)
    try:
        answers = source.answer(rows.set_column(place, column.name, nulls))
    except Exception:  # refusing a null is how the estimator answers the question
        return False
    # An answer that is not a number is none.
    return all(np.isfinite(answer).all() for answer in answers if answer.dtype.kind == "f")


def _limit(source: Source, column: SourceColumn, rows: pa.Table) -> float | None:
    """Return the largest magnitude that the source takes in a column of numbers; None if it takes infinities.

    Exact where that is the largest double or float; else, as behind a scaler, the power of two below it.
    """
    place = rows.schema.get_field_index(column.name)
    pair = rows.take([0, 0])

    def takes(value: float) -> bool:
        try:
            source.answer(pair.set_column(place, column.name, pa.array([value, -value])))
        except Exception:  # refusing a number is how the estimator answers the question
            return False
        return True

    if takes(np.inf):
        return None
    if takes(_LARGEST):
        return _LARGEST
    single = takes(_LARGEST_SINGLE)
    if single and not takes(float(np.nextafter(_LARGEST_SINGLE, np.inf))):
        return _LARGEST_SINGLE
    taken, refused = (127, 1024) if single else (0, 128)
    if not takes(2.0**taken):
        return _LARGEST  # it takes few numbers, such as those an encoder knows: all that is sure is that they end
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if takes(2.0**middle) else (taken, middle)
    return 2.0**taken
