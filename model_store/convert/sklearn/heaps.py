"""The heap in which scikit-learn keeps the nearest neighbours it has seen, which decides between equal ones.

A row that is nearer than the farthest in the heap takes its place there and sinks; of several that are equally far,
the one that happens to be on top goes. So which of them are left depends on all that were ever in the heap, and in
what order they came.
"""

from itertools import pairwise

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter

_FIRST = 32
"""How many are always let through, before there is a bound."""


def candidates(graph: GraphWriter, distances: str, total: int, count: int) -> tuple[str, str]:
    """Keep those of [total] distances that may enter a heap of `count` in their turn: [kept], and where they were.

    One that enters is nearer than the last of the nearest `count` of all before it, and so of the first 32, 64, ...
    of them. Where more than `kept` are, which random order makes most unlikely, the farthest are left out.
    """
    first = max(_FIRST, 2 * count)
    stops = [first]
    while stops[-1] < total:
        stops.append(min(2 * stops[-1], total))
    axis = graph.constant([0], np.int64)
    bounds = [graph.constant(np.full(min(first, total), np.inf))]
    for start, stop in pairwise(stops):
        before = graph.node(
            "Slice", distances, graph.constant([0], np.int64), graph.constant([start], np.int64), axis
        )
        nearest, _ = _smallest(graph, before, count)
        last = graph.node("Gather", nearest, graph.constant([count - 1], np.int64), axis=0)
        bounds.append(graph.node("Expand", last, graph.constant([stop - start], np.int64)))
    bound = graph.node("Concat", *bounds, axis=0)
    inside = graph.node("Less", distances, bound)
    far = graph.node("Where", inside, distances, graph.constant(np.inf, np.float64))
    kept = min(total, first + (len(stops) - 1) * (2 * count + 16))
    values, places = _smallest(graph, far, kept)
    # In their turn, and last what is none.
    size = graph.constant(total, np.int64)
    later = graph.node("Add", places, size)
    in_turn, _ = _smallest(graph, graph.node("Where", graph.node("IsInf", values), later, places), kept)
    places = graph.node("Mod", in_turn, size)
    return graph.node("Gather", far, places, axis=0), places


def _smallest(graph: GraphWriter, tensor: str, count: int) -> tuple[str, str]:
    amount = graph.constant([count], np.int64)
    values, places = graph.nodes("TopK", tensor, amount, count=2, axis=0, largest=0, sorted=1)
    return values, places


def survivors(graph: GraphWriter, distances: str, places: str, count: int) -> tuple[str, str]:
    """Put [N, kept] candidates into heaps of `count`, one after the other; return what is left, both [N, count]."""
    rows = graph.node("Shape", distances, start=0, end=1)
    shape = graph.node("Concat", rows, graph.constant([count + 2], np.int64), axis=0)
    # Behind the heap: a child that is none, nearer than all, and a place for what is not to be kept.
    blank = np.append(np.full(count, np.inf), [-np.inf, 0.0])
    heap = graph.node("Expand", graph.constant(blank), shape)
    owners = graph.node("Expand", graph.constant(0, np.int64), shape)
    inner = graph.inside()
    turn, go_on, known, known_owners = (inner.name(hint) for hint in ("turn", "going", "heap", "owners"))
    one = inner.constant([1], np.int64)
    at = inner.node("Reshape", turn, one)
    value, owner = (inner.node("Gather", tensor, at, axis=1) for tensor in (distances, places))
    new = _push(inner, (known, known_owners), (value, owner), count)
    body = inner.body(
        {
            turn: (TensorProto.INT64, 0),
            go_on: (TensorProto.BOOL, 0),
            known: (TensorProto.DOUBLE, 2),
            known_owners: (TensorProto.INT64, 2),
        },
        {go_on: (TensorProto.BOOL, 0), new[0]: (TensorProto.DOUBLE, 2), new[1]: (TensorProto.INT64, 2)},
    )
    some = graph.node("Not", graph.node("IsInf", distances))
    many = graph.node("ReduceSum", graph.cast(some, TensorProto.INT64), one, keepdims=0)
    turns = graph.node("ReduceMax", many, keepdims=0)
    heap, owners = graph.nodes("Loop", turns, graph.constant(True), heap, owners, count=2, body=body)
    # What is left, nearest first, as scikit-learn sorts it.
    bounds = [graph.constant([number], np.int64) for number in (0, count, 1)]
    amount = graph.constant([count], np.int64)
    left = graph.node("Slice", heap, *bounds)
    values, order = graph.nodes("TopK", left, amount, count=2, axis=1, largest=0, sorted=1)
    return values, graph.node("GatherElements", graph.node("Slice", owners, *bounds), order, axis=1)


def _push(graph: GraphWriter, heaps: tuple[str, str], new: tuple[str, str], count: int) -> tuple[str, str]:
    """Push a value, [N, 1], into each row's heap where it is below the top: it sinks, larger children rise."""
    (heap, owners), (value, owner) = heaps, new
    none, nowhere = graph.constant(count, np.int64), graph.constant(count + 1, np.int64)
    one, two = graph.constant(1, np.int64), graph.constant(2, np.int64)
    top = graph.node("Gather", heap, graph.constant([0], np.int64), axis=1)
    enters = sinks = graph.node("Less", value, top)
    place = graph.node("Mul", owner, graph.constant(0, np.int64))
    for _ in range(count.bit_length() - 1):
        left = graph.node("Add", graph.node("Mul", place, two), one)
        left, right = (graph.node("Min", side, none) for side in (left, graph.node("Add", left, one)))
        of_left, of_right = (graph.node("GatherElements", heap, side, axis=1) for side in (left, right))
        larger = graph.node("GreaterOrEqual", of_left, of_right)
        child = graph.node("Where", larger, left, right)
        of_child = graph.node("Max", of_left, of_right)
        sinks = graph.node("And", sinks, graph.node("Less", value, of_child))
        target = graph.node("Where", sinks, place, nowhere)
        risen = graph.node("GatherElements", owners, child, axis=1)
        heap = graph.node("ScatterElements", heap, target, of_child, axis=1)
        owners = graph.node("ScatterElements", owners, target, risen, axis=1)
        place = graph.node("Where", sinks, child, place)
    target = graph.node("Where", enters, place, nowhere)
    heap = graph.node("ScatterElements", heap, target, value, axis=1)
    return heap, graph.node("ScatterElements", owners, target, owner, axis=1)
