"""Naive Bayes and discriminant analysis agree with scikit-learn."""

import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from model_store.convert import convert
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled

LABELS = [two, three, lambda frame: target(frame) > 3]


def dense(estimator, *before):
    """Scale and encode, all columns dense."""
    model = scaled(estimator)
    model[0].sparse_threshold = 0
    return make_pipeline(model[0], *before, estimator)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("estimator", [BernoulliNB(), BernoulliNB(binarize=None), MultinomialNB(), ComplementNB()])
def test_counts(estimator, labels):
    """Models of counts see numbers as numbers and one-hot columns as lookups."""
    frame = people(500)
    model = dense(estimator, MinMaxScaler(clip=True)).fit(frame, labels(frame))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers(1000))
    assert not conversion.stock_steps


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("estimator", [GaussianNB(), LinearDiscriminantAnalysis()])
def test_discriminants_of_encoded_columns(estimator, labels):
    """One-hot columns that hardly vary within a class weigh far more than what decides, and still agree."""
    frame = people(500)
    assert_agrees(convert(dense(estimator).fit(frame, labels(frame)), frame), strangers(1000))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(
    "estimator",
    [GaussianNB(), QuadraticDiscriminantAnalysis(), LinearDiscriminantAnalysis(), BernoulliNB(binarize=1)],
)
def test_plain_frames(estimator, labels):
    """Numbers need no steps before them."""
    frame = people(500)[NUMBERS].fillna(90.0)
    conversion = convert(estimator.fit(frame, labels(people(500))), frame)
    assert_agrees(conversion, strangers(1000)[NUMBERS].fillna(90.0))
    assert not conversion.stock_steps
