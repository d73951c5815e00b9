"""LightGBM agrees to 1e-12: thresholds, zeros, nulls, categories and every objective."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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

QUIET = {"n_estimators": 12, "n_jobs": 1, "verbose": -1, "random_state": 0}
ZERO = float(np.float32(1e-35))


def thresholds_of(estimator, names):
    """Return, by column, the thresholds of all trees; `names` are the estimator's for NUMBERS."""
    nodes = getattr(estimator, "booster_", estimator).trees_to_dataframe()
    nodes = nodes[nodes["decision_type"] == "<="]
    found = {
        name: nodes["threshold"][nodes["split_feature"] == own].astype(float).tolist()
        for name, own in zip(NUMBERS, names, strict=True)
    }
    return {name: values[:200] for name, values in found.items() if values}


def in_pipeline(model):
    """Return the thresholds of a pipeline's last step, which knows columns by place."""
    return thresholds_of(model[-1], [f"Column_{place}" for place in range(len(NUMBERS))])


def with_nulls(rows):
    """Put nulls into every column of numbers, and zeros."""
    for place, name in enumerate(NUMBERS):
        rows[name] = rows[name].astype(float)
        rows.loc[place :: 7 + place, name] = np.nan
        rows.loc[place :: 11 + place, name] = 0.0
    return rows


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
        {"data_sample_strategy": "goss"},
        {"extra_trees": True, "subsample": 0.7, "subsample_freq": 1, "is_unbalance": True},
    ],
)
def test_classifiers_agree_at_their_thresholds(labels, options):
    """Doubles are compared as doubles, trees weigh what they did, and labels are the user's own."""
    frame = people()
    model = unscaled(lightgbm.LGBMClassifier(**QUIET, **options)).fit(frame, labels(frame))
    assert_agrees(convert(model, frame), with_nulls(at_thresholds(strangers(), in_pipeline(model))))


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("pipeline", [scaled, filled])
def test_classifiers_agree_behind_encoders(pipeline, labels):
    """One-hot columns may be sparse, and a column without nulls in training is never missing."""
    frame = people()
    model = pipeline(lightgbm.LGBMClassifier(**QUIET)).fit(frame, labels(frame))
    assert_agrees(convert(model, frame), strangers())


@pytest.mark.parametrize(
    "options", [{"use_missing": False}, {"zero_as_missing": True}, {"zero_as_missing": True, "use_missing": False}]
)
def test_missing_is_what_the_model_was_told(options):
    """NaN may be a zero, and zeros, with numbers as small as 1e-35, may be missing."""
    frame = with_nulls(people())[NUMBERS]
    frame["ratio"] -= 0.5
    model = lightgbm.LGBMRegressor(**QUIET, **options).fit(frame, target(with_nulls(people())))
    rows = at_thresholds(with_nulls(strangers()), thresholds_of(model, NUMBERS))
    rows.loc[::5, "ratio"] = np.resize([ZERO, -ZERO, 1e-36, -0.0, np.nextafter(ZERO, 1), 1e-300], len(rows[::5]))
    assert_agrees(convert(model, frame), rows)


def test_numbers_as_small_as_1e_35_are_zeros():
    """LightGBM puts thresholds at the edges of what it takes for zero, and takes all inside of them for zero."""
    frame = people()[NUMBERS]
    random = np.random.default_rng(0)
    frame["ratio"] = random.choice([-1.0, 0.0, 1.0], len(frame))
    values = frame["ratio"].map({-1.0: 0.2, 0.0: 1.0, 1.0: -0.4}).to_numpy() + frame["visits"].to_numpy() / 99
    model = lightgbm.LGBMRegressor(**QUIET).fit(frame, values)
    thresholds = thresholds_of(model, NUMBERS)
    assert {abs(value) for value in thresholds["ratio"]} == {ZERO}
    assert_agrees(
        convert(model, frame), at_thresholds(frame, {"ratio": [*thresholds["ratio"], 0.0, 1e-36, -1e-36]})
    )


@pytest.mark.parametrize(
    "objective",
    [
        *("regression", "l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie"),
        *("cross_entropy", "cross_entropy_lambda"),
    ],
)
def test_regressors_agree(objective):
    """Each objective answers by its own function of the sum."""
    frame = people()
    values = np.exp(target(frame) / 4)
    values = values / values.max() if objective.startswith("cross") else values
    model = unscaled(lightgbm.LGBMRegressor(**QUIET, objective=objective)).fit(frame, values)
    assert_agrees(convert(model, frame), at_thresholds(strangers(), in_pipeline(model)))


