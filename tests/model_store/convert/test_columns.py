"""Pipelines, column transformers, imputers and scalers keep columns, order and rounding."""

from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import NUMBERS, TEXTS, assert_agrees, near, people, strangers, two
from tests.model_store.convert.pipelines import one_hot

SCALERS = {
    "standard": StandardScaler(),
    "standard, mean only": StandardScaler(with_std=False),
    "standard, spread only": StandardScaler(with_mean=False),
    "min max": MinMaxScaler(feature_range=(-1, 2)),
    "min max, clipped": MinMaxScaler(clip=True),
    "max abs": MaxAbsScaler(),
    "max abs, clipped": MaxAbsScaler(clip=True),
    "robust": RobustScaler(),
    "robust, center only": RobustScaler(with_scaling=False),
}
IMPUTERS = {
    "mean": SimpleImputer(),
    "median": SimpleImputer(strategy="median"),
    "most frequent": SimpleImputer(strategy="most_frequent"),
    "constant": SimpleImputer(strategy="constant", fill_value=-5),
    "with indicators": SimpleImputer(add_indicator=True),
}


@pytest.mark.parametrize("name", SCALERS)
def test_scalers_round_as_the_source_s(name):
    """A full tree behind the scaler tells the last bit, for numbers with nulls, integers and booleans."""
    frame = people()[[*NUMBERS, "member"]]
    model = make_pipeline(SCALERS[name], DecisionTreeClassifier(random_state=0)).fit(frame, two(people()))
    rows = strangers()[[*NUMBERS, "member"]]
    tree = model[-1].tree_
    split = tree.feature == NUMBERS.index("ratio")
    grid = np.zeros((split.sum(), 4))
    grid[:, 1] = tree.threshold[split]
    around = near(model[0].inverse_transform(grid)[:, 1])[: len(rows)]
    rows.loc[: len(around) - 1, "ratio"] = around
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize("name", IMPUTERS)
def test_imputers_of_numbers(name):
    """Nulls of numbers are filled with the fitted statistics, and marked if asked for."""
    frame = people()[NUMBERS]
    model = make_pipeline(IMPUTERS[name], LogisticRegression(max_iter=500)).fit(frame, two(people()))
    rows = strangers()[NUMBERS].astype(float)
    rows.loc[::5, "visits"] = np.nan
    conversion = convert(model, frame)
    assert_agrees(conversion, rows)
    assert all(column.nullable for column in conversion.signature.inputs)


def test_an_imputer_of_a_number_that_means_missing():
    """Another number than NaN can stand for a missing value; a null is then refused."""
    frame = people()[NUMBERS].fillna(-1)
    model = make_pipeline(SimpleImputer(missing_values=-1, add_indicator=True), LogisticRegression(max_iter=500))
    conversion = convert(model.fit(frame, two(people())), frame)
    assert_agrees(conversion, strangers()[NUMBERS].fillna(-1))
    assert not any(column.nullable for column in conversion.signature.inputs)


@pytest.mark.parametrize("keep", [True, False])
def test_a_column_that_was_always_null(keep):
    """It is dropped by the imputer or kept with zeros, and the columns after it do not move."""
    frame = people()[NUMBERS].assign(nothing=np.nan)[["amount", "nothing", "ratio", "visits"]]
    imputer = SimpleImputer(keep_empty_features=keep)
    with nullcontext() if keep else pytest.warns(UserWarning, match="without any observed values"):
        model = make_pipeline(imputer, LogisticRegression(max_iter=500)).fit(frame, two(people()))
    rows = strangers()[NUMBERS].assign(nothing=3.0)
    rows.loc[::3, "nothing"] = np.nan
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value="Rome"),
    ],
)
def test_imputers_of_strings(imputer):
    """A null text becomes the fitted one, which may be a category of its own."""
    frame = people()[TEXTS]
    model = make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=500))
    assert_agrees(convert(model.fit(frame, two(people())), frame), strangers()[TEXTS])


def test_an_imputer_of_a_text_that_means_missing():
    """Another text than null can stand for a missing value; a null is then refused."""
    frame = people()[TEXTS].fillna("?")
    imputer = SimpleImputer(strategy="most_frequent", missing_values="?")
    model = make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=500))
    conversion = convert(model.fit(frame, two(people())), frame)
    assert_agrees(conversion, strangers()[TEXTS].fillna("?"))
    assert not any(column.nullable for column in conversion.signature.inputs)


def test_the_indicators_of_an_imputer_of_strings():
    """They come after the texts; a union may take the column both ways."""
    frame = people()[TEXTS]
    imputer = SimpleImputer(strategy="constant", fill_value="missing", add_indicator=True)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encode = ColumnTransformer([("texts", encoder, [0, 1])], remainder="passthrough")
    union = FeatureUnion(
        [("marked", make_pipeline(imputer, encode)), ("plain", encoder)], transformer_weights={"plain": 3}
    )
    model = make_pipeline(union, LogisticRegression(max_iter=500)).fit(frame, two(people()))
    assert_agrees(convert(model, frame), strangers()[TEXTS])


