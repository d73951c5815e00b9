"""Scalers: the arithmetic of scikit-learn's own transform, operation by operation, so that it rounds the same."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Table, Texts, merge, spans
from model_store.convert.sklearn.matrices import is_text
from model_store.convert.sklearn.step import Step


class Operation(NamedTuple):
    """One arithmetic operation with a number for each column."""

    name: str
    """ONNX's."""
    numbers: Rows
    """[width]."""


_IN_NUMPY: dict[str, Callable[[Rows, Rows], Rows]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


def standard(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a StandardScaler."""
    scaler = step.model
    operations = [Operation("Sub", scaler.mean_)] if scaler.with_mean else []
    operations += [Operation("Div", scaler.scale_)] if scaler.with_std else []
    return calculate(step, blocks, graph, operations)


def robust(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a RobustScaler."""
    scaler = step.model
    operations = [Operation("Sub", scaler.center_)] if scaler.with_centering else []
    operations += [Operation("Div", scaler.scale_)] if scaler.with_scaling else []
    return calculate(step, blocks, graph, operations)


def min_max(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a MinMaxScaler."""
    scaler = step.model
    operations = [Operation("Mul", scaler.scale_), Operation("Add", scaler.min_)]
    return calculate(step, blocks, graph, operations + _clip(scaler.clip, *scaler.feature_range))


def max_abs(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a MaxAbsScaler."""
    scaler = step.model
    return calculate(step, blocks, graph, [Operation("Div", scaler.scale_), *_clip(scaler.clip, -1.0, 1.0)])


def weigh(step: Step, blocks: Blocks, graph: GraphWriter, weight: float) -> Blocks:
    """Multiply all columns, as `transformer_weights` do."""
    return calculate(step, blocks, graph, [Operation("Mul", np.array(weight))])


def _clip(clip: bool, low: float, high: float) -> list[Operation]:  # noqa: FBT001 - scikit-learn's own parameter
    return [Operation("Max", np.array(low)), Operation("Min", np.array(high))] if clip else []


def calculate(step: Step, blocks: Blocks, graph: GraphWriter, operations: Sequence[Operation]) -> Blocks:
    """Apply operations to all columns: in the graph for numbers, here and now for tables."""
    operations = [Operation(name, np.asarray(numbers, dtype=np.float64)) for name, numbers in operations]
    return tuple(_calculate(step, block, span, graph, operations) for block, span in spans(merge(graph, blocks)))


def _calculate(
    step: Step, block: Block, span: slice, graph: GraphWriter, operations: Sequence[Operation]
) -> Numbers | Table:
    if isinstance(block, Texts):
        raise is_text(step, block)
    # Always a number per column: ONNX Runtime rounds a single one to float32 where it fuses it (see linear.py).
    parts = [
        (name, numbers[span] if numbers.ndim else np.full(block.width, numbers)) for name, numbers in operations
    ]
    if isinstance(block, Table):
        rows = block.rows
        for name, numbers in parts:
            rows = _IN_NUMPY[name](rows, numbers)
        return Table(block.codes, rows)
    tensor = block.tensor
    for name, numbers in parts:
        tensor = graph.node(name, tensor, graph.constant(numbers, np.float64))
    return Numbers(tensor, block.width)
