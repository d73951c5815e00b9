"""The trained estimator as a function of Arrow tables: what the converted graph has to agree with."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from errors import SampleInvalidError
from model_store.convert.boosters import native_categories, native_names
from model_store.convert.sklearn.columns import used_columns
from model_store.convert.sklearn.outputs import Outputs
from model_store.convert.sklearn.step import Step, final
from model_store.signature import ColumnType, Signature

Answers: TypeAlias = list[NDArray[Any]]


@dataclass(frozen=True)
class SourceColumn:
    """A column as the estimator was trained on it."""

    name: str
    type: ColumnType
    """Without regard to nulls: integers are long."""
    dtype: Any
    """A string column's pandas dtype."""
    null: object
    """What a string column holds for a null: NaN, None or pandas.NA; to scikit-learn they are different values."""
    categories: "pd.Index[Any] | None" = None
    """What the column can hold, if it is given to the estimator as pandas' category dtype."""

    @classmethod
    def of(cls, name: str, cells: "pd.Series[Any]", categories: "pd.Index[Any] | None" = None) -> "SourceColumn":
        """Describe a column of the sample; SampleInvalidError if no model file could hold such cells."""
        if isinstance(cells.dtype, pd.CategoricalDtype):
            cells = cells.astype(object)
        column_type = _column_type(name, cells)
        if column_type is ColumnType.BOOLEAN and cells.isna().any():
            raise SampleInvalidError(
                f"column {name!r} of the sample has booleans and nulls, which ONNX cannot tell apart: make it a "
                "column of strings or of the numbers 0 and 1, and fit again",
                column=name,
            )
        missing = cells[cells.isna()]
        if cells.dtype == object:
            null = None if len(missing) and all(cell is None for cell in missing) else np.nan
        else:
            null = getattr(cells.dtype, "na_value", np.nan)
        return cls(name, column_type, cells.dtype, null, categories)

    def arrow(self, cells: "pd.Series[Any]") -> pa.Array:
        """Read the sample's cells."""
        if isinstance(cells.dtype, pd.CategoricalDtype):
            cells = cells.astype(object)
        return pa.Array.from_pandas(cells, type=None if self.type is ColumnType.LONG else self.type.arrow)

    def pandas(self, cells: pa.ChunkedArray) -> "pd.Series[Any]":
        """Write cells as the estimator takes them."""
        if self.categories is not None:  # a cell that is none of them is null to pandas
            codes = self.categories.get_indexer(pd.Index(cells.to_pylist()))
            return pd.Series(pd.Categorical.from_codes(codes, categories=self.categories))
        if self.type is ColumnType.STRING:
            values = [self.null if cell is None else cell for cell in cells.to_pylist()]
            return pd.Series(values, dtype=self.dtype)
        if self.type is not ColumnType.BOOLEAN and (cells.null_count or pa.types.is_floating(cells.type)):
            return pd.Series(cells.cast(pa.float64()).to_numpy(), dtype=np.float64)
        return pd.Series(cells.to_numpy())


def _column_type(name: str, cells: "pd.Series[Any]") -> ColumnType:
    kinds = {
        "string": ColumnType.STRING,
        "empty": ColumnType.STRING,
        "boolean": ColumnType.BOOLEAN,
        "integer": ColumnType.LONG,
        "integer-na": ColumnType.LONG,
        "floating": ColumnType.DOUBLE,
        "mixed-integer-float": ColumnType.DOUBLE,
    }
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind == "empty" and pd.api.types.is_numeric_dtype(cells.dtype):
        return ColumnType.DOUBLE
    if kind in {"datetime64", "datetime", "date", "timedelta64", "timedelta", "period"}:
        raise SampleInvalidError(
            f"column {name!r} of the sample holds dates or times, which no graph takes apart as pandas does: make "
            "numbers of them in the file, such as days since a date, or drop the column, and fit again",
            column=name,
        )
    if kind not in kinds:
        raise SampleInvalidError(
            f"column {name!r} of the sample holds {kind} values: make it a column of numbers, strings or booleans, "
            "and fit again",
            column=name,
        )
    return kinds[kind]


