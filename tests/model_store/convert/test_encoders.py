"""Encoders agree with scikit-learn for every category, null and stranger."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import assert_agrees, people, run, strangers, three, two

UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
TEXT_ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot, dense": OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "one-hot, first dropped": OneHotEncoder(handle_unknown="ignore", drop="first"),
    "one-hot, binary dropped": OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
    "one-hot, rare ones together": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.25),
    "one-hot, few kept": OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
    "one-hot, warning": OneHotEncoder(handle_unknown="warn", max_categories=3),
    "ordinal": OrdinalEncoder(**UNKNOWN),
    "ordinal, missing told": OrdinalEncoder(**UNKNOWN, encoded_missing_value=-7),
    "ordinal, rare ones together": OrdinalEncoder(**UNKNOWN, encoded_missing_value=-7, min_frequency=0.25),
    "ordinal, given order": OrdinalEncoder(
        categories=[["Rome", "Oslo"], ["pro", "plus", "basic"]], **UNKNOWN, encoded_missing_value=-3
    ),
    "target": TargetEncoder(),
}


@pytest.mark.parametrize("null", [None, np.nan], ids=["None", "NaN"])
@pytest.mark.parametrize("dtype", [object, "str", "category"])
@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_strings(name, dtype, null):
    """Nulls are categories like others, or unknown, whatever they are in the training frame."""
    frame = people()[["city", "plan"]].astype(dtype)
    if dtype is object:
        frame = frame.where(frame.notna(), null)
    if name == "ordinal":  # which answers NaN for null if not told otherwise
        frame = frame.astype(object).fillna("none").astype(dtype)
    labels = two(people())
    model = make_pipeline(TEXT_ENCODERS[name], DecisionTreeClassifier(random_state=0, max_depth=7))
    rows = strangers()[["city", "plan"]]
    assert_agrees(convert(model.fit(frame, labels), frame), rows)


def test_target_encoding_of_more_than_two_classes():
    """Then each feature becomes a column per class."""
    frame = people()[["city", "plan"]]
    model = make_pipeline(TargetEncoder(), LogisticRegression()).fit(frame, three(people()))
    assert_agrees(convert(model, frame), strangers()[["city", "plan"]])


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(**UNKNOWN)])
def test_numbers_and_booleans(encoder):
    """Categories may be integers, doubles or booleans."""
    frame = people()[["visits", "member", "amount"]]
    frame["amount"] = frame["amount"].round(-1) / 4
    if isinstance(encoder, OrdinalEncoder):
        frame["amount"] = frame["amount"].fillna(0.5)
    model = make_pipeline(encoder, LogisticRegression(max_iter=2000)).fit(frame, two(people()))
    rows = strangers()[["visits", "member", "amount"]]
    rows["amount"] = rows["amount"].fillna(0).round(-1) / 4
    rows.loc[::8, "visits"] = 99
    rows.loc[::17, "amount"] = -0.0
    assert_agrees(convert(model, frame), rows)


def test_categories_of_several_types_in_one_encoder():
    """A frame of strings, booleans and numbers is one array of objects to scikit-learn."""
    frame = people()[["city", "visits", "member"]]
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=500))
    assert_agrees(convert(model.fit(frame, two(people())), frame), strangers()[["city", "visits", "member"]])


def test_a_category_that_is_the_word_for_others():
    """The text that stands for all unknown ones is one that no category is."""
    frame = pd.DataFrame({"city": ["other", "other_", "Rome", None] * 50})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    conversion = convert(model.fit(frame, np.arange(200) % 4), frame)
    assert_agrees(conversion, pd.DataFrame({"city": ["other", "other_", "other__", "Oslo", "Rome", None, ""]}))


def test_an_integer_column_behind_an_imputer_is_still_a_category():
    """Filling makes integers doubles; equal numbers stay the same category."""
    frame = people()[["visits", "ratio"]]
    frame.loc[::10, "visits"] = np.nan
    branch = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([("visits", branch, ["visits"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, two(people()))
    rows = strangers()[["visits", "ratio"]].astype(float)
    rows.loc[::9, "visits"] = np.nan
    rows.loc[::8, "visits"] = 77
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder(), OneHotEncoder(drop="first")])
def test_an_encoder_that_refuses_strangers_allows_what_it_knows(encoder):
    """Its columns take the fitted texts only; the others are rejected in serving, and no score to who runs on."""
    frame = people().dropna()[["city", "plan"]]
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, two(people().dropna()))
    conversion = convert(model, frame)
    city, plan = conversion.signature.inputs
    assert city.allowed == ("Bern", "Oslo", "Paris", "Rome", "Zürich")
    assert plan.allowed == ("basic", "plus", "pro")
    assert not city.nullable
    assert_agrees(conversion, people(500, seed=3).dropna()[["city", "plan"]])
    stranger = run(conversion, pa.table({"city": ["Atlantis"], "plan": ["pro"]}))
    assert np.isnan(stranger["probability_stays"]).all()


@pytest.mark.parametrize("null", [None, np.nan], ids=["None", "NaN"])
@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder(encoded_missing_value=-5)])
def test_a_null_that_was_in_training_is_no_stranger(encoder, null):
    """Nulls are a category like others to an encoder that was fitted with them."""
    frame = people()[["city"]].astype(object)
    frame["city"] = frame["city"].where(frame["city"].notna(), null)
    conversion = convert(make_pipeline(encoder, LogisticRegression()).fit(frame, two(people())), frame)
    (city,) = conversion.signature.inputs
    assert (city.nullable, city.allowed) == (True, ("Bern", "Oslo", "Paris", "Rome", "Zürich"))
    assert_agrees(conversion, frame)


def test_what_an_imputer_fills_is_allowed_before_it():
    """The text that counts as missing is taken where the encoder knows what it is filled with, nulls likewise."""
    frame = people()[["city", "ratio"]].fillna({"city": "?"})
    filling = SimpleImputer(missing_values="?", strategy="most_frequent")
    columns = ColumnTransformer(
        [("city", make_pipeline(filling, OneHotEncoder()), ["city"])], remainder="passthrough"
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, two(people()))
    conversion = convert(model, frame)
    assert conversion.signature.inputs[0].allowed == ("?", "Bern", "Oslo", "Paris", "Rome", "Zürich")
    assert_agrees(conversion, frame)


def test_two_encoders_of_a_column_allow_what_both_know():
    """A column may go through several encoders: one that refuses a text is enough."""
    frame = people().dropna()[["city", "ratio"]]
    few = OneHotEncoder(categories=[["Rome", "Oslo", "Bern"]], handle_unknown="error")
    columns = [("all", OneHotEncoder(), ["city"]), ("few", few, ["city"]), ("ratio", "passthrough", ["ratio"])]
    frame = frame[frame["city"].isin(["Rome", "Oslo", "Bern"])]
    model = make_pipeline(ColumnTransformer(columns), LogisticRegression())
    model.fit(frame, two(people()).take(frame.index))
    model[0].named_transformers_["all"].categories_[0] = np.array(["Bern", "Oslo", "Paris"], dtype=object)
    assert convert(model, frame[frame["city"] != "Rome"]).signature.inputs[0].allowed == ("Bern", "Oslo")


@pytest.mark.parametrize("encoder", [OneHotEncoder(), OrdinalEncoder()])
def test_an_encoder_that_fails_on_new_numbers_is_refused(encoder):
    """One unseen number would fail every row scored with it: the message says what to set, without a new fit."""
    frame = people()[["visits"]]
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, two(people()))
    with pytest.raises(EstimatorInvalidError, match="handle_unknown") as caught:
        convert(model, frame)
    assert type(encoder).__name__ in str(caught.value)
    if isinstance(encoder, OneHotEncoder):
        model[0].set_params(handle_unknown="ignore")
    else:
        model[0].set_params(**UNKNOWN)
    assert_agrees(convert(model, frame), strangers()[["visits"]])


def test_booleans_have_no_strangers():
    """An encoder of booleans only need not be told what to do with unseen values."""
    frame = people()[["member"]]
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, two(people()))
    assert_agrees(convert(model, frame), strangers()[["member"]])
