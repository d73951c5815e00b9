"""Convert models of tensors: networks and existing graphs, which know neither columns nor labels.

A network is put into our graph as it is: before it the columns become the tensors that it takes (feeds.py), after
it its tensors become the columns that users are given (answers.py).
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime  # only to try the graph with batches of other sizes: rows are scored in model_store/model.py
import pyarrow as pa
from numpy.typing import NDArray

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert.answers import Answers
from model_store.convert.conversion import NULL_TEXT, Conversion
from model_store.convert.embedding import fill_place, leave_place
from model_store.convert.feeds import Feed
from model_store.convert.graph import GraphWriter, serialise
from model_store.convert.options import ModelOptions
from model_store.convert.sample import column_type
from model_store.signature import Column, ColumnType, Override, Signature

_TRIED_ROWS = 7
_BATCHES = (1, 2, 7, 4096)
"""Sizes of batches that a graph has to answer alike; the last is the serving path's."""


@dataclass(frozen=True)
class Network:
    """A model of tensors where it was trained, and the same as ONNX."""

    framework: str
    """The distribution name."""
    versions: Mapping[str, str]
    feeds: tuple[Feed, ...]
    """In the order in which `run` takes their arrays."""
    run: Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]]
    """The framework's own answers."""
    export: Callable[[], onnx.ModelProto]
    """The network in ONNX: one input for each feed, of its name, and one output for each array of `run`."""
    output_names: tuple[str, ...] = ()
    """What the network calls its outputs, where it does."""


