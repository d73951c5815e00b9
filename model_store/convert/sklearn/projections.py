"""PCA and its relatives, whose columns are sums of all columns; polynomials, whose columns are products of some."""

from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.constants import every_row
from model_store.convert.sklearn.features import Blocks, Numbers, Rows, Table
from model_store.convert.sklearn.matrices import matrix, product, row_sums, vector
from model_store.convert.sklearn.scalers import Operation, calculate
from model_store.convert.sklearn.step import Step

_MOST_PRODUCTS = 10_000
"""Columns of products: for 4,096 rows that is 313 MiB."""


def principal(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a PCA or IncrementalPCA."""
    model = step.model
    shifts = [Operation("Sub", vector(model.mean_) @ vector(model.components_).T)]
    if model.whiten:
        scale = np.sqrt(vector(model.explained_variance_))
        shifts.append(Operation("Div", np.maximum(scale, np.finfo(np.float64).eps)))
    return calculate(step, _project(step, blocks, graph, model.components_), graph, shifts)


def independent(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a FastICA."""
    if step.model.whiten:
        blocks = calculate(step, blocks, graph, [Operation("Sub", vector(step.model.mean_))])
    return _project(step, blocks, graph, step.model.components_)


def truncated(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a TruncatedSVD, or a random projection: nothing but a product."""
    return _project(step, blocks, graph, step.model.components_)


def _project(step: Step, blocks: Blocks, graph: GraphWriter, components: Any) -> Blocks:
    weights: Rows = vector(components.toarray() if hasattr(components, "toarray") else components)
    if len(weights) == 1:
        # ONNX Runtime fuses a MatMul with a division by one number after it, and keeps the number in float32: a
        # product of one column, which a scaler divides by one number, must not be a MatMul.
        numbers = matrix(step, blocks, graph)
        terms = graph.node("Mul", numbers.tensor, graph.constant(weights[0]))
        return (Numbers(row_sums(graph, Numbers(terms, numbers.width)), 1),)
    return (Numbers(graph.total(product(step, blocks, weights.T, graph)), len(weights)),)


def polynomial(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a PolynomialFeatures: a product is the product of all but its first column, times that one."""
    model = step.model
    if model.n_output_features_ > _MOST_PRODUCTS:
        raise step.refuse(
            f"makes {model.n_output_features_:,} columns, at most {_MOST_PRODUCTS:,} are converted: fit it with a "
            "lower degree or interaction_only=True, or on fewer columns"
        )
    numbers = matrix(step, blocks, graph)
    low, high = model.degree if isinstance(model.degree, tuple) else (0, model.degree)
    choose = combinations if model.interaction_only else combinations_with_replacement
    result: list[Numbers | Table] = []
    if model.include_bias:
        result.append(Table(every_row(graph, blocks[0]), np.ones((1, 1))))
    before: dict[tuple[int, ...], int] = {(column,): column for column in range(numbers.width)}
    tensor = numbers.tensor
    for degree in range(1, high + 1):
        chosen = list(choose(range(numbers.width), degree))
        if degree > 1:
            rest = Numbers(tensor, len(before)).select(graph, [before[columns[1:]] for columns in chosen])
            first = numbers.select(graph, [columns[0] for columns in chosen])
            tensor = graph.node("Mul", rest.tensor, first.tensor)
            before = {columns: place for place, columns in enumerate(chosen)}
        if chosen and degree >= low:
            result.append(Numbers(tensor, len(chosen)))
    return tuple(result)
