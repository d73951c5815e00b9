"""Several targets, one estimator each; and a regressor whose target was transformed before it was fitted."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs, scalers
from model_store.convert.sklearn.clusters import numeric
from model_store.convert.sklearn.features import Blocks, Numbers, dense
from model_store.convert.sklearn.inner import Inner, Predict
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.scalers import Operation
from model_store.convert.sklearn.step import Step


def independent(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a MultiOutputClassifier or MultiOutputRegressor."""
    return outputs.several(
        [
            Inner.of(step.inner(f"target {number}", model), blocks, graph, predict).answer
            for number, model in enumerate(step.model.estimators_, start=1)
        ]
    )


def chained(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a ClassifierChain or RegressorChain: each estimator is given the answers of those before it."""
    known: list[Numbers] = []
    answers: dict[int, Answer] = {}
    for place, model in zip(step.model.order_, step.model.estimators_, strict=True):
        inner = Inner.of(step.inner(f"target {place + 1}", model), (*blocks, *known), graph, predict)
        answers[int(place)] = inner.answer
        known.append(Numbers(_passed_on(step, inner, graph), 1))
    return outputs.several([answers[place] for place in sorted(answers)])


def _passed_on(step: Step, inner: Inner, graph: GraphWriter) -> str:
    """Return what the next estimator of a chain is given, [N, 1]: of two classes' probabilities, the second."""
    match getattr(step.model, "chain_method_", "predict"):
        case "predict":
            return inner.values(graph)
        case "predict_proba":
            return outputs.columns(graph, inner.probabilities(graph), 2)[1]
        case "decision_function":
            return inner.confidence(graph)
        case method:
            raise step.refuse(f"has no converter for chain_method={method!r}: use 'predict_proba'")


def transformed(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a TransformedTargetRegressor: the regressor's value, transformed back."""
    inner = Inner.of(step.inner("regressor", step.model.regressor_), blocks, graph, predict)
    values = Numbers(inner.values(graph), 1)
    transformer = step.inner("transformer", step.model.transformer_)
    model = transformer.model
    if isinstance(model, FunctionTransformer):
        if model.inverse_func is not None and model.inverse_func not in _FUNCTIONS:
            known = ", ".join(f"np.{function.__name__}" for function in _FUNCTIONS)
            raise transformer.refuse(f"has no converter for its inverse_func: use one of {known}")
        tensor = values.tensor
        if model.inverse_func is not None:
            tensor = _FUNCTIONS[model.inverse_func](graph, tensor)
        return outputs.regression(graph, tensor)
    if type(model) not in _INVERSES:
        known = ", ".join(kind.__name__ for kind in _INVERSES)
        raise transformer.refuse(f"has no converter for its inverse_transform: use one of {known}")
    back = scalers.calculate(transformer, (values,), graph, _INVERSES[type(model)](model))
    return outputs.regression(graph, dense(graph, numeric(transformer, back, graph)))


def _unstandard(scaler: Any) -> list[Operation]:
    operations = [Operation("Mul", scaler.scale_)] if scaler.with_std else []
    return operations + ([Operation("Add", scaler.mean_)] if scaler.with_mean else [])


def _unrobust(scaler: Any) -> list[Operation]:
    operations = [Operation("Mul", scaler.scale_)] if scaler.with_scaling else []
    return operations + ([Operation("Add", scaler.center_)] if scaler.with_centering else [])


def _unlogarithm(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Sub", graph.node("Exp", tensor), graph.constant([[1.0]], np.float64))


def _logarithm(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Log", graph.node("Add", tensor, graph.constant([[1.0]], np.float64)))


def _square(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Mul", tensor, tensor)


def _exponent(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Exp", tensor)


def _root(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Sqrt", tensor)


def _natural_logarithm(graph: GraphWriter, tensor: str) -> str:
    return graph.node("Log", tensor)


_FUNCTIONS: dict[Any, Callable[[GraphWriter, str], str]] = {
    np.exp: _exponent,
    np.expm1: _unlogarithm,
    np.log: _natural_logarithm,
    np.log1p: _logarithm,
    np.sqrt: _root,
    np.square: _square,
}

_INVERSES: dict[type, Callable[[Any], list[Operation]]] = {
    MaxAbsScaler: lambda scaler: [Operation("Mul", scaler.scale_)],
    MinMaxScaler: lambda scaler: [Operation("Sub", scaler.min_), Operation("Div", scaler.scale_)],
    RobustScaler: _unrobust,
    StandardScaler: _unstandard,
}
