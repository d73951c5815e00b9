"""Nearest neighbours agree with scikit-learn, which neighbours they are included."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from errors import EstimatorInvalidError
from model_store.convert import convert
from model_store.convert.sklearn import neighbours
from tests.model_store.convert.agreement import assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled


def plain(count=300, seed=0):
    """Make rows of two measured numbers, no two of which are at one distance from a third."""
    return people(count, seed)[["amount", "ratio"]].fillna(people(count, seed + 1)["amount"].mean())


def measured(count=300, seed=0):
    """Make rows whose distances never tie."""
    frame = plain(count, seed)
    return frame + np.random.default_rng(seed + 9).normal(size=frame.shape)


@pytest.mark.parametrize("labels", [two, three, lambda frame: target(frame) > 3])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("count", [5, 20])
def test_classifiers(count, weights, labels):
    """Labels go by votes or by weights, few or many, in NumPy's order of adding them up."""
    frame = people(300)
    model = scaled(KNeighborsClassifier(count, weights=weights)).fit(frame, labels(frame))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers(600))
    assert not conversion.stock_steps


@pytest.mark.parametrize("metric", [{"p": 1}, {"p": 2}, {"metric": "chebyshev"}, {"metric": "l1"}])
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_metrics(algorithm, metric):
    """Each metric that has an operator, by each of scikit-learn's searches."""
    frame = measured()
    for kind, goal in ((KNeighborsClassifier, three), (KNeighborsRegressor, target)):
        model = kind(weights="distance", algorithm=algorithm, **metric).fit(frame, goal(people(300)))
        # Brute force rounds distances to the precision of the rows' squares, which are a million times larger.
        tolerance = 1e-8 if algorithm == "brute" else 1e-12
        assert_agrees(convert(model, frame), measured(600, 7), tolerance=tolerance)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("count", [5, 20])
def test_regressors(count, weights):
    """The mean of the neighbours' values, or the weighted one."""
    frame = people(300)
    model = scaled(KNeighborsRegressor(count, weights=weights)).fit(frame, target(frame))
    assert_agrees(convert(model, frame), strangers(600))


def grid(count, seed, columns=4):
    """Make rows of small whole numbers, among which distances tie all the time."""
    numbers = np.random.default_rng(seed).integers(0, 8, (count, columns))
    return pd.DataFrame(numbers.astype(float), columns=[f"c{column}" for column in range(columns)])


# With more than seven weighted neighbours NumPy adds in pairs, so that two classes of equal weight are decided by
# how scikit-learn sorts equal distances, which the graph does not follow.
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize(("count", "weights"), [(1, "uniform"), (5, "uniform"), (16, "uniform"), (5, "distance")])
def test_ties(count, metric, weights):
    """Of training rows at one distance the same are taken as scikit-learn's tree visits and its heap keeps."""
    frame = grid(700, 0)
    model = KNeighborsClassifier(count, metric=metric, weights=weights).fit(frame, three(people(700)))
    assert_agrees(convert(model, frame), grid(600, 1))


@pytest.mark.parametrize("size", [6, 25, 40, 61, 200])
def test_ties_in_small_trees(size):
    """A tree of one leaf has no order; leaves need not have the same number of rows."""
    frame = grid(size, 0)
    model = KNeighborsRegressor(2, leaf_size=10).fit(frame, target(people(size)))
    assert_agrees(convert(model, frame), grid(500, 1))


def test_ties_by_brute_force():
    """More than 15 columns are searched without a tree, in the training rows' order if there are fewer of them."""
    frame = grid(400, 0, 17)
    model = KNeighborsClassifier(6).fit(frame, three(people(400)))
    assert_agrees(convert(model, frame), grid(600, 1, 17))


def test_rows_that_were_trained_on():
    """A training row at no distance has all the weight; of several, each an equal share."""
    frame = measured(300)
    model = KNeighborsClassifier(weights="distance").fit(frame, three(people(300)))
    answers = assert_agrees(convert(model, frame), frame)
    assert (answers["prediction"] == three(people(300))).all()


def test_a_matrix_that_was_sparse():
    """Training rows that scikit-learn keeps as a sparse matrix are compared as rows."""
    frame = people(400)
    model = scaled(KNeighborsClassifier())
    model[0].sparse_threshold = 1.0
    assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers(500))


def test_iris():
    """Measurements with one decimal tie often, and which ties are such is a matter of the last digit."""
    frame, labels = load_iris(return_X_y=True, as_frame=True)
    for count in (3, 5, 11):
        assert_agrees(convert(KNeighborsClassifier(count).fit(frame, labels), frame), frame)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"weights": lambda distances: 1 / (1 + distances)}, "weights='distance'"),
        ({"metric": "canberra"}, "'canberra'.*'euclidean'"),
        ({"p": 3}, "'minkowski'.*'euclidean'"),
    ],
)
def test_what_is_not_converted_says_what_to_do(options, reason):
    """Python functions and other metrics are named."""
    model = KNeighborsClassifier(**options).fit(measured(100), two(people(100)))
    with pytest.raises(EstimatorInvalidError, match=reason):
        convert(model, measured(100))


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_several_targets(weights):
    """The neighbours are the same for all targets; what they say is not."""
    frame, rows = measured(), measured(600, 7)
    values = np.column_stack([target(people(300)), three(people(300))])
    assert_agrees(convert(KNeighborsRegressor(weights=weights).fit(frame, values), frame), rows)
    labels = np.column_stack([two(people(300)) == "goes", three(people(300))])
    assert_agrees(convert(KNeighborsClassifier(weights=weights).fit(frame, labels), frame), rows)


def test_a_large_training_set_is_refused(monkeypatch):
    """Each row is compared with every training row: past a size that is no way to score a file."""
    monkeypatch.setattr(neighbours, "_MOST_CELLS", 599)
    model = KNeighborsClassifier().fit(measured(), two(people(300)))
    with pytest.raises(EstimatorInvalidError, match=r"600 training cells.*HistGradientBoosting"):
        convert(model, measured())
