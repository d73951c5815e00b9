"""Support vector machines: SVC, NuSVC, SVR and NuSVR with libsvm's kernels, votes and probabilities."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import coupling, outputs
from model_store.convert.sklearn.features import Blocks, Numbers, Rows
from model_store.convert.sklearn.matrices import matrix, multiply, product, squares, vector
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step

_TOGETHER = 1024
"""Support vectors per block of kernel values: against them, 4,096 rows are 32 MiB."""


def regressor(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an SVR or NuSVR."""
    return outputs.regression(graph, _weigh(step, blocks, graph, _array(step.model.dual_coef_).T))


def classifier(step: Step, blocks: Blocks, graph: GraphWriter) -> Answer:
    """Convert an SVC or NuSVC: its scores, or its probabilities if it was fitted with them, never decide the label.

    That is left to the vote of one score per pair of classes, a tie to the class that comes first, unless
    `break_ties` leaves it to the classes' scores.
    """
    model, binary = step.model, Outputs.of(step).binary
    if model.decision_function_shape == "ovo" and not binary and Outputs.of(step).method == "decision_function":
        raise step.refuse(
            "has a score for each pair of classes, not for each class: call its "
            "set_params(decision_function_shape='ovr'), which needs no new fit"
        )
    scores = _weigh(step, blocks, graph, _array(model.dual_coef_).T if binary else _of_pairs(step))
    if binary:  # scikit-learn turns the sign of libsvm's score, which is for the first class
        label = outputs.above(graph, scores, 0.0, equal=True)
        by_pair = graph.node("Neg", scores)
    else:
        pairs = _Pairs(graph, scores, len(model.classes_))
        label = outputs.argmax(graph, pairs.scores() if model.break_ties else pairs.votes(ties_to_first=False))
        by_pair = scores
    if Outputs.of(step).method == "predict_proba":
        # scikit-learn 1.9 warns of the public words for them, which end with 1.11, and so do such machines.
        slopes, offsets = model._probA, model._probB  # noqa: SLF001 - see above
        shares = coupling.probabilities(graph, by_pair, slopes, offsets, len(model.classes_))
        one_each = binary or model.decision_function_shape == "ovr"
        decision = (scores if binary else pairs.scores()) if one_each else None
        return replace(outputs.shares(graph, Outputs.of(step), shares), prediction=label, decision=decision)
    return Answer(label, scores if binary else pairs.scores())


def _array(values: object) -> Rows:
    """Return what a machine learnt from sparse or dense rows as an array."""
    return vector(values.toarray() if hasattr(values, "toarray") else values)


def _of_pairs(step: Step) -> Rows:
    """Return each vector's weight in the score of each pair of classes: [vectors, pairs].

    libsvm keeps the weights of class i's vectors against class j in one row less than there are classes.
    """
    weights, counts = _array(step.model.dual_coef_), step.model.n_support_
    owner = np.repeat(np.arange(len(counts)), counts)
    columns = [
        np.where(owner == first, weights[second - 1], 0.0) + np.where(owner == second, weights[first], 0.0)
        for first, second in coupling.pairs(len(counts))
    ]
    return np.stack(columns, axis=1)


def _weigh(step: Step, blocks: Blocks, graph: GraphWriter, weights: Rows) -> str:
    """Return the kernel's values for all support vectors, times [vectors, targets] weights, plus the intercepts."""
    vectors = _array(step.model.support_vectors_)
    intercepts = graph.constant(vector(step.model.intercept_))
    if isinstance(step.model.kernel, str) and step.model.kernel == "linear":
        # A product with the sum of the weighted vectors, in more digits than theirs, is the sum of the products.
        direct = (vectors.T.astype(np.longdouble) @ weights).astype(np.float64)
        return graph.total([*product(step, blocks, direct, graph), intercepts])
    kernel = _Kernel(step, graph, matrix(step, blocks, graph), vectors)
    terms = [
        graph.node("MatMul", kernel.values(part), graph.constant(weights[part]))
        for part in (slice(start, start + _TOGETHER) for start in range(0, len(vectors), _TOGETHER))
    ]
    total = terms[0]
    for term in terms[1:]:  # one by one: a Sum of all would keep all blocks in memory
        total = graph.node("Add", total, term)
    return graph.node("Add", total, intercepts)


