"""Linear models: a matrix product for numbers, a lookup of ready-made products for tables (matrices.py)."""

import numpy as np

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs, scalers
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.matrices import product, vector
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step

_LINKS = {"LogLink": "Exp", "IdentityLink": "Identity"}


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a regressor whose prediction is X @ coef_ + intercept_."""
    return outputs.regression(graph, _scores(step, blocks, graph), outputs.target_count(step.model))


def log_odds(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert LogisticRegression: log odds of two classes, or one score per class through softmax."""
    scores = _scores(step, blocks, graph)
    if Outputs.of(step).binary:
        return outputs.logistic(graph, scores)
    return outputs.softmax(graph, scores)


def exponential(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert PoissonRegressor, GammaRegressor and TweedieRegressor, whose link is the logarithm or none."""
    scores = _scores(step, blocks, graph)
    # The link that a TweedieRegressor chose by its power; scikit-learn has no public word for it.
    link = type(step.model._base_loss.link).__name__  # noqa: SLF001 - see above
    if link not in _LINKS:
        raise step.refuse(f"has the link {link}, which has no converter: fit it with link='log'")
    return outputs.regression(graph, graph.node(_LINKS[link], scores))


def centred(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a PLSRegression, which takes the mean of its training rows off before it multiplies."""
    # scikit-learn has no public word for the mean.
    mean = scalers.Operation("Sub", vector(step.model._x_mean))  # noqa: SLF001 - see above
    return regressor(step, scalers.calculate(step, blocks, graph, [mean]), graph)


def one_against_rest(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert SGDClassifier: two of its losses give probabilities class by class, divided by their sum."""
    if step.model.loss not in {"log_loss", "modified_huber"}:
        return margins(step, blocks, graph)
    scores = _scores(step, blocks, graph)
    binary = Outputs.of(step).binary
    if step.model.loss == "log_loss":
        if binary:
            return outputs.logistic(graph, scores)
        odds = graph.node("Sigmoid", scores)
    else:
        low, high, two = (graph.constant(number, np.float64) for number in (-1.0, 1.0, 2.0))
        clipped = graph.node("Min", graph.node("Max", scores, low), high)
        odds = graph.node("Div", graph.node("Add", clipped, high), two)
        if binary:
            return Answer(outputs.above(graph, scores, 0.0), odds, decision=scores)
    total = graph.node("ReduceSum", odds, graph.constant([1], np.int64), keepdims=1)
    # Where every class is at zero, scikit-learn answers with equal shares.
    none = graph.node("Equal", total, graph.constant(0.0, np.float64))
    shares = graph.node("Div", odds, total)
    equal = graph.constant(1.0 / len(step.model.classes_), np.float64)
    return Answer(outputs.argmax(graph, scores), graph.node("Where", none, equal, shares), decision=scores)


def margins(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert a classifier that has scores but no probabilities: RidgeClassifier, LinearSVC, Perceptron."""
    scores = _scores(step, blocks, graph)
    binary = Outputs.of(step).binary
    return Answer(outputs.above(graph, scores, 0.0) if binary else outputs.argmax(graph, scores), scores)


def _scores(step: Step, blocks: Blocks, graph: GraphWriter) -> str:
    """Return X @ coef_.T + intercept_: [N, 1], or [N, classes] if there are more than two."""
    weights = np.atleast_2d(vector(step.model.coef_)).T
    intercept = np.atleast_1d(vector(step.model.intercept_))
    return graph.total([*product(step, blocks, weights, graph), graph.constant(intercept)])
