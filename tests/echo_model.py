"""A model that answers what it was given: every input type, so that a test sees each cell as the graph got it."""

from pathlib import Path

import onnx
import pyarrow as pa
import pyarrow.compute as pc
from onnx import TensorProto, helper

from model_store import Column, ColumnType, Signature
from model_store.convert.conversion import NULL_TEXT, Conversion
from model_store.model import Model
from model_store.packaging import build_package

INPUTS = (
    Column("flag", ColumnType.BOOLEAN, nullable=False),
    Column("small", ColumnType.INTEGER, nullable=False),
    Column("whole", ColumnType.LONG, nullable=False),
    Column("single", ColumnType.FLOAT),
    Column("number", ColumnType.DOUBLE),
    Column("text", ColumnType.STRING),
    Column("at", ColumnType.DATETIME, nullable=False),
)
NULL = "(null)"
"""What the model answers for a null text."""

_TENSORS = {
    ColumnType.BOOLEAN: TensorProto.BOOL,
    ColumnType.INTEGER: TensorProto.INT32,
    ColumnType.LONG: TensorProto.INT64,
    ColumnType.FLOAT: TensorProto.FLOAT,
    ColumnType.DOUBLE: TensorProto.DOUBLE,
    ColumnType.STRING: TensorProto.STRING,
    ColumnType.DATETIME: TensorProto.INT64,
}


def echo_signature(inputs: tuple[Column, ...] = INPUTS) -> Signature:
    """Return the signature of the model that gives each input back as <name>_out; a time as microseconds."""
    kinds = {ColumnType.DATETIME: ColumnType.LONG}
    return Signature(inputs, tuple(Column(f"{c.name}_out", kinds.get(c.type, c.type)) for c in inputs))


def numbers_signature() -> Signature:
    """Return that of a model that takes all inputs, and gives back those that are no text."""
    whole = echo_signature()
    return Signature(whole.inputs, tuple(c for c in whole.outputs if c.type is not ColumnType.STRING))


def echo_graph(signature: Signature) -> bytes:
    """Return the graph: each output is its input."""
    nodes = [
        helper.make_node("Identity", [answer.name.removesuffix("_out")], [answer.name])
        for answer in signature.outputs
    ]
    inputs = [helper.make_tensor_value_info(c.name, _TENSORS[c.type], [None]) for c in signature.inputs]
    outputs = [helper.make_tensor_value_info(c.name, _TENSORS[c.type], [None]) for c in signature.outputs]
    graph = helper.make_graph(nodes, "echo", inputs, outputs)
    opsets = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def echo(rows: pa.Table | pa.RecordBatch, signature: Signature) -> pa.Table:
    """Answer as the graph does."""
    columns = []
    inputs = {column.name: column for column in signature.inputs}
    for answer in signature.outputs:
        given = inputs[answer.name.removesuffix("_out")]
        column = rows[given.name]
        if given.type is ColumnType.STRING:
            column = pc.fill_null(column, NULL_TEXT)
        elif given.type in (ColumnType.FLOAT, ColumnType.DOUBLE):
            column = pc.fill_null(column, float("nan"))
        columns.append(column.cast(answer.type.arrow))
    return pa.Table.from_arrays(columns, schema=signature.output_schema)


def echo_sample() -> pa.Table:
    """Return a few rows."""
    return pa.table(
        {
            "flag": [True, False, True],
            "small": pa.array([1, -5, 2**31 - 1], pa.int32()),
            "whole": [0, 2**40, -7],
            "single": pa.array([0.5, None, 3e3], pa.float32()),
            "number": [0.1, 1e9, None],
            "text": ["a", None, "é\n"],
            "at": pa.array([0, 1_700_000_000_000_000, -1], pa.timestamp("us")),
        }
    )


def open_echo(folder: Path) -> Model:
    """Package the echo model in `folder`, which need not be there, and open it."""
    return _open(folder, echo_signature())


def open_echo_of_numbers(folder: Path) -> Model:
    """Do the same with a model that gives no text back: what it answers is small, however large the texts are."""
    return _open(folder, numbers_signature())


def open_echo_of(folder: Path, signature: Signature) -> Model:
    """Do the same with any inputs; those that the sample has not are as those of their type there."""
    sample = echo_sample()
    by_type = {column.type: sample[column.name] for column in INPUTS}
    for column in signature.inputs:
        if column.name not in sample.column_names:
            texts = pa.array(["a", None, "b"]) if column.allowed else None
            numbers = pa.array([1, 2, 3], column.type.arrow) if column.limit is not None else None
            sample = sample.append_column(column.name, texts or numbers or by_type[column.type])
    return _open(folder, signature, sample.select([column.name for column in signature.inputs]))


def _open(folder: Path, signature: Signature, sample: pa.Table | None = None) -> Model:
    sample = (sample or echo_sample()).cast(signature.input_schema)
    conversion = Conversion(
        graph=echo_graph(signature),
        signature=signature,
        null_text=NULL_TEXT,
        labels=(),
        framework="by-hand",
        versions={"by-hand": "1.0", "onnx": onnx.__version__},
        sample=sample,
        predict=lambda rows: echo(rows, signature),
    )
    build_package(conversion, folder)
    return Model.open(folder)