@dataclass(frozen=True)
class Source:
    """A fitted estimator, the columns it reads and the columns it answers."""

    step: Step
    columns: tuple[SourceColumn, ...]
    outputs: Outputs
    feature_names: tuple[str, ...]
    """All columns that it was fitted on, in that order; one that it drops itself is not among `columns`."""
    by_name: bool
    """Whether it was fitted on a DataFrame and knows its columns by name."""

    @classmethod
    def of(cls, step: Step, outputs: Outputs, sample: pd.DataFrame) -> "Source":
        """Match an estimator with the sample's columns; SampleInvalidError names the one that does not fit."""
        _check_names(sample)
        known = native_names(step.model, _feature_names(step.model), sample.columns)
        names = known or tuple(sample.columns)
        count = int(getattr(step.model, "n_features_in_", len(names)))
        if len(names) != count:
            raise SampleInvalidError(
                f"the sample has {len(names)} columns and the estimator was fitted on {count}, without names: pass "
                f"the {count} columns it was fitted on, in that order, without the label"
            )
        used = [names[place] for place in used_columns(step.model, count)] if known else list(names)
        for name in used:
            if name not in sample.columns:
                raise SampleInvalidError(
                    f"the estimator was fitted on a column {name!r}, which the sample does not have: pass the "
                    "columns it was fitted on",
                    column=name,
                )
        categories = _native_categories(step, sample[used])
        columns = tuple(SourceColumn.of(name, sample[name], categories.get(name)) for name in used)
        return cls(step, columns, outputs, names, bool(known))

    def table(self, sample: pd.DataFrame) -> pa.Table:
        """Read the sample's cells, integers as integers."""
        return pa.table({column.name: column.arrow(sample[column.name]) for column in self.columns})

    def answer(self, table: pa.Table) -> Answers:
        """Ask the estimator: one array per output column."""
        frame = pd.DataFrame({column.name: column.pandas(table[column.name]) for column in self.columns})
        features = frame if self.by_name else frame.to_numpy()
        model = self.step.model
        # In one thread a forest adds its trees up in their order, so that it answers the same each time. Warnings
        # about single rows, such as those with unknown categories, say nothing here.
        with joblib.parallel_config(backend="sequential"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictions = self._columns(np.asarray(model.predict(features)))
            if self.outputs.method is None:
                return predictions
            scores = self._scores(getattr(model, self.outputs.method)(features))
        targets = self.outputs.each()
        return [
            column
            for target, prediction, score in zip(targets, predictions, scores, strict=True)
            for column in (prediction, *_shown(target, score))
        ]

    def _columns(self, predictions: NDArray[Any]) -> list[NDArray[Any]]:
        """Return one array per target."""
        count = len(self.outputs.each())
        if count == 1:  # a target of shape [N, 1] is answered in that shape
            if predictions.ndim > 1 and predictions.shape[1] > 1:
                raise final(self.step).refuse(
                    "predicts several columns at once: wrap one estimator in MultiOutputClassifier or "
                    "MultiOutputRegressor"
                )
            return [predictions.ravel()]
        return list(predictions.T)

    def _scores(self, scores: Any) -> list[NDArray[Any]]:
        """Return one array per target; of targets with two classes each, some estimators give one column each."""
        if isinstance(scores, list):
            return [np.asarray(score) for score in scores]
        return [np.asarray(scores)] if not self.outputs.targets else list(np.asarray(scores).T)

    def predict(self, table: pa.Table, signature: Signature) -> pa.Table:
        """Answer with a table of the signature's outputs."""
        answers = self.answer(table)
        return pa.Table.from_arrays(
            [
                pa.array(_plain(answer), column.type.arrow)
                for answer, column in zip(answers, signature.outputs, strict=True)
            ],
            schema=signature.output_schema,
        )


def _shown(outputs: Outputs, scores: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the columns of scores that a target answers with: of two classes, the second's."""
    if outputs.binary:
        return [scores if scores.ndim == 1 else scores[:, 1]]
    return list(scores.T)


def _native_categories(step: Step, sample: pd.DataFrame) -> "dict[str, pd.Index[Any]]":
    """Return what the sample's columns of category dtype can hold, if the model itself takes such columns."""
    own = {
        name: sample[name].cat.categories
        for name in sample.columns
        if isinstance(sample[name].dtype, pd.CategoricalDtype)
    }
    # A model without steps before it cannot be given texts but as categories, whatever they are in the sample.
    texts = [
        name for name in sample.columns if name in own or not pd.api.types.is_numeric_dtype(sample[name].dtype)
    ]
    known = native_categories(final(step).model, list(own) if isinstance(step.model, Pipeline) else texts)
    if known is None:
        return {}
    # The model's own where it knows the column: the sample may hold fewer, or none.
    found = {name: pd.Index(categories.tolist()) for name, categories in known.items() if name in sample.columns}
    return own | {name: index for name, index in found.items() if not (name in own and index.equals(own[name]))}


def _plain(answer: NDArray[Any]) -> Any:
    """Return an array that Arrow reads: NumPy's fixed-width texts as Python's."""
    return answer.tolist() if answer.dtype.kind in "UO" else answer


def _feature_names(model: Any) -> tuple[str, ...]:
    """Return the names of the columns that an estimator was fitted on, or () if it saw none."""
    while not hasattr(model, "feature_names_in_") and hasattr(model, "steps"):
        model = model.steps[0][1]  # a pipeline knows what its first step knows
    return tuple(str(name) for name in getattr(model, "feature_names_in_", ()))


def _check_names(sample: pd.DataFrame) -> None:
    names: Sequence[object] = list(sample.columns)
    for name in names:
        if not isinstance(name, str) or not name:
            raise SampleInvalidError(
                f"the sample has a column named {name!r}: give each column a name that is text"
            )
        if names.count(name) > 1:
            raise SampleInvalidError(f"the sample has two columns named {name!r}: rename or drop one", column=name)
    if sample.empty:
        raise SampleInvalidError("the sample has no rows: pass some of those that the estimator was fitted on")
