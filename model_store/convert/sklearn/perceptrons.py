"""MLPClassifier and MLPRegressor: one layer after the other, as scikit-learn's own forward pass."""

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks, Numbers
from model_store.convert.sklearn.matrices import multiply, product, vector
from model_store.convert.sklearn.outputs import Answer
from model_store.convert.sklearn.step import Step

_OPERATORS = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp"}


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an MLPClassifier; of two classes it says the second where its probability is above one half."""
    raw = _last_layer(step, blocks, graph)
    if step.model.out_activation_ == "softmax":
        return outputs.softmax(graph, raw)
    if step.model.n_outputs_ > 1:
        raise step.refuse("learnt several labels per row: fit one MLPClassifier per label")
    probability = graph.node("Sigmoid", raw)
    return Answer(outputs.above(graph, probability, 0.5), probability)


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an MLPRegressor; its last layer is linear, or an exponential for the loss 'poisson'."""
    values = _activate(graph, step.model.out_activation_, _last_layer(step, blocks, graph))
    return outputs.regression(graph, values, step.model.n_outputs_)


def _last_layer(step: Step, blocks: Blocks, graph: GraphWriter) -> str:
    """Return what the last layer adds up: [N, outputs]."""
    weights = [vector(layer) for layer in step.model.coefs_]
    intercepts = [graph.constant(vector(layer)) for layer in step.model.intercepts_]
    tensor = graph.total([*product(step, blocks, weights[0], graph), intercepts[0]])
    for layer, intercept in zip(weights[1:], intercepts[1:], strict=True):
        hidden = Numbers(_activate(graph, step.model.activation, tensor), len(layer))
        tensor = graph.total([multiply(graph, hidden, layer), intercept])
    return tensor


def _activate(graph: GraphWriter, name: str, tensor: str) -> str:
    return tensor if name == "identity" else graph.node(_OPERATORS[name], tensor)
