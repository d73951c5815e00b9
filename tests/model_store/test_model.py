"""A loaded model answers row for row, on any number of threads and rows."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from errors import ColumnMissingError, ColumnTypeError, PackageInvalidError
from model_store import Column, ColumnType, Signature
from model_store.model import CHUNK_ROWS, Model, OpenGraph
from model_store.packages import MANIFEST, PackageInfo


@pytest.fixture(scope="module")
def model(packages):
    return Model.open(packages())


@pytest.mark.parametrize("count", [1, 2, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS + 7])
def test_answers_as_the_source_does_whatever_the_number_of_rows(model, conversion, rows, count):
    """Rows are cut into chunks inside; the answers are those of the source, in order."""
    batch = rows(count)
    expected = conversion.predict(pa.Table.from_batches([batch]))
    answers = model.predict(batch)
    assert answers.schema.equals(model.signature.output_schema)
    assert answers["prediction"].to_pylist() == expected["prediction"].to_pylist()
    assert answers["probability_leave"].to_pylist() == pytest.approx(expected["probability_leave"].to_pylist())


def test_no_rows_give_no_rows(model, rows):
    """An empty batch is no error."""
    answers = model.predict(rows(0))
    assert answers.num_rows == 0
    assert answers.schema.equals(model.signature.output_schema)


def test_a_slice_is_answered_as_its_own_rows(model, rows):
    """Batches may be slices with an offset, as blocks of a larger table are."""
    batch = rows(500)
    assert model.predict(batch.slice(123, 45)).equals(model.predict(batch).slice(123, 45))


def test_a_row_is_answered_the_same_wherever_it_stands(model, rows):
    """Its neighbours, and how many there are, change no digit: a file may be cut anywhere."""
    batch = rows(1500)
    whole = model.predict(batch)
    for size in (1, 3, 17):
        starts = range(0, 1500, size)
        parts = [model.predict(batch.slice(start, size)) for start in starts]
        assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(whole)


def test_threads_share_a_model(model, rows):
    """Calls at the same time do not mix their rows."""
    batches = [rows(700).slice(start, 100) for start in range(0, 700, 100)]
    alone = [model.predict(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(model.predict, batches * 20))
    assert all(answers.equals(expected) for answers, expected in zip(together, alone * 20, strict=True))


def test_nulls_of_every_kind_are_fed_as_the_source_saw_them(model, conversion):
    """A null number is NaN, NaN is itself, a null string is the package's null text."""
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([None, float("nan"), 30.0]),
            pa.array([1, 2, 3]),
            pa.array([True, False, True]),
            pa.array([None, "pro", ""]),
        ],
        schema=model.signature.input_schema,
    )
    expected = conversion.predict(pa.Table.from_batches([batch]))
    answers = model.predict(batch)
    assert answers["probability_leave"].to_pylist() == pytest.approx(expected["probability_leave"].to_pylist())


def test_a_null_where_the_model_takes_none_is_refused_with_its_column(model, rows):
    """Whole numbers and booleans have no null to be fed as."""
    batch = rows(3)
    batch = batch.set_column(1, batch.schema.field(1), pa.array([1, None, 3]))
    with pytest.raises(ColumnTypeError, match="'visits' has nulls") as raised:
        model.predict(batch)
    assert raised.value.column == "visits"


def test_columns_must_be_the_signatures(model, rows):
    """A column that is missing, out of order, of another type, or too many is named."""
    batch = rows(3)
    with pytest.raises(ColumnMissingError, match="'visits'"):
        model.predict(batch.select(["age", "member", "visits", "plan"]))
    with pytest.raises(ColumnMissingError, match="'plan'"):
        model.predict(batch.select(["age", "visits", "member"]))
    with pytest.raises(ColumnTypeError, match="'visits' is double"):
        model.predict(batch.set_column(1, "visits", pa.array([1.0, 2.0, 3.0])))
    with pytest.raises(ColumnTypeError, match="'more'"):
        model.predict(batch.append_column("more", pa.array([1, 2, 3])))


def test_nullability_in_the_schema_is_no_matter(model, rows):
    """Whether Arrow's schema allows nulls does not count; whether there are any does."""
    batch = rows(3)
    relaxed = pa.schema([field.with_nullable(True) for field in batch.schema], metadata={"from": "elsewhere"})
    assert model.predict(batch.cast(relaxed)).equals(model.predict(batch))


