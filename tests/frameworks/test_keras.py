"""Keras models and SavedModel folders become packages that answer as they do."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

from errors import EstimatorInvalidError, SampleInvalidError
from model_store import Meaning, ModelOptions, Vocabulary, package
from model_store.convert import convert, load_estimator
from model_store.model import Model
from model_store.signature import ColumnType

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow warns of its own use of NumPy
layers = keras.layers
CITIES = ("Bern", "Oslo", "Rome")


def rows(count=600, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {"age": random.normal(40, 9, count), "visits": random.integers(0, 9, count), "spent": random.random(count)}
    )


def people(count=600, seed=0):
    frame = rows(count, seed)[["age", "visits"]]
    frame["city"] = np.random.default_rng(seed).choice([*CITIES, "Atlantis", None], count)
    return frame


def dense(outputs=1, activation=None, seed=7):
    """Make a model of one tensor, with layers that answer otherwise in training."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Rescaling(1 / 40),
            layers.Dense(16, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(outputs, activation),
        ]
    )
    model.compile("adam", "mse")
    frame = rows(64)
    model.fit(frame.to_numpy("float32"), np.zeros((64, outputs), "float32"), epochs=2, verbose=0)
    return model


def columns():
    """Make a functional model with an input a column, one of them indices of texts."""
    keras.utils.set_random_seed(3)
    age = layers.Input((1,), name="age")
    visits = layers.Input((1,), name="visits", dtype="int64")
    city = layers.Input((1,), name="city", dtype="int32")
    parts = [age, layers.Flatten()(layers.Embedding(10, 2)(visits)), layers.Flatten()(layers.Embedding(5, 3)(city))]
    answer = layers.Dense(3, "softmax")(layers.Concatenate()(parts))
    return keras.Model({"age": age, "city": city, "visits": visits}, answer)


def served(model, frame, folder, **options):
    package(model, frame, folder, options=ModelOptions(**options))
    return Model.open(folder)


def batch_of(model, frame):
    return pa.RecordBatch.from_pandas(frame, schema=model.signature.input_schema, preserve_index=False)


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    """Return a model and its package as it is served."""
    model = dense()
    return model, served(model, rows(), tmp_path_factory.mktemp("dense") / "package")


