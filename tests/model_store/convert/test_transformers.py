"""Transformers between the columns and the estimator agree with scikit-learn, digit by digit."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - scikit-learn wants it said
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, SelectPercentile, VarianceThreshold
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection
from sklearn.tree import DecisionTreeClassifier

from errors import EstimatorInvalidError
from model_store.convert import convert
from model_store.convert.sklearn import projections
from tests.model_store.convert.agreement import (
    NUMBERS,
    TEXTS,
    assert_agrees,
    at_thresholds,
    people,
    rows_of,
    run,
    strangers,
    target,
    three,
    two,
)
from tests.model_store.convert.pipelines import scaled


def dense(*steps):
    """Scale and encode, all columns dense, before the steps."""
    model = scaled(None)
    model[0].sparse_threshold = 0
    return make_pipeline(model[0], *steps)


TRANSFORMERS = [
    PCA(4),
    PCA(3, whiten=True),
    PCA(1, whiten=True),
    IncrementalPCA(3),
    FastICA(3, random_state=0, max_iter=1000),
    TruncatedSVD(4, random_state=0),
    TruncatedSVD(1, random_state=0),
    GaussianRandomProjection(4, random_state=0),
    PolynomialFeatures(2),
    PolynomialFeatures(3, interaction_only=True, include_bias=False),
    PolynomialFeatures((2, 3)),
    PowerTransformer(),
    PowerTransformer(standardize=False),
    QuantileTransformer(n_quantiles=100, random_state=0),
    QuantileTransformer(n_quantiles=100, random_state=0, output_distribution="normal"),
    Normalizer(),
    Normalizer("l1"),
    Normalizer("max"),
    Binarizer(threshold=0.5),
    SelectKBest(k=5),
    SelectPercentile(percentile=30),
    VarianceThreshold(0.1),
    SelectFromModel(Ridge()),
    RFE(Ridge(), n_features_to_select=4),
]


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)
def test_before_a_linear_model(transformer):
    """What a transformer gives is what the source gives, to 1e-12 after the model's weights."""
    frame = people(600)
    model = dense(transformer, StandardScaler(with_mean=False), Ridge())
    conversion = convert(model.fit(frame, three(frame)), frame)
    assert_agrees(conversion, strangers(1000))
    assert not conversion.stock_steps


@pytest.mark.parametrize("transformer", [PCA(4), QuantileTransformer(n_quantiles=50), PolynomialFeatures(2)])
def test_before_trees(transformer):
    """Trees compare the very same values."""
    frame = people(600)
    model = dense(transformer, RandomForestClassifier(5, max_depth=4, random_state=0))
    assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers(1000))


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
@pytest.mark.parametrize("strategy", ["quantile", "uniform", "kmeans"])
def test_bins_at_their_edges(strategy, encode):
    """A number at an edge belongs to the bin above; numbers beyond the last edges to the last bins."""
    frame = people(400)[NUMBERS].fillna(90.0).astype(float)
    options = {"quantile_method": "averaged_inverted_cdf"} if strategy == "quantile" else {}
    transformer = KBinsDiscretizer(4, encode=encode, strategy=strategy, **options)
    model = make_pipeline(transformer, Ridge()).fit(frame, target(people(400)))
    edges = dict(zip(NUMBERS, (part.tolist() for part in transformer.bin_edges_), strict=True))
    rows = at_thresholds(strangers(500)[NUMBERS].fillna(90.0), edges)
    assert_agrees(convert(model, frame), rows)


def test_bins_of_looked_up_numbers():
    """Encoded categories fall into bins when the model is converted, not when rows are scored."""
    frame = people(600)
    options = {"quantile_method": "averaged_inverted_cdf"}
    model = dense(KBinsDiscretizer(2, strategy="uniform", **options), LogisticRegression(max_iter=500))
    assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers(1000))


