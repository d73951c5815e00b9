"""An ONNX file that somebody else made becomes a package, or says clearly why it cannot."""

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
from onnx import helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from errors import EstimatorInvalidError, SampleInvalidError
from model_store import Meaning, ModelOptions, Override, package
from model_store.convert import convert, load_estimator
from model_store.convert.options import Vocabulary
from model_store.model import Model
from model_store.signature import ColumnType
from tests.model_store.convert.agreement import assert_agrees, run
from tests.model_store.convert.graphs import DOUBLE, FLOAT, INT64, classifier, columns, matrix, save


def rows(count=500, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"age": random.normal(40, 9, count), "visits": random.integers(0, 9, count), "spent": random.random(count)}
    )


def opened(path):
    return load_estimator(path, trust_pickle=False)


def build(path, sample, folder, **options):
    """Package a file and return the model as it is served."""
    package(opened(path), sample, folder, options=ModelOptions(**options))
    return Model.open(folder)


def test_one_tensor_takes_the_samples_columns_in_order(tmp_path):
    """They are cast and stacked inside the graph; numbers keep the types that the rows have."""
    model = build(matrix(tmp_path / "m.onnx", outputs=1), rows(), tmp_path / "package")
    assert [(c.name, c.type) for c in model.signature.inputs] == [
        ("age", ColumnType.DOUBLE),
        ("visits", ColumnType.LONG),
        ("spent", ColumnType.DOUBLE),
    ]
    assert [(c.name, c.type) for c in model.signature.outputs] == [("prediction", ColumnType.DOUBLE)]
    frame = rows(5000, 1)
    batch = pa.RecordBatch.from_pandas(frame, schema=model.signature.input_schema, preserve_index=False)
    expected = frame.to_numpy().astype(np.float32) @ np.array([[0.5], [1.0], [0.01]], np.float32)
    assert model.predict(batch)["prediction"].to_numpy() == pytest.approx(expected[:, 0], rel=1e-6)


@pytest.mark.parametrize("element", [DOUBLE, FLOAT])
def test_several_numbers_are_a_column_each(tmp_path, element):
    """Without labels a row's numbers are predictions; a graph in double answers to the last bits."""
    conversion = convert(opened(matrix(tmp_path / "m.onnx", element=element)), rows())
    assert [c.name for c in conversion.signature.outputs] == ["prediction_0", "prediction_1", "prediction_2"]
    assert conversion.labels == ()
    assert_agrees(conversion, rows(300, 2), tolerance=1e-12 if element == DOUBLE else 1e-6)


@pytest.mark.parametrize("meaning", list(Meaning))
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_labels_make_a_classifier_of_numbers(tmp_path, meaning, outputs):
    """Of logits softmax or sigmoid makes probabilities; the largest number, or the side of one, is the label."""
    labels = ("no", "yes", "maybe")[: max(outputs, 2)]
    frame = rows() - [40.0, 0.0, 0.0]
    file = opened(matrix(tmp_path / "m.onnx", outputs=outputs))
    conversion = convert(file, frame, options=ModelOptions(labels, Meaning(meaning)))
    assert conversion.labels == labels
    word = "score" if meaning is Meaning.SCORES else "probability"
    shown = [f"{word}_{label}" for label in (labels if outputs == 3 else labels[1:])]
    names = ["score"] if meaning is Meaning.SCORES and outputs < 3 else shown
    assert [c.name for c in conversion.signature.outputs] == ["prediction", *names]
    given = assert_agrees(conversion, frame, tolerance=1e-6)
    numbers = (
        frame.to_numpy().astype(np.float32)
        @ np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5], [0.01, 0.02, 0.03]], np.float32)[:, :outputs]
    )
    turn = 0.5 if meaning is Meaning.PROBABILITIES else 0.0
    places = (numbers[:, 0] > turn).astype(int) if outputs == 1 else numbers.argmax(axis=1)
    assert given["prediction"].tolist() == [labels[place] for place in places]
    assert len(set(places)) > 1
    if meaning is Meaning.LOGITS:
        powers = np.exp(np.column_stack([np.zeros(len(numbers)), numbers]) if outputs == 1 else numbers)
        expected = powers[:, -1] / powers.sum(axis=1)
        assert given[names[-1]] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("texts", [True, False])
