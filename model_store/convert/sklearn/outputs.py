"""What an estimator answers: its classes, the output columns named after them, and the end of the graph."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.base import is_classifier, is_regressor

from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.step import Step
from model_store.signature import Column, ColumnType

_LABEL_TYPES = {
    "b": ColumnType.BOOLEAN,
    "i": ColumnType.LONG,
    "u": ColumnType.LONG,
    "f": ColumnType.DOUBLE,
    "U": ColumnType.STRING,
}


@dataclass(frozen=True)
class Outputs:
    """The output columns of an estimator and the method of it that fills them."""

    labels: tuple[object, ...]
    """A classifier's classes in its own order; () for a regressor."""
    columns: tuple[Column, ...]
    """`prediction` first."""
    method: str | None = None
    """What gives the other columns: predict_proba, decision_function or nothing."""

    @property
    def label_type(self) -> ColumnType:
        """The type of the prediction."""
        return self.columns[0].type

    @property
    def binary(self) -> bool:
        """Whether one number says all about two classes."""
        return len(self.labels) == 2

    @classmethod
    def of(cls, step: Step) -> "Outputs":
        """Describe a fitted estimator's answers; EstimatorInvalidError if they are none that rows can have."""
        model = step.model
        if is_regressor(model):
            return cls((), (Column("prediction", ColumnType.DOUBLE),))
        if not is_classifier(model):
            raise step.refuse("is neither a classifier nor a regressor: pass an estimator that predicts")
        if isinstance(model.classes_, list) or getattr(model.classes_, "ndim", 1) != 1:
            raise step.refuse("predicts several columns at once: pass one estimator per column")
        classes = np.asarray(model.classes_)
        if classes.dtype == object:
            classes = np.array(classes.tolist())
        if classes.dtype.kind not in _LABEL_TYPES:
            raise step.refuse("has classes that are neither numbers, texts nor booleans: fit it on such labels")
        labels = tuple(classes.tolist())
        if len(labels) < 2:
            raise step.refuse("knows only one class: fit it on rows of two or more")
        prediction = Column("prediction", _LABEL_TYPES[classes.dtype.kind])
        if hasattr(model, "predict_proba"):
            shown = labels[1:] if len(labels) == 2 else labels
            scores = tuple(f"probability_{label_text(label)}" for label in shown)
            method: str | None = "predict_proba"
        elif hasattr(model, "decision_function"):
            scores = ("score",) if len(labels) == 2 else tuple(f"score_{label_text(label)}" for label in labels)
            method = "decision_function"
        else:
            scores, method = (), None
        return cls(labels, (prediction, *(Column(name, ColumnType.DOUBLE) for name in scores)), method)


def label_text(label: object) -> str:
    """Write a label as output files do: booleans in lower case."""
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class Answer:
    """What the last step's converter leaves in the graph."""

    prediction: str
    """[N]: a regressor's value, or the place of a classifier's class as int64, or its label if `named`."""
    scores: str | None = None
    """[N, 1] of double for two classes, [N, classes] for more."""
    named: bool = False


def give(graph: GraphWriter, outputs: Outputs, answer: Answer) -> None:
    """Write the outputs of the graph."""
    prediction, *scores = outputs.columns
    tensor = answer.prediction
    if outputs.labels and not answer.named:
        tensor = graph.node("Gather", graph.constant(_label_array(outputs)), tensor, axis=0)
    graph.give(prediction, tensor)
    if answer.scores is not None:
        for place, column in enumerate(scores):
            graph.give(column, graph.column(answer.scores, place))


def _label_array(outputs: Outputs) -> Any:
    dtypes = {ColumnType.STRING: object, ColumnType.LONG: np.int64, ColumnType.BOOLEAN: np.bool_}
    return np.array(outputs.labels, dtype=dtypes.get(outputs.label_type, np.float64))


def regression(graph: GraphWriter, tensor: str) -> Answer:
    """End with a regressor's values, [N, 1]."""
    return Answer(graph.flat(tensor))


def argmax(graph: GraphWriter, tensor: str) -> str:
    """Find the first largest of each row, as NumPy does: [N, classes] to [N]."""
    return graph.node("ArgMax", tensor, axis=1, keepdims=0, select_last_index=0)


def above(graph: GraphWriter, tensor: str, threshold: float, *, equal: bool = False) -> str:
    """Say 1 for rows above the threshold (or at it, if `equal`), else 0: [N, 1] to [N] of int64."""
    operator = "GreaterOrEqual" if equal else "Greater"
    larger = graph.node(operator, tensor, graph.constant(threshold, np.float64))
    return graph.flat(graph.cast(larger, TensorProto.INT64))


def logistic(graph: GraphWriter, raw: str, *, equal: bool = False) -> Answer:
    """End with two classes whose log odds are `raw`, [N, 1]; the sign decides, at zero the second if `equal`."""
    return Answer(above(graph, raw, 0.0, equal=equal), graph.node("Sigmoid", raw))


def softmax(graph: GraphWriter, raw: str) -> Answer:
    """End with many classes: [N, classes] of log odds, of which the first largest decides."""
    return Answer(argmax(graph, raw), graph.node("Softmax", raw, axis=1))
