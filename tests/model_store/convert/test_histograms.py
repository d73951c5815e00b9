"""HistGradientBoosting agrees with scikit-learn to 1e-12: nulls, thresholds and native categories."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from model_store.convert import convert
from tests.model_store.convert.agreement import (
    NUMBERS,
    TEXTS,
    assert_agrees,
    at_thresholds,
    people,
    strangers,
    target,
    three,
    two,
)
from tests.model_store.convert.pipelines import scaled, unscaled


def thresholds_of(estimator, first=0):
    """Return, by column, the thresholds of all trees."""
    found = {name: [] for name in NUMBERS}
    for predictors in estimator._predictors:
        for predictor in predictors:
            nodes = predictor.nodes[(predictor.nodes["is_leaf"] == 0) & (predictor.nodes["is_categorical"] == 0)]
            for place, name in enumerate(NUMBERS, first):
                found[name] += nodes["num_threshold"][nodes["feature_idx"] == place].tolist()
    return {name: values[:200] for name, values in found.items() if values}


@pytest.mark.parametrize("labels", [two, three])
def test_classifiers_agree_at_their_thresholds(labels):
    """Doubles are compared as doubles, and NaN takes the side it took in training."""
    frame = people()
    model = unscaled(HistGradientBoostingClassifier(max_iter=12)).fit(frame, labels(frame))
    rows = at_thresholds(strangers(), thresholds_of(model[-1]))
    rows.loc[::7, "ratio"] = np.nan
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize("labels", [two, three])
def test_classifiers_agree_behind_a_scaler_and_one_hot_columns(labels):
    """One-hot columns are looked up, and only those that trees use."""
    frame = people()
    estimator = HistGradientBoostingClassifier(max_iter=12)
    model = scaled(estimator)
    model[0].sparse_threshold = 0
    assert_agrees(convert(model.fit(frame, labels(frame)), frame), strangers())


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma", "absolute_error"])
def test_regressors_agree(loss):
    """Losses on a logarithm answer its exponential."""
    frame = people()
    model = unscaled(HistGradientBoostingRegressor(max_iter=12, loss=loss))
    assert_agrees(convert(model.fit(frame, np.exp(target(frame) / 4)), frame), strangers())


@pytest.mark.parametrize("dtype", ["category", "str"])
def test_native_categories_are_sets_of_codes(dtype):
    """Categories that are unseen or null take the side of missing values."""
    frame = people().astype(dict.fromkeys(TEXTS, dtype))
    categories = "from_dtype" if dtype == "category" else TEXTS
    estimator = HistGradientBoostingClassifier(max_iter=20, categorical_features=categories, random_state=0)
    model = estimator.fit(frame, three(frame))
    conversion = convert(model, frame)
    rows = at_thresholds(strangers(), thresholds_of(model, len(TEXTS)))
    assert_agrees(conversion, rows)
    assert any(node.nodes["is_categorical"].any() for trees in model._predictors for node in trees)


def test_a_hundred_numbered_categories_are_sets_of_codes_too():
    """Integer categories of more than one word of bits, some of them unseen or null."""
    random = np.random.default_rng(0)
    frame = people(3000)[["ratio"]].assign(shop=random.integers(0, 120, 3000))
    values = np.sin(frame["shop"].to_numpy() * 7) + frame["ratio"].to_numpy() / 9
    estimator = HistGradientBoostingRegressor(max_iter=10, categorical_features=["shop"])
    conversion = convert(estimator.fit(frame, values), frame)
    rows = people(2000, 5)[["ratio"]].assign(shop=random.integers(-5, 160, 2000).astype(float))
    rows.loc[::9, "shop"] = np.nan
    assert_agrees(conversion, rows)


def test_a_raw_score_of_zero_is_the_first_class():
    """HistGradientBoosting answers the first class where the score is exactly zero."""
    frame = people(200)[["visits"]]
    model = HistGradientBoostingClassifier(max_iter=2).fit(frame, np.arange(200) % 2)
    model._baseline_prediction[:] = 0.0
    for predictors in model._predictors:
        predictors[0].nodes["value"] = 0.0
    answers = assert_agrees(convert(model, frame), frame, tolerance=0.0)
    assert (answers["prediction"] == 0).all()
