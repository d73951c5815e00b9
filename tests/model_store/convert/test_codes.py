"""The graph of category codes answers as the portable one does, to the last bit, or a column stays a string."""

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from model_store.convert import NULL_TEXT, convert
from model_store.convert.codes import MAX_CATEGORIES, encode_strings
from model_store.fast_graph import keep_if_equal
from model_store.model import OpenGraph
from model_store.packages import FAST_EQUAL, with_categories
from model_store.signature import Column, ColumnType, Signature
from tests.model_store.convert.agreement import people, rows_of, strangers, target, three, two
from tests.model_store.convert.pipelines import one_hot, scaled, unscaled

ELEMENTS = {"string": TensorProto.STRING, "double": TensorProto.DOUBLE, "long": TensorProto.INT64}
ODD_TEXTS = [None, "", "nan", NULL_TEXT, "Zürich", "zürich", "other", "other_", "a\x00b"]


def graph_of(nodes, inputs, outputs, initializers=None, shape=("N",)):
    """Make a graph; `inputs` and `outputs` are types by name."""
    values = {name: np.asarray(value) for name, value in (initializers or {}).items()}
    graph = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info(name, ELEMENTS[kind], list(shape)) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, ELEMENTS[kind], ["N"]) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def signature_of(inputs, outputs):
    sides = ([Column(name, ColumnType(kind)) for name, kind in side.items()] for side in (inputs, outputs))
    return Signature(*(tuple(side) for side in sides))


def label_encoder(source, result, **attributes):
    return helper.make_node("LabelEncoder", [source], [result], domain="ai.onnx.ml", **attributes)


def assert_same_bits(tmp_path, graph, signature, rows, null_text=NULL_TEXT):
    """Check that both graphs give the same bits, and return the coded one."""
    coded = encode_strings(graph, signature, null_text)
    assert coded is not None
    named = with_categories(signature, coded.categories)
    (tmp_path / "portable.onnx").write_bytes(graph)
    portable = OpenGraph(tmp_path / "portable.onnx", named, null_text)
    assert keep_if_equal(coded, tmp_path / "fast.onnx", portable, named, rows) == FAST_EQUAL
    assert {name for name in coded.categories if NULL_TEXT in coded.categories[name]} == set()
    return coded


def input_types(graph):
    return {value.name: value.type.tensor_type.elem_type for value in onnx.ModelProto.FromString(graph).graph.input}


def output_types(graph):
    return [value.type.tensor_type.elem_type for value in onnx.ModelProto.FromString(graph).graph.output]


def operators(graph):
    return [node.op_type for node in onnx.ModelProto.FromString(graph).graph.node]


def target_encoded(estimator):
    encoder = TargetEncoder()
    return make_pipeline(ColumnTransformer([("t", encoder, ["city", "plan"])], remainder="drop"), estimator)


PIPELINES = {
    "logistic": (scaled(LogisticRegression()), two),
    "many classes": (scaled(LogisticRegression()), three),
    "ridge": (scaled(Ridge()), target),
    "forest": (scaled(RandomForestClassifier(7, max_depth=5, random_state=0)), three),
    "regression forest": (unscaled(RandomForestRegressor(7, max_depth=5, random_state=0)), target),
    "boosting": (scaled(GradientBoostingClassifier(n_estimators=7, random_state=0)), two),
    "ordinal": (unscaled(HistGradientBoostingClassifier(max_iter=3, random_state=0)), two),
    "target": (target_encoded(Ridge()), target),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_answer_the_same_on_strangers_and_nulls(name, tmp_path):
    """Unseen, empty, null and odd texts get the very bits that the portable graph gives; no string is left."""
    model, label = PIPELINES[name]
    frame = people()
    conversion = convert(model.fit(frame, label(frame)), frame)
    rows = strangers()
    rows.loc[: len(ODD_TEXTS) - 1, "city"] = ODD_TEXTS
    rows.loc[: len(ODD_TEXTS) - 1, "plan"] = ODD_TEXTS
    coded = assert_same_bits(tmp_path, conversion.graph, conversion.signature, rows_of(conversion, rows))
    assert TensorProto.STRING not in {*input_types(coded.graph).values(), *output_types(coded.graph)}
    assert "LabelEncoder" not in operators(coded.graph)
    assert {"Bern", "Oslo", "Paris", "Rome", "Zürich"} <= set(coded.categories["city"])
    assert coded == encode_strings(conversion.graph, conversion.signature, NULL_TEXT)


def test_a_column_may_be_read_by_several_encoders(tmp_path):
    """One-hot, ordinal and an imputer's indicator of one column share its codes."""
    frame = people()
    ordinal = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="Rome", add_indicator=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=240)
    columns = [("hot", one_hot(), ["city"]), ("ordinal", ordinal, ["city", "plan"]), ("rare", rare, ["city"])]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(frame, two(frame))
    conversion = convert(model, frame)
    assert operators(conversion.graph).count("LabelEncoder") > 2
    assert_same_bits(tmp_path, conversion.graph, conversion.signature, rows_of(conversion, strangers()))


