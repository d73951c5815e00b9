"""Decision trees as ONNX's TreeEnsemble in double, and sums of them.

Each comparison is the source's own: the same double threshold and the same value, rounded to float32 before where
the source does that. So every row ends in the leaf it ends in there, and what is left is how leaves are added up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.convert.graph import ML, GraphWriter
from model_store.convert.sklearn.features import Blocks, Numbers, Precision, Rows, Table, Texts, dense, merge, spans
from model_store.convert.sklearn.step import Step

CHUNK = 10
"""Trees per TreeEnsemble node where their sum may round in any order. With all trees in one node, batches are 10 to
15% slower, as trees leave the processor's cache between rows; with one tree per node they are 5% faster still, but
a single row takes 55 microseconds instead of 12 (100 trees, ONNX Runtime 1.31)."""

_LESS_OR_EQUAL, _MEMBER = 0, 6
_SUM, _NO_TRANSFORM = 1, 0


@dataclass(frozen=True)
class Tree:
    """One tree, as arrays over its nodes; the root is node 0 and leaves are their own children."""

    feature: NDArray[np.int64]
    threshold: Rows
    """A row goes left if its feature is less or equal."""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    """Whether NaN goes left."""
    value: Rows
    """What a leaf gives."""
    members: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """The nodes that send these values left instead, and all others right."""

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Which nodes are leaves."""
        leaves: NDArray[np.bool_] = self.left == np.arange(len(self.left))
        return leaves


@dataclass(frozen=True)
class Features:
    """The columns that trees look at, as one tensor."""

    tensor: str
    """[N, used]."""
    place: Mapping[int, int]
    """Where in it each of the source's features is."""
    single: bool
    """Whether the tensor is of float32, else of double; ONNX has one type for features, thresholds and leaves."""
    never_nan: frozenset[int] = frozenset()
    """The source's features that are certain to be numbers."""


def gather_features(
    step: Step,
    blocks: Blocks,
    graph: GraphWriter,
    trees: Sequence[Tree],
    precision: Precision,
) -> Features:
    """Compute the columns that trees use."""
    used = np.unique(np.concatenate([tree.feature[~tree.is_leaf] for tree in trees]))
    place: dict[int, int] = {}
    never_nan: set[int] = set()
    kept: list[Numbers | Table] = []
    width = 0
    for block, span in spans(merge(graph, blocks)):
        if isinstance(block, Texts):
            raise step.refuse(f"is given the text column {block.name!r}: encode it first", column=block.name)
        inside = [int(feature) for feature in used if span.start <= feature < span.stop]
        if isinstance(block, Table):  # of a wide one-hot table, trees use few columns
            columns = [feature - span.start for feature in inside]
        else:
            columns = list(range(block.width)) if inside else []
        never_nan.update(feature for feature in inside if _is_never_nan(graph, block, feature - span.start))
        if columns:
            kept.append(block.select(graph, columns))
            place |= {span.start + column: width + new for new, column in enumerate(columns)}
            width += len(columns)
    if not kept:  # no tree has a split; the rows still have to be counted
        block = next(block for block in merge(graph, blocks) if not isinstance(block, Texts))
        kept, place = [block], {}
    return Features(dense(graph, kept, precision), place, precision is Precision.SINGLE, frozenset(never_nan))


def _is_never_nan(graph: GraphWriter, block: Numbers | Table, column: int) -> bool:
    if isinstance(block, Table):
        return not np.isnan(block.rows[:, column]).any()
    return graph.is_never_nan(block.tensor)


def leaf_sum(graph: GraphWriter, features: Features, trees: Sequence[Tree]) -> str:
    """Add up the leaves that each row ends in, from the first tree to the last: [N, 1], of the features' type."""
    nodes = _Nodes(features)
    for tree in trees:
        nodes.add(tree)
    return nodes.write(graph)


