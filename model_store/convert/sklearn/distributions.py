"""Transformers that change how a column is distributed: bins, quantiles, powers; and rows of length one."""

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Table, Texts, single
from model_store.convert.sklearn.matrices import is_text, matrix, row_sums, squares, vector
from model_store.convert.sklearn.scalers import Operation, calculate
from model_store.convert.sklearn.step import Step


def bins(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a KBinsDiscretizer: a column becomes a choice among its bins."""
    one_hot = step.model.encode != "ordinal"
    result = []
    for block, edges in zip(single(graph, blocks), step.model.bin_edges_, strict=True):
        inner = vector(edges[1:-1])
        table = np.eye(len(inner) + 1) if one_hot else np.arange(len(inner) + 1.0).reshape(-1, 1)
        result.append(_bin(step, block, graph, inner, table))
    return tuple(result)


def _bin(step: Step, block: Block, graph: GraphWriter, edges: Rows, table: Rows) -> Table:
    match block:
        case Numbers():
            # With an edge that no number reaches, a column without inner edges needs no case of its own.
            reached = graph.node("GreaterOrEqual", block.tensor, graph.constant(np.append(edges, np.inf)))
            ones = graph.cast(reached, TensorProto.INT64)
            codes = graph.node("ReduceSum", ones, graph.constant([1], np.int64), keepdims=0)
            return Table(codes, np.vstack([table, table[-1:]]))
        case Table():
            return Table(block.codes, table[np.searchsorted(edges, block.rows[:, 0], side="right")])
        case Texts():
            raise is_text(step, block)


def binary(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a Binarizer."""
    numbers = matrix(step, blocks, graph)
    above = graph.node("Greater", numbers.tensor, graph.constant(float(step.model.threshold), np.float64))
    return (Numbers(graph.cast(above, TensorProto.DOUBLE), numbers.width),)


def unit(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a Normalizer; a row of zeros stays one."""
    numbers = matrix(step, blocks, graph)
    sizes = Numbers(graph.node("Abs", numbers.tensor), numbers.width)
    match step.model.norm:
        case "l1":
            norm = row_sums(graph, sizes)
        case "l2":
            norm = graph.node("Sqrt", row_sums(graph, Numbers(squares(graph, numbers.tensor), numbers.width)))
        case _:
            norm = graph.node("ReduceMax", sizes.tensor, graph.constant([1], np.int64), keepdims=1)
    none = graph.node("Equal", norm, graph.constant(0.0, np.float64))
    norm = graph.node("Where", none, graph.constant(1.0, np.float64), norm)
    return (Numbers(graph.node("Div", numbers.tensor, norm), numbers.width),)


def power(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a PowerTransformer of Yeo and Johnson."""
    model = step.model
    if model.method != "yeo-johnson":
        raise step.refuse(
            "fails on all rows of a file if one number is not positive: fit it with method='yeo-johnson'"
        )
    numbers, powers = matrix(step, blocks, graph), vector(model.lambdas_)
    zero, size = graph.constant(0.0, np.float64), graph.node("Abs", numbers.tensor)
    logarithm = _log1p(graph, size)
    sides = [_power(graph, logarithm, side) for side in (powers, 2.0 - powers)]
    positive = graph.node("GreaterOrEqual", numbers.tensor, zero)
    tensor = graph.node("Where", positive, sides[0], graph.node("Neg", sides[1]))
    after: Blocks = (Numbers(tensor, numbers.width),)
    if not model.standardize:
        return after
    scaler = model._scaler  # noqa: SLF001 - scikit-learn has no public word for it
    return calculate(step, after, graph, [Operation("Sub", scaler.mean_), Operation("Div", scaler.scale_)])


def _power(graph: GraphWriter, logarithm: str, powers: Rows) -> str:
    """Return (exp(power * logarithm) - 1) / power, and the logarithm itself for a power of zero."""
    none = np.abs(powers) < np.finfo(np.float64).eps
    divisors = np.where(none, 1.0, powers)
    grown = _expm1(graph, graph.node("Mul", logarithm, graph.constant(divisors)))
    return graph.node("Where", graph.constant(none), logarithm, graph.node("Div", grown, graph.constant(divisors)))


def _log1p(graph: GraphWriter, tensor: str) -> str:
    """Return log(1 + x) to the last digits: what rounding adds to 1 + x is divided out again (Kahan's way)."""
    one = graph.constant(1.0, np.float64)
    sum_ = graph.node("Add", tensor, one)
    share = graph.node("Div", tensor, graph.node("Sub", sum_, one))
    near = graph.node("Equal", sum_, one)
    return graph.node("Where", near, tensor, graph.node("Mul", graph.node("Log", sum_), share))


def _expm1(graph: GraphWriter, tensor: str) -> str:
    """Return exp(x) - 1 to the last digits, in the same way; where exp(x) is zero or infinite, there is no more."""
    one = graph.constant(1.0, np.float64)
    grown = graph.node("Exp", tensor)
    less = graph.node("Sub", grown, one)
    exact = graph.node("Mul", less, graph.node("Div", tensor, graph.node("Log", grown)))
    exact = graph.node("Where", graph.node("Equal", grown, one), tensor, exact)
    far = graph.node("Or", graph.node("IsInf", grown), graph.node("Equal", less, graph.constant(-1.0, np.float64)))
    return graph.node("Where", far, less, exact)
