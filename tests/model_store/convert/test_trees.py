"""Trees and ensembles agree with scikit-learn to 1e-12, at their thresholds too."""

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_store.convert import convert
from tests.model_store.convert.agreement import (
    NUMBERS,
    assert_agrees,
    at_thresholds,
    people,
    strangers,
    target,
    three,
    two,
)
from tests.model_store.convert.pipelines import filled, scaled, unscaled

CLASSIFIERS = {
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "full tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(12, max_depth=6, random_state=0),
    "full forest": RandomForestClassifier(12, random_state=0),
    "extra trees": ExtraTreesClassifier(12, max_depth=6, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=12, random_state=0),
    "boosting from zero": GradientBoostingClassifier(n_estimators=12, init="zero", random_state=0),
}
REGRESSORS = {
    "tree": DecisionTreeRegressor(max_depth=6, random_state=0),
    "forest": RandomForestRegressor(12, max_depth=7, random_state=0),
    "extra trees": ExtraTreesRegressor(12, max_depth=7, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=12, random_state=0),
    "robust boosting": GradientBoostingRegressor(n_estimators=12, loss="huber", random_state=0),
}


def trees_of(estimator):
    """Return scikit-learn's trees of an estimator."""
    if hasattr(estimator, "tree_"):
        return [estimator.tree_]
    return [member.tree_ for member in np.ravel(estimator.estimators_)]


def thresholds_of(model, scaler=None):
    """Return, by column, the thresholds of a pipeline's trees in the file's own numbers."""
    found = {}
    for place, name in enumerate(NUMBERS):
        values = np.concatenate([tree.threshold[tree.feature == place] for tree in trees_of(model[-1])])
        values = values[np.isfinite(values)]  # at infinity, a tree tells missing values from all others
        found[name] = values if scaler is None else values * scaler.scale_[place] + scaler.mean_[place]
    return {name: values[:200] for name, values in found.items() if len(values)}


@pytest.mark.parametrize("labels", [two, three])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_agree_at_their_thresholds(name, labels):
    """Values at thresholds, and their neighbours in double and in float32, take the source's side."""
    frame = people()
    model = filled(CLASSIFIERS[name]).fit(frame, labels(frame))
    assert_agrees(convert(model, frame), at_thresholds(strangers(), thresholds_of(model)))


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_classifiers_agree_behind_a_scaler(name):
    """The scaler's arithmetic rounds as it does in scikit-learn, so that thresholds behind it are kept."""
    frame = people()
    model = scaled(CLASSIFIERS[name]).fit(frame, two(frame))
    scaler = model[0].named_transformers_["numbers"][-1]
    assert_agrees(convert(model, frame), at_thresholds(strangers(), thresholds_of(model, scaler)))


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_agree_at_their_thresholds(name):
    """Regressors find the same leaves and add them up to the same double."""
    frame = people()
    model = filled(REGRESSORS[name]).fit(frame, target(frame) * 100)
    assert_agrees(convert(model, frame), at_thresholds(strangers(), thresholds_of(model)))


@pytest.mark.parametrize("name", ["tree", "forest", "extra trees"])
def test_nulls_take_the_side_they_took_in_training(name):
    """Trees that know missing values are given them as NaN."""
    frame, labels = people(), two(people())
    frame.loc[::13, "ratio"] = np.nan
    model = unscaled(CLASSIFIERS[name]).fit(frame, labels)
    rows = strangers()
    rows.loc[::5, "amount"] = np.nan
    rows["visits"] = rows["visits"].astype(float)
    rows.loc[::7, "visits"] = np.nan
    assert_agrees(convert(model, frame), at_thresholds(rows, thresholds_of(model)))