def chunked_sum(
    graph: GraphWriter, features: Features, trees: Sequence[Tree], first: float = 0.0, *, chunk: int = CHUNK
) -> str:
    """Add up leaves, and `first`, in whatever order is fast, `chunk` trees per node: [N, 1]."""
    chunks = [leaf_sum(graph, features, trees[start : start + chunk]) for start in range(0, len(trees), chunk)]
    constants = [graph.constant([[first]], np.float64)] if first else []
    return graph.total([*constants, *chunks])


def _round_down(thresholds: Rows) -> NDArray[np.float32]:
    """Return the largest floats that are not above: a float is less or equal to them or to the doubles alike."""
    with np.errstate(over="ignore"):  # beyond the largest float, the next one down is it
        rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


class _Nodes:
    """The attributes of a TreeEnsemble: lists over the inner nodes of all its trees, and over their leaves."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._lists: dict[str, list[Any]] = {
            name: []
            for name in (
                "tree_roots",
                "nodes_featureids",
                "nodes_modes",
                "nodes_splits",
                "nodes_truenodeids",
                "nodes_trueleafs",
                "nodes_falsenodeids",
                "nodes_falseleafs",
                "nodes_missing_value_tracks_true",
                "leaf_weights",
            )
        }
        self._members: list[float] = []

    def add(self, tree: Tree) -> None:
        """Append a tree, its nodes in preorder."""
        lists, leaf = self._lists, tree.is_leaf
        inner: dict[int, int] = {}
        leaves: dict[int, int] = {}
        order, stack = [], [0]
        while stack:
            node = stack.pop()
            order.append(node)
            if leaf[node]:
                leaves[node] = len(lists["leaf_weights"]) + len(leaves)
            else:
                inner[node] = len(lists["nodes_modes"]) + len(inner)
                stack += [int(tree.right[node]), int(tree.left[node])]
        lists["tree_roots"].append(len(lists["nodes_modes"]))
        lists["leaf_weights"] += [float(tree.value[node]) for node in leaves]
        for node in inner or order:  # a tree of one leaf needs a node too: one with that leaf on both sides
            lists["nodes_featureids"].append(self._features.place[int(tree.feature[node])] if inner else 0)
            lists["nodes_splits"].append(0.0 if node in tree.members or not inner else float(tree.threshold[node]))
            lists["nodes_modes"].append(_MEMBER if node in tree.members else _LESS_OR_EQUAL)
            # Where no node asks for NaN, ONNX Runtime is 5% faster.
            missing_left = bool(tree.missing_left[node]) and int(tree.feature[node]) not in self._features.never_nan
            lists["nodes_missing_value_tracks_true"].append(int(missing_left))
            for side, child in (("true", int(tree.left[node])), ("false", int(tree.right[node]))):
                lists[f"nodes_{side}leafs"].append(int(leaf[child]))
                lists[f"nodes_{side}nodeids"].append(leaves[child] if leaf[child] else inner[child])
            if node in tree.members:
                self._members += [*tree.members[node], np.nan]

    def write(self, graph: GraphWriter) -> str:
        """Add the node."""
        attributes = dict(self._lists)
        attributes["nodes_modes"] = graph.attribute(np.array(attributes["nodes_modes"], dtype=np.uint8))
        splits = np.array(attributes["nodes_splits"], dtype=np.float64)
        attributes["nodes_splits"] = graph.attribute(_round_down(splits) if self._features.single else splits)
        attributes["leaf_targetids"] = [0] * len(attributes["leaf_weights"])
        weights = np.array(attributes["leaf_weights"], np.float32 if self._features.single else np.float64)
        attributes["leaf_weights"] = graph.attribute(weights)
        if self._members:
            attributes["membership_values"] = graph.attribute(np.array(self._members, weights.dtype))
        return graph.node(
            "TreeEnsemble",
            self._features.tensor,
            domain=ML,
            n_targets=1,
            aggregate_function=_SUM,
            post_transform=_NO_TRANSFORM,
            **attributes,
        )
