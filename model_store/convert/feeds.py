"""How the columns of a table become the tensors that a network takes: in the graph, and for the network itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from onnx import helper

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.conversion import NULL_TEXT
from model_store.convert.graph import ELEMENT, GraphWriter
from model_store.convert.options import Vocabulary
from model_store.signature import Column, ColumnType

_TAKES = {
    "bool": (ColumnType.BOOLEAN,),
    "int32": (ColumnType.INTEGER, ColumnType.BOOLEAN),
    "int64": (ColumnType.LONG, ColumnType.INTEGER, ColumnType.BOOLEAN),
    "float32": (ColumnType.DOUBLE, ColumnType.FLOAT, ColumnType.LONG, ColumnType.INTEGER, ColumnType.BOOLEAN),
    "float64": (ColumnType.DOUBLE, ColumnType.FLOAT, ColumnType.LONG, ColumnType.INTEGER, ColumnType.BOOLEAN),
    "object": (ColumnType.STRING,),
}
"""The column types that can be given to a tensor of each NumPy type; the first is what other numbers are made."""


@dataclass(frozen=True)
class Input:
    """A tensor that a model says it takes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    """None for sizes that are open."""

    @property
    def width(self) -> int | None:
        """The columns in it; None if any number."""
        return self.shape[1] if len(self.shape) == 2 else 1


@dataclass(frozen=True)
class Feed:
    """One tensor that a network takes, and the columns it is made of."""

    name: str
    dtype: np.dtype[Any]
    """NumPy's; object for strings."""
    columns: tuple[str, ...]
    wide: bool
    """Whether it is [N, columns]; else it is [N], of one column."""
    vocabulary: Vocabulary | None = None
    """How a string column is read; the tensor is of integers then."""

    def fit(self, name: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of the sample in a type that the tensor takes; SampleInvalidError if there is none."""
        takes = (ColumnType.STRING,) if self.vocabulary else _TAKES.get(self.dtype.name, ())
        if cells.type in {kind.arrow for kind in takes}:
            return cells
        if pa.types.is_string(cells.type) or not takes or takes[0] is ColumnType.STRING:
            raise SampleInvalidError(
                f"column {name!r} of the sample is {cells.type}, and the model takes {self._wants()} there",
                column=name,
            )
        try:
            return cells.cast(takes[0].arrow)
        except pa.ArrowInvalid as error:
            raise SampleInvalidError(
                f"column {name!r} of the sample has numbers that are no {self.dtype.name}, which the model takes",
                column=name,
            ) from error

    @property
    def takes_null(self) -> bool:
        """Whether a null can be written at all: as NaN, or as an index of the vocabulary."""
        return self.vocabulary is not None or self.dtype.kind == "f"

    def array(self, rows: pa.Table) -> NDArray[Any]:
        """Return the tensor for rows in the signature's types."""
        parts = [self._cells(rows[name]) for name in self.columns]
        return np.stack(parts, axis=1) if self.wide else parts[0]

    def write(self, graph: GraphWriter, columns: Mapping[str, Column]) -> str:
        """Write the tensor into the graph and return its name."""
        if self.vocabulary is not None:
            # scikit-learn's converter has the one place where graphs read strings
            from model_store.convert.sklearn.choices import look_up  # noqa: PLC0415

            codes = look_up(graph, self.columns[0], self.vocabulary.texts)
            indices = graph.constant(self.vocabulary.indices, self.dtype.type)
            tensor = graph.node("Gather", indices, codes, axis=0)
            return graph.node("Reshape", tensor, graph.constant([-1, 1], np.int64)) if self.wide else tensor
        parts = list(self._runs(graph, [columns[name] for name in self.columns]))
        tensor = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
        return tensor if self.wide else graph.flat(tensor)

    def _runs(self, graph: GraphWriter, columns: list[Column]) -> Iterator[str]:
        """Join neighbours of one type before they are cast, so that it is one node for all of them."""
        element = helper.np_dtype_to_tensor_dtype(self.dtype)
        for kind, run in groupby(columns, key=lambda column: column.type):
            tensors = [graph.take(column) for column in run]
            joined = tensors[0] if len(tensors) == 1 else graph.node("Concat", *tensors, axis=1)
            yield joined if ELEMENT[kind] == element else graph.cast(joined, element)

    def _cells(self, cells: pa.ChunkedArray) -> NDArray[Any]:
        if self.vocabulary is not None:
            *known, null, unseen = self.vocabulary.indices
            index = dict(zip(self.vocabulary.texts, known, strict=True)) | {None: null}
            return np.array([index.get(cell, unseen) for cell in cells.to_pylist()], self.dtype)
        if self.dtype == np.object_:
            return np.array([NULL_TEXT if cell is None else cell for cell in cells.to_pylist()], self.dtype)
        with np.errstate(over="ignore"):  # a double beyond float32 is infinite there, as it is in the graph
            array: NDArray[Any] = cells.to_numpy().astype(self.dtype)
        return array

    def _wants(self) -> str:
        return "strings" if self.vocabulary or self.dtype == np.object_ else self.dtype.name


def match_columns(
    inputs: Sequence[Input], columns: Sequence[str], vocabularies: Mapping[str, Vocabulary], *, model: str
) -> tuple[Feed, ...]:
    """Match a model's inputs with the sample's columns: all as one tensor, or each by its name.

    EstimatorInvalidError if the model, called `model` there, takes other tensors; SampleInvalidError if the sample
    has another number of columns.
    """
    for given in inputs:
        if len(given.shape) not in {1, 2}:
            raise EstimatorInvalidError(
                f"input {given.name!r} of {model} is no tensor [N], [N, 1] or [N, F]: put what turns rows into it "
                "inside the model"
            )
        if len(inputs) > 1 and given.width not in {1, None}:
            raise EstimatorInvalidError(
                f"{model} takes {len(inputs)} tensors, and {given.name!r} is of {given.width} columns: one tensor "
                "for all columns is taken, or one for each"
            )
    taken = [(given, [given.name]) for given in inputs]
    if len(inputs) == 1 and not (inputs[0].width in {1, None} and inputs[0].name in columns):
        (only,) = inputs
        if only.width not in {len(columns), None}:
            raise SampleInvalidError(
                f"{model} takes {only.width} columns, and the sample has {len(columns)}: pass the columns it was "
                "trained on, in that order, without the label"
            )
        taken = [(only, list(columns))]
    return tuple(
        Feed(
            given.name,
            given.dtype,
            tuple(names),
            wide=len(given.shape) == 2,
            vocabulary=vocabularies.get(names[0]) if len(names) == 1 else None,
        )
        for given, names in taken
    )
