"""The order in which scikit-learn's KDTree visits its leaves, which decides between neighbours at one distance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Rows


@dataclass(frozen=True)
class Leaves:
    """The leaves of a tree, all on its lowest level, and the boxes around its nodes."""

    places: NDArray[np.int64]
    """[leaves, rows of the largest leaf]: which training rows are in each, then -1."""
    lower: Rows
    """[features, nodes], the root first."""
    upper: Rows

    @classmethod
    def of(cls, tree: Any) -> "Leaves | None":
        """Read a KDTree; None if some leaf is above the others, as in a tree of hardly any rows."""
        _, order, nodes, bounds = (np.asarray(array) for array in tree.get_arrays())
        is_leaf = nodes["is_leaf"].astype(bool)
        first = len(nodes) // 2
        if is_leaf[:first].any() or not is_leaf[first:].all():
            return None
        starts, stops = nodes["idx_start"][first:], nodes["idx_end"][first:]
        places = np.full((len(starts), int((stops - starts).max())), -1, dtype=np.int64)
        for leaf, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            places[leaf, : stop - start] = order[start:stop]
        return cls(places, bounds[0].T, bounds[1].T)

    @property
    def _depth(self) -> int:
        return len(self.places).bit_length() - 1

    def order(self, graph: GraphWriter, row: str, power: float) -> str:
        """Return the leaves in the order in which they are visited from a row, [features, 1]: [leaves] of int64.

        Of a node's two children, the one whose box is nearer comes first.
        """
        if not self._depth:
            return graph.constant([0], np.int64)
        pair = graph.node("Reshape", self._distances(graph, row, power), graph.constant([-1, 2], np.int64))
        left, right = (graph.column(pair, side) for side in (0, 1))
        swapped = graph.cast(graph.node("Greater", left, right), TensorProto.INT64)
        # A leaf's rank in binary: a digit for each node above it, zero if the leaf is on the side that comes first.
        leaf, level = np.arange(len(self.places)), np.arange(self._depth)[:, None]
        below = self._depth - level
        nodes = (1 << level) - 1 + (leaf >> below)
        sides = (leaf >> (below - 1)) & 1
        late = graph.node(
            "BitwiseXor", graph.node("Gather", swapped, graph.constant(nodes), axis=0), graph.constant(sides)
        )
        digits = graph.node("Mul", late, graph.constant(1 << (below - 1)))
        ranks = graph.node("ReduceSum", digits, graph.constant([0], np.int64), keepdims=0)
        return graph.node(
            "ScatterElements", graph.constant(np.zeros_like(leaf)), ranks, graph.constant(leaf), axis=0
        )

    def rows(self, graph: GraphWriter, order: str, visits: str) -> str:
        """Return which training rows are visited then: numbers among all visits, fillers included."""
        size = graph.constant(self.places.shape[1], np.int64)
        leaf = graph.node("Gather", order, graph.node("Div", visits, size), axis=0)
        slot = graph.node("Add", graph.node("Mul", leaf, size), graph.node("Mod", visits, size))
        return graph.node("Gather", graph.constant(self.places.ravel()), slot, axis=0)

    def _distances(self, graph: GraphWriter, row: str, power: float) -> str:
        """Return how far the boxes are, to the power that distances are compared in; the root's is not needed."""
        before = graph.node("Sub", graph.constant(self.lower[:, 1:]), row)
        behind = graph.node("Sub", row, graph.constant(self.upper[:, 1:]))
        apart = graph.node("Max", graph.node("Max", before, behind), graph.constant(0.0, np.float64))
        return total_distance(graph, apart, power)


def total_distance(graph: GraphWriter, apart: str, power: float) -> str:
    """Add up differences, [features, N], none of them negative, to [N]: squared ones for a power of two."""
    operator = "ReduceMax" if np.isinf(power) else "ReduceSum"
    terms = graph.node("Mul", apart, apart) if power == 2 else apart
    return graph.node(operator, terms, graph.constant([0], np.int64), keepdims=0)
