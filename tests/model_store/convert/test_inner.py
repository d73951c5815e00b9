"""Estimators of every kind are as exact inside of others as they are alone."""

import pytest
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from model_store.convert import convert
from tests.model_store.convert.agreement import assert_agrees, people, strangers, three, two
from tests.model_store.convert.pipelines import filled, scaled


def dense(estimator):
    """Scale and encode, all columns dense."""
    model = scaled(estimator)
    model[0].sparse_threshold = 0
    return model


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize(
    "inner",
    [
        GaussianNB(),
        KNeighborsClassifier(4),
        LinearDiscriminantAnalysis(),
        MLPClassifier((6,), max_iter=20, random_state=0),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
        SVC(probability=True, random_state=0),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")
def test_kernels_neighbours_and_networks_inside_of_others(inner, labels):
    """Both probabilities of two classes, and the decision function, are what scikit-learn works on with."""
    frame = people(400)
    calibrated = CalibratedClassifierCV(dense(inner), method="isotonic", cv=2)
    tree = filled(DecisionTreeClassifier(max_depth=4, random_state=0))
    for model in (calibrated, VotingClassifier([("inner", dense(inner)), ("tree", tree)], voting="soft")):
        conversion = convert(model.fit(frame, labels(frame)), frame)
        assert_agrees(conversion, strangers(1000))
        assert not conversion.stock_steps


@pytest.mark.parametrize(
    ("inner", "tolerance"),
    [
        (LGBMClassifier(n_estimators=4, verbose=-1), 1e-12),
        (XGBClassifier(n_estimators=4, max_depth=3), 1e-6),
        (XGBClassifier(n_estimators=4, max_depth=3, objective="multi:softmax", num_class=2), 1e-6),
    ],
)
def test_boosters_inside_of_others(inner, tolerance):
    """LightGBM is calibrated by its raw scores, XGBoost by its probabilities, which are of float32."""
    frame = people(400)
    labels = (two(frame) == "stays").astype(int)
    calibrated = CalibratedClassifierCV(filled(inner), method="isotonic", cv=2)
    tree = filled(DecisionTreeClassifier(max_depth=4, random_state=0))
    vote = VotingClassifier([("inner", filled(inner)), ("tree", tree)], voting="soft")
    for model in (filled(inner), calibrated, vote):
        assert_agrees(convert(model.fit(frame, labels), frame), strangers(1000), tolerance=tolerance)
