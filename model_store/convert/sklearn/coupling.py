"""Probabilities of classes from scores of pairs of classes, as libsvm couples them.

It is an iteration that stops, row by row, when it is near enough: what it answers is where it stopped, so the graph
has to take the same steps. (T.-F. Wu, C.-J. Lin and R. C. Weng, "Probability Estimates for Multi-class
Classification by Pairwise Coupling", 2004, the second method.)
"""

from itertools import combinations

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Rows

_LEAST = 1e-7
_MOST_STEPS = 100
_NEAR = 0.005


def pairs(classes: int) -> list[tuple[int, int]]:
    """Return the pairs of classes in libsvm's order."""
    return list(combinations(range(classes), 2))


def probabilities(graph: GraphWriter, scores: str, slopes: Rows, offsets: Rows, classes: int) -> str:
    """Turn scores, [N, pairs], each positive for the first of the two, into probabilities, [N, classes]."""
    against = _against(graph, _sigmoid(graph, scores, slopes, offsets), classes)
    quadratic = _quadratic(graph, against, classes)
    zero = graph.constant(0.0, np.float64)
    one_class = graph.node("ReduceSum", graph.node("Mul", against, zero), graph.constant([0], np.int64), keepdims=0)
    equal = graph.node("Add", one_class, graph.constant(1.0 / classes, np.float64))
    inner = graph.inside()
    count, go_on, shares = (inner.name(hint) for hint in ("step", "going", "shares"))
    moved, unfinished = _step(inner, quadratic, shares, classes)
    body = inner.body(
        {count: (TensorProto.INT64, 0), go_on: (TensorProto.BOOL, 0), shares: (TensorProto.DOUBLE, 2)},
        {unfinished: (TensorProto.BOOL, 0), moved: (TensorProto.DOUBLE, 2)},
    )
    steps = graph.constant(max(_MOST_STEPS, classes), np.int64)
    (result,) = graph.nodes("Loop", steps, graph.constant(True), equal, count=1, body=body)
    return graph.node("Transpose", result, perm=[1, 0])


def _sigmoid(graph: GraphWriter, scores: str, slopes: Rows, offsets: Rows) -> str:
    """Return the probability of the first of each pair, [pairs, N]."""
    odds = graph.node("Add", graph.node("Mul", scores, graph.constant(slopes)), graph.constant(offsets))
    one = graph.constant(1.0, np.float64)
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", odds)))
    below = graph.node("GreaterOrEqual", odds, graph.constant(0.0, np.float64))
    first = graph.node("Div", graph.node("Where", below, small, one), graph.node("Add", one, small))
    least, most = (graph.constant(value, np.float64) for value in (_LEAST, 1 - _LEAST))
    return graph.node("Transpose", graph.node("Min", graph.node("Max", first, least), most), perm=[1, 0])


def _against(graph: GraphWriter, first: str, classes: int) -> str:
    """Return the probability of class j against class t, [j, t, N], zero where they are the same."""
    order = {pair: place for place, pair in enumerate(pairs(classes))}
    places = np.zeros((classes, classes), dtype=np.int64)
    for (one, other), place in order.items():
        places[one, other], places[other, one] = place, place + len(order)
    second = graph.node("Sub", graph.constant(1.0, np.float64), first)
    both = graph.node("Gather", graph.node("Concat", first, second, axis=0), graph.constant(places), axis=0)
    same = graph.constant(np.eye(classes, dtype=bool)[:, :, None])
    return graph.node("Where", same, graph.constant(0.0, np.float64), both)


def _quadratic(graph: GraphWriter, against: str, classes: int) -> str:
    """Return the matrix of the quadratic form that the probabilities make least, [classes, classes, N]."""
    mirrored = graph.node("Transpose", against, perm=[1, 0, 2])
    apart = graph.node("Neg", graph.node("Mul", against, mirrored))
    lost = graph.node("Mul", against, against)
    diagonal = graph.node("ReduceSum", lost, graph.constant([0], np.int64), keepdims=1)
    return graph.node("Where", graph.constant(np.eye(classes, dtype=bool)[:, :, None]), diagonal, apart)


def _step(graph: GraphWriter, quadratic: str, start: str, classes: int) -> tuple[str, str]:
    """Take one step from shares, [classes, N]: where it leads, and whether any row was far before it."""
    first_axis = graph.constant([0], np.int64)
    one, two = graph.constant(1.0, np.float64), graph.constant(2.0, np.float64)
    shares = start
    weighted = graph.node("Mul", quadratic, graph.node("Unsqueeze", shares, graph.constant([1], np.int64)))
    slopes = graph.node("ReduceSum", weighted, first_axis, keepdims=0)
    value = graph.node("ReduceSum", graph.node("Mul", shares, slopes), first_axis, keepdims=1)
    error = graph.node("Abs", graph.node("Sub", slopes, value))
    worst = graph.node("ReduceMax", error, first_axis, keepdims=1)
    far = graph.node("Not", graph.node("Less", worst, graph.constant(_NEAR / classes, np.float64)))
    for label in range(classes):
        row = graph.node("Gather", quadratic, graph.constant(label, np.int64), axis=0)
        own, slope = (graph.node("Gather", t, graph.constant([label], np.int64), axis=0) for t in (row, slopes))
        change = graph.node("Div", graph.node("Add", graph.node("Neg", slope), value), own)
        grown = graph.node("Add", one, change)
        this = graph.constant(np.eye(classes)[:, [label]])
        shares = graph.node("Add", shares, graph.node("Mul", change, this))
        bend = graph.node("Add", graph.node("Mul", change, own), graph.node("Mul", two, slope))
        value = graph.node("Add", value, graph.node("Mul", change, bend))
        value = graph.node("Div", graph.node("Div", value, grown), grown)
        slopes = graph.node("Div", graph.node("Add", slopes, graph.node("Mul", change, row)), grown)
        shares = graph.node("Div", shares, grown)
    moved = graph.node("Where", far, shares, start)
    some = graph.node("ReduceMax", graph.cast(far, TensorProto.INT64), keepdims=0)
    return moved, graph.node("Greater", some, graph.constant(0, np.int64))
