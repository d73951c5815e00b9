"""KNeighborsClassifier and KNeighborsRegressor: the training rows in the graph, and each row's distances to them.

Distances are added up column after column, as scikit-learn's trees do, so that the nearest are the same. Where
several training rows are as far as the last neighbour, which of them scikit-learn takes depends on the order in
which it sees them (kd_trees.py) and on the heap it keeps them in (heaps.py): the graph does as they do.

Not followed are a BallTree's order; the order of equal distances in sums of more than seven weights; and brute
force, which scikit-learn takes for more than 15 columns, where it rounds distances to about 1e-16 times the squared
size of the rows, and has an order that depends on how many rows and threads there are. There, rows at a tie may get
another answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.neighbors import KDTree

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import heaps, outputs
from model_store.convert.sklearn.features import Blocks, Numbers, Rows
from model_store.convert.sklearn.kd_trees import Leaves, total_distance
from model_store.convert.sklearn.matrices import matrix, row_sums, vector
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step

_MOST_CELLS = 1_000_000
"""Training rows times columns. With as many, 800 rows are scored in a second; with 10,000, 46,000 rows."""


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a KNeighborsClassifier: the class with most of the neighbours' weight, of equals the first."""
    _check(step)
    weights, places = _neighbours(step, blocks, graph)
    answers = []
    for known, target in zip(_targets(step), Outputs.of(step).each(), strict=True):
        classes_of = graph.node("Gather", graph.constant(known, np.int64), places, axis=0)
        each = [_weight_of(graph, weights, classes_of, label) for label in range(len(target.labels))]
        answers.append(_vote(step, graph, each, target))
    return outputs.several(answers)


def _vote(step: Step, graph: GraphWriter, each: Sequence[str], target: Outputs) -> Answer:
    """Answer for one target, of whose classes each has weights of its neighbours, [N, neighbours]."""
    shares = graph.node("Concat", *(_in_turn(graph, weights) for weights in each), axis=1)
    # The label goes by NumPy's sum, the probability by adding one neighbour after the other.
    sums = [row_sums(graph, Numbers(weights, step.model.n_neighbors)) for weights in each]
    shares = graph.node("Div", shares, row_sums(graph, Numbers(shares, len(each))))
    label = outputs.argmax(graph, graph.node("Concat", *sums, axis=1))
    return replace(outputs.shares(graph, target, shares), prediction=label)


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a KNeighborsRegressor: the mean of the neighbours' values, or the weighted mean."""
    _check(step)
    count = step.model.n_neighbors
    weights, places = _neighbours(step, blocks, graph)
    whole, answers = row_sums(graph, Numbers(weights, count)), []
    for known in _targets(step):
        values = graph.node("Gather", graph.constant(known, np.float64), places, axis=0)
        total = row_sums(graph, Numbers(graph.node("Mul", values, weights), count))
        answers.append(outputs.regression(graph, graph.node("Div", total, whole)))
    return outputs.several(answers)


def _targets(step: Step) -> Sequence[Rows]:
    """Return what was learnt of each target for the training rows, a classifier's classes by their places."""
    known: Any = step.model._y  # noqa: SLF001 - scikit-learn has no public word for the targets it keeps
    return [known] if known.ndim == 1 else list(known.T)


def _check(step: Step) -> None:
    model = step.model
    if callable(model.weights):
        raise step.refuse("weighs by a Python function, which no graph can: fit it with weights='distance'")
    if _power(step) is None:
        raise step.refuse(
            f"has the metric {model.effective_metric_!r}: fit it with 'euclidean', 'manhattan' or 'chebyshev'"
        )
    cells = int(np.prod(model._fit_X.shape))  # noqa: SLF001 - see `_training_rows`
    if cells > _MOST_CELLS:
        raise step.refuse(
            f"keeps {cells:,} training cells, with which each row would be compared; at most {_MOST_CELLS:,} are "
            "converted: fit it on a sample of the rows, or fit a HistGradientBoosting model"
        )


def _power(step: Step) -> float | None:
    """Return the p of the Minkowski metric, or None if it is none that is converted."""
    model = step.model
    if (model.effective_metric_params_ or {}).get("w") is not None or callable(model.effective_metric_):
        return None
    powers: dict[str, float] = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "l1": 1.0, "cityblock": 1.0}
    return (powers | {"chebyshev": np.inf, "infinity": np.inf}).get(model.effective_metric_)


