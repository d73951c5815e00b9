"""All columns as one matrix of doubles, and what is computed of its rows in NumPy's own order."""

import numpy as np
from numpy.typing import NDArray

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Table, Texts, dense, merge, spans
from model_store.convert.sklearn.step import Step

_BLOCK = 128
"""NumPy adds up longer rows in two halves."""


def matrix(step: Step, blocks: Blocks, graph: GraphWriter) -> Numbers:
    """Compute all columns as one tensor, [N, width]; EstimatorInvalidError if one is text."""
    numeric: list[Numbers | Table] = []
    for block in merge(graph, blocks):
        if isinstance(block, Texts):
            raise is_text(step, block)
        numeric.append(block)
    return Numbers(dense(graph, numeric), sum(block.width for block in numeric))


def is_text(step: Step, block: Texts) -> Exception:
    """Return the error of a step of numbers that is given a text column."""
    return step.refuse(f"is given the text column {block.name!r}: encode it first", column=block.name)


def product(step: Step, blocks: Blocks, weights: Rows, graph: GraphWriter) -> list[str]:
    """Multiply all columns by [features, targets] weights: terms of [N, targets] that are to be added up."""
    return [_product(step, block, weights[span], graph) for block, span in spans(merge(graph, blocks))]


def _product(step: Step, block: Block, weights: Rows, graph: GraphWriter) -> str:
    match block:
        case Numbers():
            return multiply(graph, block, weights)
        case Texts():
            raise is_text(step, block)
        case _:
            products = graph.constant(block.rows @ weights, np.float64)
            return graph.node("Gather", products, block.codes, axis=0)


def multiply(graph: GraphWriter, numbers: Numbers, weights: Rows) -> str:
    """Multiply [N, width] by [width, targets].

    ONNX Runtime fuses a division by one number with the MatMul after it, and keeps the number in float32: a block
    of one column, which a scaler divides by one number, must not meet a MatMul.
    """
    operator = "MatMul" if numbers.width > 1 else "Mul"
    return graph.node(operator, numbers.tensor, graph.constant(weights, np.float64))


def row_sums(graph: GraphWriter, numbers: Numbers) -> str:
    """Add up each row, [N, width] to [N, 1], in the order in which NumPy adds up a row that lies in one piece.

    Where terms are far larger than their sum, another order would give another sum.
    """
    columns = graph.node("Transpose", numbers.tensor, perm=[1, 0])
    return graph.node("Transpose", _pairwise(graph, columns, 0, numbers.width), perm=[1, 0])


def _pairwise(graph: GraphWriter, columns: str, start: int, stop: int) -> str:
    """Add up some rows of a [width, N] tensor to [1, N]: eight sums side by side, their sum, and the rest."""
    count = stop - start
    if count > _BLOCK:
        half = start + count // 2 - count // 2 % 8
        return graph.node("Add", _pairwise(graph, columns, start, half), _pairwise(graph, columns, half, stop))
    if count < 8:
        return _in_order(graph, _slice(graph, columns, start, stop), [0], keepdims=1)
    rest = stop - count % 8
    sums = _slice(graph, columns, start, rest)
    for shape in ([count // 8, 8, -1], [4, 2, -1], [2, 2, -1], [1, 2, -1]):
        axis = 0 if shape[1] == 8 else 1
        parts = graph.node("Reshape", sums, graph.constant(shape, np.int64))
        sums = _in_order(graph, parts, [axis], keepdims=0)
    if rest == stop:
        return sums
    terms = graph.node("Concat", sums, _slice(graph, columns, rest, stop), axis=0)
    return _in_order(graph, terms, [0], keepdims=1)


def _in_order(graph: GraphWriter, tensor: str, axes: list[int], *, keepdims: int) -> str:
    """Add up along an axis that is not the last, which ONNX Runtime does one row after the other."""
    return graph.node("ReduceSum", tensor, graph.constant(axes, np.int64), keepdims=keepdims)


def _slice(graph: GraphWriter, tensor: str, start: int, stop: int) -> str:
    first, last, axis = (graph.constant([value], np.int64) for value in (start, stop, 0))
    return graph.node("Slice", tensor, first, last, axis)


def squares(graph: GraphWriter, tensor: str) -> str:
    """Square each number as NumPy does."""
    return graph.node("Mul", tensor, tensor)


def vector(values: object) -> NDArray[np.float64]:
    """Return numbers as doubles."""
    return np.asarray(values, dtype=np.float64)
