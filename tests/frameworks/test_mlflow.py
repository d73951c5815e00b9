"""Real MLflow opens our packages and gets our answers; we package the folders that it writes."""

import json
import logging

import lightgbm
import mlflow
import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from typer.testing import CliRunner

from errors import EstimatorInvalidError, SampleInvalidError
from model_store import package
from model_store.__main__ import app
from model_store.convert import NULL_TEXT, convert, load_estimator
from model_store.convert.mlflow_folder import read_example
from model_store.model import Model
from model_store.signature import ColumnType

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of itself at every import and call
TEXTS = ["Rome", "Oslo", "Bern"]


@pytest.fixture(autouse=True, scope="session")
def quiet():
    logging.getLogger("mlflow").setLevel(logging.ERROR)


def people(count=800, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 9, count),
            "visits": random.integers(0, 30, count).astype(float),
            "member": random.random(count) < 0.4,
            "city": random.choice(TEXTS, count).astype(object),
        }
    )
    frame.loc[random.random(count) < 0.1, "age"] = np.nan
    frame.loc[random.random(count) < 0.1, "city"] = None
    return frame


def strangers(count=500):
    """Make rows with an unseen city, and with the texts that other programs write nulls as."""
    frame = people(count, 5)
    for place, text in enumerate(["Atlantis", "nan", "None", "", "<NA>"]):
        frame.loc[place::11, "city"] = text
    return frame


def target(frame):
    cities = frame["city"].map({"Rome": 9.0, None: -9.0}).fillna(0.0)
    return (frame["age"].fillna(35) + frame["visits"] + cities).to_numpy()


def pipeline(estimator, frame, answer):
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        remainder="passthrough",
        sparse_threshold=0,
    )
    return make_pipeline(columns, estimator).fit(frame, answer)


def labels(frame):
    return np.where(target(frame) > 55, "stays", "goes")


def three(frame):
    return np.digitize(target(frame), [48, 60])


ESTIMATORS = {
    "logistic": (LogisticRegression(max_iter=500), labels),
    "gradient boosting": (HistGradientBoostingClassifier(max_iter=10), three),
    "linear": (LinearRegression(), target),
}


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def packaged(request, tmp_path_factory):
    """Return a package's folder and the pipeline in it."""
    estimator, answer = ESTIMATORS[request.param]
    frame = people()
    fitted = pipeline(estimator, frame, answer(frame))
    folder = tmp_path_factory.mktemp("packaged") / "package"
    package(fitted, frame, folder)
    return folder, fitted


def ours(folder, frame):
    model = Model.open(folder)
    batch = pa.RecordBatch.from_pandas(frame, schema=model.signature.input_schema, preserve_index=False)
    return model.predict(batch).to_pandas()


