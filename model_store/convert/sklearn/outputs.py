"""What an estimator answers: its classes, the output columns named after them, and the end of the graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsRegressor, RadiusNeighborsRegressor

from model_store.convert.boosters import framework
from model_store.convert.graph import GraphWriter
from model_store.convert.sklearn.step import Step, final
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
    """A classifier's classes in its own order, an outlier detector's -1 and 1, () for regressors and clusterers.
    With several targets, a tuple of them for each."""
    columns: tuple[Column, ...]
    """`prediction` first; of several targets, each one's after the other's."""
    method: str | None = None
    """What gives the other columns: predict_proba, decision_function, transform or nothing."""
    targets: tuple["Outputs", ...] = ()
    """The same for each of several targets; () where there is one."""

    @property
    def label_type(self) -> ColumnType:
        """The type of the prediction."""
        return self.columns[0].type

    @property
    def binary(self) -> bool:
        """Whether one number says all about two classes."""
        return len(self.labels) == 2 and not self.targets

    def each(self) -> tuple["Outputs", ...]:
        """Return the outputs of every target, also where there is only one."""
        return self.targets or (self,)

    @classmethod
    def of(cls, step: Step) -> "Outputs":
        """Describe a fitted estimator's answers; EstimatorInvalidError if they are none that rows can have."""
        step = final(step)
        model = step.model
        if framework(model) is not None and not is_classifier(model):  # LightGBM's rankers have no tag that says so
            return cls((), (Column("prediction", ColumnType.DOUBLE),))
        if is_regressor(model):
            values = [
                cls((), (Column(f"prediction{end}", ColumnType.DOUBLE),)) for end in _ends(target_count(model))
            ]
            return _together(step, values)
        if is_outlier_detector(model):
            columns = (Column("prediction", ColumnType.LONG), Column("score", ColumnType.DOUBLE))
            return cls((-1, 1), columns, "decision_function")
        if is_clusterer(model):
            return _clusters(step)
        if not is_classifier(model):
            raise step.refuse(
                "is neither a classifier nor a regressor, a clusterer nor an outlier detector: pass an estimator "
                "that predicts"
            )
        if isinstance(model.classes_, list):
            ends = _ends(len(model.classes_))
            return _together(step, [_classes(step, *target) for target in zip(model.classes_, ends, strict=True)])
        if getattr(model.classes_, "ndim", 1) != 1:
            raise step.refuse("predicts several columns at once: wrap one estimator in MultiOutputClassifier")
        return _classes(step, model.classes_, "")


def _ends(count: int) -> list[str]:
    """Return what the names of each target's columns have in them: scikit-learn keeps no names of targets."""
    return [f"_{number}" for number in range(1, count + 1)] if count > 1 else [""]


def target_count(model: Any) -> int:
    """Return how many values a regressor predicts for a row."""
    if hasattr(model, "n_outputs_"):
        return int(model.n_outputs_)
    if isinstance(model, MultiOutputRegressor | RegressorChain):
        return len(model.estimators_)
    if isinstance(model, TransformedTargetRegressor):
        return target_count(model.regressor_)
    if isinstance(model, KNeighborsRegressor | RadiusNeighborsRegressor):
        targets: tuple[int, ...] = model._y.shape  # noqa: SLF001 - nothing else says how many there are
        return targets[1] if len(targets) == 2 else 1
    # One row of weights for each target; what else keeps weights in two dimensions has one row of them.
    weights: tuple[int, ...] = np.shape(getattr(model, "coef_", ()))
    return weights[0] if len(weights) == 2 else 1


def _together(step: Step, targets: Sequence[Outputs]) -> Outputs:
    if len(targets) == 1:
        return targets[0]
    columns = tuple(column for target in targets for column in target.columns)
    _check_names(step, columns)
    labels = tuple(target.labels for target in targets if target.labels)
    return Outputs(labels, columns, targets[0].method, tuple(targets))


def _clusters(step: Step) -> Outputs:
    if not hasattr(step.model, "cluster_centers_") or not hasattr(step.model, "predict"):
        raise step.refuse("is a clusterer without centers to compare rows with: use KMeans")
    count = len(step.model.cluster_centers_)
    distances = (Column(f"distance_{number}", ColumnType.DOUBLE) for number in range(count))
    return Outputs((), (Column("prediction", ColumnType.LONG), *distances), "transform")


