"""XGBoost agrees: margins to the last bit of their float32, labels always, probabilities to a rounding."""

import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

from errors import EstimatorInvalidError
from model_store.convert import convert
from tests.model_store.convert.agreement import (
    NUMBERS,
    TEXTS,
    assert_agrees,
    at_thresholds,
    people,
    strangers,
    target,
    three,
    two,
)
from tests.model_store.convert.pipelines import filled, scaled, unscaled

QUICK = {"n_estimators": 12, "max_depth": 4, "n_jobs": 1, "random_state": 0}
ULP = 1.2e-7
"""A rounding of float32 near one: ours and the C library's exponential may differ by it."""


def thresholds_of(model, names=NUMBERS):
    """Return, by column, the thresholds of all trees; `names` are the model's for NUMBERS."""
    nodes = (model if isinstance(model, xgboost.Booster) else model.get_booster()).trees_to_dataframe()
    found = {
        name: np.unique(nodes["Split"][nodes["Feature"] == own].astype(float).dropna()).tolist()
        for name, own in zip(NUMBERS, names, strict=True)
    }
    return {name: values[:200] for name, values in found.items() if values}


def in_pipeline(model):
    """Return the thresholds of a pipeline's last step, which knows columns by place."""
    return thresholds_of(model[-1], [f"f{place}" for place in range(len(NUMBERS))])


def classes(labels, frame):
    """Return labels as numbers from zero: XGBoost takes no others."""
    return np.unique(labels(frame), return_inverse=True)[1]


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize(
    "estimator",
    [
        xgboost.XGBClassifier(**QUICK),
        xgboost.XGBClassifier(**QUICK, rate_drop=0.5, one_drop=1),
        xgboost.XGBClassifier(**QUICK, base_score=0.3, reg_alpha=0.5),
        xgboost.XGBClassifier(**QUICK, num_parallel_tree=3, subsample=0.6, grow_policy="lossguide"),
    ],
)
def test_classifiers_agree_at_their_thresholds(labels, estimator):
    """A value equal to a threshold goes right, in float32; NaN goes where it went in training."""
    frame = people()
    model = unscaled(estimator).fit(frame, classes(labels, frame))
    rows = at_thresholds(strangers(), in_pipeline(model))
    rows.loc[::7, "ratio"] = np.nan
    rows.loc[::9, "visits"] = 1e300  # beyond float32
    conversion = convert(model, frame)
    assert conversion.versions["xgboost"] == xgboost.__version__
    assert_agrees(conversion, rows, tolerance=ULP)


@pytest.mark.parametrize("labels", [two, three])
def test_forests_are_one_round_of_trees(labels):
    """XGBoost's random forests are converted as well, though it deprecates them."""
    frame = people()
    with pytest.warns(FutureWarning, match="XGBRFClassifier"):
        model = unscaled(xgboost.XGBRFClassifier(**QUICK)).fit(frame, classes(labels, frame))
    assert_agrees(convert(model, frame), at_thresholds(strangers(), in_pipeline(model)), tolerance=ULP)


@pytest.mark.parametrize(
    "objective",
    [
        *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror"),
        *("reg:quantileerror", "reg:expectileerror", "reg:logistic"),
        *("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"),
    ],
)
def test_regressors_agree(objective):
    """Where the objective answers the sum itself, it is the same float32."""
    frame = people()
    values = np.exp(target(frame) / 4)
    values = values / values.max() if objective == "reg:logistic" else values
    options = {"quantile_alpha": 0.3} if "quantile" in objective else {}
    options |= {"expectile_alpha": 0.3} if "expectile" in objective else {}
    model = unscaled(xgboost.XGBRegressor(**QUICK, objective=objective, **options)).fit(frame, values)
    exact = objective.endswith("error")
    rows = at_thresholds(strangers(), in_pipeline(model))
    assert_agrees(convert(model, frame), rows, tolerance=0.0 if exact else ULP)


@pytest.mark.parametrize(
    ("objective", "labels"), [("multi:softmax", three), ("binary:hinge", two), ("binary:logitraw", two)]
)
def test_classifiers_agree_on_their_objective(objective, labels):
    """Hinge answers 0 and 1, and raw scores count as probabilities, for that is what XGBClassifier does."""
    frame = people()
    model = unscaled(xgboost.XGBClassifier(**QUICK, objective=objective)).fit(frame, classes(labels, frame))
    assert_agrees(convert(model, frame), at_thresholds(strangers(), in_pipeline(model)), tolerance=ULP)


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("pipeline", [scaled, filled])
def test_classifiers_agree_behind_encoders(pipeline, labels):
    """Thresholds behind a scaler and one-hot columns."""
    frame = people()
    model = pipeline(xgboost.XGBClassifier(**QUICK)).fit(frame, classes(labels, frame))
    assert_agrees(convert(model, frame), strangers(), tolerance=ULP)


