"""Pipelines put together at random, from seeds that are always the same, agree as the hand-picked ones do."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from model_store.convert import convert
from tests.model_store.convert.agreement import NUMBERS, TEXTS, assert_agrees, people, strangers, target, three, two

CLASSIFIERS = [
    lambda: LogisticRegression(max_iter=3000),
    lambda: RandomForestClassifier(6, min_samples_leaf=4, random_state=0),
    lambda: ExtraTreesClassifier(6, random_state=0),
    lambda: GradientBoostingClassifier(n_estimators=6, random_state=0),
    lambda: HistGradientBoostingClassifier(max_iter=6),
]
REGRESSORS = [
    Ridge,
    lambda: RandomForestRegressor(6, min_samples_leaf=4, random_state=0),
    lambda: GradientBoostingRegressor(n_estimators=6, random_state=0),
    lambda: HistGradientBoostingRegressor(max_iter=6),
]
SCALERS = [StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, lambda: "passthrough"]
STRATEGIES = ["mean", "median", "most_frequent"]
ENCODERS = [
    lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100, sparse_output=False),
    lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    lambda: TargetEncoder(cv=3),
]


def random_pipeline(random, estimator):
    """Draw imputers, scalers, encoders, their columns and their order."""

    def draw(options):
        return options[random.integers(len(options))]

    numbers = random.permutation([*NUMBERS, "member"]).tolist()[: random.integers(2, 5)]
    imputer = SimpleImputer(strategy=draw(STRATEGIES), add_indicator=bool(random.integers(2)))
    texts = [draw(ENCODERS)()]
    if random.integers(2):
        texts.insert(0, SimpleImputer(strategy="constant", fill_value=draw(["missing", "Rome"])))
    branches = [
        ("numbers", make_pipeline(imputer, draw(SCALERS)()), numbers),
        ("texts", make_pipeline(*texts), random.permutation(TEXTS).tolist()),
        ("plan again", draw(ENCODERS)(), ["plan"]),
    ]
    order = random.permutation(len(branches))
    columns = ColumnTransformer([branches[place] for place in order], sparse_threshold=0)
    return make_pipeline(columns, *([draw(SCALERS)()] if random.integers(2) else []), estimator)


@pytest.mark.parametrize("seed", range(24))
def test_random_pipelines_agree(seed):
    """Whatever is put together, labels are the same and numbers within 1e-12."""
    random = np.random.default_rng(seed)
    frame = people(800, seed)
    if seed % 3:
        estimator, goal = CLASSIFIERS[seed % len(CLASSIFIERS)](), (two, three)[random.integers(2)](frame)
    else:
        estimator, goal = REGRESSORS[seed % len(REGRESSORS)](), target(frame)
    model = random_pipeline(random, estimator).fit(frame, goal)
    rows = strangers(2000, 100 + seed)
    rows.loc[::6, "ratio"] = np.nan
    assert_agrees(convert(model, frame), rows)