def _classes(step: Step, values: Any, end: str) -> Outputs:
    """Describe one target of a classifier by its classes."""
    model, classes = step.model, np.asarray(values)
    if classes.dtype == object:
        classes = np.array(classes.tolist())
    if classes.dtype.kind not in _LABEL_TYPES:
        raise step.refuse("has classes that are neither numbers, texts nor booleans: fit it on such labels")
    labels = tuple(classes.tolist())
    if len(labels) < 2:
        raise step.refuse("knows only one class: fit it on rows of two or more")
    prediction = Column(f"prediction{end}", _LABEL_TYPES[classes.dtype.kind])
    if hasattr(model, "predict_proba"):
        shown = labels[1:] if len(labels) == 2 else labels
        scores = tuple(f"probability{end}_{label_text(label)}" for label in shown)
        method: str | None = "predict_proba"
    elif hasattr(model, "decision_function"):
        one = len(labels) == 2
        scores = (f"score{end}",) if one else tuple(f"score{end}_{label_text(label)}" for label in labels)
        method = "decision_function"
    else:
        scores, method = (), None
    columns = (prediction, *(Column(name, ColumnType.DOUBLE) for name in scores))
    _check_names(step, columns)
    return Outputs(labels, columns, method)


def _check_names(step: Step, columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise step.refuse(
            f"would answer with two columns named {twice[0]!r}: fit it on labels whose texts differ",
            column=twice[0],
        )


def label_text(label: object) -> str:
    """Write a label as output files do: booleans in lower case."""
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class Answer:
    """What the last step's converter leaves in the graph."""

    prediction: str
    """[N]: a regressor's value, a cluster's number as int64, the place of a classifier's class as int64, or its
    label if `named`."""
    scores: str | None = None
    """[N, 1] of double for two classes, [N, classes] for more; a clusterer's distances, [N, clusters]."""
    named: bool = False
    pair: str | None = None
    """[N, 2]: the probabilities of two classes, where the first is not computed as one minus the second."""
    decision: str | None = None
    """What decision_function gives, where `scores` are probabilities: [N, 1] for two classes, else [N, classes]."""
    rest: tuple["Answer", ...] = ()
    """The answers for the second target and those after it."""


def several(answers: Sequence[Answer]) -> Answer:
    """Answer for one target after the other."""
    first, *rest = answers
    return replace(first, rest=tuple(rest))


def give(graph: GraphWriter, step: Step, answer: Answer) -> None:
    """Write the outputs of the graph; EstimatorInvalidError if the step's converter answers for fewer targets."""
    targets, answers = Outputs.of(step).each(), (answer, *answer.rest)
    if len(targets) != len(answers):
        raise final(step).refuse(
            "predicts several columns at once, for which it has no converter: wrap one estimator in "
            "MultiOutputClassifier or MultiOutputRegressor"
        )
    for target, part in zip(targets, answers, strict=True):
        _give(graph, target, part)


def _give(graph: GraphWriter, outputs: Outputs, answer: Answer) -> None:
    prediction, *scores = outputs.columns
    tensor = answer.prediction
    if outputs.labels and not answer.named:
        tensor = graph.node("Gather", graph.constant(label_array(outputs)), tensor, axis=0)
    graph.give(prediction, tensor)
    if answer.scores is not None:
        for place, column in enumerate(scores):
            graph.give(column, graph.column(answer.scores, place))


def label_array(outputs: Outputs) -> Any:
    """Return the classes as an array of the output's type."""
    dtypes = {ColumnType.STRING: object, ColumnType.LONG: np.int64, ColumnType.BOOLEAN: np.bool_}
    return np.array(outputs.labels, dtype=dtypes.get(outputs.label_type, np.float64))


def regression(graph: GraphWriter, tensor: str, targets: int = 1) -> Answer:
    """End with a regressor's values, [N, targets]."""
    if targets == 1:
        return Answer(graph.flat(tensor))
    return several([Answer(graph.column(tensor, target)) for target in range(targets)])


def shares(graph: GraphWriter, outputs: Outputs, matrix: str) -> Answer:
    """End with the probabilities of all classes, [N, classes], of which the first largest decides."""
    if outputs.binary:
        return Answer(argmax(graph, matrix), columns(graph, matrix, 2)[1], pair=matrix)
    return Answer(argmax(graph, matrix), matrix)


def columns(graph: GraphWriter, matrix: str, count: int) -> list[str]:
    """Cut [N, count] into columns, [N, 1]."""
    if count == 1:
        return [matrix]
    return [graph.node("Gather", matrix, graph.constant([place], np.int64), axis=1) for place in range(count)]


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
    return Answer(above(graph, raw, 0.0, equal=equal), graph.node("Sigmoid", raw), decision=raw)


def softmax(graph: GraphWriter, raw: str) -> Answer:
    """End with many classes: [N, classes] of log odds, of which the first largest decides."""
    return Answer(argmax(graph, raw), graph.node("Softmax", raw, axis=1), decision=raw)
