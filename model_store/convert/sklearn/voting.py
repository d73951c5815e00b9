"""Estimators that let others vote, or average them: Voting and Bagging."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks, select
from model_store.convert.sklearn.inner import Inner, Predict, spread
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def voting_classifier(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a VotingClassifier: votes are counted, or probabilities averaged, estimator by estimator."""
    model, inners, described = step.model, _voters(step, blocks, graph, predict), Outputs.of(step)
    weights = _weights(model)
    if model.voting == "hard":
        # Estimators are fitted on the places of the classes, so that a label is a place.
        eye = np.eye(len(described.labels))
        ballots = [
            graph.node("Gather", graph.constant(eye * weight, np.float64), inner.places(graph), axis=0)
            for inner, weight in zip(inners, weights, strict=True)
        ]
        return Answer(outputs.argmax(graph, graph.total(ballots)))
    return outputs.shares(
        graph, described, _average(graph, [inner.probabilities(graph) for inner in inners], weights)
    )


def voting_regressor(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a VotingRegressor."""
    values = [inner.values(graph) for inner in _voters(step, blocks, graph, predict)]
    return outputs.regression(graph, _average(graph, values, _weights(step.model)))


def _voters(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> list[Inner]:
    names = [name for name, model in step.model.estimators if not _dropped(model)]
    models = zip(names, step.model.estimators_, strict=True)
    return [Inner.of(step.inner(name, model), blocks, graph, predict) for name, model in models]


def _weights(model: Any) -> NDArray[np.float64]:
    if model.weights is None:
        return np.ones(len(model.estimators_))
    pairs = zip(model.estimators, model.weights, strict=True)
    return np.array([weight for (_, estimator), weight in pairs if not _dropped(estimator)], dtype=np.float64)


def _dropped(model: object) -> bool:
    return isinstance(model, str) and model == "drop"


def _average(graph: GraphWriter, tensors: list[str], weights: NDArray[np.float64]) -> str:
    """Average as numpy.average does: multiply, add up from first to last, divide."""
    if (weights != 1.0).any():
        tensors = [
            graph.node("Mul", tensor, graph.constant([[weight]], np.float64))
            for tensor, weight in zip(tensors, weights, strict=True)
        ]
    return _divide(graph, graph.total(tensors), float(weights.sum()))


def _divide(graph: GraphWriter, tensor: str, number: float) -> str:
    return graph.node("Div", tensor, graph.constant([[number]], np.float64))


def bagging_classifier(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a BaggingClassifier: the mean of probabilities or, where its estimators have none, of votes."""
    described = Outputs.of(step)
    # Its estimators are fitted on the places of its classes.
    classes = np.arange(len(described.labels))
    terms = []
    inners = _bagged(step, blocks, graph, predict)
    for inner in inners:
        if hasattr(inner.step.model, "predict_proba"):
            terms.append(spread(graph, inner, inner.probabilities(graph), classes))
        else:
            ballots = np.eye(len(classes))[inner.classes]
            terms.append(graph.node("Gather", graph.constant(ballots, np.float64), inner.places(graph), axis=0))
    answer = outputs.shares(graph, described, _divide(graph, graph.total(terms), len(terms)))
    decisions = [
        inner.converted_decision
        for inner in inners
        if inner.converted_decision is not None and len(inner.classes) == len(classes)
    ]
    if len(decisions) < len(inners):
        return answer
    return replace(answer, decision=_divide(graph, graph.total(decisions), len(decisions)))


def bagging_regressor(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a BaggingRegressor."""
    values = [inner.values(graph) for inner in _bagged(step, blocks, graph, predict)]
    return outputs.regression(graph, _divide(graph, graph.total(values), len(values)))


def _bagged(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> list[Inner]:
    """Convert the estimators, each on the columns that it was given."""
    parts = zip(step.model.estimators_, step.model.estimators_features_, strict=True)
    return [
        Inner.of(step.inner(f"estimator {number}", model), select(graph, blocks, features.tolist()), graph, predict)
        for number, (model, features) in enumerate(parts)
    ]