def test_a_forest_s_sums_are_the_source_s_to_the_last_bit():
    """Ties between classes, which small leaves make common, fall as they do in scikit-learn."""
    random = np.random.default_rng(0)
    frame = people(400)[["visits", "member"]].assign(visits=random.integers(0, 6, 400))
    values = random.integers(0, 3, 400)
    model = RandomForestClassifier(10, min_samples_leaf=5, random_state=0).fit(frame, values)
    answers = assert_agrees(convert(model, frame), frame, tolerance=0.0)
    assert set(answers["prediction"]) == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 2, 400])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_that_are_nearly_even_get_the_source_s_label(weighted, count):
    """Two classes whose shares differ by rounding alone, for one row or many: the sums of both decide, in order."""
    random = np.random.default_rng(0)
    frame = people(400)[["visits", "member"]].assign(visits=random.integers(0, 6, 400))
    weights = random.random(400) if weighted else None
    model = RandomForestClassifier(10, min_samples_leaf=5, random_state=0)
    model.fit(frame, random.integers(0, 2, 400), sample_weight=weights)
    # The second half of the trees says the opposite of the first, in another order.
    for member, opposite in zip(model.estimators_[5:], model.estimators_[4::-1], strict=True):
        member.tree_.__setstate__(opposite.tree_.__getstate__())
        member.tree_.value[:] = opposite.tree_.value[:, :, ::-1]
    rows = frame.head(count)
    even = np.abs(model.predict_proba(rows)[:, 1] - 0.5) < 1e-12
    assert even.all()
    assert_agrees(convert(model, frame), rows, tolerance=1e-15)


def test_trees_are_asked_about_nan_only_where_it_can_come():
    """Behind an imputer no number is NaN; where nulls reach the trees, the side they took is kept."""
    frame = people()
    flags = {}
    for name, pipeline in (("filled", filled), ("unscaled", unscaled)):
        model = pipeline(RandomForestClassifier(3, max_depth=4, random_state=0)).fit(frame, two(frame))
        graph = onnx.load_from_string(convert(model, frame).graph).graph
        nodes = [node for node in graph.node if node.op_type == "TreeEnsemble"]
        flags[name] = [
            flag
            for node in nodes
            for attribute in node.attribute
            if attribute.name == "nodes_missing_value_tracks_true"
            for flag in attribute.ints
        ]
    assert not any(flags["filled"])
    assert any(flags["unscaled"])


def test_exact_ties_go_to_the_first_class():
    """An even vote is the first class's, as NumPy's argmax has it."""
    frame = people(200)[["visits"]]
    values = np.arange(200) % 2
    model = RandomForestClassifier(2, max_depth=1, random_state=0).fit(frame, values)
    for member in model.estimators_:
        member.tree_.value[:] = 0.5
    answers = assert_agrees(convert(model, frame), frame, tolerance=0.0)
    assert (answers["prediction"] == 0).all()


def test_boosting_at_a_raw_score_of_zero_says_the_second_class():
    """GradientBoosting answers the second class where the score is exactly zero, unlike the other families."""
    frame = people(200)[["visits"]]
    model = GradientBoostingClassifier(n_estimators=2, init="zero", random_state=0).fit(frame, np.arange(200) % 2)
    for stage in model.estimators_.ravel():
        stage.tree_.value[:] = 0.0
    answers = assert_agrees(convert(model, frame), frame, tolerance=0.0)
    assert (answers["prediction"] == 1).all()


def test_exponential_loss_is_half_the_log_odds():
    """GradientBoosting's other loss has a link of its own."""
    frame = people()
    model = filled(GradientBoostingClassifier(n_estimators=12, loss="exponential", random_state=0))
    assert_agrees(convert(model.fit(frame, two(frame)), frame), strangers())


@pytest.mark.parametrize(
    "estimator", [RandomForestClassifier(3, random_state=0), GradientBoostingClassifier(n_estimators=3)]
)
def test_trees_of_one_leaf_are_trees_too(estimator):
    """A model that found nothing to split on answers the same for every row."""
    frame = people(100)[["visits", "ratio"]].assign(visits=1, ratio=2.0)
    model = estimator.fit(frame, np.arange(100) % 2)
    assert_agrees(convert(model, frame), people(300)[["visits", "ratio"]])