def assert_same(theirs, expected):
    """Check every cell to be the same, to the last bit."""
    assert list(theirs.columns) == list(expected.columns)
    for name in expected:
        assert theirs[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize("texts", ["object", "str", "string"])
def test_pyfunc_gives_our_answers(packaged, texts):
    """For nulls and for texts that only look like nulls, in each dtype that pandas has for texts."""
    folder, fitted = packaged
    frame = strangers()
    expected = ours(folder, frame)
    given = frame.astype({"city": texts})
    theirs = mlflow.pyfunc.load_model(str(folder)).predict(given)
    assert_same(theirs, expected)
    assert fitted.predict(frame)[:50].tolist() == pytest.approx(expected["prediction"][:50].tolist())


def test_pyfunc_answers_json_and_any_number_of_rows(packaged):
    """What a request to an MLflow server holds, one row, and more than one call of ONNX Runtime takes."""
    folder, _ = packaged
    model = mlflow.pyfunc.load_model(str(folder))
    frame = strangers(9000)
    assert_same(model.predict(frame), ours(folder, frame))
    assert_same(model.predict(frame.iloc[:1]), ours(folder, frame.iloc[:1]))
    few = frame.iloc[:20].astype(object)
    split = json.loads(json.dumps(few.where(few.notna(), None).to_dict("split")))
    assert_same(model.predict(pd.DataFrame(split["data"], columns=split["columns"])), ours(folder, frame.iloc[:20]))


def test_the_onnx_flavor_is_our_graph(packaged):
    """`mlflow.onnx.load_model` gives a valid graph that answers as we do, fed with the package's null text."""
    folder, _ = packaged
    graph = mlflow.onnx.load_model(str(folder))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    frame = strangers()
    feeds = {name: frame[name].to_numpy() for name in ("age", "visits", "member")}
    feeds["city"] = frame["city"].fillna(NULL_TEXT).to_numpy(dtype=object)
    names = [tensor.name for tensor in session.get_outputs()]
    expected = ours(folder, frame)
    assert names == list(expected.columns)
    for name, cells in zip(names, session.run(names, feeds), strict=True):
        exact = expected[name].dtype.kind != "f"  # a session of many threads adds trees up in another order
        wanted = expected[name].tolist()
        assert cells.tolist() == (wanted if exact else pytest.approx(wanted, rel=1e-12))


def test_mlflow_reads_signature_and_example(packaged):
    """It shows the types of the columns, checks rows against them, and its example is answered by the model."""
    folder, _ = packaged
    info = mlflow.models.get_model_info(str(folder))
    assert [column.name for column in info.signature.inputs.inputs] == ["age", "visits", "member", "city"]
    model = mlflow.pyfunc.load_model(str(folder))
    example = mlflow.models.Model.load(str(folder)).load_input_example(str(folder))
    assert len(model.predict(example)) == 5
    with pytest.raises(mlflow.exceptions.MlflowException, match="age"):
        model.predict(people().drop(columns="age"))


def test_nulls_that_the_model_takes_not_are_refused(tmp_path):
    """As we do: a boolean column has no null."""
    frame = people()
    package(pipeline(LogisticRegression(), frame, labels(frame)), frame, tmp_path / "package")
    wrapped = mlflow.pyfunc.load_model(str(tmp_path / "package"))._model_impl
    with pytest.raises(ValueError, match="'member' has nulls"):
        wrapped.predict(frame.assign(member=None))


def numbers(count=400):
    return people(count)[["age", "visits"]].fillna(40.0)


def saved(tmp_path, save, model, **options):
    """Let MLflow save a model and return its folder."""
    # Told what is required, MLflow does not start a process to find out.
    save(model, str(tmp_path / "saved"), pip_requirements=["onnx"], **options)
    return tmp_path / "saved"


@pytest.mark.parametrize("form", ["skops", "cloudpickle", "pickle"])
def test_the_sklearn_flavor(tmp_path, form):
    """MLflow's own form is skops, which is loaded safely; pickles only with trust; rows come from the example."""
    frame = people()
    fitted = pipeline(LogisticRegression(max_iter=500), frame, labels(frame))
    folder = saved(
        tmp_path, mlflow.sklearn.save_model, fitted, serialization_format=form, skops_trusted_types=["numpy.dtype"],
        input_example=frame, signature=infer_signature(frame, fitted.predict(frame)),
    )  # fmt: skip
    # What the folder itself says is to be trusted is not.
    with pytest.raises(
        EstimatorInvalidError, match="--trust-type numpy.dtype" if form == "skops" else "--trust-pi"
    ):
        load_estimator(folder, trust_pickle=form == "skops")
    sample = read_example(folder)
    assert sample["city"].isna().sum() == frame["city"].isna().sum()
    trust = {"trust_pickle": form != "skops", "trust_types": ["numpy.dtype"]}
    package(load_estimator(folder, **trust), sample, tmp_path / "package")
    assert_same(
        pd.DataFrame({"prediction": fitted.predict(strangers())}),
        ours(tmp_path / "package", strangers())[["prediction"]],
    )


def test_the_onnx_flavor(tmp_path):
    """One tensor of all columns; the example is an array without names, so the sample has to be given."""
    frame = numbers()
    fitted = LogisticRegression().fit(frame, frame["age"] > 40)
    graph = to_onnx(fitted, frame.to_numpy().astype(np.float32), options={"zipmap": False})
    folder = saved(
        tmp_path, mlflow.onnx.save_model, graph, input_example=frame.iloc[:5].to_numpy().astype(np.float32)
    )
    assert read_example(folder) is None
    package(load_estimator(folder, trust_pickle=False), frame, tmp_path / "package")
    theirs = mlflow.pyfunc.load_model(str(folder)).predict(frame.to_numpy().astype(np.float32))
    assert ours(tmp_path / "package", frame)["prediction"].tolist() == theirs["label"].tolist()


def boosters(frame):
    wanted = (frame["age"] > 40).astype(int)
    pairs = {"objective": "binary", "verbose": -1, "num_threads": 1}
    return {
        "lightgbm": lightgbm.train(pairs, lightgbm.Dataset(frame, wanted), 5),
        "lightgbm estimator": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(frame, wanted),
        "xgboost": xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(frame, wanted), 5),
        "xgboost estimator": xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(frame, wanted),
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lightgbm", {}),
        ("lightgbm estimator", {}),
        ("xgboost", {}),
        ("xgboost", {"model_format": "json"}),
        ("xgboost estimator", {}),
    ],
)
def test_flavors_of_boosters(tmp_path, name, options):
    """Texts, JSON and UBJSON are loaded without any pickle; estimators stay estimators."""
    frame = numbers()
    model = boosters(frame)[name]
    save = getattr(mlflow, name.partition(" ")[0]).save_model
    folder = saved(tmp_path, save, model, input_example=frame, **options)
    types = ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "collections.OrderedDict"]
    loaded = load_estimator(folder, trust_pickle=False, trust_types=types)
    package(loaded, read_example(folder), tmp_path / "package")
    theirs = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(frame), dtype=float)
    column = "prediction" if name.endswith("estimator") else "probability_1"
    assert ours(tmp_path / "package", frame)[column].to_numpy() == pytest.approx(theirs, abs=1e-6)


