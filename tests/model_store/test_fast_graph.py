"""A package serves its fast graph, which is proved equal when it is built and checked like any other file."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from errors import PackageInvalidError
from model_store import package
from model_store.convert.codes import encode_strings
from model_store.convert.conversion import CodedGraph, Conversion
from model_store.fast_graph import keep_if_equal
from model_store.model import Model, OpenGraph
from model_store.packages import FAST_EQUAL, FAST_GRAPH, GRAPH, MANIFEST, FileEntry, PackageInfo, read_package
from model_store.packages import with_categories as named
from model_store.packaging import build_package
from model_store.signature import Column, ColumnType, Signature

PLANS = {"plan": ("basic", "plus", "pro")}


def coded(conversion):
    return encode_strings(conversion.graph, conversion.signature, conversion.null_text)


def with_fast_graph(folder, graph):
    """Put another fast graph into a package and seal it anew, as somebody who knows the format could."""
    (folder / FAST_GRAPH).write_bytes(graph)
    info = PackageInfo.parse((folder / MANIFEST).read_bytes(), (folder / "MLmodel").read_bytes())
    files = {name: FileEntry.of(folder / name) for name in (*info.files, FAST_GRAPH)}
    (folder / MANIFEST).write_bytes(replace(info, files=files).to_manifest())


def test_a_package_serves_its_fast_graph(packages, copied, hand_conversion, rows):
    """Codes are what the loaded model feeds; the report says that the graph was found equal."""
    info = read_package(packages())
    assert info.parity.fast == FAST_EQUAL
    assert {column.name: column.categories for column in info.signature.inputs if column.categories} == PLANS
    assert "LabelEncoder" not in [node.op_type for node in onnx.load(packages() / FAST_GRAPH).graph.node]
    # Another model's, near enough for the golden rows: the difference shows which graph it was that answered.
    with_fast_graph(copied, coded(hand_conversion(bias=-2.0 + 1e-7)).graph)
    probabilities = [Model.open(folder).predict(rows(500))["probability_leave"] for folder in (packages(), copied)]
    portable = OpenGraph(packages() / GRAPH, info.signature, info.null_text).predict(rows(500))
    assert portable["probability_leave"].equals(probabilities[0])
    assert not probabilities[1].equals(probabilities[0])


def test_golden_rows_are_put_to_the_graph_that_serves(copied, hand_conversion):
    """A fast graph of other answers is refused at load, though the portable one is right."""
    with_fast_graph(copied, coded(hand_conversion(bias=-1.0)).graph)
    with pytest.raises(PackageInvalidError, match="golden rows get other answers"):
        Model.open(copied)


def test_a_fast_graph_is_checked_as_the_portable_one_is(copied, conversion):
    """It reaches outside itself no more than the other: unknown domains and cut graphs are refused."""
    model = onnx.load(copied / FAST_GRAPH)
    model.graph.node[0].domain = "com.evil"
    with_fast_graph(copied, model.SerializeToString())
    with pytest.raises(PackageInvalidError, match=r"fast\.onnx uses operators of the unknown domain"):
        read_package(copied)
    with_fast_graph(copied, conversion.graph[:-10])
    with pytest.raises(PackageInvalidError, match=r"fast\.onnx"):
        read_package(copied)


@pytest.mark.parametrize(
    ("lie", "verdict"),
    [
        ({"bias": -2.0000001}, "300 of 300 rows get another 'probability_leave'"),
        ({"plans": (0.7, 0.1, -0.4 - 1e-12)}, "rows get another 'probability_leave'"),
        (None, "cannot open"),
    ],
    ids=["everywhere", "in one category", "no graph"],
)
def test_a_fast_graph_that_lies_is_left_out(conversion, hand_conversion, tmp_path, lie, verdict):
    """Whatever differs in one bit, in a category that no trial has too, is not kept, and the verdict says why."""
    signature = named(conversion.signature, PLANS)
    (tmp_path / GRAPH).write_bytes(conversion.graph)
    portable = OpenGraph(tmp_path / GRAPH, signature, conversion.null_text)
    trials = conversion.sample
    trials = trials.set_column(3, trials.schema.field(3), pa.array(["basic"] * 300))
    graph = CodedGraph(b"", PLANS) if lie is None else coded(hand_conversion(**lie))
    assert verdict in keep_if_equal(graph, tmp_path / FAST_GRAPH, portable, signature, trials)
    assert not (tmp_path / FAST_GRAPH).exists()
    honest = coded(conversion)
    assert keep_if_equal(honest, tmp_path / FAST_GRAPH, portable, signature, trials) == FAST_EQUAL
    assert (tmp_path / FAST_GRAPH).read_bytes() == honest.graph


def test_the_digest_names_both_graphs_and_the_categories(packages):
    """What serves has another digest if the fast graph or a category is another."""
    info = read_package(packages())
    entry = FileEntry("0" * 64, 1)
    assert replace(info, files={**info.files, FAST_GRAPH: entry}).digest != info.digest
    assert replace(info, signature=named(info.signature, {"plan": ("basic",)})).digest != info.digest


def test_categories_must_be_those_of_a_string_column(packages):
    """A manifest that gives categories to anything else is refused."""
    info = read_package(packages())
    for categories in ({"age": ["1"]}, {"nobody": ["a"]}, {"plan": "basic"}, {"plan": [1]}):
        with pytest.raises(PackageInvalidError, match="no string column"):
            named(info.signature, categories)


def test_packages_of_the_first_format_are_served_as_ever(copied, rows):
    """They have no fast graph and no categories, and a digest that knows of neither."""
    wanted = Model.open(copied).predict(rows(200))
    entries = json.loads((copied / MANIFEST).read_bytes())
    info = read_package(copied)
    (copied / FAST_GRAPH).unlink()
    del entries["seal"], entries["categories"], entries["files"][FAST_GRAPH], entries["parity"]["fast"]
    serves = {
        "graph": entries["files"][GRAPH]["sha256"],
        "inputs": [column.to_mlflow() | {"nullable": column.nullable} for column in info.signature.inputs],
        "outputs": [column.to_mlflow() for column in info.signature.outputs],
        "labels": entries["labels"],
        "null_text": entries["null_text"],
    }
    canonical = json.dumps(serves, sort_keys=True, separators=(",", ":"))
    entries |= {"format_version": 1, "digest": hashlib.sha256(canonical.encode()).hexdigest()}
    body = json.dumps(entries, indent=2, ensure_ascii=False).encode().removesuffix(b"\n}")
    seal = hashlib.sha256(body).hexdigest().encode()
    (copied / MANIFEST).write_bytes(body + b',\n  "seal": "' + seal + b'"\n}\n')
    model = Model.open(copied)
    assert (model.metadata.format_version, model.metadata.parity.fast) == (1, None)
    assert model.predict(rows(200)).equals(wanted)


def test_a_model_without_strings_has_one_graph(tmp_path):
    """Where nothing can be gained, nothing is written, and the report is silent."""
    node = onnx.helper.make_node("Reshape", ["x", "flat"], ["prediction"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "echo",
        [value("x", onnx.TensorProto.DOUBLE, ["N", 1])],
        [value("prediction", onnx.TensorProto.DOUBLE, ["N"])],
        [onnx.numpy_helper.from_array(np.array([-1]), "flat")],
    )
    double = ColumnType.DOUBLE
    signature = Signature((Column("x", double, nullable=False),), (Column("prediction", double),))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    conversion = Conversion(
        graph=model.SerializeToString(),
        signature=signature,
        null_text="",
        labels=(),
        framework="by-hand",
        versions={},
        sample=pa.table({"x": [1.0, 2.0]}, schema=signature.input_schema),
        predict=lambda rows: pa.table({"prediction": rows["x"]}, schema=signature.output_schema),
    )
    info = build_package(conversion, tmp_path / "package")
    assert info.parity.fast is None
    assert not (tmp_path / "package" / FAST_GRAPH).exists()


@pytest.mark.parametrize("labels", ["no JSON", "[]", '{"prediction": 3}', '{"prediction": ["stay"]}', None])
def test_places_of_no_labels_are_refused(tmp_path, labels):
    """A graph that gives places of labels, and names too few or none, is refused: no row gets a wrong label."""
    people = pd.DataFrame({"plan": ["basic", "plus", "pro", None] * 20, "age": range(80)})
    steps = ColumnTransformer([("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])], remainder="passthrough")
    package(make_pipeline(steps, LogisticRegression()).fit(people, ["stay", "leave"] * 40), people, tmp_path / "a")
    model = onnx.load(tmp_path / "a" / FAST_GRAPH)
    assert json.loads(model.metadata_props[0].value) == {"prediction": ["leave", "stay"]}
    if labels is None:
        del model.metadata_props[:]
    else:
        model.metadata_props[0].value = labels
    with_fast_graph(tmp_path / "a", model.SerializeToString())
    with pytest.raises(PackageInvalidError, match=r"labels in its metadata|in the signature|none of its 1"):
        Model.open(tmp_path / "a")


@pytest.fixture
def labelled(tmp_path):
    people = pd.DataFrame({"plan": ["basic", "plus", "pro", None] * 20, "age": [*map(float, range(80))]})
    steps = ColumnTransformer([("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])], remainder="passthrough")
    package(make_pipeline(steps, LogisticRegression()).fit(people, ["stay", "leave"] * 40), people, tmp_path / "a")
    return tmp_path / "a"


def test_a_few_cells_get_the_answers_that_a_batch_gets(labelled):
    """Cells as Python has them are coded, and labels given back, as in a batch: nulls and unseen texts too."""
    cells = {"plan": ["pro", None, "zzz"], "age": [20.0, 30.0, 25.5]}
    model = Model.open(labelled)
    batch = pa.RecordBatch.from_pydict(cells, schema=model.signature.input_schema)
    assert model.predict_cells(list(cells.values())) == [
        column.to_pylist() for column in model.predict(batch).columns
    ]


def test_a_few_cells_get_no_wrong_label(labelled):
    """A place of a label that is not there is refused, as in a batch."""
    graph = onnx.load(labelled / FAST_GRAPH)
    graph.metadata_props[0].value = '{"prediction": ["stay"]}'
    (labelled / FAST_GRAPH).write_bytes(graph.SerializeToString())
    info = read_package_unverified(labelled)
    opened = OpenGraph(labelled / FAST_GRAPH, info.signature, info.null_text)
    with pytest.raises(PackageInvalidError, match="none of its 1"):
        opened.predict_cells([["basic", "plus", "pro"], [0.0, 1.0, 2.0]])


def read_package_unverified(folder):
    return PackageInfo.parse((folder / MANIFEST).read_bytes(), (folder / "MLmodel").read_bytes())