def test_a_zipmap_is_taken_out(tmp_path, texts):
    """Its labels name the columns, and the dictionaries of the original are what the answers are compared with."""
    conversion = convert(opened(classifier(tmp_path / "m.onnx", texts=texts)), rows())
    assert conversion.labels == (("a", "b", "c") if texts else (10, 20, 30))
    assert [c.name for c in conversion.signature.outputs] == [
        "prediction",
        *(f"probability_{label}" for label in conversion.labels),
    ]
    assert b"ZipMap" not in conversion.graph
    assert_agrees(conversion, rows(300, 3), tolerance=1e-6)


def test_labels_may_be_given_for_classes_that_are_numbers(tmp_path):
    """A graph whose classes are 0, 1, ... answers with the user's own labels."""
    frame = rows()
    target = np.digitize(frame["age"], [35, 45])
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(frame.to_numpy(), target)
    path = tmp_path / "m.onnx"
    path.write_bytes(
        to_onnx(forest, frame.to_numpy().astype(np.float32), options={"zipmap": False}).SerializeToString()
    )
    assert convert(opened(path), frame).labels == (0, 1, 2)
    model = build(path, frame, tmp_path / "package", labels=("young", "grown", "old"))
    assert model.metadata.labels == ("young", "grown", "old")
    batch = pa.RecordBatch.from_pandas(frame, schema=model.signature.input_schema, preserve_index=False)
    answers = model.predict(batch)
    names = np.array(["young", "grown", "old"])[forest.predict(frame.to_numpy())]
    assert np.mean(np.array(answers["prediction"].to_pylist()) == names) > 0.99  # float32 is the file's own choice
    assert answers.schema.names[1:] == ["probability_young", "probability_grown", "probability_old"]


def test_inputs_that_are_columns_are_matched_by_name(tmp_path):
    """[N] and [N, 1] are fed alike, a column of strings goes in as it is, others of the sample are left out."""
    frame = pd.DataFrame(
        {"city": ["Rome", "Oslo", "Bern"] * 50, "note": "x", "visits": range(150), "amount": np.arange(150) / 8}
    )
    conversion = convert(opened(columns(tmp_path / "m.onnx")), frame)
    assert [(c.name, c.type, c.nullable) for c in conversion.signature.inputs] == [
        ("amount", ColumnType.DOUBLE, False),
        ("visits", ColumnType.LONG, False),
        ("city", ColumnType.STRING, False),
    ]
    given = assert_agrees(conversion, frame)
    assert given["prediction"][:3].tolist() == [1.5, 1.125 - 2.5, 2.25 + 0.125]


def test_nulls_are_taken_where_the_graph_answers_them(tmp_path):
    """A graph that replaces NaN takes nulls, and whole numbers of a nullable column are doubles."""
    nodes = [
        helper.make_node("IsNaN", ["x"], ["missing"]),
        helper.make_node("Where", ["missing", "w", "x"], ["full"]),
        helper.make_node("ReduceSum", ["full", "axis"], ["y"], keepdims=0),
    ]
    weights = {"w": np.array([[40.0, 3.0, 0.5]], np.float32), "axis": np.array([1])}
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n"])], weights)
    frame = rows()
    frame.loc[::7, "age"] = np.nan
    model = build(path, frame, tmp_path / "package")
    assert [(c.type, c.nullable) for c in model.signature.inputs] == [(ColumnType.DOUBLE, True)] * 3
    assert "nulls in 'visits'" not in model.metadata.parity.refused


def test_the_user_may_say_that_texts_may_be_null(tmp_path):
    """ONNX has no null string: the graph then sees a text that is in no vocabulary."""
    frame = pd.DataFrame({"amount": [1.0, 2.0], "visits": [1, 2], "city": ["Rome", None]})
    file = opened(columns(tmp_path / "m.onnx"))
    with pytest.raises(SampleInvalidError, match="'city' of the sample has nulls"):
        convert(file, frame)
    conversion = convert(file, frame, overrides={"city": Override(nullable=True)})
    assert run(conversion, conversion.sample)["prediction"].tolist() == [3.5, 4.125]


