"""Outlier detectors: 1 for rows like the training rows, -1 for others, and a score that is negative for those."""

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.clusters import numeric
from model_store.convert.sklearn.features import Blocks, Precision, dense
from model_store.convert.sklearn.forests import read_tree
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step
from model_store.convert.sklearn.trees import gather_features, leaf_sum


def isolation_forest(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an IsolationForest.

    Depths are added up tree by tree as scikit-learn does it, to the last bit: `contamination` may put the line
    between outliers and others exactly on a training row. The line itself is sought among depths, as powers of two
    differ in their last bit between processors.
    """
    model = step.model
    # How deep a leaf is, with what its rows would add, has no public name.
    depths = zip(model._decision_path_lengths, model._average_path_length_per_tree, strict=True)  # noqa: SLF001
    narrow = model._max_features < model.n_features_in_  # noqa: SLF001 - else every tree is given all, in order
    trees = [
        read_tree(estimator.tree_, path + average - 1.0, features if narrow else None)
        for estimator, features, (path, average) in zip(
            model.estimators_, model.estimators_features_, depths, strict=True
        )
    ]
    deepest = len(trees) * _average_path(model._max_samples)  # noqa: SLF001 - as above
    if not deepest:
        raise step.refuse("was fitted on one row per tree, which isolates nothing: fit it with max_samples above 1")
    total = leaf_sum(graph, gather_features(step, blocks, graph, trees, Precision.WIDENED), trees)
    share = graph.node("Neg", graph.node("Div", total, graph.constant([[deepest]], np.float64)))
    score = graph.node("Neg", graph.node("Pow", graph.constant([[2.0]], np.float64), share))
    decision = graph.node("Sub", score, graph.constant([[float(model.offset_)]], np.float64))
    least = _least_inlying_depth(deepest, float(model.offset_))
    return Answer(outputs.above(graph, total, least, equal=True), decision)


def _average_path(rows: int) -> float:
    """Return the mean depth at which a tree of so many rows isolates one, as scikit-learn's average_path_length."""
    if rows <= 2:
        return float(rows - 1)
    return float(2.0 * (np.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows)


def _least_inlying_depth(deepest: float, offset: float) -> float:
    """Return the smallest sum of depths that scikit-learn takes for no outlier, found by halving."""

    def is_inlier(depth: float) -> bool:
        return bool((-(2 ** (-np.divide(np.array([depth]), deepest))) - offset >= 0)[0])

    low, high = -1.0, 64.0 * deepest
    if is_inlier(low):
        return -np.inf
    if not is_inlier(high):
        return np.inf
    while np.nextafter(low, high) < high:
        middle = low + (high - low) / 2
        low, high = (low, middle) if is_inlier(middle) else (middle, high)
    return float(high)


def elliptic_envelope(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an EllipticEnvelope: the squared Mahalanobis distance against an offset."""
    model = step.model
    rows = dense(graph, numeric(step, blocks, graph))
    centered = graph.node("Sub", rows, graph.constant(np.atleast_1d(model.location_), np.float64))
    weighed = graph.node("MatMul", centered, graph.constant(np.atleast_2d(model.get_precision()), np.float64))
    products = graph.node("Mul", weighed, centered)
    distance = graph.node("ReduceSum", products, graph.constant([1], np.int64), keepdims=1)
    return _told_apart(graph, graph.node("Neg", distance), float(model.offset_), equal=True)


def linear_one_class(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an SGDOneClassSVM."""
    rows = dense(graph, numeric(step, blocks, graph))
    weights = np.atleast_2d(step.model.coef_).T
    product = graph.node("MatMul", rows, graph.constant(weights, np.float64))
    return _told_apart(graph, product, float(np.ravel(step.model.offset_)[0]), equal=True)


def _told_apart(graph: GraphWriter, score: str, offset: float, *, equal: bool) -> Answer:
    decision = graph.node("Sub", score, graph.constant([[offset]], np.float64))
    return Answer(outputs.above(graph, decision, 0.0, equal=equal), decision)
