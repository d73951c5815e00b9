"""Estimators of several targets, and of a transformed one."""

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, MultiTaskLasso, Ridge
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from errors import EstimatorInvalidError
from model_store.convert import convert
from model_store.model import Model
from model_store.packaging import build_package
from tests.model_store.convert.agreement import assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import filled, scaled

LOGISTIC = LogisticRegression(max_iter=300)


def texts(frame):
    """Make two targets of texts."""
    return np.stack([two(frame), np.where(target(frame, 5) > 2, "b", "a")], axis=1)


def numbers(frame):
    """Make a target of three classes and one of two."""
    return np.stack([three(frame), (target(frame, 5) > 2).astype(int)], axis=1)


def flags(frame):
    """Make two targets of 0 and 1."""
    return np.stack([target(frame) > 1, target(frame, 5) > 2], axis=1).astype(int)


def amounts(frame):
    """Make two numbers to predict."""
    return np.stack([target(frame), target(frame, 5) ** 2], axis=1)


@pytest.mark.parametrize(
    ("model", "goals"),
    [
        (MultiOutputClassifier(scaled(LOGISTIC)), texts),
        (scaled(MultiOutputClassifier(LinearSVC(random_state=0))), numbers),
        (scaled(ClassifierChain(LOGISTIC, order=[1, 0])), flags),
        (scaled(ClassifierChain(LOGISTIC, chain_method="predict_proba")), flags),
        (scaled(ClassifierChain(LinearSVC(random_state=0), chain_method="decision_function")), flags),
        (filled(RandomForestClassifier(5, min_samples_leaf=3, random_state=0)), numbers),
        (filled(RandomForestClassifier(5, random_state=0)), texts),
        (filled(DecisionTreeClassifier(max_depth=5, random_state=0)), texts),
    ],
)
def test_classifiers_of_several_targets_agree(model, goals):
    """Each target has a label and probabilities of its own, with its number in their names."""
    frame = people(600)
    conversion = convert(model.fit(frame, goals(frame)), frame)
    assert_agrees(conversion, strangers())
    assert [list(labels) for labels in conversion.labels] == [np.unique(goal).tolist() for goal in goals(frame).T]
    names = [column.name for column in conversion.signature.outputs]
    assert [name for name in names if name.startswith("prediction")] == ["prediction_1", "prediction_2"]
    assert all(name.startswith(("prediction_", "probability_1_", "probability_2_", "score_")) for name in names)


@pytest.mark.parametrize(
    "model",
    [
        MultiOutputRegressor(scaled(Ridge())),
        scaled(RegressorChain(Ridge(), order=[1, 0])),
        scaled(LinearRegression()),
        filled(ExtraTreesRegressor(4, random_state=0)),
        filled(DecisionTreeRegressor(max_depth=5)),
    ],
)
def test_regressors_of_several_targets_agree(model):
    """Each target is a column."""
    frame = people(600)
    conversion = convert(model.fit(frame, amounts(frame)), frame)
    assert_agrees(conversion, strangers())
    assert [column.name for column in conversion.signature.outputs] == ["prediction_1", "prediction_2"]


def test_a_package_of_several_targets(tmp_path):
    """Labels of every target come back from the package, and their flips are looked for."""
    frame = people(600)
    model = filled(RandomForestClassifier(5, min_samples_leaf=3, random_state=0)).fit(frame, numbers(frame))
    conversion = convert(model, frame)
    info = build_package(conversion, tmp_path / "model")
    assert info.labels == conversion.labels == ((0, 10, 20), (0, 1))
    assert Model.open(tmp_path / "model").metadata.digest == info.digest
    assert info.parity.label_flips == 0


def test_what_has_no_converter_for_several_targets_is_named():
    """The message says how to get along without."""
    frame = people(300)
    with pytest.raises(EstimatorInvalidError, match=r"MultiTaskLasso.*several columns.*MultiOutputRegressor"):
        convert(scaled(MultiTaskLasso()).fit(frame, amounts(frame)), frame)
    forest = filled(RandomForestClassifier(2)).fit(frame, flags(frame))
    vote = VotingClassifier([("forest", forest)]).fit(frame, two(frame))
    vote.estimators_ = [forest]
    with pytest.raises(EstimatorInvalidError, match=r"forest.*several columns at once inside"):
        convert(vote, frame)


def test_labels_with_the_same_text_are_refused():
    """Two columns of one name would be one too few."""
    frame = people(300)
    model = scaled(LOGISTIC).fit(frame, three(frame))
    model[-1].classes_ = np.array(["a", "b", "b"])
    with pytest.raises(EstimatorInvalidError, match="two columns named 'probability_b'"):
        convert(model, frame)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"func": np.log, "inverse_func": np.exp},
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.expm1, "inverse_func": np.log1p},
        {"func": np.exp, "inverse_func": np.log, "check_inverse": False},
        {"func": np.sqrt, "inverse_func": np.square},
        {"func": np.square, "inverse_func": np.sqrt},
        {"transformer": StandardScaler()},
        {"transformer": RobustScaler()},
        {"transformer": MinMaxScaler((1, 3))},
        {"transformer": MaxAbsScaler()},
    ],
)
def test_transformed_targets_are_transformed_back(changed):
    """Functions of NumPy and scalers have an inverse that graphs know."""
    frame = people(600)
    model = TransformedTargetRegressor(scaled(Ridge(1e3)), **changed).fit(frame, np.exp(target(frame) / 8) + 3)
    assert_agrees(convert(model, frame), strangers())


@pytest.mark.parametrize(
    "changed",
    [{"func": np.cbrt, "inverse_func": lambda y: y**3}, {"transformer": PowerTransformer()}],
)
def test_targets_that_cannot_be_transformed_back_are_named(changed):
    """The message lists what can."""
    frame = people(300)
    model = TransformedTargetRegressor(scaled(Ridge()), **changed).fit(frame, np.exp(target(frame) / 8))
    with pytest.raises(EstimatorInvalidError, match=r"transformer \(.*no converter for its inverse.*use one of"):
        convert(model, frame)