def test_golden_rows_are_checked_at_every_load(copied):
    """A package whose graph no longer answers as the source did is not served, even if it is sealed anew."""
    manifest, mlmodel = (copied / MANIFEST).read_bytes(), (copied / "MLmodel").read_bytes()
    info = PackageInfo.parse(manifest, mlmodel)
    answers = dict(info.golden["answers"])
    answers["probability_leave"] = [value + 2e-5 for value in answers["probability_leave"]]
    object.__setattr__(info, "golden", {**info.golden, "answers": answers})
    (copied / MANIFEST).write_bytes(info.to_manifest())
    with pytest.raises(PackageInvalidError, match=r"20 of 20 golden rows .* 'probability_leave' of golden row 1"):
        Model.open(copied)


def test_golden_rows_hold_nulls_and_unseen_categories(packages):
    """What goes wrong first on another machine is among the rows that are checked there."""
    golden = json.loads((packages() / MANIFEST).read_text("utf-8"))["golden"]
    assert len(golden["inputs"]["plan"]) == 20
    assert None in golden["inputs"]["age"]
    assert None in golden["inputs"]["plan"]
    assert any(plan not in ("basic", "plus", "pro", None) for plan in golden["inputs"]["plan"])


@pytest.mark.parametrize("shape", [[None], [None, 1]])
def test_every_type_goes_in_and_comes_out(tmp_path, shape):
    """Each of MLflow's types, as [N] or [N, 1] inputs, through a graph that changes nothing."""
    tensors = {
        ColumnType.BOOLEAN: TensorProto.BOOL,
        ColumnType.INTEGER: TensorProto.INT32,
        ColumnType.LONG: TensorProto.INT64,
        ColumnType.FLOAT: TensorProto.FLOAT,
        ColumnType.DOUBLE: TensorProto.DOUBLE,
        ColumnType.STRING: TensorProto.STRING,
        ColumnType.DATETIME: TensorProto.INT64,
    }
    graph = helper.make_graph(
        [helper.make_node("Reshape", [kind, "flat"], [f"out_{kind}"]) for kind in tensors],
        "echo",
        [helper.make_tensor_value_info(kind, tensor, shape) for kind, tensor in tensors.items()],
        [helper.make_tensor_value_info(f"out_{kind}", tensor, [None]) for kind, tensor in tensors.items()],
        [numpy_helper.from_array(np.array([-1]), "flat")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "g")
    signature = Signature(
        tuple(Column(kind.value, kind) for kind in tensors), tuple(Column(f"out_{kind}", kind) for kind in tensors)
    )
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([True, False]),
            pa.array([-1, 2**31 - 1], pa.int32()),
            pa.array([-1, 2**63 - 1]),
            pa.array([0.1, 3e38], pa.float32()),
            pa.array([0.1, 5e-324]),
            pa.array(["", "ä∅"]),
            pa.array([0, 1_800_000_000_000_001], pa.timestamp("us")),
        ],
        schema=signature.input_schema,
    )
    answers = OpenGraph(tmp_path / "g", signature, "null").predict(batch)
    assert answers.schema.equals(signature.output_schema)
    assert [column.to_pylist() for column in answers.columns] == [column.to_pylist() for column in batch.columns]


def test_a_graph_must_have_the_signatures_columns(conversion, tmp_path):
    """A graph that takes or gives something else than the signature says is refused when it is opened."""
    path = tmp_path / "model.onnx"
    path.write_bytes(conversion.graph)
    inputs, outputs = conversion.signature.inputs, conversion.signature.outputs
    for signature, message in (
        (Signature(inputs[1:], outputs), r"input 'age' is tensor\(double\) in model.onnx, and not there"),
        (Signature((*inputs, Column("more", ColumnType.LONG)), outputs), "input 'more' is not there"),
        (Signature(inputs, (outputs[0], Column(outputs[1].name, ColumnType.LONG))), "output 'probability_leave'"),
    ):
        with pytest.raises(PackageInvalidError, match=message):
            OpenGraph(path, signature, conversion.null_text)


def test_opening_at_the_same_time_is_safe(packages):
    """Threads that open one package at once each get a model that works."""
    barrier = threading.Barrier(8)

    def open_together(_: int) -> str:
        barrier.wait()
        return Model.open(packages()).digest

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(open_together, range(8)))) == 1
