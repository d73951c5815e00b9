"""Pickles are loaded only on the user's word, skops files type by type, and what cannot be loaded says why."""

import json
import pickle
import zipfile

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from errors import EstimatorInvalidError
from model_store.convert import load_estimator


@pytest.fixture
def estimator():
    return LinearRegression().fit(np.eye(3), [1, 2, 3])


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "MODEL.PKL"])
def test_a_trusted_pickle_is_loaded(tmp_path, estimator, name):
    """Joblib reads its own files and plain pickles."""
    path = tmp_path / name
    if name == "model.joblib":
        joblib.dump(estimator, path)
    else:
        path.write_bytes(pickle.dumps(estimator))
    assert load_estimator(path, trust_pickle=True).coef_.tolist() == estimator.coef_.tolist()


def test_a_pickle_is_not_opened_without_trust(tmp_path):
    """The code in it would run: not one byte is read."""
    path = tmp_path / "model.joblib"
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(EstimatorInvalidError, match="--trust-pickle"):
        load_estimator(path, trust_pickle=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged"),
        (b"not a pickle", "cannot be loaded|damaged"),
        (pickle.dumps(list(range(1000)))[:-400], "cannot be loaded|damaged"),
        (b"\x80\x04\x8c\x0bno_such_mod\x8c\x05Model\x93.", "no_such_mod"),
        (b"\x80\x04\x8c\x04json\x8c\x05Model\x93.", "versions"),
        (b"\x80\x04\x8c\x08__main__\x8c\x05Model\x93.", "the script it was saved by"),
    ],
)
def test_a_pickle_that_cannot_be_loaded_says_why(tmp_path, content, says):
    """Damage, a missing module, a missing class and one of the user's own script are told apart."""
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(EstimatorInvalidError, match=says):
        load_estimator(path, trust_pickle=True)


def test_other_files_are_refused(tmp_path):
    """A name that is no pickle's, and a file that is not there."""
    with pytest.raises(EstimatorInvalidError, match=r"\.joblib or \.pkl"):
        load_estimator(tmp_path / "model.h5", trust_pickle=True)
    with pytest.raises(EstimatorInvalidError, match="does not exist"):
        load_estimator(tmp_path / "model.pkl", trust_pickle=True)


def test_a_skops_file_needs_no_trust(tmp_path, estimator):
    """What skops knows to be harmless is loaded as it is."""
    path = tmp_path / "model.SKOPS"
    skops.io.dump(make_pipeline(StandardScaler(), estimator).fit(np.eye(3), [1, 2, 3]), path)
    loaded = load_estimator(path, trust_pickle=False)
    assert loaded.predict(np.eye(3)).tolist() == pytest.approx([1, 2, 3])


def test_types_that_are_not_trusted_are_named(tmp_path):
    """The message says which, and what to pass; with it, the file is loaded."""
    path = tmp_path / "model.skops"
    forest = RandomForestRegressor(2, random_state=0).fit(np.eye(3), [1, 2, 3])
    skops.io.dump(forest, path)
    with pytest.raises(EstimatorInvalidError, match=r"--trust-type sklearn\.tree\._tree\.Tree$"):
        load_estimator(path, trust_pickle=True)  # another kind of trust
    loaded = load_estimator(path, trust_pickle=False, trust_types=["sklearn.tree._tree.Tree"])
    assert loaded.predict(np.eye(3)).tolist() == forest.predict(np.eye(3)).tolist()


RAN = []


def run_code(rows):
    RAN.append(rows)
    return rows


class Hook:
    def __reduce__(self):
        return run_code, ("loaded",)


def test_no_code_of_a_skops_file_runs(tmp_path, estimator):
    """Neither a function nor a reduction of the file's own is so much as imported."""
    for step in (FunctionTransformer(run_code), FunctionTransformer(kw_args={"hook": Hook()})):
        path = tmp_path / "model.skops"
        skops.io.dump(make_pipeline(step, estimator), path)
        with pytest.raises(EstimatorInvalidError, match="types that skops does not know to be harmless"):
            load_estimator(path, trust_pickle=True)
    assert RAN == []


def write_zip(path, schema):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", schema)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (None, "damaged"),
        ("not json", "cannot be loaded"),
        (json.dumps({"a": 1}), "cannot be loaded"),
        (json.dumps({"protocol": 10**6}), "cannot be loaded"),
    ],
)
def test_a_skops_file_that_cannot_be_loaded_says_why(tmp_path, schema, says):
    """Neither damage nor strange content is more than an error with a name."""
    path = tmp_path / "model.skops"
    if schema is None:
        path.write_bytes(b"PK not a zip")
    else:
        write_zip(path, schema)
    with pytest.raises(EstimatorInvalidError, match=says):
        load_estimator(path, trust_pickle=False)


def test_a_skops_file_must_be_there(tmp_path):
    """As with other files."""
    with pytest.raises(EstimatorInvalidError, match="does not exist"):
        load_estimator(tmp_path / "model.skops", trust_pickle=False)