def test_the_command_takes_a_folder_as_it_is(tmp_path, monkeypatch):
    """One command from a run's folder to a registered model; the example stands for the sample."""
    monkeypatch.chdir(tmp_path)
    frame = people()
    fitted = pipeline(LogisticRegression(max_iter=500), frame, labels(frame))
    folder = saved(
        tmp_path, mlflow.sklearn.save_model, fitted, serialization_format="pickle", input_example=frame,
        signature=infer_signature(frame, fitted.predict(frame)),
    )  # fmt: skip
    result = CliRunner().invoke(app, ["add", "churn", str(folder), "--trust-pickle"])
    assert result.exit_code == 0, result.output
    assert "churn@1 registered" in result.output


def test_types_of_the_example_are_those_of_the_signature(tmp_path):
    """JSON has one kind of number: whole numbers of a double column are doubles again."""
    frame = numbers().assign(visits=1.0, count=3, flag=True)
    fitted = LinearRegression().fit(frame, frame["age"])
    folder = saved(
        tmp_path, mlflow.sklearn.save_model, fitted, input_example=frame, signature=infer_signature(frame, [1.0])
    )
    conversion = convert(load_estimator(folder, trust_pickle=False), read_example(folder))
    kinds = {column.name: column.type for column in conversion.signature.inputs}
    assert kinds == {
        "age": ColumnType.DOUBLE, "visits": ColumnType.DOUBLE, "count": ColumnType.LONG, "flag": ColumnType.BOOLEAN,
    }  # fmt: skip


def test_what_mlflow_folders_may_not_do(tmp_path):
    """A path that leaves the folder, a flavor that is code, an example that is none."""
    frame = numbers()
    folder = saved(tmp_path, mlflow.sklearn.save_model, LinearRegression().fit(frame, frame["age"]))
    text = (folder / "MLmodel").read_text("utf-8")
    (folder / "MLmodel").write_text(text.replace("model.skops", "../../model.skops"), "utf-8")
    with pytest.raises(EstimatorInvalidError, match="outside of its folder"):
        load_estimator(folder, trust_pickle=True)
    (folder / "MLmodel").write_text(text.replace("  sklearn:", "  custom:"), "utf-8")
    with pytest.raises(EstimatorInvalidError, match="flavor custom, python_function"):
        load_estimator(folder, trust_pickle=True)
    (folder / "MLmodel").write_text(
        text + "saved_input_example_info: {artifact_path: gone.json, type: dataframe}", "utf-8"
    )
    with pytest.raises(SampleInvalidError, match="cannot be read"):
        read_example(folder)