class _Kernel:
    """A kernel's values between rows and support vectors."""

    def __init__(self, step: Step, graph: GraphWriter, rows: Numbers, vectors: Rows) -> None:
        self._model, self._graph, self._rows, self._vectors = step.model, graph, rows, vectors
        kernels = {"rbf": self._gauss, "poly": self._polynomial, "sigmoid": self._sigmoid}
        if step.model.kernel not in kernels:
            raise step.refuse("has a kernel of its own: only linear, poly, rbf and sigmoid are converted")
        self.values = kernels[step.model.kernel]
        # What 'scale' and 'auto' came to; scikit-learn has no public word for it.
        self._gamma = float(step.model._gamma)  # noqa: SLF001 - see above
        # Distances come from products, of which a common part of all rows would take digits away.
        self._centre = vectors.mean(axis=0)

    def _gauss(self, part: slice) -> str:
        """Return exp(-gamma |x - v|^2), [N, vectors]."""
        graph, vectors = self._graph, self._vectors[part] - self._centre
        rows = graph.node("Sub", self._rows.tensor, graph.constant(self._centre))
        own = graph.node("ReduceSum", squares(graph, rows), graph.constant([1], np.int64), keepdims=1)
        own = graph.node("Mul", own, graph.constant(-self._gamma, np.float64))
        both = multiply(graph, Numbers(rows, self._rows.width), (2 * self._gamma) * vectors.T)
        theirs = graph.constant(-self._gamma * (vectors * vectors).sum(axis=1))
        exponent = graph.node("Add", graph.node("Add", both, own), theirs)
        return graph.node("Exp", graph.node("Min", exponent, graph.constant(0.0, np.float64)))

    def _polynomial(self, part: slice) -> str:
        """Return (gamma x.v + coef0)^degree, by the squares that libsvm multiplies."""
        power, result, left = self._inner(part), "", int(self._model.degree)
        while left:
            if left % 2:
                result = self._graph.node("Mul", result, power) if result else power
            power, left = squares(self._graph, power) if left > 1 else power, left // 2
        return result

    def _sigmoid(self, part: slice) -> str:
        """Return tanh(gamma x.v + coef0)."""
        return self._graph.node("Tanh", self._inner(part))

    def _inner(self, part: slice) -> str:
        products = multiply(self._graph, self._rows, self._gamma * self._vectors[part].T)
        return self._graph.node("Add", products, self._graph.constant(float(self._model.coef0), np.float64))


class _Pairs:
    """One score for each pair of classes, [N, pairs], as votes and as scores of the classes."""

    def __init__(self, graph: GraphWriter, scores: str, classes: int) -> None:
        self._graph = graph
        places = [
            [(place, pair[0] == label) for place, pair in enumerate(coupling.pairs(classes)) if label in pair]
            for label in range(classes)
        ]
        numbers = np.array([[place for place, _ in of_class] for of_class in places]).T
        self._is_first = np.array([[first for _, first in of_class] for of_class in places]).T[:, :, None]
        columns = graph.node("Transpose", scores, perm=[1, 0])
        self._scores = graph.node("Gather", columns, graph.constant(numbers, np.int64), axis=0)
        """[pairs of a class, classes, N]."""

    def votes(self, *, ties_to_first: bool) -> str:
        """Count how many pairs each class wins, [N, classes]; a score of zero is for one of the two."""
        graph, zero = self._graph, self._graph.constant(0.0, np.float64)
        first = graph.node("GreaterOrEqual" if ties_to_first else "Greater", self._scores, zero)
        won = graph.node("Equal", first, graph.constant(self._is_first))
        return self._by_class(graph.cast(won, TensorProto.DOUBLE))

    def scores(self) -> str:
        """Return the votes, and between them how clear the scores of the pairs are: [N, classes]."""
        graph = self._graph
        signs = graph.constant(np.where(self._is_first, 1.0, -1.0))
        clear = self._by_class(graph.node("Mul", self._scores, signs))
        size = graph.node("Add", graph.node("Abs", clear), graph.constant(1.0, np.float64))
        between = graph.node("Div", clear, graph.node("Mul", size, graph.constant(3.0, np.float64)))
        return graph.node("Add", self.votes(ties_to_first=True), between)

    def _by_class(self, tensor: str) -> str:
        total = self._graph.node("ReduceSum", tensor, self._graph.constant([0], np.int64), keepdims=0)
        return self._graph.node("Transpose", total, perm=[1, 0])
