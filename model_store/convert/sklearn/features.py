"""What flows through a pipeline being converted: blocks of columns, computed as late as possible.

A column that can only take finitely many values, such as a string column after its encoder, is a table with a row
per value: the steps after the encoder change the table's rows, here, in NumPy, as scikit-learn would. Only the last
step decides whether the graph looks up rows of features or, as a linear model does, rows already multiplied by the
weights.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from model_store.convert.graph import GraphWriter
from model_store.signature import Column, ColumnType

Rows: TypeAlias = NDArray[np.float64]
Values: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Numbers:
    """Columns of doubles that the graph computes."""

    tensor: str
    """[N, width] of double."""
    width: int
    categorical: bool = False
    """Whether it is a column of the file that the source holds as pandas' category dtype."""

    def select(self, graph: GraphWriter, columns: Sequence[int]) -> "Numbers":
        """Take some of the columns, in that order."""
        if list(columns) == list(range(self.width)):
            return self
        return Numbers(graph.node("Gather", self.tensor, graph.constant(columns, np.int64), axis=1), len(columns))


@dataclass(frozen=True)
class Table:
    """Columns that are a function of one value among finitely many."""

    codes: str
    """[N] of int64: the row of the table that each row has."""
    rows: Rows
    """[values, width]."""

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.rows.shape[1])

    def select(self, _: GraphWriter, columns: Sequence[int]) -> "Table":
        """Take some of the columns, in that order."""
        return replace(self, rows=self.rows[:, list(columns)])


class Fill(NamedTuple):
    """What an imputer did to a string column."""

    is_missing: Callable[[Values], NDArray[np.bool_]]
    missing: object
    """The value that counts as missing; NaN and None are two different values, as they are for scikit-learn."""
    value: object


@dataclass(frozen=True)
class Texts:
    """One string column that no step has encoded yet."""

    name: str
    tensor: str
    """[N] or [N, 1] of string: looked up cell by cell, so that either will do and none is copied."""
    nulls: tuple[object, ...]
    """What the source model is given for a null: one value, or none if the column takes no nulls."""
    fills: tuple[Fill, ...] = ()
    """The imputers that the column has been through."""
    categorical: bool = False
    """Whether the source holds it as pandas' category dtype."""
    width: int = 1

    def select(self, _: GraphWriter, columns: Sequence[int]) -> "Texts":
        """Take the column, which is all there is to take."""
        if list(columns) != [0]:
            raise IndexError(columns)
        return self


Block: TypeAlias = Numbers | Table | Texts
Blocks: TypeAlias = tuple[Block, ...]


def source_columns(
    graph: GraphWriter,
    columns: Sequence[Column],
    names: Sequence[str],
    nulls: Mapping[str, object],
    categorical: Collection[str] = (),
) -> Blocks:
    """Return a model's input columns as its first step sees them, in the order of `names`, one block each.

    `nulls` are what the source is given for a column's nulls, and `categorical` the columns that it is given as
    pandas' category dtype. A name without a column is one that the first step drops: something has to keep its
    place.
    """
    known = {column.name: _source_column(graph, column, nulls[column.name]) for column in columns}
    for name in categorical:
        block = known[name]
        if not isinstance(block, Table):
            known[name] = replace(block, categorical=True)
    return tuple(known.get(name, Texts(name, name, ())) for name in names)


def _source_column(graph: GraphWriter, column: Column, null: object) -> Block:
    match column.type:
        case ColumnType.STRING:
            return Texts(column.name, column.name, (null,) if column.nullable else ())
        case ColumnType.BOOLEAN:
            return Table(graph.flat(graph.cast(column.name, TensorProto.INT64)), np.array([[0.0], [1.0]]))
        case ColumnType.INTEGER | ColumnType.LONG | ColumnType.FLOAT:
            return Numbers(graph.cast(graph.take(column), TensorProto.DOUBLE), 1)
        case _:
            return Numbers(graph.take(column), 1)


def spans(blocks: Sequence[Block]) -> Iterator[tuple[Block, slice]]:
    """Yield each block with the columns it stands for."""
    start = 0
    for block in blocks:
        yield block, slice(start, start + block.width)
        start += block.width


def select(graph: GraphWriter, blocks: Blocks, columns: Sequence[int]) -> Blocks:
    """Take columns by their place among those of all blocks, in the order given; neighbours stay together."""
    places = [(place, column) for place, block in enumerate(blocks) for column in range(block.width)]
    runs = groupby((places[column] for column in columns), key=lambda found: found[0])
    return tuple(blocks[place].select(graph, [column for _, column in run]) for place, run in runs)


def single(graph: GraphWriter, blocks: Blocks) -> Blocks:
    """Cut blocks into one per column."""
    return tuple(block.select(graph, [column]) for block in blocks for column in range(block.width))


def merge(graph: GraphWriter, blocks: Blocks) -> Blocks:
    """Join neighbouring blocks of numbers into one tensor, so that a step is one node for all of them."""
    merged: list[Block] = []
    for joinable, group in groupby(blocks, key=lambda block: isinstance(block, Numbers)):
        run = [block for block in group if block.width]
        if joinable and len(run) > 1:
            tensors = [block.tensor for block in run if isinstance(block, Numbers)]
            merged.append(Numbers(graph.node("Concat", *tensors, axis=1), sum(block.width for block in run)))
        else:
            merged += run
    return tuple(merged)


class Precision(Enum):
    """How numbers are written before an estimator compares or multiplies them."""

    DOUBLE = auto()
    SINGLE = auto()
    """Rounded to float32."""
    WIDENED = auto()
    """Rounded to float32 and written as doubles again."""


def dense(graph: GraphWriter, blocks: Sequence[Numbers | Table], precision: Precision = Precision.DOUBLE) -> str:
    """Compute all columns as one [N, width] tensor."""
    tensors = [_dense(graph, block, precision) for block in blocks]
    return tensors[0] if len(tensors) == 1 else graph.node("Concat", *tensors, axis=1)


def _dense(graph: GraphWriter, block: Numbers | Table, precision: Precision) -> str:
    if isinstance(block, Table):
        rows = block.rows if precision is Precision.DOUBLE else block.rows.astype(np.float32)
        dtype = np.float32 if precision is Precision.SINGLE else np.float64
        return graph.node("Gather", graph.constant(rows, dtype), block.codes, axis=0)
    if precision is Precision.DOUBLE:
        return block.tensor
    rounded = graph.cast(block.tensor, TensorProto.FLOAT)
    return rounded if precision is Precision.SINGLE else graph.cast(rounded, TensorProto.DOUBLE)