@pytest.mark.parametrize("count", [1, 2, 7, 4096, 5000])
def test_all_columns_as_one_tensor(regression, count):
    """Any number of rows is answered as `predict` does."""
    source, model = regression
    assert [(c.name, c.type) for c in model.signature.inputs] == [
        ("age", ColumnType.DOUBLE),
        ("visits", ColumnType.LONG),
        ("spent", ColumnType.DOUBLE),
    ]
    frame = rows(count, 1)
    expected = source.predict(frame.to_numpy("float32"), verbose=0)[:, 0]
    assert model.predict(batch_of(model, frame))["prediction"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert model.metadata.framework == "keras"


@pytest.mark.parametrize(
    ("outputs", "activation", "meaning"),
    [(1, "sigmoid", "probabilities"), (1, None, "logits"), (3, "softmax", "probabilities"), (3, None, "logits")],
)
def test_classifiers(tmp_path, outputs, activation, meaning):
    """Of one number or of one for each label, as probabilities or as logits."""
    source = dense(outputs, activation)
    labels = ("no", "yes") if outputs == 1 else ("a", "b", "c")
    model = served(source, rows(), tmp_path / "package", labels=labels, meaning=Meaning(meaning))
    frame = rows(400, 2)
    answers = model.predict(batch_of(model, frame))
    expected = source.predict(frame.to_numpy("float32"), verbose=0)
    if meaning == "logits":
        expected = (keras.ops.sigmoid(expected) if outputs == 1 else keras.ops.softmax(expected)).numpy()
    assert answers[f"probability_{labels[-1]}"].to_numpy() == pytest.approx(expected[:, -1], abs=1e-5)
    assert model.metadata.parity.label_flips == 0


def test_an_input_for_each_column(tmp_path):
    """Matched by name; a column of texts is read by its vocabulary."""
    source = columns()
    vocabularies = {"city": Vocabulary(CITIES, unseen=3, null=4)}
    model = served(source, people(), tmp_path / "package", labels=("a", "b", "c"), vocabularies=vocabularies)
    kinds = {c.name: (c.type, c.nullable) for c in model.signature.inputs}
    assert kinds == {
        "age": (ColumnType.DOUBLE, False),
        "visits": (ColumnType.LONG, False),
        "city": (ColumnType.STRING, True),
    }
    frame = people(300, 4)
    index = {"Bern": 0, "Oslo": 1, "Rome": 2, "Atlantis": 3}
    given = {
        "age": frame[["age"]].to_numpy("float32"),
        "visits": frame[["visits"]].to_numpy("int64"),
        "city": np.array([[index.get(city, 4) if isinstance(city, str) else 4] for city in frame["city"]], "int32"),
    }
    expected = source.predict(given, verbose=0)
    answers = model.predict(batch_of(model, frame))
    assert answers["probability_b"].to_numpy() == pytest.approx(expected[:, 1], abs=1e-5)


def test_a_keras_file(regression, tmp_path):
    """A .keras file holds no pickle: it is loaded without trust, and is the same model to the last byte."""
    source, model = regression
    source.save(tmp_path / "model.keras")
    loaded = load_estimator(tmp_path / "model.keras", trust_pickle=False)
    assert served(loaded, rows(), tmp_path / "package").digest == model.digest


def test_a_saved_model_folder(regression, tmp_path):
    """What `model.export` and tf.saved_model write is packaged by its serving signature."""
    source, _ = regression
    source.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    loaded = load_estimator(tmp_path / "saved", trust_pickle=False)
    model = served(loaded, rows(), tmp_path / "package")
    frame = rows(100, 8)
    expected = source.predict(frame.to_numpy("float32"), verbose=0)[:, 0]
    assert model.predict(batch_of(model, frame))["prediction"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert model.metadata.framework == "tensorflow"


def test_a_tensorflow_function(tmp_path):
    """A module of plain TensorFlow with an input a column, and two outputs by name."""

    class Sums(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64), tf.TensorSpec([None], tf.float64)])
        def __call__(self, first, second):
            return {"total": first + second, "gap": tf.where(first > second, first - second, 0.0 * first)}

    module = Sums()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.__call__})
    frame = pd.DataFrame({"first": np.linspace(-3, 3, 50), "second": np.linspace(0, 1, 50) ** 3})
    loaded = load_estimator(tmp_path / "saved", trust_pickle=False)
    model = served(loaded, frame, tmp_path / "package")
    answers = model.predict(batch_of(model, frame)).to_pandas()
    assert answers["total"].tolist() == (frame["first"] + frame["second"]).tolist()
    assert answers["gap"].tolist() == (frame["first"] - frame["second"]).clip(lower=0).tolist()


def test_the_same_model_gives_the_same_bytes():
    """Keras and TensorFlow number names through a process; the graph has none of them."""
    assert convert(dense(), rows()).graph == convert(dense(), rows(50, 3)).graph


def texts():
    city = layers.Input((1,), name="city", dtype="string")
    codes = layers.StringLookup(vocabulary=list(CITIES), output_mode="one_hot")(city)
    return keras.Model(city, layers.Dense(1)(codes))


def image():
    picture = layers.Input((8, 8, 3))
    return keras.Model(picture, layers.Dense(1)(layers.Flatten()(picture)))


class Unbuilt(keras.Model):
    """A model that does not say what it takes."""

    def call(self, tensor):
        """Answer [N, 1]."""
        return tensor[:, :1]


@pytest.mark.parametrize(
    ("make", "sample", "error", "says"),
    [
        (texts, people()[["city"]].fillna("Rome"), EstimatorInvalidError, "LookupTableFind|no ONNX form"),
        (image, rows(), EstimatorInvalidError, "no tensor"),
        (Unbuilt, rows(), EstimatorInvalidError, "does not know its inputs"),
        (dense, rows()[["age"]], SampleInvalidError, "takes 3 columns"),
        (dense, people(), SampleInvalidError, "'city' of the sample is"),
        (columns, rows(), SampleInvalidError, "takes a column 'city'"),
    ],
)
def test_what_cannot_be_taken_says_why(tmp_path, make, sample, error, says):
    """Operators without ONNX form, tensors that are no rows, samples without the columns; nothing is left."""
    with pytest.raises(error, match=says):
        package(make(), sample, tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_models(tmp_path):
    """Damage is told from a folder without a signature."""
    (tmp_path / "model.keras").write_bytes(b"PK no")
    with pytest.raises(EstimatorInvalidError, match="cannot be loaded"):
        load_estimator(tmp_path / "model.keras", trust_pickle=False)
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"))
    with pytest.raises(EstimatorInvalidError, match="serving_default"):
        load_estimator(tmp_path / "saved", trust_pickle=False)