def test_a_regressor_of_square_roots_squares_its_answer():
    """With reg_sqrt, the sum is a square root with a sign."""
    frame = people()
    model = unscaled(lightgbm.LGBMRegressor(**QUIET, reg_sqrt=True)).fit(frame, target(frame) * 9)
    assert_agrees(convert(model, frame), strangers())


@pytest.mark.parametrize(
    ("objective", "labels", "options"),
    [
        ("multiclassova", three, {"sigmoid": 1.7}),
        ("cross_entropy", two, {}),
        ("binary", two, {"sigmoid": 0.6}),
        ("multiclass", two, {"num_class": 2}),
    ],
)
def test_classifiers_agree_on_their_objective(objective, labels, options):
    """One against the rest, other slopes of the logistic curve, two classes as if there were many."""
    frame = people()
    model = unscaled(lightgbm.LGBMClassifier(**QUIET, objective=objective, **options))
    model.fit(frame, np.unique(labels(frame), return_inverse=True)[1])
    assert_agrees(convert(model, frame), at_thresholds(strangers(), in_pipeline(model)))


def test_a_ranker_s_prediction_is_its_score():
    """A ranker answers one number, like a regressor."""
    frame = people()
    model = lightgbm.LGBMRanker(**QUIET)
    model.fit(frame[NUMBERS], np.digitize(target(frame), [0, 2, 4]), group=[100] * 12)
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.outputs] == ["prediction"]
    assert_agrees(conversion, at_thresholds(strangers(), thresholds_of(model, NUMBERS)))


def categorised(frame):
    """Give strings and a whole number pandas' category dtype, one of them ordered."""
    shops = np.random.default_rng(0).integers(0, 70, len(frame)) * 3
    plans = pd.CategoricalDtype(["basic", "plus", "pro"], ordered=True)
    return frame.assign(shop=shops).astype({"city": "category", "plan": plans, "shop": "category"})


@pytest.mark.parametrize("labels", [two, three])
def test_native_categories_are_sets_of_codes(labels):
    """Strings and numbers of category dtype; what is unseen or null goes where LightGBM sends it."""
    frame = categorised(people())
    values = np.where(np.sin(frame["shop"].astype(int)) > 0.3, labels(frame)[0], labels(frame))
    model = lightgbm.LGBMClassifier(**QUIET, min_child_samples=5, cat_smooth=1).fit(frame, values)
    assert (model.booster_.trees_to_dataframe()["decision_type"] == "==").any()
    conversion = convert(model, frame)
    assert (conversion.framework, conversion.versions["lightgbm"]) == ("lightgbm", lightgbm.__version__)
    rows = at_thresholds(strangers(), thresholds_of(model, NUMBERS))
    rows["shop"] = np.random.default_rng(1).choice([0.0, 3.0, 6.0, 207.0, 1.0, -3.0, 999.0, np.nan], len(rows))
    assert_agrees(conversion, rows)


def test_native_categories_pass_through_a_pipeline():
    """A ColumnTransformer that gives DataFrames keeps the category dtype, and the model takes it."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    columns = ColumnTransformer(
        [("texts", "passthrough", TEXTS), ("numbers", StandardScaler(), NUMBERS)], verbose_feature_names_out=False
    )
    model = make_pipeline(columns.set_output(transform="pandas"), lightgbm.LGBMClassifier(**QUIET, cat_smooth=1))
    conversion = convert(model.fit(frame, three(frame)), frame)
    assert (conversion.framework, conversion.versions["lightgbm"]) == ("scikit-learn", lightgbm.__version__)
    assert_agrees(conversion, strangers())


def test_a_sample_may_hold_fewer_categories_than_the_model_knows():
    """The model's own categories count, in its own order."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    model = lightgbm.LGBMClassifier(**QUIET, cat_smooth=1).fit(frame, two(frame))
    sample = people()[lambda rows: rows["city"].isin(["Rome", "Oslo"])].astype(dict.fromkeys(TEXTS, "category"))
    assert_agrees(convert(model, sample), strangers())


def test_a_sample_may_hold_texts_instead_of_categories():
    """A sample read from a CSV file has no category dtype: the model knows what it was fitted on."""
    frame = people().astype(dict.fromkeys(TEXTS, "category"))
    model = lightgbm.LGBMClassifier(**QUIET, cat_smooth=1).fit(frame, two(frame))
    assert_agrees(convert(model, people()), strangers())


