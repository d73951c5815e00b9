"""The preprocessing that tests put before their estimators."""

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tests.model_store.convert.agreement import NUMBERS, TEXTS


def one_hot() -> Pipeline:
    """Fill nulls with a word, then one-hot."""
    return make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder(handle_unknown="ignore")
    )


def scaled(estimator: Any) -> Pipeline:
    """Fill and scale numbers, one-hot strings: all numbers dense and without nulls."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = [("numbers", numbers, [*NUMBERS, "member"]), ("texts", one_hot(), TEXTS)]
    return make_pipeline(ColumnTransformer(columns), estimator)


def unscaled(estimator: Any) -> Pipeline:
    """Pass numbers on with their nulls, encode strings as ordinals."""
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = [("numbers", "passthrough", NUMBERS), ("texts", ordinal, TEXTS)]
    return make_pipeline(ColumnTransformer(columns), estimator)


def filled(estimator: Any) -> Pipeline:
    """Fill numbers, encode strings as ordinals: tree thresholds are the file's own numbers, without nulls."""
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = [("numbers", SimpleImputer(strategy="mean"), NUMBERS), ("texts", ordinal, TEXTS)]
    return make_pipeline(ColumnTransformer(columns), estimator)
