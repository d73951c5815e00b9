"""Estimators made of estimators agree with scikit-learn, ties and all."""

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, RANSACRegressor, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_store.convert import convert
from tests.model_store.convert.agreement import assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import filled, scaled, unscaled


def tree(seed, leaf=3):
    """Make a tree whose leaves have few rows, so that shares of classes are often equal."""
    return filled(DecisionTreeClassifier(random_state=seed, max_features=2, min_samples_leaf=leaf, max_depth=6))


LOGISTIC = LogisticRegression(max_iter=300)
FOREST = RandomForestClassifier(4, min_samples_leaf=3, random_state=0)
VARIED = [
    ("linear", scaled(LOGISTIC)),
    ("forest", filled(FOREST)),
    ("dropped", "drop"),
    ("histograms", unscaled(HistGradientBoostingClassifier(max_iter=3))),
]
TREES = [(f"tree {seed}", tree(seed)) for seed in range(4)]

CLASSIFIERS = {
    "hard": VotingClassifier(VARIED),
    "hard, weighted": VotingClassifier(VARIED, weights=[1, 1.5, 7, 1]),
    "hard, often equal": VotingClassifier(TREES),
    "hard, equal by rounding": VotingClassifier(TREES, weights=[0.1, 0.2, 0.3, 0.6]),
    "soft": VotingClassifier(VARIED, voting="soft"),
    "soft, weighted": VotingClassifier(VARIED, voting="soft", weights=[1, 0.3, 7, 2]),
    "soft, often equal": VotingClassifier(TREES, voting="soft"),
    "soft, one of it searched": VotingClassifier(
        [("search", GridSearchCV(scaled(LOGISTIC), {"logisticregression__C": [0.1, 1]}, cv=2)), TREES[0]],
        voting="soft",
    ),
    "stacking": StackingClassifier([*VARIED, ("margins", scaled(LinearSVC(random_state=0)))], cv=2),
    "stacking labels": StackingClassifier(TREES, filled(FOREST)[-1], stack_method="predict", cv=2),
    "stacking with the columns": filled(
        StackingClassifier(
            [("forest", FOREST), ("ridge", RidgeClassifier())], LogisticRegression(max_iter=3000), passthrough=True
        )
    ),
    "bagging": filled(BaggingClassifier(DecisionTreeClassifier(min_samples_leaf=3), random_state=0)),
    "bagging some columns": filled(BaggingClassifier(n_estimators=6, max_features=0.6, random_state=0)),
    "bagging votes": scaled(BaggingClassifier(LinearSVC(), n_estimators=4, random_state=0)),
    "bagging rare classes": filled(BaggingClassifier(max_samples=6, n_estimators=12, random_state=0)),
    "boosting stumps": filled(AdaBoostClassifier(n_estimators=8, random_state=0)),
    "boosting": filled(AdaBoostClassifier(tree(0)[-1], n_estimators=8, learning_rate=0.1, random_state=0)),
    "one against rest": OneVsRestClassifier(scaled(LOGISTIC)),
    "one against rest, trees": OneVsRestClassifier(tree(0)),
    "one against rest, margins": scaled(OneVsRestClassifier(LinearSVC(random_state=0))),
    "one against one": scaled(OneVsOneClassifier(LOGISTIC)),
    "one against one, trees": filled(OneVsOneClassifier(tree(0)[-1])),
}


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_agree(name, labels):
    """Labels are the same where estimators are divided, numbers within 1e-12, and no step is left to skl2onnx."""
    frame = people(600)
    conversion = convert(CLASSIFIERS[name].fit(frame, labels(frame)), frame)
    assert_agrees(conversion, strangers())
    assert not conversion.stock_steps


REGRESSORS = {
    "voting": VotingRegressor([("a", scaled(Ridge())), ("b", filled(DecisionTreeRegressor(max_depth=4)))]),
    "voting, weighted": VotingRegressor(
        [("a", scaled(Ridge())), ("no", "drop"), ("b", scaled(Ridge(9)))], weights=[1, 5, 3]
    ),
    "stacking": StackingRegressor([("a", scaled(Ridge())), ("b", filled(RandomForestRegressor(3)))], cv=2),
    "bagging": filled(BaggingRegressor(max_features=0.6, random_state=0)),
    "boosting": filled(AdaBoostRegressor(n_estimators=9, random_state=0)),
    "boosting lines": scaled(AdaBoostRegressor(Ridge(), n_estimators=4, random_state=0)),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_agree(name):
    """Means and weighted medians are the source's."""
    frame = people(600)
    conversion = convert(REGRESSORS[name].fit(frame, target(frame)), frame)
    assert_agrees(conversion, strangers())
    assert not conversion.stock_steps


def test_estimators_inside_of_estimators_inside_of_estimators():
    """What composes once composes again."""
    frame = people(600)
    stack = StackingClassifier(
        [("vote", VotingClassifier(TREES, voting="soft")), ("linear", scaled(LOGISTIC))], cv=2
    )
    model = VotingClassifier(
        [("stack", stack), ("bags", filled(BaggingClassifier(FOREST, n_estimators=2)))], voting="soft"
    )
    assert_agrees(convert(model.fit(frame, three(frame)), frame), strangers())


def test_estimators_that_only_say_how_another_is_fitted():
    """Self-training, searches and robust fits answer as the estimator that they ended with."""
    frame = people(600)
    unlabelled = np.where(np.arange(len(frame)) % 3, three(frame), -1)
    trained = scaled(SelfTrainingClassifier(LOGISTIC)).fit(frame, unlabelled)
    robust = scaled(RANSACRegressor(Ridge(), min_samples=50, random_state=0)).fit(frame, target(frame))
    search = GridSearchCV(scaled(Ridge()), {"ridge__alpha": [1, 10]}, cv=2).fit(frame, target(frame))
    for model in (trained, robust, search):
        assert_agrees(convert(model, frame), strangers())


def test_what_only_tells_about_the_label_is_no_part_of_the_graph():
    """The labels of the estimators inside are computed by no node if only their probabilities are averaged."""
    frame = people(300)
    conversion = convert(VotingClassifier(TREES, voting="soft").fit(frame, two(frame)), frame)
    assert conversion.graph.count(b"ArgMax") == 1
    assert np.isin(assert_agrees(conversion, frame)["prediction"], conversion.labels).all()
