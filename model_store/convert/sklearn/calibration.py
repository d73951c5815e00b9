"""Classifiers whose probabilities were calibrated or whose threshold was moved after they were fitted."""

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks, Rows
from model_store.convert.sklearn.inner import Inner, Predict
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import Features, Tree, leaf_sum

_SMALLEST = 1e-12
"""What scikit-learn adds to probabilities before it takes their logarithm."""
_EXCESS = 1.0 + 1e-5
"""Up to here scikit-learn takes what is above 1 for a rounding error."""


def calibrated(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a CalibratedClassifierCV: the mean of its folds' calibrated probabilities, whose largest decides."""
    folds = step.model.calibrated_classifiers_
    parts = []
    for number, fold in enumerate(folds):
        inner = Inner.of(step.inner(f"fold {number}", fold.estimator), blocks, graph, predict)
        if len(inner.classes) != len(fold.classes):
            raise inner.step.refuse(
                "was fitted on rows that lack some of the classes: use fewer or stratified folds"
            )
        parts.append(
            _heated(fold, inner, graph) if fold.method == "temperature" else _one_by_one(fold, inner, graph)
        )
    total = graph.total(parts)
    mean = graph.node("Div", total, graph.constant([len(folds)], np.float64)) if len(folds) > 1 else total
    return outputs.shares(graph, Outputs.of(step), mean)


def _one_by_one(fold: Any, inner: Inner, graph: GraphWriter) -> str:
    """Calibrate class by class and divide by the sum: [N, classes]."""
    confidence, count = inner.confidence(graph), len(fold.classes)
    calibrate = _isotonic if fold.method == "isotonic" else _sigmoid
    each = [
        calibrate(calibrator, column, graph)
        for calibrator, column in zip(
            fold.calibrators, outputs.columns(graph, confidence, 1 if inner.outputs.binary else count), strict=True
        )
    ]
    if len(each) == 1:
        first = graph.node("Sub", graph.constant([[1.0]], np.float64), each[0])
        shares = graph.node("Concat", first, each[0], axis=1)
    else:
        odds = graph.node("Concat", *each, axis=1)
        total = graph.total(each)
        none = graph.node("Equal", total, graph.constant([[0.0]], np.float64))
        shares = graph.node(
            "Where", none, graph.constant([[1 / count]], np.float64), graph.node("Div", odds, total)
        )
    return _without_excess(graph, shares)


def _heated(fold: Any, inner: Inner, graph: GraphWriter) -> str:
    """Divide all logarithms of the odds by one temperature: [N, classes]."""
    decision = inner.decision()
    if decision is None:
        raised = graph.node("Add", inner.probabilities(graph), graph.constant([[_SMALLEST]], np.float64))
        logits = graph.node("Log", raised)
    elif inner.outputs.binary:
        logits = graph.node("Concat", graph.node("Neg", decision), decision, axis=1)
    else:
        logits = decision
    scaled = graph.node("Mul", logits, graph.constant([[float(fold.calibrators[0].beta_)]], np.float64))
    return _without_excess(graph, graph.node("Softmax", scaled, axis=1))


def _sigmoid(calibrator: Any, column: str, graph: GraphWriter) -> str:
    raw = graph.node("Mul", column, graph.constant([[float(calibrator.a_)]], np.float64))
    raw = graph.node("Add", raw, graph.constant([[float(calibrator.b_)]], np.float64))
    return graph.node("Sigmoid", graph.node("Neg", raw))


def _isotonic(calibrator: Any, column: str, graph: GraphWriter) -> str:
    """Interpolate as numpy.interp does: from the last known point that is not greater, along the slope after it."""
    known, values = (np.asarray(a, np.float64) for a in (calibrator.X_thresholds_, calibrator.y_thresholds_))
    slopes = np.append(np.diff(values) / np.diff(known), 0.0)
    clipped = graph.node("Max", column, graph.constant([[known[0]]], np.float64))
    clipped = graph.node("Min", clipped, graph.constant([[known[-1]]], np.float64))
    place = graph.cast(
        leaf_sum(graph, Features(clipped, {0: 0}, single=False), [_intervals(known)]), TensorProto.INT64
    )
    place = graph.flat(place)

    def found(numbers: Rows) -> str:
        return graph.node("Gather", graph.constant(numbers.reshape(-1, 1), np.float64), place, axis=0)

    return graph.total([graph.node("Mul", found(slopes), graph.node("Sub", clipped, found(known))), found(values)])


def _without_excess(graph: GraphWriter, shares: str) -> str:
    one = graph.constant([[1.0]], np.float64)
    excess = graph.node("LessOrEqual", shares, graph.constant([[_EXCESS]], np.float64))
    return graph.node("Where", excess, graph.node("Min", shares, one), shares)


def _intervals(known: Rows) -> Tree:
    """Return a balanced tree that finds the last of some sorted numbers that is not greater than a value."""
    below: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []

    def grow(first: int, last: int) -> int:
        node = len(value)
        value.append(float(first))
        below.append(0.0)
        left.append(node)
        right.append(node)
        if first < last:
            middle = (first + last + 1) // 2
            below[node] = float(np.nextafter(known[middle], -np.inf))
            left[node] = grow(first, middle - 1)
            right[node] = grow(middle, last)
        return node

    grow(0, len(known) - 1)
    count = len(value)
    return Tree(
        feature=np.zeros(count, np.int64),
        threshold=np.array(below),
        left=np.array(left),
        right=np.array(right),
        missing_left=np.zeros(count, bool),
        value=np.array(value),
    )


def fixed_threshold(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a FixedThresholdClassifier."""
    model = step.model
    inner = Inner.of(step.inner("estimator", getattr(model, "estimator_", model.estimator)), blocks, graph, predict)
    threshold = model.threshold
    if threshold == "auto":
        threshold = 0.5 if _response(model, inner) == "predict_proba" else 0.0
    return _decided(inner, graph, threshold, model.pos_label, _response(model, inner))


def tuned_threshold(step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> Answer:
    """Convert a TunedThresholdClassifierCV."""
    model = step.model
    inner = Inner.of(step.inner("estimator", model.estimator_), blocks, graph, predict)
    positive = model._curve_scorer._get_pos_label()  # noqa: SLF001 - as its own predict asks
    return _decided(inner, graph, model.best_threshold_, positive, _response(model, inner))


def _response(model: Any, inner: Inner) -> str:
    """Return the method whose answer is compared with the threshold."""
    if model.response_method != "auto":
        return str(model.response_method)
    return "predict_proba" if inner.outputs.method == "predict_proba" else "decision_function"


def _decided(inner: Inner, graph: GraphWriter, threshold: float, positive: object, response: str) -> Answer:
    """Keep the inner answer, but say `positive` (None: the second class) where its score reaches the threshold."""
    place = 1 if positive is None else inner.outputs.labels.index(positive)
    if response == "predict_proba":
        score = outputs.columns(graph, inner.probabilities(graph), 2)[place]
    else:
        score = inner.confidence(graph)
        score = score if place else graph.node("Neg", score)
    reached = outputs.above(graph, score, threshold, equal=True)
    prediction = reached if place else graph.node("Sub", graph.constant([1], np.int64), reached)
    return replace(inner.answer, prediction=prediction, named=False)