def _neighbours(step: Step, blocks: Blocks, graph: GraphWriter) -> tuple[str, str]:
    """Find the nearest training rows of each row: their weights, and their places, both [N, neighbours]."""
    model = step.model
    distances, places = _nearest(step, matrix(step, blocks, graph).tensor, graph)
    one = graph.constant(1.0, np.float64)
    if model.weights != "distance":
        return graph.node("Where", graph.node("IsNaN", distances), distances, one), places
    if _power(step) == 2:
        distances = graph.node("Sqrt", distances)
    weights = graph.node("Div", one, distances)
    # Where a training row is at no distance at all, those that are share everything.
    here = graph.cast(graph.node("IsInf", weights), TensorProto.DOUBLE)
    some = graph.node("ReduceMax", here, graph.constant([1], np.int64), keepdims=1)
    return graph.node("Where", graph.node("Greater", some, graph.constant(0.0, np.float64)), here, weights), places


def _nearest(step: Step, rows: str, graph: GraphWriter) -> tuple[str, str]:
    """Return the distances, squared if euclidean, and the places of the nearest training rows, nearest first.

    Row by row: all distances of a chunk of rows at once would not fit into memory.
    """
    known, power, nearest = _training_rows(step), _power(step) or 2.0, step.model.n_neighbors
    leaves, ties = _leaves(step), _may_tie(step)
    inner = graph.inside()
    row = inner.name("row")
    column = inner.node("Unsqueeze", row, graph.constant([1], np.int64))
    order = ""
    if ties and leaves is not None:
        # Training rows leaf by leaf, the leaves in the tree's order.
        order = leaves.order(inner, column, power)
        fillers = leaves.places.reshape(-1, 1) < 0
        far = _distances(inner, np.where(fillers, np.inf, known[leaves.places.ravel()]), column, power)
        by_leaf = inner.node("Reshape", far, graph.constant(leaves.places.shape, np.int64))
        visited = inner.node("Gather", by_leaf, order, axis=0)
        far, total = inner.node("Reshape", visited, graph.constant([-1], np.int64)), leaves.places.size
    else:
        far, total = _distances(inner, known, column, power), len(known)
    if ties:
        distances, places = heaps.candidates(inner, far, total, nearest)
    else:
        count = graph.constant([nearest], np.int64)
        distances, places = inner.nodes("TopK", far, count, count=2, axis=0, largest=0, sorted=1)
    if order and leaves is not None:
        places = leaves.rows(inner, order, places)
    body = inner.body(
        {row: (TensorProto.DOUBLE, 1)}, {distances: (TensorProto.DOUBLE, 1), places: (TensorProto.INT64, 1)}
    )
    distances, places = graph.nodes("Scan", rows, count=2, body=body, num_scan_inputs=1)
    return heaps.survivors(graph, distances, places, nearest) if ties else (distances, places)


def _distances(graph: GraphWriter, known: Rows, row: str, power: float) -> str:
    """Return the distances from a row, [features, 1], to known rows, [rows, features]: [rows]."""
    apart = graph.node("Sub", graph.constant(np.ascontiguousarray(known.T)), row)
    return total_distance(graph, apart if power == 2 else graph.node("Abs", apart), power)


def _may_tie(step: Step) -> bool:
    """Tell whether several training rows at one distance are to be expected.

    They are not where a column has another number in each training row, unless the largest difference is all that
    counts: then all that keeps the order of equals, without which four times as many rows are scored in a second,
    is left out.
    """
    known = _training_rows(step)
    return _power(step) == np.inf or not any(len(np.unique(column)) == len(known) for column in known.T)


def _leaves(step: Step) -> Leaves | None:
    tree = step.model._tree  # noqa: SLF001 - scikit-learn has no public word for it
    return Leaves.of(tree) if isinstance(tree, KDTree) else None


def _training_rows(step: Step) -> Rows:
    kept: Any = step.model._fit_X  # noqa: SLF001 - scikit-learn has no public word for the rows it keeps
    return vector(kept.toarray() if hasattr(kept, "toarray") else kept)


def _weight_of(graph: GraphWriter, weights: str, classes_of: str, label: int) -> str:
    """Return the weights of the neighbours of one class, zero for all others: [N, neighbours]."""
    is_of = graph.node("Equal", classes_of, graph.constant(label, np.int64))
    return graph.node("Where", is_of, weights, graph.constant(0.0, np.float64))


def _in_turn(graph: GraphWriter, tensor: str) -> str:
    """Add up each row from its first column to its last: [N, width] to [N, 1]."""
    columns = graph.node("Transpose", tensor, perm=[1, 0])
    total = graph.node("ReduceSum", columns, graph.constant([0], np.int64), keepdims=1)
    return graph.node("Transpose", total, perm=[1, 0])
