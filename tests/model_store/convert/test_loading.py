"""Pickles are loaded only on the user's word, and what cannot be loaded says why."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

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
    ],
)
def test_a_pickle_that_cannot_be_loaded_says_why(tmp_path, content, says):
    """Damage, a missing module and a missing class are told apart."""
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(EstimatorInvalidError, match=says):
        load_estimator(path, trust_pickle=True)


def test_other_files_are_refused(tmp_path):
    """A name that is no pickle's, and a file that is not there."""
    with pytest.raises(EstimatorInvalidError, match=r"\.joblib or \.pkl"):
        load_estimator(tmp_path / "model.onnx", trust_pickle=True)
    with pytest.raises(EstimatorInvalidError, match="does not exist"):
        load_estimator(tmp_path / "model.pkl", trust_pickle=True)
