"""Dummies answer the same for every row, and only if they would in scikit-learn."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import TEXTS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled


@pytest.mark.parametrize("labels", [two, three, lambda frame: two(frame) == "goes"])
@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
def test_classifiers(strategy, labels):
    """The most frequent class, or one that was given, with or without the shares of all."""
    frame = people()
    values = labels(frame)
    model = DummyClassifier(strategy=strategy, constant=values[3:4] if strategy == "constant" else None)
    for fitted in (scaled(model).fit(frame, values), model.fit(frame[TEXTS], values)):
        assert_agrees(convert(fitted, frame), strangers(100))


@pytest.mark.parametrize("options", [{"strategy": "mean"}, {"strategy": "quantile", "quantile": 0.9}])
def test_regressors(options):
    """A number that the training rows gave."""
    frame = people()
    for goal in (target(frame), np.column_stack([target(frame), three(frame)])):
        assert_agrees(convert(scaled(DummyRegressor(**options)).fit(frame, goal), frame), strangers(100))


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_random_answers_are_refused(strategy):
    """What differs from call to call can not be the same in a file."""
    frame = people(100)
    model = scaled(DummyClassifier(strategy=strategy)).fit(frame, two(frame))
    with pytest.raises(EstimatorInvalidError, match="at random"):
        convert(model, frame)
