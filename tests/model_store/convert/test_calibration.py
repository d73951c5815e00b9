"""Calibrated classifiers and moved thresholds agree with scikit-learn, whatever they are put around."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import assert_agrees, people, strangers, three, two
from tests.model_store.convert.pipelines import filled, scaled, unscaled

FOREST = RandomForestClassifier(6, min_samples_leaf=4, random_state=0)
INNER = {
    "logistic": scaled(LogisticRegression(max_iter=300)),
    "margins": scaled(LinearSVC(random_state=0)),
    "forest": filled(FOREST),
    "gradients": filled(GradientBoostingClassifier(n_estimators=3, loss="log_loss", random_state=0)),
    "bagged logistic": scaled(BaggingClassifier(LogisticRegression(), n_estimators=2, random_state=0)),
    "histograms": unscaled(HistGradientBoostingClassifier(max_iter=3)),
}


# scikit-learn 1.9 itself cannot always fit temperatures of histograms' three classes: "NaN result encountered".
CASES = [
    (inner, method, labels)
    for inner in INNER
    for method in ("sigmoid", "isotonic", "temperature")
    for labels in (two, three)
    if (inner, method, labels) != ("histograms", "temperature", three)
]


@pytest.mark.parametrize(("inner", "method", "labels"), CASES)
def test_calibrated_probabilities_are_the_source_s(inner, method, labels):
    """Decision functions are calibrated where there are some, else probabilities; folds are averaged."""
    frame = people(600)
    model = CalibratedClassifierCV(INNER[inner], method=method, cv=2).fit(frame, labels(frame))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers())
    assert not conversion.stock_steps


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_one_estimator_calibrated_after_its_fit(method):
    """A FrozenEstimator, and ensemble=False, have one estimator instead of one per fold."""
    frame = people(600)
    frozen = FrozenEstimator(scaled(LogisticRegression()).fit(frame, two(frame)))
    for model in (
        CalibratedClassifierCV(frozen, method=method),
        CalibratedClassifierCV(INNER["forest"], ensemble=False),
    ):
        assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers())


def test_classes_that_all_calibrate_to_zero_get_equal_shares():
    """scikit-learn answers so where each class's calibrator says never."""
    frame = people(600)
    model = CalibratedClassifierCV(INNER["forest"], method="isotonic", cv=2).fit(frame, three(frame))
    for fold in model.calibrated_classifiers_:
        for calibrator in fold.calibrators:
            zeros = np.where(calibrator.y_thresholds_ < 0.4, 0.0, calibrator.y_thresholds_)
            calibrator.y_thresholds_ = zeros
            calibrator._build_f(calibrator.X_thresholds_, zeros)
    answers = assert_agrees(convert(model, frame), strangers())
    assert ((answers["probability_0"] == 1 / 3) & (answers["probability_10"] == 1 / 3)).any()


def test_isotonic_steps_are_met_at_their_very_edges():
    """Rows whose score is one of the calibrator's own points get that point's value, as training rows do."""
    frame = people(800)
    model = CalibratedClassifierCV(
        FrozenEstimator(filled(DecisionTreeClassifier(max_depth=6, random_state=0)).fit(frame, two(frame))),
        method="isotonic",
    )
    assert_agrees(convert(model.fit(frame, two(frame)), frame), frame, tolerance=0.0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_inner_estimator_without_a_converted_decision_function_is_named():
    """The calibration would be of other numbers than the source's."""
    frame = people(300)
    inner = scaled(SVC(probability=True, decision_function_shape="ovo", random_state=0))
    model = CalibratedClassifierCV(inner, cv=2).fit(frame, three(frame))
    with pytest.raises(EstimatorInvalidError, match=r"fold 0.*SVC.*decision function"):
        convert(model, frame)


@pytest.mark.parametrize("positive", [None, "goes"])
@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.7])
def test_a_threshold_that_rows_meet_exactly(threshold, positive):
    """Shares of ten fully grown trees are tenths, so that many rows are exactly at the threshold."""
    frame = people(600)
    forest = filled(RandomForestClassifier(10, random_state=0))
    model = FixedThresholdClassifier(forest, threshold=threshold, pos_label=positive).fit(frame, two(frame))
    assert_agrees(convert(model, frame), strangers())


@pytest.mark.parametrize(
    "model",
    [
        FixedThresholdClassifier(scaled(LinearSVC(random_state=0)), threshold=0.3),
        FixedThresholdClassifier(scaled(LinearSVC(random_state=0)), pos_label="goes"),
        FixedThresholdClassifier(scaled(LogisticRegression()), threshold=1.0, response_method="decision_function"),
        TunedThresholdClassifierCV(scaled(LogisticRegression()), cv=2),
        TunedThresholdClassifierCV(filled(FOREST), cv=2, scoring=make_scorer(f1_score, pos_label="goes")),
    ],
)
def test_thresholds_of_scores_and_tuned_ones(model):
    """The score that is compared is the one that scikit-learn picks, of the class that it counts as positive."""
    frame = people(600)
    assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers())
