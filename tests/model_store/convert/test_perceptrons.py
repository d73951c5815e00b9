"""Perceptrons agree with scikit-learn to 1e-12, whatever their layers and activations."""

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


@pytest.mark.parametrize("labels", [two, three, lambda frame: target(frame) > 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_classifiers(activation, labels):
    """Two classes and more, of texts, numbers and booleans."""
    frame = people(500)
    model = scaled(MLPClassifier((12, 7), activation=activation, max_iter=8, random_state=0))
    conversion = convert(model.fit(frame, labels(frame)), frame)
    assert_agrees(conversion, strangers(1000))
    assert not conversion.stock_steps


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regressors(loss, activation):
    """The last layer of a regressor is linear, or an exponential."""
    frame = people(500)
    model = scaled(
        MLPRegressor(hidden_layer_sizes=(9,), activation=activation, loss=loss, max_iter=8, random_state=0)
    )
    assert_agrees(convert(model.fit(frame, np.abs(target(frame))), frame), strangers(1000))


def test_plain_frames_and_a_single_column():
    """Numbers need no steps before them."""
    frame = people(500)[["ratio", "visits"]]
    model = MLPClassifier((6,), max_iter=8, random_state=0)
    for columns in (["ratio", "visits"], ["ratio"]):
        assert_agrees(
            convert(model.fit(frame[columns], three(people(500))), frame[columns]), strangers(1000)[columns]
        )


def test_several_targets():
    """A regressor may learn several columns at once; a classifier's several labels per row are refused."""
    frame = people(300)[NUMBERS].fillna(0)
    both = np.column_stack([target(people(300)), -target(people(300))])
    conversion = convert(MLPRegressor(hidden_layer_sizes=(3,), max_iter=3).fit(frame, both), frame)
    assert_agrees(conversion, strangers(500)[NUMBERS].fillna(0))
    with pytest.raises(EstimatorInvalidError, match="several"):
        convert(MLPClassifier((3,), max_iter=3).fit(frame, (both > 3).astype(int)), frame)