def test_numbered_categories_are_cut_to_whole_numbers():
    """A categorical_feature that is a column of numbers: decimals are cut off, and negatives are no category."""
    random = np.random.default_rng(0)
    frame = people()[["ratio"]].assign(shop=random.integers(0, 90, 1200).astype(float))
    values = np.sin(frame["shop"].to_numpy() * 7) + frame["ratio"].to_numpy() / 9
    model = lightgbm.LGBMRegressor(**QUIET, cat_smooth=1, min_child_samples=3)
    model.fit(frame, values, categorical_feature=["shop"])
    rows = strangers()[["ratio"]].assign(shop=random.uniform(-3, 110, 3000))
    rows.loc[::3, "shop"] = random.integers(-2, 100, 1000)
    rows.loc[::17, "shop"] = np.nan
    assert_agrees(convert(model, frame), rows)


@pytest.mark.parametrize(("objective", "outputs"), [("binary", 2), ("multiclass", 4), ("poisson", 1)])
def test_a_booster_is_converted_as_its_objective_says(objective, outputs):
    """A Booster numbers its labels, and stops at its best iteration as its own predict does."""
    frame = people().drop(columns=TEXTS)
    values = three(frame.assign(city="", plan="")) // 10
    values = values if objective == "multiclass" else np.minimum(values, 1)
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1}
    parameters |= {"num_class": 3} if objective == "multiclass" else {}
    booster = lightgbm.train(parameters, lightgbm.Dataset(frame, values), 12)
    booster.best_iteration = 7
    conversion = convert(booster, frame)
    assert (conversion.framework, len(conversion.signature.outputs)) == ("lightgbm", outputs)
    assert conversion.labels == {"binary": (0, 1), "multiclass": (0, 1, 2), "poisson": ()}[objective]
    assert_agrees(conversion, at_thresholds(strangers(), thresholds_of(booster, NUMBERS)))


def test_a_booster_of_arrays_takes_columns_in_their_order():
    """Columns that LightGBM numbered itself are named by the sample."""
    frame = people()[NUMBERS]
    train = lightgbm.Dataset(frame.to_numpy(), target(people()))
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, train, 10)
    assert_agrees(convert(booster, frame), strangers())


def test_names_with_spaces_are_the_file_s():
    """LightGBM writes a space as an underscore; the file's columns keep theirs."""
    frame = people()[NUMBERS].rename(columns={"ratio": "the ratio"})
    model = lightgbm.LGBMRegressor(**QUIET).fit(frame, target(people()))
    conversion = convert(model, frame)
    assert [column.name for column in conversion.signature.inputs] == ["amount", "the ratio", "visits"]
    assert_agrees(conversion, strangers().rename(columns={"ratio": "the ratio"}))


def test_a_score_whose_probability_rounds_to_one_half_is_the_first_class_s():
    """LGBMClassifier compares the rounded probabilities, not the score."""
    frame = people()[NUMBERS]
    model = lightgbm.LGBMClassifier(**QUIET, learning_rate=2e-17, boost_from_average=False)
    answers = assert_agrees(convert(model.fit(frame, two(people())), frame), frame, tolerance=0.0)
    assert set(answers["prediction"]) == {"goes", "stays"}
    scores = model.predict(frame, raw_score=True)
    assert ((scores > 0) & (answers["prediction"] == "goes")).any()


def test_models_of_one_leaf_answer_the_same_for_every_row():
    """Nothing to split on: LightGBM keeps a tree of one leaf."""
    frame = people(100)[["visits", "ratio"]].assign(visits=1, ratio=2.0)
    model = lightgbm.LGBMClassifier(**QUIET).fit(frame, np.arange(100) % 2)
    answers = assert_agrees(convert(model, frame), people(300)[["visits", "ratio"]])
    assert (answers["prediction"] == 0).all()  # a probability of one half is the first class's


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lightgbm.LGBMRegressor(**QUIET, linear_tree=True), "linear_tree=False"),
        (lightgbm.LGBMClassifier(**QUIET, pred_early_stop=True), "pred_early_stop"),
        (lightgbm.LGBMClassifier(**QUIET, objective=lambda y, p: (p - y, np.ones(len(y)))), "objective of its own"),
    ],
)
def test_what_a_graph_cannot_say_is_refused(model, reason):
    """Linear leaves, trees left out and unknown objectives are refused, with what to do instead."""
    frame = people(300)[["visits", "ratio"]]
    model.fit(frame, np.arange(300) % 2)
    with pytest.raises(EstimatorInvalidError, match=reason):
        convert(model, frame)


def test_booleans_as_categories_are_refused():
    """A column of True and False is two numbers to a graph."""
    frame = people().astype({"member": "category", "city": "category"}).drop(columns="plan")
    model = lightgbm.LGBMClassifier(**QUIET).fit(frame, two(people()))
    with pytest.raises(EstimatorInvalidError, match="2 columns of pandas' category dtype and is given 1"):
        convert(model, frame)
