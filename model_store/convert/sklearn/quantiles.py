"""QuantileTransformer: each number's place between the quantiles of the training rows."""

from collections.abc import Callable
from math import exp, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.features import Blocks, Numbers, Rows
from model_store.convert.sklearn.matrices import matrix, vector
from model_store.convert.sklearn.step import Step

_NEAR = 1e-7
"""scikit-learn's: how near to zero and one a place is taken as it is before it becomes a normal deviate."""

_CENTRE = 0.5 - exp(-2.0)
"""How far from one half the first polynomial for the normal distribution reaches; the second takes the rest."""

_DEGREE = 24
"""Of both polynomials."""


def quantile(step: Step, blocks: Blocks, graph: GraphWriter) -> Blocks:
    """Convert a QuantileTransformer; NaN stays NaN."""
    model, numbers = step.model, matrix(step, blocks, graph)
    normal = model.output_distribution == "normal"
    known, goals = vector(model.quantiles_), vector(model.references_)
    # Between equal quantiles scikit-learn takes the middle: interpolation from below and from above.
    below = _interpolate(graph, numbers, known, goals)
    mirrored = Numbers(graph.node("Neg", numbers.tensor), numbers.width)
    above = _interpolate(graph, mirrored, -known[::-1], -goals[::-1])
    both = graph.node("Mul", graph.node("Sub", below, above), graph.constant(0.5, np.float64))
    for end, value, operators in ((known[-1], 1.0, ("Add", "Greater")), (known[0], 0.0, ("Sub", "Less"))):
        if normal:  # scikit-learn takes what is very near to the ends for them
            moved = graph.node(operators[0], numbers.tensor, graph.constant(_NEAR, np.float64))
            there = graph.node(operators[1], moved, graph.constant(end))
        else:
            there = graph.node("Equal", numbers.tensor, graph.constant(end))
        both = graph.node("Where", there, graph.constant(value, np.float64), both)
    if normal:
        both = _normal(graph, both)
    missing = graph.node("IsNaN", numbers.tensor)
    return (Numbers(graph.node("Where", missing, numbers.tensor, both), numbers.width),)


def _interpolate(graph: GraphWriter, numbers: Numbers, known: Rows, goals: Rows) -> str:
    """Interpolate linearly as NumPy does, each column between its own known values, [values, width]."""
    width = known.shape[1]
    place = _search(graph, numbers, known)
    with np.errstate(divide="ignore", invalid="ignore"):  # between equal values, where no number can be
        slopes = np.diff(goals)[:, None] / np.diff(known, axis=0)
    # Before the first value and from the last one on, the line is level.
    slopes = np.vstack([np.zeros(width), slopes, np.zeros(width)])
    starts = np.vstack([known[:1], known])
    levels = np.tile(np.append(goals[:1], goals)[:, None], width)
    slope, start, level = (_look_up(graph, place, table) for table in (slopes, starts, levels))
    there = graph.node("Equal", numbers.tensor, start)
    risen = graph.node("Add", graph.node("Mul", slope, graph.node("Sub", numbers.tensor, start)), level)
    return graph.node("Where", there, level, risen)


def _search(graph: GraphWriter, numbers: Numbers, known: Rows) -> str:
    """Count, by halves, how many of a column's sorted values are less or equal: [N, width] of int64."""
    steps = [2**power for power in reversed(range(len(known).bit_length()))]
    padded = np.vstack([known, np.full((sum(steps) - len(known), known.shape[1]), np.inf)])
    place = graph.constant(np.zeros((1, known.shape[1])), np.int64)
    for step in steps:
        further = graph.node("Add", place, graph.constant(step, np.int64))
        last = graph.node("Sub", further, graph.constant(1, np.int64))
        reached = graph.node("LessOrEqual", _look_up(graph, last, padded), numbers.tensor)
        place = graph.node("Where", reached, further, place)
    return place


def _look_up(graph: GraphWriter, places: str, table: Rows) -> str:
    """Take each column's value in a row of its own: places, [N, width], in [values, width]."""
    columns: NDArray[np.int64] = np.arange(table.shape[1])
    flat = graph.node("Mul", places, graph.constant(table.shape[1], np.int64))
    return graph.node(
        "Gather", graph.constant(table.ravel()), graph.node("Add", flat, graph.constant(columns)), axis=0
    )


def _normal(graph: GraphWriter, places: str) -> str:
    """Return below which numbers that much of the normal distribution lies, for which ONNX has no operator.

    Two polynomials are fitted to it here, good to 1e-14: for the middle one in the square of the distance from one
    half, for the tails one in the root of the logarithm, in which the function is nearly a straight line.
    """
    least = _NEAR - float(np.spacing(1))
    half, one = graph.constant(0.5, np.float64), graph.constant(1.0, np.float64)
    inside = graph.node("Max", graph.node("Min", places, graph.constant(1 - least)), graph.constant(least))
    centred = graph.node("Sub", inside, half)
    middle = _polynomial(graph, graph.node("Mul", centred, centred), _middle, (0.0, _CENTRE**2))
    lesser = graph.node("Min", inside, graph.node("Sub", one, inside))
    root = graph.node("Sqrt", graph.node("Mul", graph.node("Log", lesser), graph.constant(-2.0, np.float64)))
    tail = _polynomial(graph, root, _tail, (2.0, sqrt(-2 * np.log(least))))
    below = graph.node("Less", centred, graph.constant(0.0, np.float64))
    outside = graph.node("Where", below, tail, graph.node("Neg", tail))
    far = graph.node("Greater", graph.node("Abs", centred), graph.constant(_CENTRE, np.float64))
    return graph.node("Where", far, outside, graph.node("Mul", centred, middle))


def _middle(square: float) -> float:
    """Return the deviate of one half plus the root of `square`, divided by that root."""
    place = 0.5 + sqrt(square)
    return NormalDist().inv_cdf(place) / (place - 0.5)


def _tail(root: float) -> float:
    """Return the deviate of the tail whose logarithm is minus half the square of `root`."""
    return NormalDist().inv_cdf(exp(-root * root / 2))


def _polynomial(
    graph: GraphWriter, tensor: str, function: Callable[[float], float], domain: tuple[float, float]
) -> str:
    """Fit a polynomial to a function between two numbers, at Chebyshev's points, and write it as Horner does."""
    low, high = domain
    fitted = np.polynomial.Chebyshev.interpolate(np.vectorize(function), _DEGREE, domain=[low, high])
    weights = np.polynomial.chebyshev.cheb2poly(fitted.coef)
    middle, reach = (graph.constant(value, np.float64) for value in ((low + high) / 2, (high - low) / 2))
    place = graph.node("Div", graph.node("Sub", tensor, middle), reach)
    total = graph.constant(weights[-1], np.float64)
    for weight in weights[-2::-1]:
        total = graph.node("Add", graph.node("Mul", total, place), graph.constant(weight, np.float64))
    return total