def sparse(estimator, *steps):
    """Build a pipeline whose estimator is given a sparse matrix."""
    columns = ColumnTransformer(
        [("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("visits", "passthrough", ["visits"])],
        sparse_threshold=1.0,
    )
    return make_pipeline(columns, *steps, estimator)


@pytest.mark.parametrize("steps", [[], [MaxAbsScaler()]])
def test_zeros_of_a_sparse_matrix_are_missing(steps):
    """A sparse matrix has no zeros, and XGBoost takes what is not there for missing."""
    frame = people()
    model = sparse(xgboost.XGBRegressor(**QUICK), *steps).fit(frame, target(frame))
    assert_agrees(convert(model, frame), strangers(), tolerance=0.0)


def test_a_dense_one_hot_encoder_gives_zeros():
    """The same columns as a dense matrix: zeros are zeros."""
    frame = people()
    model = sparse(xgboost.XGBRegressor(**QUICK))
    model[0].set_params(sparse_threshold=0.0)
    assert_agrees(convert(model.fit(frame, target(frame)), frame), strangers(), tolerance=0.0)


def test_another_value_may_mean_missing():
    """`missing` is compared in float32, and NaN is missing as well."""
    frame = people()[NUMBERS]
    frame.loc[::4, "ratio"] = 0.1
    model = xgboost.XGBRegressor(**QUICK, missing=0.1).fit(frame, target(people()))
    rows = at_thresholds(strangers(), thresholds_of(model))
    rows.loc[::5, "ratio"] = np.resize([0.1, np.nextafter(0.1, 1), float(np.float32(0.1)), np.nan], len(rows[::5]))
    assert_agrees(convert(model, frame), rows, tolerance=0.0)


def test_a_ranker_s_prediction_is_its_score():
    """A ranker answers one number, like a regressor."""
    frame = people()
    model = xgboost.XGBRanker(**QUICK).fit(
        frame[NUMBERS], np.digitize(target(frame), [0, 2, 4]), qid=np.repeat(np.arange(12), 100)
    )
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.outputs] == ["prediction"]
    assert_agrees(conversion, at_thresholds(strangers(), thresholds_of(model)), tolerance=0.0)


@pytest.mark.parametrize("one_hot", [1, 100])
def test_native_categories_are_sets_of_codes(one_hot):
    """Strings and numbers of category dtype; what is unseen goes where nulls go."""
    random = np.random.default_rng(0)
    frame = people().assign(shop=random.integers(0, 70, 1200) * 3)
    values = target(frame) + np.sin(frame["shop"])
    frame = frame.astype(dict.fromkeys([*TEXTS, "shop"], "category"))
    model = xgboost.XGBRegressor(**QUICK, enable_categorical=True, max_cat_to_onehot=one_hot).fit(frame, values)
    conversion = convert(model, frame)
    assert conversion.framework == "xgboost"
    rows = at_thresholds(strangers(), thresholds_of(model))
    rows["shop"] = random.choice([0.0, 3.0, 6.0, 207.0, 1.0, -3.0, 999.0, np.nan], len(rows))
    assert_agrees(conversion, rows, tolerance=0.0)


def test_native_categories_pass_through_a_pipeline():
    """A ColumnTransformer that gives DataFrames keeps the category dtype, and the model takes it."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    columns = ColumnTransformer(
        [("texts", "passthrough", TEXTS), ("numbers", StandardScaler(), NUMBERS)], verbose_feature_names_out=False
    )
    estimator = xgboost.XGBClassifier(**QUICK, enable_categorical=True)
    model = make_pipeline(columns.set_output(transform="pandas"), estimator).fit(frame, classes(three, frame))
    assert_agrees(convert(model, frame), strangers(), tolerance=ULP)


def test_a_sample_may_hold_texts_instead_of_categories():
    """A sample read from a CSV file has no category dtype: the model knows what it was fitted on."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    model = xgboost.XGBRegressor(**QUICK, enable_categorical=True).fit(frame, target(people()))
    assert_agrees(convert(model, people()), strangers(), tolerance=0.0)


def test_numbered_categories_are_cut_to_whole_numbers():
    """A feature of type c that is a column of numbers: decimals are cut off, and negatives are no category."""
    random = np.random.default_rng(0)
    frame = people()[["ratio"]].assign(shop=random.integers(0, 40, 1200).astype(float))
    values = np.sin(frame["shop"].to_numpy() * 7) + frame["ratio"].to_numpy() / 9
    options = {"feature_types": ["q", "c"], "enable_categorical": True, "max_cat_to_onehot": 1}
    model = xgboost.XGBRegressor(**QUICK, **options).fit(frame.to_numpy(), values)
    rows = strangers()[["ratio"]].assign(shop=random.uniform(-3, 60, 3000))
    rows.loc[::3, "shop"] = random.integers(-2, 50, 1000)
    rows.loc[::17, "shop"] = np.nan
    assert_agrees(convert(model, frame), rows, tolerance=0.0)


def test_an_estimator_that_stopped_early_answers_from_its_best_iteration():
    """Trees after the best iteration are not used, as in XGBoost's own predict."""
    frame = people()[NUMBERS]
    values = two(people()) == "stays"
    model = xgboost.XGBClassifier(**QUICK | {"n_estimators": 80}, early_stopping_rounds=3)
    model.fit(frame[:900], values[:900].astype(int), eval_set=[(frame[900:], values[900:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    assert_agrees(convert(model, frame), at_thresholds(strangers(), thresholds_of(model)), tolerance=ULP)


@pytest.mark.parametrize(
    ("objective", "outputs"),
    [("binary:logistic", 2), ("multi:softprob", 4), ("multi:softmax", 4), ("reg:tweedie", 1)],
)
def test_a_booster_is_converted_as_its_objective_says(objective, outputs):
    """A Booster numbers its labels."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    values = classes(three, people())
    parameters = {"objective": objective, "nthread": 1, "max_depth": 4}
    parameters |= {"num_class": 3} if objective.startswith("multi") else {}
    values = values if objective.startswith("multi") else np.minimum(values, 1)
    booster = xgboost.train(parameters, xgboost.DMatrix(frame, values, enable_categorical=True), 10)
    conversion = convert(booster, frame)
    assert (conversion.framework, len(conversion.signature.outputs)) == ("xgboost", outputs)
    assert conversion.labels == {1: (), 2: (0, 1), 4: (0, 1, 2)}[outputs]
    assert_agrees(conversion, at_thresholds(strangers(), thresholds_of(booster)), tolerance=ULP)


def test_a_booster_of_arrays_takes_columns_in_their_order():
    """A Booster without names takes the sample's columns in their order."""
    frame = people()[NUMBERS]
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(frame.to_numpy(), target(people())), 10)
    assert_agrees(convert(booster, frame), strangers(), tolerance=0.0)


def test_a_margin_whose_probability_rounds_to_one_half_is_the_first_class_s():
    """XGBClassifier compares the rounded probability, not the margin."""
    frame = people()[NUMBERS]
    model = xgboost.XGBClassifier(**QUICK | {"n_estimators": 4}, learning_rate=2e-8, base_score=0.5)
    answers = assert_agrees(convert(model.fit(frame, classes(two, people())), frame), frame, tolerance=0.0)
    assert set(answers["prediction"]) == {0, 1}
    margins = model.predict(frame, output_margin=True)
    assert ((margins > 0) & (answers["prediction"] == 0)).any()


def test_models_of_one_leaf_answer_the_same_for_every_row():
    """Nothing to split on."""
    frame = people(100)[["visits", "ratio"]].assign(visits=1, ratio=2.0)
    model = xgboost.XGBClassifier(**QUICK).fit(frame, np.arange(100) % 2)
    answers = assert_agrees(convert(model, frame), people(300)[["visits", "ratio"]], tolerance=ULP)
    assert (answers["prediction"] == 0).all()  # a probability of one half is the first class's


@pytest.mark.filterwarnings("ignore:.*gblinear")  # XGBoost deprecates it while it trains
@pytest.mark.parametrize(
    ("options", "reason"),
    [({"n_estimators": 2, "booster": "gblinear"}, "booster='gbtree'"), ({"n_estimators": 0}, "no trees")],
)
def test_what_has_no_trees_is_refused(options, reason):
    """Linear boosters and models without trees are refused, with what to do instead."""
    frame = people(300)[["visits", "ratio"]]
    model = xgboost.XGBRegressor(**options, n_jobs=1).fit(frame, np.arange(300) % 2)
    with pytest.raises(EstimatorInvalidError, match=reason):
        convert(model, frame)


def test_a_booster_without_training_is_refused():
    """A new Booster has nothing to convert."""
    with pytest.raises(EstimatorInvalidError, match="not trained"):
        convert(xgboost.Booster(), people())


def test_leaves_of_several_numbers_are_refused():
    """One tree for all classes has no form with one number per leaf."""
    frame = people(300)[["visits", "ratio"]]
    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1, multi_strategy="multi_output_tree", tree_method="hist")
    model.fit(frame, np.arange(300) % 3)
    with pytest.raises(EstimatorInvalidError, match="one_output_per_tree"):
        convert(model, frame)
