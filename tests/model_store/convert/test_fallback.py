"""Steps without an exact builder go through skl2onnx, alone."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from errors import EstimatorInvalidError
from model_store.convert import convert
from model_store.convert.sklearn import composites, estimators
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled


def dense(estimator):
    """Scale and encode, all columns dense."""
    model = scaled(estimator)
    model[0].sparse_threshold = 0
    return model


@pytest.mark.parametrize("labels", [two, three, lambda frame: two(frame) == "goes"])
@pytest.mark.parametrize("estimator", [MLPClassifier((8,), max_iter=8, random_state=0), GaussianNB()])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classifiers_in_double(estimator, labels, monkeypatch):
    """Nulls, strangers and labels are exact, the estimator as good as skl2onnx in double.

    The classifiers that it converts well have exact builders by now: two of them do without.
    """
    monkeypatch.delitem(estimators._CONVERTERS, type(estimator))
    frame = people()
    conversion = convert(dense(estimator).fit(frame, labels(frame)), frame)
    assert_agrees(conversion, strangers(), tolerance=1e-9)
    assert len(conversion.stock_steps) == 1
    assert type(estimator).__name__ in conversion.stock_steps[0]
    assert "skl2onnx" in conversion.versions


@pytest.mark.parametrize(
    "estimator", [AdaBoostClassifier(n_estimators=5), BaggingClassifier(n_estimators=3, random_state=0)]
)
def test_classifiers_in_float32_where_double_does_not_load(estimator, monkeypatch):
    """What ONNX Runtime has no double operators for is cast, and answers doubles again.

    No classifier is left that needs it today, so two are taken from those with an exact builder.
    """
    monkeypatch.delitem(composites.CONVERTERS, type(estimator))
    frame = people(400)
    conversion = convert(dense(estimator).fit(frame, two(frame)), frame)
    assert_agrees(conversion, people(400, 3), tolerance=1e-3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_regressors():
    """A regressor's values come out as doubles."""
    frame = people(100)
    model = dense(GaussianProcessRegressor(alpha=0.5)).fit(frame, target(frame))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers(500), tolerance=1e-9)
    assert conversion.stock_steps == ("gaussianprocessregressor (GaussianProcessRegressor)",)


@pytest.mark.parametrize(
    "transformer",
    [KernelPCA(3), NeighborhoodComponentsAnalysis(3, random_state=0)],
)
@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), RandomForestClassifier(5, max_depth=4, random_state=0)]
)
def test_transformers_before_exact_estimators(transformer, estimator):
    """A stock step may stand between exact ones; how exact the whole is, the parity gate says."""
    frame = people(300)
    model = dense(estimator)
    model.steps.insert(1, ("stock", transformer))
    conversion = convert(model.fit(frame, two(frame)), frame)
    agreement = conversion.predict(conversion.sample)
    assert agreement.num_rows == len(frame)
    assert_agrees(conversion, strangers(500), tolerance=0.2)
    assert conversion.stock_steps == (f"stock ({type(transformer).__name__})",)


class Doubler(TransformerMixin, BaseEstimator):
    """A transformer of a user's own."""

    def fit(self, X, y=None):  # noqa: ARG002, N803 - scikit-learn's parameters
        """Remember the width."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):  # noqa: N803 - scikit-learn's parameter names
        """Double everything."""
        return np.asarray(X) * 2


class Oracle(ClassifierMixin, BaseEstimator):
    """A classifier of a user's own."""

    def fit(self, X, y):  # noqa: N803 - scikit-learn's parameter names
        """Remember the classes."""
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):  # noqa: N803 - scikit-learn's parameter names
        """Say the first class."""
        return np.repeat(self.classes_[:1], len(X))


@pytest.mark.parametrize(
    "model", [make_pipeline(Doubler(), LogisticRegression(max_iter=2000)), make_pipeline(Oracle())]
)
def test_steps_that_nobody_converts_are_named(model):
    """A user's own class is refused by the name of its step."""
    frame = people()[NUMBERS].fillna(0)
    model.fit(frame, two(people()))
    with pytest.raises(EstimatorInvalidError, match=r"doubler \(Doubler\)|oracle \(Oracle\)"):
        convert(model, frame)


def test_a_vectoriser_of_texts_is_refused():
    """Free text has no finite number of values."""
    frame = people()
    columns = ColumnTransformer([("words", CountVectorizer(), "plan")])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, two(frame))
    with pytest.raises(EstimatorInvalidError, match=r"words \(CountVectorizer\).*'plan'"):
        convert(model, frame)
