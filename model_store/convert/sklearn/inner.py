"""An estimator inside of another one: its answer in the form that the outer one works with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn import outputs
from model_store.convert.sklearn.features import Blocks
from model_store.convert.sklearn.outputs import Answer, Outputs
from model_store.convert.sklearn.step import Step, final

Predict: TypeAlias = Callable[[Step, Blocks, GraphWriter], Answer]
"""Converts an estimator of any kind; what converts estimators made of estimators is given it."""


@dataclass(frozen=True)
class Inner:
    """A fitted estimator and what its converter left in the graph."""

    step: Step
    outputs: Outputs
    answer: Answer

    @classmethod
    def of(cls, step: Step, blocks: Blocks, graph: GraphWriter, predict: Predict) -> "Inner":
        """Convert an estimator of one target."""
        described = Outputs.of(step)
        if described.targets:
            raise final(step).refuse(
                "predicts several columns at once inside of another estimator: fit one per column"
            )
        return cls(step, described, predict(step, blocks, graph))

    @property
    def classes(self) -> NDArray[Any]:
        """Return a classifier's classes."""
        return np.asarray(self.outputs.labels)

    def places(self, graph: GraphWriter) -> str:
        """Return the place of the class that a classifier predicts: [N] of int64."""
        if not self.answer.named:
            return self.answer.prediction
        labels = graph.node("Reshape", self.answer.prediction, graph.constant([-1, 1], np.int64))
        same = graph.node("Equal", labels, graph.constant(outputs.label_array(self.outputs)))
        return outputs.argmax(graph, graph.cast(same, TensorProto.INT32))

    def values(self, graph: GraphWriter) -> str:
        """Return what `predict` gives, as numbers: [N, 1] of double."""
        prediction = self.answer.prediction
        if self.outputs.labels:
            numbers = self._numeric_labels()
            return graph.node("Gather", graph.constant(numbers.reshape(-1, 1)), self.places(graph), axis=0)
        numeric = graph.cast(prediction, TensorProto.DOUBLE)
        return graph.node("Reshape", numeric, graph.constant([-1, 1], np.int64))

    def probabilities(self, graph: GraphWriter) -> str:
        """Return what predict_proba gives, [N, classes] with both columns of two classes."""
        if self.outputs.method != "predict_proba" or self.answer.scores is None:
            raise final(self.step).refuse("has no probabilities, which the estimator around it needs")
        if not self.outputs.binary:
            return self.answer.scores
        if self.answer.pair is not None:
            return self.answer.pair
        first = graph.node("Sub", graph.constant([[1.0]], np.float64), self.answer.scores)
        return graph.node("Concat", first, self.answer.scores, axis=1)

    def decision(self) -> str | None:
        """Return what decision_function gives, [N, 1] for two classes, [N, classes] for more; None without one."""
        if not self.has_decision:
            return None
        decision = self.converted_decision
        if decision is None:
            raise final(self.step).refuse(
                "has a decision function, which the estimator around it works with, but no converter for it: use "
                "an estimator that docs/models.md lists with one, such as LogisticRegression"
            )
        return decision

    @property
    def converted_decision(self) -> str | None:
        """Return the decision function, if there is one and a converter for it."""
        return self.answer.scores if self.outputs.method == "decision_function" else self.answer.decision

    @property
    def has_decision(self) -> bool:
        """Whether there is a decision_function, which scikit-learn often prefers to probabilities."""
        return hasattr(final(self.step).model, "decision_function")

    def confidence(self, graph: GraphWriter) -> str:
        """Return the decision function or, for want of one, the probabilities: [N, 1] for two classes."""
        if (decision := self.decision()) is not None:
            return decision
        if self.answer.pair is not None:  # what scikit-learn works with, where `scores` may be a last bit off
            return outputs.columns(graph, self.answer.pair, 2)[1]
        scores = self.answer.scores
        if scores is None:
            raise final(self.step).refuse(
                "has neither probabilities nor scores, which the estimator around it needs"
            )
        return scores

    def _numeric_labels(self) -> NDArray[np.float64]:
        if self.classes.dtype.kind not in "biuf":
            raise final(self.step).refuse("predicts texts, which the estimator around it cannot calculate with")
        return self.classes.astype(np.float64)


def spread(graph: GraphWriter, inner: Inner, tensor: str, classes: NDArray[Any]) -> str:
    """Put the columns of an estimator that knows only some of the classes in their places: [N, classes].

    What the estimator does not know is zero.
    """
    places = [int(np.flatnonzero(classes == label)[0]) for label in inner.classes]
    if places == list(range(len(classes))):
        return tensor
    zero = graph.node(
        "Mul", graph.node("Gather", tensor, graph.constant([0], np.int64), axis=1), graph.constant([[0.0]])
    )
    widened = graph.node("Concat", tensor, zero, axis=1)
    columns = [places.index(place) if place in places else len(places) for place in range(len(classes))]
    return graph.node("Gather", widened, graph.constant(columns, np.int64), axis=1)