def test_a_fixed_number_of_rows_is_opened(tmp_path):
    """Where nothing in the graph depends on it; the original is asked as many rows at a time as it takes."""
    path = matrix(tmp_path / "m.onnx", batch=4, outputs=1)
    model = build(path, rows(103), tmp_path / "package")
    assert model.metadata.parity.rows >= 103


def test_a_number_of_rows_built_into_the_graph_is_refused(tmp_path):
    """A Reshape to one row, as tracing writes it, cannot serve files of rows."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Reshape", ["z", "one"], ["y"])]
    weights = {"w": np.ones((3, 1), np.float32), "one": np.array([1, 1])}
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, [1, 3])], [("y", FLOAT, [1, 1])], weights)
    with pytest.raises(EstimatorInvalidError, match="batches of any size"):
        convert(opened(path), rows())


def test_rows_that_see_each_other_are_refused(tmp_path):
    """A softmax over the rows would answer otherwise in another block."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=0)]
    weights = {"w": np.ones((3, 1), np.float32)}
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 1])], weights)
    with pytest.raises(EstimatorInvalidError, match="depends on the rows beside it"):
        convert(opened(path), rows())


def test_old_graphs_stay_in_their_operator_sets(tmp_path):
    """Opset 9 of 2019, with weights among the inputs as IR 3 wants them."""
    inputs = [("x", FLOAT, ["n", 3]), ("w", FLOAT, [3, 1])]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = {"w": np.ones((3, 1), np.float32)}
    options = {"opsets": {"": 9}, "ir": 3}
    path = save(tmp_path / "m.onnx", nodes, inputs, [("y", FLOAT, ["n", 1])], weights, **options)
    conversion = convert(opened(path), rows())
    opsets = {entry.domain: entry.version for entry in onnx.load_from_string(conversion.graph).opset_import}
    assert opsets[""] == 9
    assert_agrees(conversion, rows(30), tolerance=1e-6)


def test_the_same_file_gives_the_same_bytes_without_its_notes(tmp_path):
    """What its makers noted, and the machine's paths in it, stay behind."""
    path = matrix(tmp_path / "m.onnx")
    graph = convert(opened(path), rows()).graph
    assert graph == convert(opened(path), rows(40, 9)).graph
    assert b"somebody" not in graph
    onnx.checker.check_model(onnx.load_from_string(graph))


def test_graphs_inside_of_nodes_are_taken_along(tmp_path):
    """An If whose branches read tensors around it."""
    branch = [
        helper.make_graph(
            [helper.make_node(operator, ["total", "one"], ["inner"])],
            operator,
            [],
            [helper.make_tensor_value_info("inner", FLOAT, ["n", 1])],
        )
        for operator in ("Add", "Sub")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "one3"], ["total"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    weights = {
        "one3": np.ones((3, 1), np.float32),
        "one": np.array([[1]], np.float32),
        "yes": np.array(True),
    }
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 1])], weights)
    given = assert_agrees(convert(opened(path), rows()), rows(), tolerance=1e-6)
    assert given["prediction"] == pytest.approx(rows().sum(axis=1).to_numpy() + 1, rel=1e-6)


def truncated(path):
    path.write_bytes(matrix(path).read_bytes()[:-40])


