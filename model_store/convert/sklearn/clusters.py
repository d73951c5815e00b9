"""KMeans and its kin: the nearest of a few centers, and the distance to each."""

from typing import Any

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Blocks, Numbers, Rows, Table, Texts, dense, merge
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step


def nearest_center(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a KMeans or MiniBatchKMeans.

    |x|² - 2xc + |c|² is added up as scikit-learn does; for the label, without |x|², and the first smallest decides.
    """
    rows = dense(graph, numeric(step, blocks, graph))
    centers = np.asarray(step.model.cluster_centers_, dtype=np.float64)
    nearest = graph.node("ArgMin", _compared(graph, rows, centers), axis=1, keepdims=0, select_last_index=0)
    return Answer(nearest, _distances(graph, rows, centers))


def halving(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a BisectingKMeans: down a tree of centers, each time to the nearer of two, the left of equal ones."""
    tree = step.model._bisecting_tree  # noqa: SLF001 - its predict goes down it, and nothing public shows it
    if tree.left is None:
        return nearest_center(step, blocks, graph)
    rows = dense(graph, numeric(step, blocks, graph))
    mean = getattr(step.model, "_X_mean", 0.0)

    def descend(node: Any) -> str:
        if node.left is None:
            return graph.constant([node.label], np.int64)
        pair = np.asarray(np.stack([node.left.center, node.right.center]) + mean, dtype=np.float64)
        left, right = (graph.column(_compared(graph, rows, pair), side) for side in range(2))
        return graph.node("Where", graph.node("Less", right, left), descend(node.right), descend(node.left))

    centers = np.asarray(step.model.cluster_centers_, dtype=np.float64)
    return Answer(descend(tree), _distances(graph, rows, centers))


def _compared(graph: GraphWriter, rows: str, centers: Rows) -> str:
    """Return squared distances but for the row's own square, which is the same for every center: [N, centers]."""
    return graph.node("Add", _squares(graph, centers), _products(graph, rows, centers))


def _distances(graph: GraphWriter, rows: str, centers: Rows) -> str:
    own = graph.node("ReduceSum", graph.node("Mul", rows, rows), graph.constant([1], np.int64), keepdims=1)
    squared = graph.total([_products(graph, rows, centers), own, _squares(graph, centers)])
    return graph.node("Sqrt", graph.node("Max", squared, graph.constant([[0.0]], np.float64)))


def _products(graph: GraphWriter, rows: str, centers: Rows) -> str:
    return graph.node("MatMul", rows, graph.constant(-2.0 * centers.T, np.float64))


def _squares(graph: GraphWriter, centers: Rows) -> str:
    return graph.constant(np.einsum("ij,ij->i", centers, centers), np.float64)


def numeric(step: Step, blocks: Blocks, graph: GraphWriter) -> list[Numbers | Table]:
    """Return the blocks, none of which may be of text."""
    found: list[Numbers | Table] = []
    for block in merge(graph, blocks):
        if isinstance(block, Texts):
            raise step.refuse(f"is given the text column {block.name!r}: encode it first", column=block.name)
        found.append(block)
    return found