def convert_network(
    network: Network, sample: pa.Table, options: ModelOptions, overrides: Mapping[str, Override]
) -> Conversion:
    """Convert a network with a sample of rows, as `read_sample` gives them, of at least its columns.

    SampleInvalidError names a column that does not fit; EstimatorInvalidError says why the network's answers are
    none that rows can have.
    """
    table = _fit(network, sample)
    few = table.drop_null().slice(0, _TRIED_ROWS)
    few = few if few.num_rows else table.slice(0, _TRIED_ROWS)
    tensors = _try(network, few)
    names = network.output_names or tuple(f"output {place}" for place in range(len(tensors)))
    answers = Answers.of(tensors, names, options)
    asked = {
        name for feed in network.feeds for name in feed.columns if _takes_null(network, answers, few, name, feed)
    }
    kinds = [tensor.dtype.kind for tensor in tensors]
    signature = _signature(network, answers, table, asked, overrides)
    graph = _write(network, signature, answers, kinds)
    other = _other_nulls(graph, network, answers, few, signature)
    if other:  # some frameworks answer NaN by accident, such as a ReLU that makes it 0
        signature = _signature(network, answers, table, asked - other, overrides)
        graph = _write(network, signature, answers, kinds)
    table = table.cast(signature.input_schema)
    _check_batches(graph, network, table.take(np.arange(max(_BATCHES)) % table.num_rows))

    def predict(rows: pa.Table) -> pa.Table:
        """Answer as the network itself does."""
        columns = _own_answers(network, answers, rows)
        arrays = [
            pa.array(cells.tolist() if cells.dtype.kind in "UO" else cells).cast(column.type.arrow)
            for cells, column in zip(columns, answers.columns, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=signature.output_schema)

    return Conversion(
        graph=graph,
        signature=signature,
        null_text=NULL_TEXT,
        labels=answers.labels,
        framework=network.framework,
        versions=network.versions,
        sample=table,
        predict=predict,
    )


def _fit(network: Network, sample: pa.Table) -> pa.Table:
    """Return the columns that the network takes, in its order, in types that it takes."""
    columns = {}
    for feed in network.feeds:
        for name in feed.columns:
            if name not in sample.column_names:
                raise SampleInvalidError(
                    f"the model takes a column {name!r}, which the sample does not have", column=name
                )
            columns[name] = feed.fit(name, sample[name])
    return pa.table(columns)


def _try(network: Network, few: pa.Table) -> list[NDArray[Any]]:
    """Return the network's answers to a few rows; EstimatorInvalidError unless each row has its own."""
    feeds = [feed.array(few) for feed in network.feeds]
    tensors = _run(network, feeds)
    for place, tensor in enumerate(tensors):
        if tensor.ndim == 0 or len(tensor) != few.num_rows:
            raise EstimatorInvalidError(
                f"the model answers {few.num_rows} rows with a tensor {list(tensor.shape)} (output {place}): it "
                "has to give one answer a row"
            )
    for row in range(few.num_rows):
        alone = _run(network, [feed[row : row + 1] for feed in feeds])
        for tensor, single in zip(tensors, alone, strict=True):
            if tensor.dtype.kind == "f" and not np.allclose(tensor[row], single[0], 1e-3, 1e-5, equal_nan=True):
                raise EstimatorInvalidError(
                    "the model's answer to a row depends on the rows beside it: make it look at one row at a time "
                    "(statistics over a batch belong into training)"
                )
    return tensors


def _run(network: Network, feeds: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        return [np.asarray(tensor) for tensor in network.run(feeds)]
    except EstimatorInvalidError:
        raise
    except Exception as error:  # a network is code of any kind, and its error may quote cells
        shapes = ", ".join(
            f"{feed.name} {array.dtype}{list(array.shape)}"
            for feed, array in zip(network.feeds, feeds, strict=True)
        )
        raise SampleInvalidError(
            f"the model fails on rows of the sample ({type(error).__name__}), given {shapes}: pass the columns "
            "that it takes, in its order"
        ) from error


def _own_answers(network: Network, answers: Answers, rows: pa.Table) -> list[NDArray[Any]]:
    return answers.read(network.run([feed.array(rows) for feed in network.feeds]))


def _signature(
    network: Network,
    answers: Answers,
    table: pa.Table,
    nullable: AbstractSet[str],
    overrides: Mapping[str, Override],
) -> Signature:
    inputs = [
        _column(feed, table[name], overrides.get(name, Override()), name=name, takes_null=name in nullable)
        for feed in network.feeds
        for name in feed.columns
    ]
    for column in inputs:
        if column.name in {output.name for output in answers.columns}:
            raise SampleInvalidError(
                f"column {column.name!r} has the name of an output: rename it", column=column.name
            )
    return Signature(tuple(inputs), answers.columns)


def _column(feed: Feed, cells: pa.ChunkedArray, said: Override, *, name: str, takes_null: bool) -> Column:
    """Describe an input column: what the user says of it, else what was found out by asking."""
    kind = column_type(cells)
    nullable = takes_null if said.nullable is None else said.nullable
    if cells.null_count and not nullable:
        raise SampleInvalidError(
            f"column {name!r} of the sample has nulls, with which the model cannot answer, or not as its ONNX form "
            "does: fill or drop them, or let the model do that (torch.nan_to_num, for one)",
            column=name,
        )
    if nullable and kind in {ColumnType.LONG, ColumnType.INTEGER}:
        kind = ColumnType.DOUBLE  # ONNX knows no null integer: a null of a double column is NaN
    categories = said.categories or (feed.vocabulary.texts if feed.vocabulary else None)
    column = Column(name, kind, nullable=nullable, categories=categories)
    return column if said.required is None else replace(column, required=said.required)


def _takes_null(network: Network, answers: Answers, few: pa.Table, name: str, feed: Feed) -> bool:
    """Say whether the network answers a null of a column with numbers."""
    if not feed.takes_null or pa.types.is_boolean(few[name].type):
        return False
    try:
        columns = _own_answers(network, answers, _without(few, name))
    except Exception:  # refusing a null is how the model answers the question
        return False
    return all(np.isfinite(cells).all() for cells in columns if cells.dtype.kind == "f")


def _without(rows: pa.Table, name: str) -> pa.Table:
    """Return the rows with nulls in a column."""
    kind = rows.schema.field(name).type
    nulls = pa.nulls(rows.num_rows, kind if pa.types.is_string(kind) else pa.float64())
    return rows.set_column(rows.schema.get_field_index(name), name, nulls)


def _other_nulls(
    graph: bytes, network: Network, answers: Answers, few: pa.Table, signature: Signature
) -> frozenset[str]:
    """Return the columns whose nulls the graph answers otherwise than the network itself."""
    found = set()
    session = _open(graph, network)
    for column in signature.inputs:
        if not column.nullable:
            continue
        rows = _without(few, column.name)
        wanted = _own_answers(network, answers, rows)
        given = _ask(session, rows.cast(signature.input_schema))
        for expected, cells in zip(wanted, given, strict=True):
            if expected.dtype.kind == "f" and not np.allclose(expected, cells, 1e-3, 1e-5, equal_nan=True):
                found.add(column.name)
    return frozenset(found)


def _write(network: Network, signature: Signature, answers: Answers, kinds: Sequence[str]) -> bytes:
    """Return the graph around the network's own."""
    graph = GraphWriter(signature.inputs, signature.outputs)
    columns = {column.name: column for column in signature.inputs}
    model = network.export()
    inner = leave_place(graph, model, {feed.name: feed.write(graph, columns) for feed in network.feeds})
    answers.write(graph, inner, kinds)
    whole = graph.model()
    fill_place(whole, model)
    return serialise(whole)


def _check_batches(graph: bytes, network: Network, rows: pa.Table) -> None:
    """Raise EstimatorInvalidError unless the graph answers batches of any size with as many rows."""
    session = _open(graph, network)
    for size in _BATCHES:
        try:
            given = _ask(session, rows.slice(0, size))
        except Exception as error:  # ONNX Runtime's errors share no base class, and may quote cells
            raise _not_run(network, type(error).__name__) from error
        if any(tensor.shape != (size,) for tensor in given):
            raise EstimatorInvalidError(
                f"the {network.framework} model, as ONNX, does not answer {size} rows with {size} answers: it has "
                "a number of rows built in"
            )


def _open(graph: bytes, network: Network) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise _not_run(network, str(error).splitlines()[0][:300]) from error


def _ask(session: onnxruntime.InferenceSession, rows: pa.Table) -> list[NDArray[Any]]:
    """Run the finished graph: its inputs are [N], or [N, 1] if there is only one."""
    shape = (-1, 1) if rows.num_columns == 1 else (-1,)
    answers: list[NDArray[Any]] = session.run(
        None, {name: _direct(rows[name]).reshape(shape) for name in rows.column_names}
    )
    return answers


def _not_run(network: Network, reason: str) -> EstimatorInvalidError:
    return EstimatorInvalidError(
        f"the {network.framework} model, as ONNX, is not run by ONNX Runtime on batches of any size: {reason}"
    )


def _direct(cells: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_string(cells.type):
        return np.array([NULL_TEXT if cell is None else cell for cell in cells.to_pylist()], np.object_)
    array: NDArray[Any] = cells.to_numpy()
    return array
