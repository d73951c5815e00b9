"""Naive Bayes and quadratic discriminants: the class that makes a row most likely, given how common it is."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Table, merge
from model_store.convert.sklearn.matrices import is_text, matrix, multiply, product, row_sums, squares, vector
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def gaussian(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a GaussianNB.

    A column that hardly varies within a class adds terms many orders of magnitude larger than what decides: they
    are added up in NumPy's order.
    """
    model, numbers = step.model, matrix(step, blocks, graph)
    half, each = graph.constant(-0.5, np.float64), []
    for mean, variance, prior in zip(model.theta_, model.var_, model.class_prior_, strict=True):
        apart = graph.node("Sub", numbers.tensor, graph.constant(vector(mean)))
        terms = graph.node("Div", squares(graph, apart), graph.constant(vector(variance)))
        spread = graph.node("Mul", row_sums(graph, Numbers(terms, numbers.width)), half)
        level = graph.constant(-0.5 * np.sum(np.log(2.0 * np.pi * variance)), np.float64)
        each.append(graph.node("Add", graph.node("Add", spread, level), graph.constant(np.log(prior), np.float64)))
    return _posterior(step, graph, graph.node("Concat", *each, axis=1))


def multinomial(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a MultinomialNB."""
    return _of_counts(step, blocks, graph, step.model.feature_log_prob_, step.model.class_log_prior_)


def complement(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a ComplementNB, to which it does not matter how common a class is."""
    return _of_counts(step, blocks, graph, step.model.feature_log_prob_, np.zeros(len(step.model.classes_)))


def bernoulli(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a BernoulliNB, which first asks of each number whether it is above its threshold."""
    model = step.model
    if model.binarize is not None:
        blocks = tuple(_above(step, block, graph, float(model.binarize)) for block in merge(graph, blocks))
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    levels = model.class_log_prior_ + absent.sum(axis=1)
    return _of_counts(step, blocks, graph, model.feature_log_prob_ - absent, levels)


def _above(step: Step, block: Block, graph: GraphWriter, threshold: float) -> Block:
    match block:
        case Numbers():
            larger = graph.node("Greater", block.tensor, graph.constant(threshold, np.float64))
            return Numbers(graph.cast(larger, TensorProto.DOUBLE), block.width)
        case Table():
            return Table(block.codes, (block.rows > threshold).astype(np.float64))
        case _:
            raise is_text(step, block)


def _of_counts(step: Step, blocks: Blocks, graph: GraphWriter, weights: Rows, levels: Rows) -> Answer:
    terms = product(step, blocks, vector(weights).T, graph)
    return _posterior(step, graph, graph.total([*terms, graph.constant(vector(levels))]))


def quadratic(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a QuadraticDiscriminantAnalysis."""
    model, numbers = step.model, matrix(step, blocks, graph)
    half, each = graph.constant(-0.5, np.float64), []
    for mean, rotation, scaling, prior in zip(
        model.means_, model.rotations_, model.scalings_, model.priors_, strict=True
    ):
        apart = Numbers(graph.node("Sub", numbers.tensor, graph.constant(vector(mean))), numbers.width)
        turned = multiply(graph, apart, rotation * (scaling**-0.5))
        norm = row_sums(graph, Numbers(squares(graph, turned), len(scaling)))
        level = graph.constant(np.sum(np.log(scaling)), np.float64)
        score = graph.node("Mul", graph.node("Add", norm, level), half)
        each.append(graph.node("Add", score, graph.constant(np.log(prior), np.float64)))
    # decision_function is the score of the second of two classes over the first.
    decision = graph.node("Sub", each[1], each[0]) if len(each) == 2 else graph.node("Concat", *each, axis=1)
    return replace(_posterior(step, graph, graph.node("Concat", *each, axis=1)), decision=decision)


def _posterior(step: Step, graph: GraphWriter, logarithms: str) -> Answer:
    """End with the logarithms of what is proportional to the probabilities, [N, classes].

    As in scikit-learn the sum of all is taken off before the exponential: large logarithms round there.
    """
    largest = graph.node("ReduceMax", logarithms, graph.constant([1], np.int64), keepdims=1)
    rest = graph.node("Exp", graph.node("Sub", logarithms, largest))
    total = graph.node("Log", graph.node("ReduceSum", rest, graph.constant([1], np.int64), keepdims=1))
    shares = graph.node("Exp", graph.node("Sub", logarithms, graph.node("Add", total, largest)))
    if Outputs.of(step).binary:
        first, second = outputs.columns(graph, logarithms, 2)
        decision = graph.node("Sub", second, first)
    else:
        decision = logarithms
    answer = outputs.shares(graph, Outputs.of(step), shares)
    return replace(answer, prediction=outputs.argmax(graph, logarithms), decision=decision)