def test_infinity_in_the_last_bin():
    """scikit-learn takes no infinite numbers; should one be scored, it costs no other row its answer."""
    frame = people(600)[["ratio", "visits"]]
    model = make_pipeline(KBinsDiscretizer(3, strategy="uniform"), LogisticRegression(max_iter=500)).fit(
        frame, two(people(600))
    )
    conversion = convert(model, frame)
    rows = rows_of(conversion, pd.DataFrame({"ratio": [np.inf, 1e9], "visits": [3, 3]}))
    answers = run(conversion, rows)["probability_stays"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "transformer",
    [
        PowerTransformer(),
        QuantileTransformer(n_quantiles=40),
        QuantileTransformer(n_quantiles=40, output_distribution="normal"),
    ],
    ids=str,
)
def test_nulls_pass(transformer):
    """NaN stays NaN where scikit-learn passes it on, and the model after it sees it."""
    frame = people(600)
    model = make_pipeline(
        ColumnTransformer([("numbers", transformer, NUMBERS)]), DecisionTreeClassifier(max_depth=5)
    )
    conversion = convert(model.fit(frame, two(frame)), frame)
    assert all(column.nullable for column in conversion.signature.inputs)
    rows = strangers(1000)
    rows.loc[::3, "ratio"] = np.nan
    assert_agrees(conversion, rows)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_quantiles_that_are_equal_and_beyond(distribution):
    """Repeated quantiles give the middle; numbers beyond the training rows give the ends of the distribution."""
    frame = people(600)[["visits"]]
    transformer = QuantileTransformer(n_quantiles=90, output_distribution=distribution)
    model = make_pipeline(transformer, LinearRegression()).fit(frame, target(people(600)))
    rows = at_thresholds(strangers(300)[["visits"]] * 2.0 - 20, {"visits": transformer.quantiles_[:, 0]})
    assert_agrees(convert(model, frame.astype(float)), rows)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6])
def test_powers_of_small_and_large_numbers(size):
    """Digits are kept where 1 + x would lose them."""
    frame = (people(600)[["amount", "ratio"]].fillna(90.0) - [100, 0]) * size
    model = make_pipeline(PowerTransformer(), LinearRegression()).fit(frame, target(people(600)))
    assert_agrees(convert(model, frame), (strangers(1000)[["amount", "ratio"]].fillna(90.0) - [100, 0]) * size)


def test_selected_texts_stay_texts():
    """A selection before the encoder drops whole columns of any kind."""
    frame = people(600)[["visits", "member"]]
    model = make_pipeline(VarianceThreshold(1.0), LogisticRegression()).fit(frame, two(people(600)))
    assert_agrees(convert(model, frame), strangers(1000)[["visits", "member"]])


def test_too_many_products_are_refused(monkeypatch):
    """A chunk of rows has to fit into memory with all columns that it becomes."""
    monkeypatch.setattr(projections, "_MOST_PRODUCTS", 100)
    frame = people(600)
    model = dense(PolynomialFeatures(2), Ridge()).fit(frame, target(frame))
    with pytest.raises(EstimatorInvalidError, match=r"105 columns.*interaction_only"):
        convert(model, frame)


@pytest.mark.parametrize("features", ["missing-only", "all"])
def test_what_was_missing(features):
    """A MissingIndicator stands beside an imputer and says which cells it filled."""
    frame = people(600)
    marks = MissingIndicator(features=features, error_on_new=False)
    columns = ColumnTransformer(
        [
            ("numbers", FeatureUnion([("fill", SimpleImputer()), ("marks", marks)]), NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ]
    )
    model = make_pipeline(columns, Ridge()).fit(frame, target(frame))
    rows = strangers(1000)
    rows.loc[::3, "ratio"] = np.nan
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize(
    ("transformer", "remedy"),
    [
        (IterativeImputer(max_iter=2, tol=10), "SimpleImputer"),
        (KNNImputer(), "SimpleImputer"),
        (PowerTransformer("box-cox"), "yeo-johnson"),
    ],
)
def test_what_is_not_converted_says_what_to_do(transformer, remedy):
    """The message names the step and another one that is converted."""
    frame = people(600)[NUMBERS].fillna(90.0).abs() + 1
    model = make_pipeline(transformer, LogisticRegression(max_iter=900)).fit(frame, two(people(600)))
    with pytest.raises(EstimatorInvalidError, match=f"{type(transformer).__name__.lower()} .*{remedy}"):
        convert(model, frame)
