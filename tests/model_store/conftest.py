"""A small model built by hand, as a converter would give it back: these tests do not depend on the converters."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from model_store.__main__ import app
from model_store.convert.conversion import Conversion
from model_store.registry import Registry
from model_store.signature import Column, ColumnType, Signature
from storage import BlobStore
from storage.folder import FolderBlobStore

NULL_TEXT = "\uffffnull\uffff"
PLANS = ["basic", "plus", "pro"]
SIGNATURE = Signature(
    inputs=(
        Column("age", ColumnType.DOUBLE),
        Column("visits", ColumnType.LONG, nullable=False),
        Column("member", ColumnType.BOOLEAN, nullable=False),
        Column("plan", ColumnType.STRING),
    ),
    outputs=(Column("prediction", ColumnType.STRING), Column("probability_leave", ColumnType.DOUBLE)),
)


@dataclass(frozen=True)
class HandModel:
    """A logistic model: missing ages count as 40, missing plans as -0.5, unseen plans as nothing."""

    bias: float = -2.0
    weights: tuple[float, float, float] = (0.0313, 0.1017, -0.987)
    plans: tuple[float, float, float] = (0.7, 0.1, -0.4)

    def predict(self, rows: pa.Table) -> pa.Table:
        """Answer in numpy, as a source framework would."""
        age = rows["age"].to_numpy()
        plan = dict(zip(PLANS, self.plans, strict=True)) | {None: -0.5}
        score = (
            np.where(np.isnan(age), 40.0, age) * self.weights[0]
            + rows["visits"].to_numpy() * self.weights[1]
            + rows["member"].to_numpy() * self.weights[2]
            + np.array([plan.get(text, 0.0) for text in rows["plan"].to_pylist()])
            + self.bias
        )
        probability = 1 / (1 + np.exp(-score))
        labels = np.where(probability > 0.5, "leave", "stay")
        return pa.Table.from_arrays(
            [pa.array(labels.tolist()), pa.array(probability)], schema=SIGNATURE.output_schema
        )

    def graph(self) -> bytes:
        """Return the same as an ONNX graph; its inputs are [N], as mlflow.pyfunc feeds columns."""
        tensors = {
            "forty": np.array([[40.0]]),
            "weights": np.array(self.weights).reshape(3, 1),
            "plans": np.array([0.0, *self.plans, -0.5]),
            "bias": np.array([self.bias]),
            "half": np.array([0.5]),
            "flat": np.array([-1]),
            "tall": np.array([-1, 1]),
            "labels": np.array(["stay", "leave"], dtype=object),
        }
        node = helper.make_node
        nodes = [
            *(node("Reshape", [c.name, "tall"], [f"tall_{c.name}"]) for c in SIGNATURE.inputs),
            node("IsNaN", ["tall_age"], ["missing"]),
            node("Where", ["missing", "forty", "tall_age"], ["age_or_forty"]),
            node("Cast", ["tall_visits"], ["visits_number"], to=TensorProto.DOUBLE),
            node("Cast", ["tall_member"], ["member_number"], to=TensorProto.DOUBLE),
            node("Concat", ["age_or_forty", "visits_number", "member_number"], ["numbers"], axis=1),
            node("MatMul", ["numbers", "weights"], ["linear"]),
            node(
                "LabelEncoder",
                ["tall_plan"],
                ["code"],
                domain="ai.onnx.ml",
                keys_strings=[*PLANS, NULL_TEXT],
                values_int64s=[1, 2, 3, 4],
                default_int64=0,
            ),
            node("Gather", ["plans", "code"], ["plan_weight"]),
            node("Sum", ["linear", "plan_weight", "bias"], ["score"]),
            node("Sigmoid", ["score"], ["probability"]),
            node("Reshape", ["probability", "flat"], ["probability_leave"]),
            node("Greater", ["probability_leave", "half"], ["leaves"]),
            node("Cast", ["leaves"], ["place"], to=TensorProto.INT64),
            node("Gather", ["labels", "place"], ["prediction"]),
        ]
        kinds = {
            ColumnType.DOUBLE: TensorProto.DOUBLE,
            ColumnType.LONG: TensorProto.INT64,
            ColumnType.BOOLEAN: TensorProto.BOOL,
            ColumnType.STRING: TensorProto.STRING,
        }
        graph = helper.make_graph(
            nodes,
            "hand",
            [helper.make_tensor_value_info(c.name, kinds[c.type], [None]) for c in SIGNATURE.inputs],
            [helper.make_tensor_value_info(c.name, kinds[c.type], [None]) for c in SIGNATURE.outputs],
            [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        content: bytes = model.SerializeToString()
        return content


def make_sample(rows: int = 300, seed: int = 7) -> pa.Table:
    """Return rows for the hand model, with nulls where its signature allows them."""
    random = np.random.default_rng(seed)
    return pa.Table.from_arrays(
        [
            pa.array(random.normal(45, 15, rows), mask=random.random(rows) < 0.1),
            pa.array(random.integers(0, 30, rows)),
            pa.array(random.random(rows) < 0.4),
            pa.array(random.choice(PLANS, rows).tolist(), mask=random.random(rows) < 0.1),
        ],
        schema=SIGNATURE.input_schema,
    )


def make_conversion(model: HandModel | None = None) -> Conversion:
    """Return the conversion of a hand model."""
    model = model or HandModel()
    return Conversion(
        graph=model.graph(),
        signature=SIGNATURE,
        null_text=NULL_TEXT,
        labels=("stay", "leave"),
        framework="by-hand",
        versions={"by-hand": "1.0", "onnx": onnx.__version__},
        sample=make_sample(),
        predict=model.predict,
    )


@pytest.fixture
def conversion() -> Conversion:
    return make_conversion()


@pytest.fixture
def hand_conversion() -> Callable[..., Conversion]:
    """Make conversions: `hand_conversion(bias=-1.0)`; with `graph={"bias": 0.0}` the graph is of another model."""

    def make(graph: Mapping[str, Any] | None = None, **source: Any) -> Conversion:
        conversion = make_conversion(HandModel(**source))
        return conversion if graph is None else replace(conversion, graph=HandModel(**graph).graph())

    return make


@pytest.fixture
def rows() -> Callable[[int], pa.RecordBatch]:
    """Make batches of so many rows for the hand model."""
    return lambda count: pa.concat_batches(make_sample(count).to_batches() or [empty_batch()])


def empty_batch() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=SIGNATURE.input_schema)


@pytest.fixture
def copied(packages: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a package's folder to damage."""
    return shutil.copytree(packages(), tmp_path / "copied")


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return FolderBlobStore(tmp_path / "store")


@pytest.fixture
def registry(blobs: BlobStore) -> Registry:
    return Registry(blobs)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command on a store of its own and return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DROPSCORE_FOLDER", raising=False)

    def run_command(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run_command
