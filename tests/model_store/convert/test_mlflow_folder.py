"""MLflow's folders are read without MLflow; tests/frameworks has those that real MLflow wrote."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.__main__ import app
from model_store.convert import convert, load_estimator
from model_store.convert.loading import is_model_folder
from model_store.convert.mlflow_folder import read_example
from model_store.signature import ColumnType
from tests.model_store.convert.graphs import matrix

SIGNATURE = [
    {"name": "age", "type": "double"},
    {"name": "visits", "type": "long"},
    {"name": "city", "type": "string"},
]
EXAMPLE = {"columns": ["age", "visits", "city"], "data": [[40, 3, "Rome"], [None, 4, None]]}


def write(folder, flavors, *, example=None, signature=SIGNATURE, kind="dataframe"):
    """Write an MLmodel, and rows beside it."""
    folder.mkdir(exist_ok=True)
    content = {"flavors": flavors, "signature": {"inputs": json.dumps(signature)}}
    if example is not None:
        content["saved_input_example_info"] = {"artifact_path": "rows.json", "type": kind, "pandas_orient": "split"}
        (folder / "rows.json").write_text(json.dumps(example), "utf-8")
    (folder / "MLmodel").write_text(yaml.safe_dump(content), "utf-8")
    return folder


@pytest.fixture
def sklearn_folder(tmp_path):
    folder = write(
        tmp_path / "run",
        {"python_function": {}, "sklearn": {"pickled_model": "model.pkl"}},
        example={"columns": ["age", "visits"], "data": [[40, 3], [30, 4], [20, 9]]},
        signature=SIGNATURE[:2],
    )
    rows = pd.DataFrame({"age": [40.0, 30.0, 20.0], "visits": [3, 4, 9]})
    joblib.dump(LinearRegression().fit(rows, [1.0, 2.0, 3.0]), folder / "model.pkl")
    return folder


def test_the_flavors_model_is_loaded(sklearn_folder, tmp_path):
    """A pickle only with trust; an ONNX file needs none."""
    with pytest.raises(EstimatorInvalidError, match=r"model\.pkl is a pickle.*--trust-pickle"):
        load_estimator(sklearn_folder, trust_pickle=False)
    assert isinstance(load_estimator(sklearn_folder, trust_pickle=True), LinearRegression)
    folder = write(tmp_path / "onnx", {"onnx": {"data": "model.onnx"}})
    matrix(folder / "model.onnx", outputs=1)
    rows = pd.DataFrame(np.ones((9, 3)), columns=["a", "b", "c"])
    assert convert(load_estimator(folder, trust_pickle=False), rows).framework == "onnx"


def test_the_example_is_the_sample(sklearn_folder, tmp_path, monkeypatch):
    """One command takes a folder, without --sample; a package is no model to be packaged."""
    monkeypatch.chdir(tmp_path)
    assert is_model_folder(sklearn_folder)
    result = CliRunner().invoke(app, ["add", "churn", str(sklearn_folder), "--trust-pickle"])
    assert result.exit_code == 0, result.output
    assert "churn@1 registered" in result.output
    package = tmp_path / ".dropscore" / "models" / "churn" / "1"
    assert not is_model_folder(package)


def test_cells_of_the_example_are_of_the_signatures_types(tmp_path):
    """JSON's 40 is a double in a column of doubles; nulls are pandas' own."""
    rows = read_example(write(tmp_path / "run", {}, example=EXAMPLE))
    assert rows.dtypes.astype(str).tolist() == ["float64", "int64", "object"]
    assert rows["age"].isna().tolist() == rows["city"].isna().tolist() == [False, True]


@pytest.mark.parametrize("options", [{}, {"example": [[1.0, 2.0]], "kind": "ndarray"}])
def test_a_folder_without_rows_of_named_columns_has_no_example(tmp_path, options):
    """The command then asks for --sample."""
    assert read_example(write(tmp_path / "run", {}, **options)) is None


@pytest.mark.parametrize("example", [{"columns": ["age"], "data": [["x"]]}, {"columns": ["age"]}, [1]])
def test_examples_that_cannot_be_read_say_so(tmp_path, example):
    """Cells that are not of their types, and JSON of another form."""
    with pytest.raises(SampleInvalidError, match="give --sample"):
        read_example(write(tmp_path / "run", {}, example=example))


@pytest.mark.parametrize(
    ("flavors", "says"),
    [
        ({"sklearn": {"pickled_model": "../model.pkl"}}, "outside of its folder"),
        ({"sklearn": {"pickled_model": "/etc/hostname"}}, "outside of its folder"),
        ({"sklearn": {"pickled_model": "gone.pkl"}}, "no file for the sklearn model"),
        ({"sklearn": {}}, "no file for the sklearn model"),
        ({"spark": {}, "python_function": {}}, "flavor python_function, spark"),
        ({"xgboost": {"data": "rows.json", "model_class": "xgboost.sklearn.Nothing"}}, "unknown kind Nothing"),
        ({"xgboost": {"data": "rows.json"}}, "no model of XGBoost's"),
        ({"lightgbm": {"data": "rows.json"}}, "no model of LightGBM's"),
        (["sklearn"], "names no flavors"),
    ],
)
def test_folders_that_cannot_be_taken_say_why(tmp_path, flavors, says):
    """Paths that leave the folder, models that are not there, flavors that are code of any kind."""
    folder = write(tmp_path / "run", flavors, example=EXAMPLE)
    with pytest.raises(EstimatorInvalidError, match=says):
        load_estimator(folder, trust_pickle=True)


@pytest.mark.parametrize("content", [b"- a list", b"{unclosed", b"\xff\xfe"])
def test_an_mlmodel_that_is_none(tmp_path, content):
    """Damaged YAML, or YAML of something else."""
    folder = write(tmp_path / "run", {})
    (folder / "MLmodel").write_bytes(content)
    with pytest.raises(EstimatorInvalidError, match="cannot be read"):
        load_estimator(folder, trust_pickle=True)


def test_other_folders_are_refused(tmp_path):
    """A folder of neither MLflow nor TensorFlow."""
    assert not is_model_folder(tmp_path)
    with pytest.raises(EstimatorInvalidError, match="neither MLflow"):
        load_estimator(tmp_path, trust_pickle=True)


def test_a_network_is_added_from_the_command_line(tmp_path, monkeypatch):
    """Labels are given one by one; whole numbers stay whole numbers."""
    monkeypatch.chdir(tmp_path)
    matrix(tmp_path / "net.onnx")
    random = np.random.default_rng(0)
    pd.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"]).to_csv(tmp_path / "rows.csv", index=False)
    labels = [option for label in ("1", "2", "3") for option in ("--label", label)]
    arguments = ["add", "net", "net.onnx", "--sample", "rows.csv", *labels, "--meaning", "logits"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    shown = CliRunner().invoke(app, ["show", "net"]).output
    assert "probability_3" in shown
    assert "long" in shown


@pytest.mark.parametrize("name", ["model.onnx", "model.ubj", "model.txt", "model.pt", "model.keras"])
def test_files_that_are_not_there(tmp_path, name):
    """Said before any framework is imported."""
    with pytest.raises(EstimatorInvalidError, match="does not exist"):
        load_estimator(tmp_path / name, trust_pickle=True)


@pytest.mark.parametrize(("name", "module"), [("model.pt", "torch"), ("model.keras", "tensorflow")])
def test_a_framework_that_is_not_installed_is_named(tmp_path, name, module):
    """The environment of the tests has neither PyTorch nor TensorFlow."""
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(EstimatorInvalidError, match=f"needs the module '{module}'"):
        load_estimator(tmp_path / name, trust_pickle=True)


def test_signature_types_of_an_onnx_model(tmp_path):
    """Whole numbers of the sample are long where the graph takes them so."""
    path = matrix(tmp_path / "m.onnx", outputs=1)
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": np.array([1, 2], "float32")})
    kinds = [column.type for column in convert(load_estimator(path, trust_pickle=False), frame).signature.inputs]
    assert kinds == [ColumnType.LONG, ColumnType.DOUBLE, ColumnType.FLOAT]
