"""Linear models: a matrix product for numbers, a lookup of ready-made products for tables."""

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Block, Blocks, Numbers, Rows, Texts, merge, spans
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a regressor whose prediction is X @ coef_ + intercept_."""
    return outputs.regression(graph, _scores(step, blocks, graph), outputs.target_count(step.model))


def log_odds(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert LogisticRegression: log odds of two classes, or one score per class through softmax."""
    scores = _scores(step, blocks, graph)
    if Outputs.of(step).binary:
        return outputs.logistic(graph, scores)
    return outputs.softmax(graph, scores)


def one_against_rest(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert SGDClassifier: its log loss gives probabilities class by class, divided by their sum."""
    if step.model.loss == "modified_huber":
        raise step.refuse("has no converter for the loss 'modified_huber': fit it with loss='log_loss'")
    if step.model.loss != "log_loss":
        return margins(step, blocks, graph)
    scores = _scores(step, blocks, graph)
    if Outputs.of(step).binary:
        return outputs.logistic(graph, scores)
    odds = graph.node("Sigmoid", scores)
    total = graph.node("ReduceSum", odds, graph.constant([1], np.int64), keepdims=1)
    # Where every class underflows to zero, scikit-learn answers with equal shares.
    none = graph.node("Equal", total, graph.constant(0.0, np.float64))
    shares = graph.node("Div", odds, total)
    equal = graph.constant(1.0 / len(step.model.classes_), np.float64)
    return Answer(outputs.argmax(graph, scores), graph.node("Where", none, equal, shares))


def margins(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a classifier that has scores but no probabilities: RidgeClassifier, LinearSVC, Perceptron."""
    scores = _scores(step, blocks, graph)
    binary = Outputs.of(step).binary
    return Answer(outputs.above(graph, scores, 0.0) if binary else outputs.argmax(graph, scores), scores)


def _scores(step: Step, blocks: Blocks, graph: GraphWriter) -> str:
    """Return X @ coef_.T + intercept_: [N, 1], or [N, classes] if there are more than two."""
    weights = np.atleast_2d(np.asarray(step.model.coef_, dtype=np.float64)).T
    intercept = np.atleast_1d(np.asarray(step.model.intercept_, dtype=np.float64))
    terms = [_product(step, block, weights[span], graph) for block, span in spans(merge(graph, blocks))]
    return graph.total([*terms, graph.constant(intercept, np.float64)])


def _product(step: Step, block: Block, weights: Rows, graph: GraphWriter) -> str:
    match block:
        case Numbers():
            # ONNX Runtime fuses a division by one number with the MatMul after it, and keeps the number in float32:
            # a block of one column, which a scaler divides by one number, must not meet a MatMul.
            operator = "MatMul" if block.width > 1 else "Mul"
            return graph.node(operator, block.tensor, graph.constant(weights, np.float64))
        case Texts():
            raise step.refuse(f"is given the text column {block.name!r}: encode it first", column=block.name)
        case _:
            products = graph.constant(block.rows @ weights, np.float64)
            return graph.node("Gather", products, block.codes, axis=0)