def test_ten_thousand_categories(tmp_path):
    """A long vocabulary is looked up through a dict for few rows and by Arrow for many, to the same end."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": [f"shop {place:05d}" for place in random.permutation(10_000)], "size": 1.0})
    frame["size"] = random.random(10_000)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("shop", encoder, ["shop"]), ("size", "passthrough", ["size"])])
    model = make_pipeline(columns, Ridge()).fit(frame, random.random(10_000))
    conversion = convert(model, frame)
    coded = assert_same_bits(tmp_path, conversion.graph, conversion.signature, rows_of(conversion, frame))
    assert len(coded.categories["shop"]) == 10_000
    graph = OpenGraph(tmp_path / "fast.onnx", with_categories(conversion.signature, coded.categories), NULL_TEXT)
    batch = rows_of(conversion, frame).combine_chunks().to_batches()[0]
    alone = pa.concat_batches([graph.predict(batch.slice(row, 1)) for row in range(50)])
    assert alone.equals(graph.predict(batch).slice(0, 50))


def test_the_only_column_keeps_its_shape(tmp_path):
    """A graph of one input takes [N, 1]; so does its fast form."""
    frame = people()[["city"]]
    model = make_pipeline(one_hot(), LogisticRegression()).fit(frame, two(people()))
    conversion = convert(model, frame)
    coded = assert_same_bits(tmp_path, conversion.graph, conversion.signature, rows_of(conversion, frame))
    shape = onnx.ModelProto.FromString(coded.graph).graph.input[0].type.tensor_type.shape
    assert len(shape.dim) == 2


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"keys_strings": ["b", "a", "b"], "values_int64s": [7, 8, 9], "default_int64": 5}, "long"),
        ({"keys_strings": ["b", "a"], "values_int64s": [7, 8]}, "long"),
        ({"keys_strings": ["b", "a"], "values_strings": ["x", "ä"]}, "string"),
        (
            {"keys_strings": ["b", "ä", NULL_TEXT], "values_strings": ["x", "y", "z"], "default_string": "?"},
            "string",
        ),
        (
            {
                "keys_tensor": numpy_helper.from_array(np.array(["a", NULL_TEXT], dtype=object)),
                "values_tensor": numpy_helper.from_array(np.array([0.1, np.nan])),
                "default_tensor": numpy_helper.from_array(np.array([-0.0])),
            },
            "double",
        ),
    ],
)
def test_every_form_of_a_label_encoder(tmp_path, attributes, kind):
    """Other converters write keys and values as lists, leave the default out, or name a key twice."""
    inputs, outputs = {"text": "string", "other": "double"}, {"found": kind}
    graph = graph_of([label_encoder("text", "found", **attributes)], inputs, outputs)
    rows = pa.table({"text": ["a", "b", "ä", "c", None, "", NULL_TEXT], "other": [0.0] * 7})
    assert_same_bits(tmp_path, graph, signature_of(inputs, outputs), rows)


def test_another_null_text_may_be_a_text_as_well(tmp_path):
    """Where nulls are fed as '', an empty cell is a null, in both graphs."""
    inputs, outputs = {"text": "string", "other": "double"}, {"found": "long"}
    node = label_encoder("text", "found", keys_strings=["", "a"], values_int64s=[1, 2], default_int64=3)
    rows = pa.table({"text": ["a", None, "", "b"] * 30, "other": [0.0] * 120})
    coded = assert_same_bits(
        tmp_path, graph_of([node], inputs, outputs), signature_of(inputs, outputs), rows, null_text=""
    )
    assert coded.categories == {"text": ("a",)}


def test_a_lookup_behind_is_joined_only_while_that_is_small(tmp_path):
    """Ten thousand texts of ten meanings keep the small table and get one of numbers before it."""
    inputs, outputs = {"text": "string", "other": "double"}, {"found": "double"}
    keys = [f"text {place}" for place in range(10_000)]
    nodes = [
        label_encoder("text", "code", keys_strings=keys, values_int64s=[place % 10 for place in range(10_000)]),
        helper.make_node("Gather", ["rows", "code"], ["row"]),
        helper.make_node("ReduceSum", ["row", "last"], ["found"], keepdims=0),
    ]
    graph = graph_of(nodes, inputs, outputs, {"rows": np.random.default_rng(0).random((10, 50)), "last": [1]})
    rows = pa.table({"text": ["text 3", None, "text 12", "?"], "other": [0.0] * 4})
    coded = assert_same_bits(tmp_path, graph, signature_of(inputs, outputs), rows)
    assert operators(coded.graph) == ["Gather", "Gather", "ReduceSum"]


def branch(tensor):
    """Return an If that uses a tensor of the graph around it."""
    node = helper.make_node("Identity", [tensor], ["inside"])
    value = helper.make_tensor_value_info("inside", TensorProto.STRING, ["N"])
    inner = helper.make_graph([node], "inner", [], [value])
    return helper.make_node("If", ["yes"], ["kept"], then_branch=inner, else_branch=inner)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Identity", ["text"], ["kept"]),
        helper.make_node("StringConcat", ["text", "text"], ["kept"]),
        helper.make_node("Where", ["longs", "text", "text"], ["kept"]),
        branch("text"),
    ],
    ids=["output", "operator", "where", "nested graph"],
)
def test_a_column_that_is_used_otherwise_stays_a_string(tmp_path, node):
    """What is more than looked up cannot be a code; its neighbour can."""
    inputs, outputs = {"text": "string", "plan": "string"}, {"kept": "string", "found": "long", "code": "long"}
    nodes = [
        node,
        label_encoder("text", "code", keys_strings=["a"], values_int64s=[1]),
        label_encoder("plan", "found", keys_strings=["a"], values_int64s=[1]),
    ]
    graph = graph_of(nodes, inputs, outputs, {"yes": np.array(True), "longs": np.array([True])})
    rows = pa.table({"text": ["a", "b", None], "plan": [None, "a", "b"]})
    coded = assert_same_bits(tmp_path, graph, signature_of(inputs, outputs), rows)
    assert input_types(coded.graph) == {"text": TensorProto.STRING, "plan": TensorProto.INT32}
    assert coded.categories == {"plan": ("a",)}


def test_nothing_to_gain_is_no_fast_graph():
    """A model of numbers, or one that reads its texts in other ways, has none."""
    frame = people()[["visits", "ratio"]]
    conversion = convert(Ridge().fit(frame, target(people())), frame)
    assert encode_strings(conversion.graph, conversion.signature, NULL_TEXT) is None
    inputs, outputs = {"text": "string"}, {"kept": "string"}
    graph = graph_of([helper.make_node("Identity", ["text"], ["kept"])], inputs, outputs)
    assert encode_strings(graph, signature_of(inputs, outputs), NULL_TEXT) is None


def test_a_vocabulary_without_end_stays_outside_of_the_manifest():
    """A column of more texts than a manifest should hold stays a string."""
    inputs, outputs = {"text": "string", "other": "double"}, {"found": "long"}
    keys = [str(place) for place in range(MAX_CATEGORIES + 1)]
    node = label_encoder("text", "found", keys_strings=keys, values_int64s=range(len(keys)))
    graph = graph_of([node], inputs, outputs)
    assert encode_strings(graph, signature_of(inputs, outputs), NULL_TEXT) is None


def test_categories_the_user_names_are_kept(tmp_path):
    """Texts that the graph does not tell apart may be known all the same: the vocabulary is the union."""
    inputs, outputs = {"text": "string", "other": "double"}, {"found": "long"}
    graph = graph_of([label_encoder("text", "found", keys_strings=["m"], values_int64s=[1])], inputs, outputs)
    columns = (
        Column("text", ColumnType.STRING, categories=("z", "a", NULL_TEXT)),
        Column("other", ColumnType.DOUBLE),
    )
    signature = Signature(columns, signature_of(inputs, outputs).outputs)
    rows = pa.table({"text": ["a", "m", "z", "?", None], "other": [0.0] * 5})
    coded = assert_same_bits(tmp_path, graph, signature, rows)
    assert coded.categories == {"text": ("a", "m", "z")}
