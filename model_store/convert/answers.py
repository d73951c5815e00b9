"""How the tensors that a network gives become output columns: in the graph, and of the network's own answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from errors import EstimatorInvalidError
from model_store.convert.graph import ELEMENT, GraphWriter
from model_store.convert.options import Meaning, ModelOptions
from model_store.signature import Column, ColumnType

_TYPES = {
    "b": ColumnType.BOOLEAN,
    "i": ColumnType.LONG,
    "u": ColumnType.LONG,
    "f": ColumnType.DOUBLE,
    "O": ColumnType.STRING,
    "U": ColumnType.STRING,
}
_TURNS_AT = {Meaning.PROBABILITIES: 0.5, Meaning.LOGITS: 0.0, Meaning.SCORES: 0.0}
"""Above what number, if there is only one for two labels, the second is meant."""


@dataclass(frozen=True)
class Answers:
    """What a network's output tensors say."""

    labels: tuple[object, ...]
    """In the order of the numbers; () if there are none."""
    columns: tuple[Column, ...]
    meaning: Meaning
    label_at: int | None
    """Which tensor holds the label; None if the numbers decide."""
    numbers_at: tuple[int, ...]
    """Which tensors hold numbers, [N], [N, 1] or [N, width]."""
    width: int
    """How many numbers a row has in all of them."""

    @classmethod
    def of(cls, tensors: Sequence[NDArray[Any]], names: Sequence[str], options: ModelOptions) -> "Answers":
        """Find out what a network's tensors say; `tensors` are its answers to a few rows.

        EstimatorInvalidError if they are no answers to rows, or the labels do not fit them.
        """
        numbers = tuple(place for place, tensor in enumerate(tensors) if tensor.dtype.kind == "f")
        others = [place for place in range(len(tensors)) if place not in numbers]
        for name, tensor in zip(names, tensors, strict=True):
            if tensor.dtype.kind not in _TYPES or tensor.ndim not in (1, 2):
                raise _refuse(f"its output {name!r} is {tensor.dtype}{list(tensor.shape)}: give [N] or [N, k]")
        if len(others) > 1 or (others and len(numbers) > 1):
            raise _refuse(f"it has the outputs {', '.join(map(repr, names))}: give a label and its numbers, or one")
        widths = [1 if tensors[place].ndim == 1 else tensors[place].shape[1] for place in numbers]
        if others:
            return cls._labelled(tensors[others[0]], others[0], numbers, sum(widths), options)
        if options.labels:
            if len(numbers) > 1:
                raise _refuse(f"it has {len(numbers)} outputs and labels: give one tensor with a column a label")
            if sum(widths) != len(options.labels) and not (len(options.labels) == 2 and widths == [1]):
                raise _refuse(f"it gives {sum(widths)} numbers a row for {len(options.labels)} labels")
            prediction = Column("prediction", _label_type(options.labels))
            columns = (prediction, *_score_columns(options, named=True))
            return cls(options.labels, columns, options.meaning, None, numbers, sum(widths))
        if len(numbers) > 1 and set(widths) == {1}:
            columns = tuple(Column(names[place], ColumnType.DOUBLE) for place in numbers)
        elif len(numbers) > 1:
            raise _refuse(f"it has the outputs {', '.join(map(repr, names))}: give one, or [N] each")
        else:
            several = [f"prediction_{place}" for place in range(widths[0])]
            columns = tuple(
                Column(name, ColumnType.DOUBLE) for name in (several if len(several) > 1 else ["prediction"])
            )
        return cls((), columns, options.meaning, None, numbers, sum(widths))

    @classmethod
    def _labelled(
        cls, label: NDArray[Any], place: int, numbers: tuple[int, ...], width: int, options: ModelOptions
    ) -> "Answers":
        """Describe a label beside its numbers, of which there may be none."""
        if label.ndim == 2 and label.shape[1] != 1:
            raise _refuse(f"it gives {label.shape[1]} labels a row: package one model a label")
        labels, given = options.labels, _TYPES[label.dtype.kind]
        if labels and _label_type(labels) is not given and given is not ColumnType.LONG:
            raise _refuse(f"its labels are {given.value}s, and those given are not")
        if width > 1 and not labels:
            raise _refuse(f"it gives {width} numbers a row, and nothing tells of what labels: give them")
        if labels and width not in (0, len(labels)) and not (width == 1 and len(labels) == 2):
            raise _refuse(f"it gives {width} numbers a row for {len(labels)} labels")
        columns = [Column("prediction", _label_type(labels) if labels else given)]
        if width:
            columns += _score_columns(options, named=bool(labels))
        return cls(labels, tuple(columns), options.meaning, place, numbers, width)

    def read(self, tensors: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the output columns of a network's own answers."""
        label, numbers = None, None
        if self.label_at is not None:
            label = tensors[self.label_at].ravel()
            if self._indexed(label.dtype.kind):
                label = np.array(self.labels, self._label_dtype)[label]
        if self.numbers_at:
            rows = len(tensors[self.numbers_at[0]])
            numbers = np.concatenate(
                [tensors[place].reshape(rows, -1).astype(np.float64) for place in self.numbers_at], axis=1
            )
        if numbers is None:
            return [np.asarray(label)]
        if not self.labels:
            return [*([] if label is None else [label]), *numbers.T]
        if label is None:
            decided = (
                (numbers[:, 0] > _TURNS_AT[self.meaning]).astype(np.int64)
                if self.width == 1
                else np.argmax(numbers, axis=1)
            )
            label = np.array(self.labels, self._label_dtype)[decided]
        if self.meaning is Meaning.LOGITS:
            numbers = _probabilities(numbers)
        return [label, *(numbers[:, 1:] if self.width == len(self.labels) == 2 else numbers).T]

    def write(self, graph: GraphWriter, tensors: Sequence[str], kinds: Sequence[str]) -> None:
        """Write the output columns; `kinds` are the kinds of NumPy's types of the tensors."""
        columns = list(self.columns)
        label: str | None = None
        if self.label_at is not None:
            label = graph.flat(tensors[self.label_at])
            if self._indexed(kinds[self.label_at]):
                label = self._name(graph, label)
            elif columns[0].type is not ColumnType.STRING:
                label = graph.cast(label, ELEMENT[columns[0].type])
        numbers = self._numbers(graph, tensors)
        if self.labels and label is None:
            label = self._name(graph, self._decide(graph, numbers))
        if label is not None:
            graph.give(columns.pop(0), label)
        if self.meaning is Meaning.LOGITS and self.labels and numbers:
            numbers = graph.node("Sigmoid", numbers) if self.width == 1 else graph.node("Softmax", numbers, axis=1)
        first = 1 if self.width == len(self.labels) == 2 else 0
        for place, column in enumerate(columns, first):
            graph.give(column, graph.column(numbers, place))

    def _numbers(self, graph: GraphWriter, tensors: Sequence[str]) -> str:
        """Join the numbers as [N, width] of double; "" if there are none."""
        parts = []
        for place in self.numbers_at:
            shape = [-1, self.width // len(self.numbers_at)]
            tall = graph.node("Reshape", tensors[place], graph.constant(shape, np.int64))
            parts.append(graph.cast(tall, TensorProto.DOUBLE))
        return graph.node("Concat", *parts, axis=1) if len(parts) > 1 else "".join(parts)

    def _decide(self, graph: GraphWriter, numbers: str) -> str:
        if self.width > 1:
            return graph.node("ArgMax", numbers, axis=1, keepdims=0)  # the first largest, as NumPy has it
        larger = graph.node("Greater", numbers, graph.constant(_TURNS_AT[self.meaning], np.float64))
        return graph.flat(graph.cast(larger, TensorProto.INT64))

    def _name(self, graph: GraphWriter, places: str) -> str:
        return graph.node("Gather", graph.constant(self.labels, self._label_dtype), places, axis=0)

    def _indexed(self, kind: str) -> bool:
        """Return whether the label's tensor holds places among the labels instead of the labels themselves."""
        return bool(self.labels) and _TYPES[kind] is not self.columns[0].type

    @property
    def _label_dtype(self) -> "type[np.generic]":
        kinds: dict[ColumnType, type[np.generic]] = {
            ColumnType.STRING: np.object_,
            ColumnType.LONG: np.int64,
            ColumnType.BOOLEAN: np.bool_,
        }
        return kinds.get(self.columns[0].type, np.float64)


def _score_columns(options: ModelOptions, *, named: bool) -> list[Column]:
    """Name the numbers of a classifier as scikit-learn's converter does: for two labels that of the second."""
    word = "score" if options.meaning is Meaning.SCORES else "probability"
    if not named or (word == "score" and len(options.labels) == 2):
        return [Column("score", ColumnType.DOUBLE)]
    shown = options.labels[1:] if len(options.labels) == 2 else options.labels
    texts = (str(label).lower() if isinstance(label, bool) else str(label) for label in shown)
    return [Column(f"{word}_{text}", ColumnType.DOUBLE) for text in texts]


def _label_type(labels: tuple[object, ...]) -> ColumnType:
    kinds: dict[type, ColumnType] = {bool: ColumnType.BOOLEAN, int: ColumnType.LONG, str: ColumnType.STRING}
    return kinds.get(type(labels[0]), ColumnType.DOUBLE)


def _probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # e to the 710th is infinite, and one over it 0, as it should be
        if logits.shape[1] == 1:
            return 1 / (1 + np.exp(-logits))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _refuse(reason: str) -> EstimatorInvalidError:
    return EstimatorInvalidError(f"the model does not answer row by row as a table can hold it: {reason}")
