"""The converter of scikit-learn estimators.

A pipeline is walked step by step (columns.py), each step changing what its columns are (features.py), to the
estimator at its end (estimators.py), which leaves its answers in the graph (outputs.py). Steps whose arithmetic we
know are written operation by operation as scikit-learn does it, in double; the rest go through skl2onnx
(fallback.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert import boosters
from model_store.convert.conversion import NULL_TEXT, Conversion
from model_store.convert.graph import GraphWriter, serialise
from model_store.convert.sklearn import estimators
from model_store.convert.sklearn.features import source_columns
from model_store.convert.sklearn.inference import check_cells, infer_signature
from model_store.convert.sklearn.outputs import Outputs, give
from model_store.convert.sklearn.source import Source
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.thresholds import find_thresholds
from model_store.signature import Override, Signature


def convert_sklearn(estimator: object, sample: pd.DataFrame, overrides: Mapping[str, Override]) -> Conversion:
    """Convert a fitted scikit-learn estimator; see `model_store.convert.convert`."""
    step = Step((), boosters.as_estimator(estimator) or _fitted(estimator))
    if not isinstance(sample, pd.DataFrame):
        raise SampleInvalidError(f"the sample is a {type(sample).__name__}: pass a pandas DataFrame")
    outputs = Outputs.of(step)
    source = Source.of(step, outputs, sample)
    table = source.table(sample)
    signature = infer_signature(source, table, overrides)
    graph = _write(source, signature)
    signature = _closed(signature, graph.allowed)
    check_cells(table, signature)
    used = ["scikit-learn", "numpy", "onnx", "pandas", *(["skl2onnx"] if graph.stock_steps else [])]

    def predict(rows: pa.Table) -> pa.Table:
        return source.predict(rows, signature)

    return Conversion(
        graph=serialise(graph.model()),
        signature=signature,
        null_text=NULL_TEXT,
        labels=outputs.labels,
        framework=boosters.framework(step.model) or "scikit-learn",
        versions={name: version(name) for name in used} | graph.versions,
        sample=table.cast(signature.input_schema),
        predict=predict,
        thresholds=find_thresholds(source, table),
        stock_steps=tuple(graph.stock_steps),
    )


def _fitted(estimator: Any) -> Any:
    """Return the estimator, or the best one of a search; EstimatorInvalidError if it is not fitted."""
    if not isinstance(estimator, BaseEstimator):
        raise EstimatorInvalidError(
            f"a {type(estimator).__name__} is no scikit-learn estimator: pass a fitted estimator or Pipeline"
        )
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError) as error:
        raise EstimatorInvalidError(
            f"the {type(estimator).__name__} is not fitted: call its fit() first"
        ) from error
    return getattr(estimator, "best_estimator_", estimator)


def _closed(signature: Signature, allowed: Mapping[str, Iterable[str]]) -> Signature:
    """Return the signature with the only texts that some columns take."""
    inputs = tuple(
        replace(column, allowed=tuple(sorted(allowed[column.name]))) if column.name in allowed else column
        for column in signature.inputs
    )
    return Signature(inputs, signature.outputs)


def _write(source: Source, signature: Signature) -> GraphWriter:
    """Write the graph that computes the signature's outputs from its inputs."""
    graph = GraphWriter(signature.inputs, signature.outputs)
    nulls = {column.name: column.null for column in source.columns}
    categorical = [column.name for column in source.columns if column.categories is not None]
    blocks = source_columns(graph, signature.inputs, source.feature_names, nulls, categorical)
    give(graph, source.step, estimators.predict(source.step, blocks, graph))
    return graph
