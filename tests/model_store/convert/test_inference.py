"""The signature is found out by asking, and what cannot be served is refused by name."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.convert import convert
from model_store.signature import Column, ColumnType
from tests.model_store.convert.agreement import NUMBERS, assert_agrees, people, strangers, target, three, two
from tests.model_store.convert.pipelines import scaled

LARGEST = float(np.finfo(np.float64).max)
"""What columns take whose infinities scikit-learn refuses."""


def fitted(frame, labels=None, estimator=None):
    """Fit a model that refuses nulls."""
    return (LogisticRegression(max_iter=2000) if estimator is None else estimator).fit(
        frame, two(people()) if labels is None else labels
    )


def test_types_and_nulls_are_what_the_source_takes():
    """An imputed integer is a double that may be null; strings and doubles are nullable; booleans are not."""
    frame = people()
    conversion = convert(scaled(LogisticRegression()).fit(frame, two(frame)), frame.assign(label=two(frame)))
    assert conversion.signature.inputs == (
        Column("amount", ColumnType.DOUBLE, limit=LARGEST),
        Column("ratio", ColumnType.DOUBLE, limit=LARGEST),
        Column("visits", ColumnType.DOUBLE, limit=LARGEST),
        Column("member", ColumnType.BOOLEAN, nullable=False),
        Column("city", ColumnType.STRING),
        Column("plan", ColumnType.STRING),
    )
    assert conversion.sample.schema.equals(conversion.signature.input_schema)
    assert conversion.sample.num_rows == len(frame)
    assert conversion.sample["city"].null_count == frame["city"].isna().sum()


def test_an_estimator_that_refuses_nulls_has_columns_without():
    """Integers then stay integers."""
    frame = people()[["ratio", "visits"]]
    conversion = convert(fitted(frame), frame)
    assert conversion.signature.inputs == (
        Column("ratio", ColumnType.DOUBLE, nullable=False, limit=LARGEST),
        Column("visits", ColumnType.LONG, nullable=False),
    )
    assert_agrees(conversion, strangers())


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (two, ColumnType.STRING, ["prediction", "probability_stays"]),
        (lambda f: two(f) == "stays", ColumnType.BOOLEAN, ["prediction", "probability_true"]),
        (lambda f: (two(f) == "stays").astype(int), ColumnType.LONG, ["prediction", "probability_1"]),
        (lambda f: (two(f) == "stays") * 1.0, ColumnType.DOUBLE, ["prediction", "probability_1.0"]),
        (lambda f: two(f).astype(object), ColumnType.STRING, ["prediction", "probability_stays"]),
        (three, ColumnType.LONG, ["prediction", "probability_0", "probability_10", "probability_20"]),
    ],
)
def test_outputs_are_named_by_the_user_s_labels(labels, kind, names):
    """Two classes have one probability, more have one each; predictions are the labels themselves."""
    frame = people()[["ratio", "visits"]]
    conversion = convert(fitted(frame, labels(people())), frame)
    assert [column.name for column in conversion.signature.outputs] == names
    assert conversion.signature.outputs[0].type is kind
    assert set(assert_agrees(conversion, strangers())["prediction"]) == set(conversion.labels)


@pytest.mark.parametrize(
    "dtypes",
    [
        {"amount": "float32", "visits": "int8", "city": "string"},
        {"amount": "Float64", "visits": "Int64", "city": "category"},
        {"amount": object, "visits": object, "city": object},
    ],
)
def test_other_dtypes_are_the_same_four_types(dtypes):
    """However pandas holds a column, files hold doubles, integers, booleans and strings."""
    frame = people()
    frame["city"] = frame["city"].fillna("none")  # pandas.NA is no value that an imputer knows
    frame = frame.astype(dtypes)
    conversion = convert(scaled(LogisticRegression()).fit(frame, two(people())), frame)
    types = {column.name: column.type for column in conversion.signature.inputs}
    assert types["amount"] is ColumnType.DOUBLE
    assert types["city"] is ColumnType.STRING
    assert_agrees(conversion, strangers().fillna({"city": "none"}))


def test_an_estimator_fitted_on_an_array_takes_the_sample_s_columns_in_order():
    """Without names of its own, the estimator knows its columns by their places."""
    frame = people()[["ratio", "visits"]]
    model = fitted(frame.to_numpy(), estimator=RandomForestClassifier(5, random_state=0))
    assert_agrees(convert(model, frame), strangers())
    with pytest.raises(SampleInvalidError, match=r"3 columns and the estimator was fitted on 2"):
        convert(model, frame.assign(label=1))


def test_a_finished_search_is_its_best_estimator():
    """What predicts is what the search refitted."""
    frame = people()[["ratio", "visits"]]
    search = GridSearchCV(LogisticRegression(max_iter=2000), {"C": [0.1, 1]}, cv=2)
    assert_agrees(convert(fitted(frame, estimator=search), frame), strangers())


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (LogisticRegression(), "not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "not fitted"),
        (LogisticRegression, "no scikit-learn estimator"),
        ({"model": 1}, "no scikit-learn estimator"),
    ],
)
def test_what_is_no_fitted_estimator_is_refused(estimator, says):
    """The message says what it is and what to do."""
    with pytest.raises(EstimatorInvalidError, match=says):
        convert(estimator, people())


def test_an_estimator_that_does_not_predict_is_refused():
    """Neither a transformer nor a clusterer answers with labels or values."""
    frame = people()[["ratio", "visits"]]
    for model in (StandardScaler().fit(frame), KMeans(2, n_init=1).fit(frame)):
        with pytest.raises(EstimatorInvalidError, match="neither a classifier nor a regressor"):
            convert(model, frame)


@pytest.mark.parametrize("estimator", [LinearRegression(), RandomForestRegressor(2), RandomForestClassifier(2)])
def test_several_targets_are_refused(estimator):
    """A signature has one prediction."""
    frame = people()[["ratio", "visits"]]
    targets = np.stack([target(people()) > 2, target(people()) > 3], axis=1).astype(int)
    with pytest.raises(EstimatorInvalidError, match="several columns at once"):
        convert(estimator.fit(frame, targets), frame)


def test_a_classifier_of_one_class_is_refused():
    """It has no second probability to give."""
    frame = people()[["ratio", "visits"]]
    model = RandomForestClassifier(2).fit(frame, np.zeros(len(frame)))
    with pytest.raises(EstimatorInvalidError, match="only one class"):
        convert(model, frame)


def test_a_sample_must_have_the_estimator_s_columns():
    """A missing column is named; columns too many are dropped."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(SampleInvalidError, match="'visits'") as caught:
        convert(fitted(frame), frame.drop(columns="visits"))
    assert caught.value.column == "visits"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.set_axis([0, 1], axis=1), "text"),
        (lambda f: f.set_axis(["", "b"], axis=1), "text"),
        (lambda f: f.set_axis(["ratio", "ratio"], axis=1), "two columns"),
        (lambda f: f.head(0), "no rows"),
        (lambda f: f.to_numpy(), "DataFrame"),
        (lambda f: f.assign(visits=pd.Timestamp("2026-01-01")), "'visits'"),
        (lambda f: f.assign(visits=[(1, 2)] * len(f)), "'visits'"),
        (lambda f: f.assign(visits=["a", 1.5] * (len(f) // 2)), "'visits'"),
        (lambda f: f.assign(visits=[True, None] * (len(f) // 2)), "'visits'.*booleans and nulls"),
        (lambda f: f.assign(visits="secret"), "fails on rows of the sample"),
        (lambda f: f.assign(ratio=[np.nan, 1.0] * (len(f) // 2)), "'ratio'.*nulls"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(change, says):
    """The message names the column and the remedy, and no values."""
    frame = people()[["ratio", "visits"]]
    with pytest.raises(SampleInvalidError, match=says) as caught:
        convert(fitted(frame), change(frame))
    assert "secret" not in str(caught.value)


def test_an_input_named_like_an_output_is_refused():
    """A graph has one tensor of each name."""
    frame = people()[["ratio", "visits"]].rename(columns={"visits": "prediction"})
    with pytest.raises(SampleInvalidError, match="name of an output"):
        convert(fitted(frame), frame)


def test_texts_that_no_step_encodes_are_refused():
    """The message names the column and the step that is given it."""
    frame = people()[["city", "ratio"]].dropna()
    model = make_pipeline(SimpleImputer(strategy="most_frequent"), HistGradientBoostingClassifier(max_iter=2))
    numbers = frame.assign(city=1.0)
    model.fit(numbers, two(people().loc[frame.index]))
    with pytest.raises((EstimatorInvalidError, SampleInvalidError)):
        convert(model, frame)


def test_a_pipeline_of_one_step_and_column_names_of_any_kind():
    """Names with spaces, dots and letters of any alphabet are the tensors' names."""
    frame = people()[NUMBERS].fillna(0).set_axis(["größe in m²", "a.b/c", "constant_0"], axis=1)
    model = make_pipeline(LogisticRegression(max_iter=2000)).fit(frame, two(people()))
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.inputs] == list(frame.columns)
    assert_agrees(conversion, frame)


def test_a_high_cardinality_column():
    """Thousands of categories are one lookup."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"zip": random.integers(0, 3000, 6000).astype(str)})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=50))
    conversion = convert(model.fit(frame, random.integers(0, 2, 6000)), frame)
    assert_agrees(conversion, pd.DataFrame({"zip": random.integers(0, 4000, 2000).astype(str)}))