def test_imputers_of_texts_in_a_row():
    """A second imputer sees what the first one made of the column."""
    frame = people()[TEXTS]
    first = SimpleImputer(strategy="constant", fill_value="Oslo")
    second = SimpleImputer(strategy="constant", missing_values="Oslo", fill_value="Bern")
    model = make_pipeline(first, second, OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    assert_agrees(convert(model.fit(frame, two(people())), frame), strangers()[TEXTS])


SELECTIONS = {
    "names": (NUMBERS, TEXTS),
    "numbers": ([0, 1, 2], [4, 5]),
    "negative numbers": ([-6, -5, -4], [-2, -1]),
    "slices": (slice(0, 3), slice("city", "plan")),
    "masks": ([True] * 3 + [False] * 3, [False] * 4 + [True] * 2),
    "callables": (
        make_column_selector(dtype_include="number"),
        make_column_selector(dtype_include=["object", "string"]),
    ),
}


@pytest.mark.parametrize("remainder", ["drop", "passthrough", "scaler"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_selectors_and_remainders(selection, remainder):
    """However columns are selected, the graph takes the same ones."""
    frame = people()[[*NUMBERS, "member", *TEXTS]]
    numbers, texts = SELECTIONS[selection]
    columns = ColumnTransformer(
        [("texts", one_hot(), texts), ("numbers", SimpleImputer(), numbers)],
        remainder=MaxAbsScaler() if remainder == "scaler" else remainder,
        transformer_weights={"texts": 0.5},
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(frame, two(people()))
    conversion = convert(model, frame)
    assert_agrees(conversion, strangers())
    names = [column.name for column in conversion.signature.inputs]
    assert ("member" in names) == (remainder != "drop")


def test_columns_that_the_model_drops_are_no_inputs():
    """Neither an id that was in the training frame nor a dropped branch has to be in files to be scored."""
    frame = people().assign(id=range(1200), note="free text")
    columns = ColumnTransformer([("numbers", SimpleImputer(), NUMBERS), ("no", "drop", ["note"])])
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, two(people()))
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.inputs] == NUMBERS
    assert_agrees(conversion, strangers())


def test_a_single_column_and_the_same_column_twice():
    """A column may go through two branches."""
    frame = people()
    columns = ColumnTransformer(
        [
            ("amount", make_pipeline(SimpleImputer(), StandardScaler()), ["amount"]),
            ("again", make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler()), ["amount", "ratio"]),
            ("city", one_hot(), ["city"]),
            ("city again", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, two(frame))
    assert_agrees(convert(model, frame), strangers())


@pytest.mark.parametrize("scaler", [MaxAbsScaler(), StandardScaler(with_mean=False), "weight"])
def test_a_single_column_that_is_only_divided(scaler):
    """ONNX Runtime keeps a single divisor before a MatMul in float32; the graph gives it no such pair to fuse."""
    frame = people()[["ratio", "visits"]]
    if scaler == "weight":
        columns = ColumnTransformer(
            [("both", "passthrough", ["ratio", "visits"])], transformer_weights={"both": 0.1}
        )
    else:
        columns = ColumnTransformer([("one", scaler, ["ratio"])], remainder="drop")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, two(people()))
    assert_agrees(convert(model, frame), strangers())


def test_column_transformers_one_after_another():
    """The second one selects among the first one's columns by their places."""
    frame = people()
    first = ColumnTransformer(
        [("numbers", SimpleImputer(), NUMBERS), ("texts", one_hot(), TEXTS)], sparse_threshold=0
    )
    second = ColumnTransformer([("some", StandardScaler(), [4, 0, 1])], remainder="passthrough")
    model = make_pipeline(first, second, LogisticRegression(max_iter=500)).fit(frame, two(frame))
    assert_agrees(convert(model, frame), strangers())


def test_steps_that_do_nothing():
    """'passthrough', None and a FunctionTransformer without a function change nothing."""
    frame = people()[NUMBERS].fillna(0)
    steps = [
        ("a", "passthrough"),
        ("b", None),
        ("c", FunctionTransformer()),
        ("model", LogisticRegression(max_iter=900)),
    ]
    model = Pipeline(steps).fit(frame, two(people()))
    assert_agrees(convert(model, frame), strangers()[NUMBERS].fillna(0))


def test_frames_between_the_steps():
    """set_output changes the form of what steps hand on, not what it is."""
    frame = people()
    columns = ColumnTransformer([("numbers", SimpleImputer(), NUMBERS)], remainder="drop").set_output(
        transform="pandas"
    )
    model = make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(frame, two(frame))
    assert_agrees(convert(model, frame), strangers())


def test_a_python_function_is_refused_by_the_step_s_name():
    """No graph can run Python: the message names the step and says what to do instead."""
    frame = people()[NUMBERS].fillna(0)
    columns = ColumnTransformer([("logs", FunctionTransformer(np.abs), ["ratio"])], remainder="passthrough")
    model = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=900))]).fit(frame, two(people()))
    with pytest.raises(EstimatorInvalidError, match=r"columns\.logs \(FunctionTransformer\)"):
        convert(model, frame)
