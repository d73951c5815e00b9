"""OneVsRestClassifier and OneVsOneClassifier: many classes told apart by classifiers of two."""

from itertools import combinations

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks, select
from model_store.convert.sklearn.inner import Inner, Predict
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def one_against_rest(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a OneVsRestClassifier: the largest of all scores decides, the first of equal ones."""
    model, described = step.model, Outputs.of(step)
    if model.multilabel_:
        raise step.refuse("gives rows several labels at once: use MultiOutputClassifier instead")
    inners = [
        Inner.of(step.inner(f"class {number}", inner), blocks, graph, predict)
        for number, inner in enumerate(model.estimators_)
    ]
    scores = [_confidence(inner, graph) for inner in inners]
    if described.binary:
        prediction = outputs.above(graph, scores[0], _threshold(inners[0]))
    else:
        prediction = outputs.argmax(graph, graph.node("Concat", *scores, axis=1))
    decision = (
        (scores[0] if described.binary else graph.node("Concat", *scores, axis=1))
        if all(inner.has_decision for inner in inners)
        else None
    )
    if described.method != "predict_proba":
        return Answer(prediction, decision)
    odds = [outputs.columns(graph, inner.probabilities(graph), 2)[1] for inner in inners]
    if described.binary:
        odds = [graph.node("Sub", graph.constant([[1.0]], np.float64), odds[0]), odds[0]]
    matrix, total = graph.node("Concat", *odds, axis=1), graph.total(odds)
    none = graph.node("Equal", total, graph.constant([[0.0]], np.float64))
    matrix = graph.node("Where", none, matrix, graph.node("Div", matrix, total))
    if described.binary:
        return Answer(prediction, outputs.columns(graph, matrix, 2)[1], pair=matrix, decision=decision)
    return Answer(prediction, matrix, decision=decision)


def one_against_one(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a OneVsOneClassifier: votes of all pairs, and between equal votes the sum of their scores."""
    model, described = step.model, Outputs.of(step)
    count = len(described.labels)
    features = model.pairwise_indices_ or [None] * len(model.estimators_)
    votes, confidences = [], []
    for (first, second), inner_model, columns in zip(
        combinations(range(count), 2), model.estimators_, features, strict=True
    ):
        part = blocks if columns is None else select(graph, blocks, list(columns))
        inner = Inner.of(step.inner(f"{first} against {second}", inner_model), part, graph, predict)
        ballots = np.zeros((2, count))
        ballots[0, first] = ballots[1, second] = 1
        votes.append(graph.node("Gather", graph.constant(ballots, np.float64), inner.places(graph), axis=0))
        signs = np.zeros((1, count))
        signs[0, first], signs[0, second] = -1, 1
        confidences.append(graph.node("Mul", _confidence(inner, graph), graph.constant(signs, np.float64)))
    total = graph.total(confidences)
    size = graph.node("Add", graph.node("Abs", total), graph.constant([[1.0]], np.float64))
    bounded = graph.node("Div", total, graph.node("Mul", size, graph.constant([[3.0]], np.float64)))
    scores = graph.node("Add", graph.total(votes), bounded)
    if described.binary:
        second_score = outputs.columns(graph, scores, 2)[1]
        return Answer(outputs.above(graph, second_score, _threshold(inner)), second_score)
    return Answer(outputs.argmax(graph, scores), scores)


def _confidence(inner: Inner, graph: GraphWriter) -> str:
    """Return the score of the second of two classes, [N, 1]."""
    if not inner.outputs.binary:
        raise inner.step.refuse("knows only one class: fit it on rows of two or more")
    return inner.confidence(graph)


def _threshold(inner: Inner) -> float:
    return 0.0 if inner.has_decision else 0.5
