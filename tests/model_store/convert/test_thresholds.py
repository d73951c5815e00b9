"""The values where trees turn are found in the input columns, through whatever prepares them."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from model_store.convert import convert
from model_store.convert.sklearn import thresholds
from model_store.convert.sklearn.outputs import Outputs
from model_store.convert.sklearn.source import Source
from model_store.convert.sklearn.step import Step
from model_store.packaging import build_package
from model_store.signature import Column, ColumnType
from tests.model_store.convert.agreement import people, target, two
from tests.model_store.convert.pipelines import scaled, unscaled

NUMBERS = ["ratio", "visits"]


def source_of(model, frame):
    outputs = Outputs((), (Column("prediction", ColumnType.DOUBLE),))
    source = Source.of(Step((), model), outputs, frame)
    return source, source.table(frame)


def found(model, frame):
    return thresholds.find_thresholds(*source_of(model, frame))


def assert_turns(model, frame, *, most=200):
    """Check that the answer changes right behind each value, somewhere among the rows of the frame."""
    turns = found(model, frame)
    assert turns
    for name, values in turns.items():
        assert 0 < len(values) <= most
        for value in values[:: max(len(values) // 3, 1)]:
            left = frame.astype({name: float}).assign(**{name: value})
            right = left.assign(**{name: np.nextafter(value, np.inf)})
            assert (model.predict(left) != model.predict(right)).any(), (name, value)
    return turns


TREE = DecisionTreeRegressor(max_depth=4, random_state=0)


@pytest.mark.parametrize(
    ("scaler", "estimator"),
    [
        (None, TREE),
        (StandardScaler(), TREE),
        (PowerTransformer(), TREE),
        (StandardScaler(), GradientBoostingRegressor(n_estimators=5, random_state=0)),
        (None, HistGradientBoostingRegressor(max_iter=2)),
        (StandardScaler(), HistGradientBoostingRegressor(max_iter=2)),
        (None, BaggingRegressor(TREE, 4, max_features=1, random_state=0)),
        (None, VotingRegressor([("tree", TREE), ("linear", LinearRegression())])),
        (StandardScaler(), LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1)),
        (StandardScaler(), XGBRegressor(n_estimators=3, max_depth=3, n_jobs=1)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_answers_turn_right_behind_each_value(scaler, estimator):
    """The value is the last double of its side, in float32 trees too, and with steps before that bend or scale."""
    frame = people(400)[NUMBERS].astype(float)
    model = make_pipeline(*([scaler] if scaler else []), estimator).fit(frame, target(people(400)))
    assert set(assert_turns(model, frame)) == set(NUMBERS)


def test_a_feature_is_sought_in_the_one_column_it_is_made_of():
    """Behind a ColumnTransformer columns have other places; categories of texts have no thresholds to find."""
    frame = people(300)
    model = scaled(DecisionTreeRegressor(max_depth=6, random_state=0)).fit(frame, target(frame))
    assert {"amount", "ratio"} <= set(assert_turns(model, frame)) <= {"amount", "ratio", "visits"}


def test_native_categories_do_not_move_the_numbers():
    """HistGradientBoosting puts categories first; a threshold is still its own column's."""
    frame = people(400)[["ratio", "city", "amount"]].astype({"city": "category"})
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features="from_dtype").fit(
        frame, target(people(400))
    )
    plain = pd.DataFrame({"ratio": frame["ratio"], "amount": frame["amount"]})
    turns = found(model, frame)
    assert set(turns) == {"ratio", "amount"}
    for name, values in turns.items():
        assert plain[name].min() < min(values) < max(values) < plain[name].max()


def test_falling_features_turn_too():
    """Where a larger value makes a smaller feature, the value is the last one on the right side."""
    frame = people(300)[NUMBERS].astype(float)
    upside = ColumnTransformer([("ratio", StandardScaler(), ["ratio"])], transformer_weights={"ratio": -2.0})
    assert_turns(make_pipeline(upside, DecisionTreeRegressor(max_depth=3)).fit(frame, target(people(300))), frame)


def test_what_cannot_be_sought_is_left_out():
    """Features of two columns, members with features of their own, no trees, and steps that fail."""
    frame = people(300)[NUMBERS].astype(float)
    values = target(people(300))
    crossed = make_pipeline(
        PolynomialFeatures(interaction_only=True, include_bias=False), DecisionTreeRegressor(max_depth=4)
    )
    assert_turns(crossed.fit(frame, values), frame)
    assert found(LinearRegression().fit(frame, values), frame) == {}
    assert found(DecisionTreeRegressor().fit(frame, np.ones(300)), frame) == {}
    broken = make_pipeline(FunctionTransformer(), DecisionTreeRegressor()).fit(frame, values)
    broken[0].func = lambda rows: rows[: len(rows) // 0]
    assert found(broken, frame) == {}


def test_an_isolation_forest_and_a_calibrated_one_are_looked_into():
    """Trees are found wherever an estimator keeps them."""
    frame = people(300)[NUMBERS].astype(float)
    assert set(found(IsolationForest(n_estimators=5, random_state=0).fit(frame), frame)) == set(NUMBERS)
    calibrated = CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), cv=2).fit(
        frame, two(people(300))
    )
    assert set(found(calibrated, frame)) == set(NUMBERS)


def test_members_with_steps_of_their_own():
    """Each member's comparisons are sought behind its own steps, forests among the members too."""
    frame = people(300)[NUMBERS].astype(float)
    members = [
        ("scaled", make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=3, random_state=0))),
        ("plain", make_pipeline(FunctionTransformer(), HistGradientBoostingRegressor(max_iter=2))),
        ("forest", ExtraTreesRegressor(2, max_depth=3, random_state=0)),
    ]
    assert set(assert_turns(VotingRegressor(members).fit(frame, target(people(300))), frame)) == set(NUMBERS)


def test_an_estimator_that_only_looks_like_a_known_one():
    """What cannot be read is left out: packaging goes on."""
    frame = people(300)[NUMBERS].astype(float)
    model = DecisionTreeRegressor(max_depth=2).fit(frame, target(people(300)))
    source, table = source_of(model, frame)
    model.tree_ = "no tree"
    assert thresholds.find_thresholds(source, table) == {}


def test_there_are_not_too_many(monkeypatch):
    """A large forest has more thresholds than rows can be tried: they are chosen evenly, the same each time."""
    monkeypatch.setattr(thresholds, "MOST_OF_COLUMN", 20)
    frame = people(500)[NUMBERS].astype(float)
    model = DecisionTreeRegressor(random_state=0).fit(frame, target(people(500)))
    first = assert_turns(model, frame, most=20)
    assert {len(values) for values in first.values()} == {20}
    assert found(model, frame) == first


def test_steps_that_are_slow_are_not_waited_for(monkeypatch):
    """Packaging takes no minute longer for some more trial rows."""
    monkeypatch.setattr(thresholds, "SLOWEST", 0.0)
    frame = people(200)[NUMBERS].astype(float)
    assert found(DecisionTreeRegressor().fit(frame, target(people(200))), frame) == {}


def test_the_gate_tries_them_and_blames_them(tmp_path):
    """A graph that compares in float32 what the source compares in double is caught, and the column named."""
    frame = people(400)
    model = unscaled(HistGradientBoostingRegressor(max_iter=3)).fit(frame, target(frame))
    conversion = convert(model, frame)
    assert set(conversion.thresholds) <= {"amount", "ratio", "visits"}
    info = build_package(conversion, tmp_path / "package")
    assert info.parity.max_abs_difference < 1e-12
    assert info.parity.rows > 400 + 4 * sum(len(values) for values in conversion.thresholds.values())
