"""The model families that are measured: how each is trained, and what the stock converters make of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.rows import NUMBERS, TEXTS, training_rows
from benchmarks.rows import target as make_target

TRAINING_ROWS = 20_000


@dataclass(frozen=True)
class Case:
    """One model family."""

    name: str
    framework: str
    """The distribution it comes from."""
    train: Callable[[], tuple[Any, pd.DataFrame]]
    """Return a fitted pipeline and its training rows without the label; ImportError without its library."""
    stock: Callable[[Any, pd.DataFrame], bytes | None]
    """Return the stock converter's graph in float32, or None if it makes none."""


def _pipeline(estimator: Any, *, one_hot: bool) -> Pipeline:
    """Put the usual preparation before an estimator: scaled and one-hot, or as it is and ordinal."""
    fill = SimpleImputer(strategy="constant", fill_value="missing")
    if one_hot:
        numbers: Any = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        texts = make_pipeline(fill, OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    else:
        numbers = "passthrough"
        texts = make_pipeline(fill, OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1))
    return make_pipeline(ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, [*TEXTS])]), estimator)


def _train(make: Callable[[], Any], *, one_hot: bool) -> tuple[Any, pd.DataFrame]:
    estimator = make()
    rows = training_rows(TRAINING_ROWS)
    values = make_target(rows)
    target = (values > np.median(values)).astype(np.int64) if is_classifier(estimator) else values
    return _pipeline(estimator, one_hot=one_hot).fit(rows, target), rows


def _stock(estimator: Pipeline, rows: pd.DataFrame) -> bytes:
    """Convert with skl2onnx; LightGBM and XGBoost with the converters that onnxmltools adds to it."""
    from skl2onnx import convert_sklearn  # noqa: PLC0415  # slow to import, and training needs none of it
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415  # as above

    _register_boosters()
    # It cannot say NaN of a string: a null is fed as '', which the imputer is told to be missing.
    model = deepcopy(estimator)
    encoder = model[0].named_transformers_["texts"]
    encoder[0].missing_values = ""
    types = [
        (name, StringTensorType([None, 1]) if name in TEXTS else FloatTensorType([None, 1]))
        for name in rows.columns
    ]
    options = {id(model[-1]): {"zipmap": False}} if is_classifier(model[-1]) else None
    with _plain_integers():
        graph = convert_sklearn(model, initial_types=types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    content: bytes = graph.SerializeToString()
    return content


def _register_boosters() -> None:
    """Tell skl2onnx of onnxmltools' converters; a library that is not installed has no case to be converted."""
    from skl2onnx import update_registered_converter  # noqa: PLC0415  # as above
    from skl2onnx.common import shape_calculator as shapes  # noqa: PLC0415  # as above

    classifier, regressor = (
        shapes.calculate_linear_classifier_output_shapes,
        shapes.calculate_linear_regressor_output_shapes,
    )
    zipmap = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    with suppress(ImportError):
        import lightgbm  # noqa: PLC0415  # as above
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm  # noqa: PLC0415

        update_registered_converter(
            lightgbm.LGBMClassifier, "LgbmClassifier", classifier, convert_lightgbm, options=zipmap
        )
        update_registered_converter(
            lightgbm.LGBMRegressor, "LgbmRegressor", regressor, convert_lightgbm, options={"split": None}
        )
    with suppress(ImportError):
        import xgboost  # noqa: PLC0415  # as above
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # noqa: PLC0415

        update_registered_converter(
            xgboost.XGBClassifier, "XgbClassifier", classifier, convert_xgboost, options=zipmap
        )
        update_registered_converter(xgboost.XGBRegressor, "XgbRegressor", regressor, convert_xgboost)


@contextmanager
def _plain_integers() -> Iterator[None]:
    """Let skl2onnx write HistGradientBoosting: its NumPy integers and booleans are refused by onnx."""
    from skl2onnx.common import _container as container  # noqa: PLC0415  # as above

    make_node = container.make_node

    def make_plain_node(*arguments: Any, **attributes: Any) -> Any:
        for name, value in attributes.items():
            if isinstance(value, list) and isinstance(value[0], bool | np.bool_ | np.integer | int):
                attributes[name] = [int(item) for item in value]
        return make_node(*arguments, **attributes)

    container.make_node = make_plain_node
    try:
        yield
    finally:
        container.make_node = make_node


def _case(name: str, make: Callable[[], Any], *, one_hot: bool = True, framework: str = "scikit-learn") -> Case:
    return Case(name, framework, partial(_train, make, one_hot=one_hot), _stock)


def _lightgbm(kind: str) -> Any:
    import lightgbm  # noqa: PLC0415  # may not be installed

    return getattr(lightgbm, kind)(n_estimators=100, random_state=0, verbose=-1)


def _xgboost(kind: str) -> Any:
    import xgboost  # noqa: PLC0415  # may not be installed

    return getattr(xgboost, kind)(n_estimators=100, max_depth=6, random_state=0)


CASES = (
    _case("LogisticRegression", lambda: LogisticRegression(max_iter=200)),
    _case("Ridge", Ridge),
    _case("MLPClassifier (64, 32)", lambda: MLPClassifier((64, 32), max_iter=8, random_state=0)),
    _case("RandomForestClassifier", lambda: RandomForestClassifier(100, n_jobs=-1, random_state=0)),
    _case(
        "RandomForestClassifier, depth 8",
        lambda: RandomForestClassifier(100, max_depth=8, n_jobs=-1, random_state=0),
    ),
    _case(
        "RandomForestRegressor, depth 10",
        lambda: RandomForestRegressor(100, max_depth=10, n_jobs=-1, random_state=0),
    ),
    _case(
        "ExtraTreesClassifier, depth 10", lambda: ExtraTreesClassifier(100, max_depth=10, n_jobs=-1, random_state=0)
    ),
    _case(
        "ExtraTreesRegressor, depth 10", lambda: ExtraTreesRegressor(100, max_depth=10, n_jobs=-1, random_state=0)
    ),
    _case("GradientBoostingClassifier", lambda: GradientBoostingClassifier(random_state=0)),
    _case("GradientBoostingRegressor", lambda: GradientBoostingRegressor(random_state=0)),
    _case("HistGradientBoostingClassifier", lambda: HistGradientBoostingClassifier(random_state=0), one_hot=False),
    _case("HistGradientBoostingRegressor", lambda: HistGradientBoostingRegressor(random_state=0), one_hot=False),
    _case("LGBMClassifier", partial(_lightgbm, "LGBMClassifier"), one_hot=False, framework="lightgbm"),
    _case("LGBMRegressor", partial(_lightgbm, "LGBMRegressor"), one_hot=False, framework="lightgbm"),
    _case("XGBClassifier", partial(_xgboost, "XGBClassifier"), one_hot=False, framework="xgboost"),
    _case("XGBRegressor", partial(_xgboost, "XGBRegressor"), one_hot=False, framework="xgboost"),
)
