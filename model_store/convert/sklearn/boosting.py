"""AdaBoost: a weighted vote of classifiers, a weighted median of regressors."""

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.inner import Inner, Predict
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def classifier(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert an AdaBoostClassifier."""
    model, described = step.model, Outputs.of(step)
    count = len(described.labels)
    ballots = []
    for inner, weight in zip(_boosted(step, blocks, graph, predict), model.estimator_weights_, strict=False):
        places = [described.labels.index(label) for label in inner.outputs.labels]
        table = np.where(np.eye(count, dtype=bool), weight, -1 / (count - 1) * weight)[places]
        ballots.append(graph.node("Gather", graph.constant(table, np.float64), inner.places(graph), axis=0))
    weights = graph.constant([[model.estimator_weights_.sum()]], np.float64)
    scores = graph.node("Div", graph.total(ballots), weights)
    if described.binary:
        against, favour = outputs.columns(graph, scores, 2)
        decision = graph.node("Sub", favour, against)
        logits = graph.node("Concat", graph.node("Neg", decision), decision, axis=1)
        halved = graph.node("Div", logits, graph.constant([[2.0]], np.float64))
        shares = graph.node("Softmax", halved, axis=1)
        second = outputs.columns(graph, shares, 2)[1]
        return Answer(outputs.above(graph, decision, 0.0), second, pair=shares, decision=decision)
    divided = graph.node("Div", scores, graph.constant([[count - 1]], np.float64))
    return Answer(outputs.argmax(graph, scores), graph.node("Softmax", divided, axis=1), decision=scores)


def regressor(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert an AdaBoostRegressor: the first value, in order, at which half of all weight is reached."""
    inners = _boosted(step, blocks, graph, predict)
    values = graph.node("Concat", *[inner.values(graph) for inner in inners], axis=1)
    ordered, order = graph.ascending(values, len(inners))
    weights = graph.constant(step.model.estimator_weights_[: len(inners)], np.float64)
    reached = graph.node("CumSum", graph.node("Gather", weights, order, axis=0), graph.constant(1, np.int64))
    whole = graph.node("Gather", reached, graph.constant([len(inners) - 1], np.int64), axis=1)
    enough = graph.node("GreaterOrEqual", reached, graph.node("Mul", whole, graph.constant([[0.5]], np.float64)))
    first = graph.node("ArgMax", graph.cast(enough, TensorProto.INT32), axis=1, keepdims=1, select_last_index=0)
    return outputs.regression(graph, graph.node("GatherElements", ordered, first, axis=1))


def _boosted(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> list[Inner]:
    return [
        Inner.of(step.inner(f"estimator {number}", model), blocks, graph, predict)
        for number, model in enumerate(step.model.estimators_)
    ]