def external(path):
    model = onnx.load(matrix(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def custom(path):
    save(path, [helper.make_node("Score", ["x"], ["y"], domain="com.acme")], [("x", FLOAT, ["n", 3])],
         [("y", FLOAT, ["n", 1])], opsets={"": 13, "com.acme": 1})  # fmt: skip


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no graph at all"), "damaged|no ONNX graph"),
        (truncated, "damaged|no ONNX graph|no valid ONNX"),
        (external, "keeps weights in other files"),
        (custom, "unknown domain 'com.acme'"),
        (lambda path: matrix(path, opsets={"": 6}), "operator set 6"),
        (lambda path: matrix(path, opsets={"": 999}), "operator set 999"),
        (lambda path: matrix(path, ir=999), "no valid ONNX|IR"),
        (
            lambda path: save(
                path, [helper.make_node("MatMul", ["x", "gone"], ["y"])], [("x", FLOAT, ["n", 3])],
                [("y", FLOAT, ["n", 1])],
            ),
            "no valid ONNX",
        ),
        (
            lambda path: save(
                path, [helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, ["n", 3, 8, 8])],
                [("y", FLOAT, ["n", 3, 8, 8])],
            ),
            "no tensor",
        ),
        (
            lambda path: save(
                path, [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [("x", FLOAT, ["n", 3])],
                [("y", FLOAT, [])],
            ),
            "one answer a row",
        ),
        (
            lambda path: save(
                path, [helper.make_node("Add", ["x", "z"], ["y"])],
                [("x", FLOAT, ["n", 3]), ("z", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])],
            ),
            "takes 2 tensors",
        ),
    ],
    ids=["empty", "text", "truncated", "external", "custom", "opset 6", "opset 999", "ir 999", "dangling", "image",
         "no rows", "two matrices"],
)  # fmt: skip
def test_what_cannot_be_taken_says_why(tmp_path, make, says):
    """Damage, other files, unknown operators and shapes that no table has are told apart; nothing is written."""
    path = tmp_path / "m.onnx"
    make(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(EstimatorInvalidError, match=says):
        package(opened(path), rows(), tmp_path / "package")
    assert sorted(tmp_path.iterdir()) == before


def test_an_operator_that_onnx_runtime_lacks_is_named(tmp_path):
    """A valid graph need not be one that is run: here an operator without a kernel for the type."""
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=INT64), helper.make_node("Sin", ["h"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", INT64, ["n", 3])])
    with pytest.raises(EstimatorInvalidError, match=r"cannot open m\.onnx.*Sin"):
        convert(opened(path), rows())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop(columns="age"), "takes 3 columns, and the sample has 2"),
        (lambda frame: frame.assign(age="x"), "'age' of the sample is"),
        (lambda frame: frame.assign(age=[pd.Timestamp("2026-01-01")] * len(frame)), "'age' of the sample cannot"),
        (lambda frame: frame.assign(age=[{}] * len(frame)), "'age' of the sample cannot be read"),
        (lambda frame: frame.iloc[:0], "no rows"),
        (lambda frame: frame.set_axis(["a", "a", "b"], axis=1), "two columns named 'a'"),
        (lambda frame: frame.set_axis([1, 2, 3], axis=1), "column named 1"),
        (lambda frame: frame.assign(age=np.nan), "'age' of the sample has nulls"),
        (lambda frame: frame.rename(columns={"age": "prediction"}), "name of an output"),
    ],
)
def test_samples_that_do_not_fit_say_where(tmp_path, change, says):
    """The column at fault is named."""
    with pytest.raises(SampleInvalidError, match=says):
        convert(opened(matrix(tmp_path / "m.onnx", outputs=1)), change(rows()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": ("a", "b")}, "3 numbers a row for 2 labels"),
        ({"vocabularies": {"age": Vocabulary(("x",), 1)}}, "vocabularies are for"),
    ],
)
def test_options_that_do_not_fit_say_why(tmp_path, options, says):
    """Labels are as many as the numbers they stand for."""
    with pytest.raises(EstimatorInvalidError, match=says):
        convert(opened(matrix(tmp_path / "m.onnx")), rows(), options=ModelOptions(**options))


@pytest.mark.parametrize(
    ("labels", "says"),
    [(("a",), "only one"), (("a", "a"), "the same"), (("a", 1), "one type"), ((None, "a"), "type")],
)
def test_labels_that_are_none_are_refused(labels, says):
    """One label, equal labels and labels of several types."""
    with pytest.raises(EstimatorInvalidError, match=says):
        ModelOptions(labels=labels)


def test_estimators_that_know_their_labels_take_no_options():
    """Options that would be ignored are refused."""
    frame = rows()
    with pytest.raises(EstimatorInvalidError, match="without options"):
        convert(
            LogisticRegression().fit(frame, frame["age"] > 40), frame, options=ModelOptions(labels=("no", "yes"))
        )
