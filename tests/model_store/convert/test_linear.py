"""Linear models agree with scikit-learn to 1e-12."""

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lars,
    Lasso,
    LinearRegression,
    LogisticRegression,
    OrthogonalMatchingPursuit,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from sklearn.svm import LinearSVC

from model_store.convert import convert
from tests.model_store.convert.agreement import assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled

LABELS = {
    "text": two,
    "number": three,
    "boolean": lambda frame: target(frame) > 3,
    "integer": lambda f: two(f) == "goes",
}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=300), SGDClassifier(loss="log_loss", random_state=0)]
)
def test_probabilities_and_labels_are_the_source_s(estimator, labels):
    """Classifiers with probabilities keep the user's own labels, of two classes or more."""
    frame = people()
    values = LABELS[labels](frame)
    conversion = convert(scaled(estimator).fit(frame, values), frame)
    assert_agrees(conversion, strangers())
    assert list(conversion.labels) == np.unique(values).tolist()


def test_sgd_answers_equal_shares_where_all_classes_underflow():
    """A row so far out that each class's probability is zero gets what scikit-learn gives it."""
    frame = people()
    model = scaled(SGDClassifier(loss="log_loss", random_state=0)).fit(frame, three(frame))
    model[-1].intercept_ = np.full(3, -1e6)
    answers = assert_agrees(convert(model, frame), strangers())
    assert (answers["probability_0"] == 1 / 3).all()


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize(
    "estimator",
    [RidgeClassifier(), Perceptron(random_state=0), SGDClassifier(random_state=0), LinearSVC(random_state=0)],
)
def test_classifiers_without_probabilities_give_scores(estimator, labels):
    """The decision function takes the place of the probabilities, and its columns are called score."""
    frame = people()
    conversion = convert(scaled(estimator).fit(frame, labels(frame)), frame)
    assert_agrees(conversion, strangers())
    assert all(column.name.startswith("score") for column in conversion.signature.outputs[1:])


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        Ridge(),
        Lasso(10),
        ElasticNet(10),
        SGDRegressor(random_state=0),
        HuberRegressor(max_iter=1000),
        BayesianRidge(),
        ARDRegression(),
        QuantileRegressor(alpha=0.1),
        TheilSenRegressor(max_subpopulation=50, n_subsamples=20, random_state=0),
        RANSACRegressor(random_state=0),
        PLSRegression(3),
        Lars(),
        OrthogonalMatchingPursuit(n_nonzero_coefs=4),
    ],
)
def test_regressors_agree(estimator):
    """Regressors answer one double."""
    frame = people()
    conversion = convert(scaled(estimator).fit(frame, target(frame) * 1000), frame)
    assert_agrees(conversion, strangers())
    assert [column.name for column in conversion.signature.outputs] == ["prediction"]
    assert conversion.labels == ()


@pytest.mark.parametrize(
    "estimator", [PoissonRegressor(), GammaRegressor(), TweedieRegressor(power=1.5), TweedieRegressor(power=0)]
)
def test_generalised_linear_regressors_agree(estimator):
    """The link of each, the logarithm or none, is undone at the end."""
    frame = people()
    conversion = convert(scaled(estimator).fit(frame, np.exp(target(frame) / 4)), frame)
    assert_agrees(conversion, strangers())
    assert not conversion.stock_steps


@pytest.mark.parametrize("labels", LABELS)
def test_modified_huber_gives_probabilities_that_may_be_zero(labels):
    """Clipped scores become probabilities; where all classes' are zero, they get equal shares."""
    frame = people()
    model = scaled(SGDClassifier(loss="modified_huber", random_state=0))
    conversion = convert(model.fit(frame, LABELS[labels](frame)), frame)
    answers = assert_agrees(conversion, strangers())
    assert (answers[conversion.signature.outputs[-1].name] == 0).any()


def test_a_scaler_after_the_encoder_scales_the_looked_up_weights():
    """One-hot columns that are scaled before the model still cost one lookup per row."""
    frame = people()
    model = scaled(LogisticRegression(max_iter=300))
    model = make_pipeline(model[0], MaxAbsScaler(), model[-1]).fit(frame, two(frame))
    assert_agrees(convert(model, frame), strangers())


def test_a_target_of_one_column_is_a_plain_regression():
    """scikit-learn keeps the second dimension of such a target; the output is still one value per row."""
    frame = people()
    model = scaled(LinearRegression()).fit(frame, target(frame).reshape(-1, 1))
    assert_agrees(convert(model, frame), strangers())
