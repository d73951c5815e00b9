"""StackingClassifier and StackingRegressor: an estimator on other estimators' answers."""

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Blocks, Numbers
from model_store.convert.sklearn.inner import Inner, Predict
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step


def regressor(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a StackingRegressor."""
    return _final(step, blocks, graph, predict).answer


def classifier(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a StackingClassifier: its last estimator knows the classes by their places."""
    last = _final(step, blocks, graph, predict)
    answer = last.answer
    return Answer(last.places(graph), answer.scores, pair=answer.pair, decision=answer.decision)


def _final(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Inner:
    model = step.model
    names = [name for name, inner in model.estimators if not (isinstance(inner, str) and inner == "drop")]
    opinions: list[Numbers] = []
    for name, inner, method in zip(names, model.estimators_, model.stack_method_, strict=True):
        opinions.append(_opinion(Inner.of(step.inner(name, inner), blocks, graph, predict), method, graph))
    return Inner.of(
        step.inner("final_estimator", model.final_estimator_),
        (*opinions, *(blocks if model.passthrough else ())),
        graph,
        predict,
    )


def _opinion(inner: Inner, method: str, graph: GraphWriter) -> Numbers:
    """Return what the last estimator is given of another one: of two classes' probabilities, the second."""
    if method == "predict":
        return Numbers(inner.values(graph), 1)
    if method == "decision_function":
        tensor = inner.confidence(graph)
    else:
        tensor = inner.probabilities(graph)
        if inner.outputs.binary:
            tensor = graph.node("Gather", tensor, graph.constant([1], np.int64), axis=1)
    return Numbers(tensor, 1 if inner.outputs.binary else len(inner.outputs.labels))
