"""The models of docs/models.md: one case per estimator, each trained on made rows (benchmarks/rows.py)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks import networks
from benchmarks import rows as data

if TYPE_CHECKING:
    import pandas as pd

TREE_ROWS = 1_000_000
"""Rows that tree models are compared on: a flip per million is what stock conversion is known for."""

OTHER_ROWS = 100_000
SLOW_ROWS = 10_000
"""For models that look at all their training rows for each answer."""


@dataclass(frozen=True)
class Case:
    """A model to train, and what to compare it on."""

    name: str
    """The estimator's class, and what is special about it."""
    answers: str
    """"two classes", "three classes", "a number", ..."""
    rows: int
    """How many rows it is compared on."""
    prepared: str
    """The preprocessing before it: a function of this module."""
    make: Callable[[], Any]
    """Makes the estimator, not fitted yet."""
    trained_on: int = 20_000
    """Rows."""
    framework: str = "scikit-learn"
    environment: str = ""
    """Of `make test-frameworks`, whose Python it runs on; "" for our own."""
    labels: tuple[object, ...] = ()
    """Of a network, which does not know them."""
    meaning: str = "probabilities"
    """What its numbers are for them."""

    def fit(self) -> "tuple[Any, pd.DataFrame]":
        """Return the fitted pipeline, or other model, and the rows it was trained on."""
        if hasattr(networks, self.prepared):
            model, sample = getattr(networks, self.prepared)(self.trained_on)
            return model, sample
        sample = data.training_rows(self.trained_on)
        model = globals()[self.prepared](self.make())
        if self.answers == "clusters or outliers":
            return model.fit(sample), sample
        target = TARGETS[self.answers](sample)
        if self.framework == "XGBoost" and self.answers in _CLASSES:
            target = _places(target)
        return model.fit(sample, target), sample


def _places(labels: Any) -> Any:
    """Return 0, 1, ... for labels, which is all that XGBoost takes."""
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    return np.unique(labels, return_inverse=True)[1]


def _two_numbers(rows: "pd.DataFrame") -> Any:
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    return np.column_stack([data.target(rows), data.target(rows, seed=3) ** 2])


def _counts(rows: "pd.DataFrame") -> Any:
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    return np.random.default_rng(5).poisson(np.exp(data.target(rows) / 8)).astype(np.float64)


TARGETS: dict[str, Callable[["pd.DataFrame"], Any]] = {
    "two classes": data.two_classes,
    "three classes": data.three_classes,
    "a number": data.target,
    "a count": _counts,
    "two numbers": _two_numbers,
}


def one_hot(estimator: Any, *, sparse: bool = False) -> Any:
    """Fill and scale numbers, fill and one-hot texts; `sparse` is scikit-learn's own way where most cells are 0."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415  # heavy, and what users write
    from sklearn.impute import SimpleImputer  # noqa: PLC0415  # as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415  # as above
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415  # as above

    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=sparse),
    )
    columns = [
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), data.NUMBERS),
        ("texts", texts, [*data.TEXTS]),
    ]
    return make_pipeline(ColumnTransformer(columns, sparse_threshold=0.3 if sparse else 0), estimator)


def ordinal(estimator: Any) -> Any:
    """Pass numbers on with their nulls, encode texts as ordinals."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415  # as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415  # as above
    from sklearn.preprocessing import OrdinalEncoder  # noqa: PLC0415  # as above

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = [("numbers", "passthrough", data.NUMBERS), ("texts", encoder, [*data.TEXTS])]
    return make_pipeline(ColumnTransformer(columns), estimator)


def targets(estimator: Any) -> Any:
    """Fill and scale numbers by their range, encode texts by the target's mean."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415  # as above
    from sklearn.impute import SimpleImputer  # noqa: PLC0415  # as above
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415  # as above
    from sklearn.preprocessing import MinMaxScaler, TargetEncoder  # noqa: PLC0415  # as above

    numbers = make_pipeline(SimpleImputer(strategy="mean"), MinMaxScaler())
    columns = [("numbers", numbers, data.NUMBERS), ("texts", TargetEncoder(random_state=0), [*data.TEXTS])]
    return make_pipeline(ColumnTransformer(columns), estimator)


def _estimator(module: str, name: str, **parameters: Any) -> Callable[[], Any]:
    def make() -> Any:
        from importlib import import_module  # noqa: PLC0415  # each case imports its own library only

        return getattr(import_module(module), name)(**parameters)

    return make


def _cases(
    module: str,
    name: str,
    answers: tuple[str, ...],
    rows: int,
    prepared: str = "one_hot",
    *,
    note: str = "",
    trained_on: int = 20_000,
    **parameters: Any,
) -> list[Case]:
    framework = {"lightgbm": "LightGBM", "xgboost": "XGBoost"}.get(module, "scikit-learn")
    make = _estimator(module, name, **parameters)
    title = f"{name} ({note})" if note else name
    return [Case(title, answer, rows, prepared, make, trained_on, framework) for answer in answers]


_TWO, _THREE, _NUMBER = "two classes", "three classes", "a number"
_CLASSES = (_TWO, _THREE)
_FOREST = {"n_estimators": 100, "random_state": 0, "n_jobs": 1}
_BOOSTED = {"n_estimators": 200, "n_jobs": 1, "random_state": 0}


def _composed(
    make: Callable[[], Any], name: str, answers: tuple[str, ...], prepared: str = "one_hot"
) -> list[Case]:
    return [Case(name, answer, OTHER_ROWS, prepared, make) for answer in answers]


def _network(name: str, make: str, framework: str, **of_the_case: Any) -> Case:
    return replace(Case(name, _TWO, OTHER_ROWS, make, object, framework=framework), **of_the_case)


def _linear() -> Any:
    return _estimator("sklearn.linear_model", "LogisticRegression", max_iter=300)()


def _small_forest() -> Any:
    return _estimator("sklearn.ensemble", "RandomForestClassifier", n_estimators=20, max_depth=6, random_state=0)()


def _voting(kind: str) -> Callable[[], Any]:
    return _estimator(
        "sklearn.ensemble",
        "VotingClassifier",
        estimators=[("linear", _linear()), ("forest", _small_forest())],
        voting=kind,
    )


def _stacking() -> Any:
    return _estimator(
        "sklearn.ensemble",
        "StackingClassifier",
        estimators=[("linear", _linear()), ("forest", _small_forest())],
        final_estimator=_linear(),
        cv=3,
    )()


def _calibrated(method: str) -> Callable[[], Any]:
    return _estimator(
        "sklearn.calibration", "CalibratedClassifierCV", estimator=_small_forest(), method=method, cv=3
    )


CASES: tuple[Case, ...] = (
    *_cases("sklearn.linear_model", "LogisticRegression", _CLASSES, OTHER_ROWS, max_iter=300),
    *_cases("sklearn.linear_model", "LinearRegression", (_NUMBER, "two numbers"), OTHER_ROWS),
    *_cases("sklearn.linear_model", "Ridge", (_NUMBER,), OTHER_ROWS, "targets"),
    *_cases("sklearn.linear_model", "SGDClassifier", _CLASSES, OTHER_ROWS, loss="log_loss", random_state=0),
    *_cases("sklearn.linear_model", "SGDRegressor", (_NUMBER,), OTHER_ROWS, random_state=0),
    *_cases("sklearn.linear_model", "PoissonRegressor", ("a count",), OTHER_ROWS, max_iter=500),
    *_cases("sklearn.tree", "DecisionTreeClassifier", _CLASSES, TREE_ROWS, random_state=0),
    *_cases("sklearn.ensemble", "RandomForestClassifier", _CLASSES, TREE_ROWS, **_FOREST),
    *_cases(
        "sklearn.ensemble", "RandomForestClassifier", (_TWO,), TREE_ROWS, note="max_depth=8", max_depth=8, **_FOREST
    ),
    *_cases("sklearn.ensemble", "RandomForestRegressor", (_NUMBER,), TREE_ROWS, max_depth=12, **_FOREST),
    *_cases("sklearn.ensemble", "RandomForestRegressor", ("two numbers",), TREE_ROWS, max_depth=8, **_FOREST),
    *_cases("sklearn.ensemble", "ExtraTreesClassifier", _CLASSES, TREE_ROWS, max_depth=12, **_FOREST),
    *_cases("sklearn.ensemble", "ExtraTreesRegressor", (_NUMBER,), TREE_ROWS, max_depth=12, **_FOREST),
    *_cases("sklearn.ensemble", "GradientBoostingClassifier", _CLASSES, TREE_ROWS, random_state=0),
    *_cases("sklearn.ensemble", "GradientBoostingRegressor", (_NUMBER,), TREE_ROWS, "targets", random_state=0),
    *_cases("sklearn.ensemble", "HistGradientBoostingClassifier", _CLASSES, TREE_ROWS, "ordinal", max_iter=200),
    *_cases(
        "sklearn.ensemble",
        "HistGradientBoostingClassifier",
        (_TWO,),
        TREE_ROWS,
        "ordinal",
        note="native categories",
        max_iter=200,
        categorical_features=[20, 21, 22, 23],
    ),
    *_cases("sklearn.ensemble", "HistGradientBoostingRegressor", (_NUMBER,), TREE_ROWS, "ordinal", max_iter=200),
    *_cases("sklearn.ensemble", "IsolationForest", ("clusters or outliers",), TREE_ROWS, random_state=0),
    *_cases("lightgbm", "LGBMClassifier", _CLASSES, TREE_ROWS, "ordinal", verbose=-1, **_BOOSTED),
    *_cases("lightgbm", "LGBMRegressor", (_NUMBER,), TREE_ROWS, verbose=-1, **_BOOSTED),
    *_cases("xgboost", "XGBClassifier", _CLASSES, TREE_ROWS, "ordinal", **_BOOSTED),
    *_cases("xgboost", "XGBRegressor", (_NUMBER,), TREE_ROWS, **_BOOSTED),
    *_cases("sklearn.ensemble", "AdaBoostClassifier", _CLASSES, OTHER_ROWS, random_state=0),
    *_cases("sklearn.ensemble", "BaggingClassifier", (_TWO,), OTHER_ROWS, random_state=0),
    *_cases("sklearn.neural_network", "MLPClassifier", _CLASSES, OTHER_ROWS, max_iter=20, random_state=0),
    *_cases("sklearn.neural_network", "MLPRegressor", (_NUMBER,), OTHER_ROWS, max_iter=20, random_state=0),
    *_cases("sklearn.neighbors", "KNeighborsClassifier", _CLASSES, SLOW_ROWS, "targets", trained_on=5_000),
    *_cases("sklearn.neighbors", "KNeighborsRegressor", (_NUMBER,), SLOW_ROWS, "targets", trained_on=5_000),
    *_cases("sklearn.svm", "SVC", _CLASSES, SLOW_ROWS, trained_on=5_000),
    *_cases("sklearn.svm", "SVR", (_NUMBER,), SLOW_ROWS, trained_on=5_000),
    *_cases("sklearn.svm", "LinearSVC", _CLASSES, OTHER_ROWS),
    *_cases("sklearn.naive_bayes", "GaussianNB", _CLASSES, OTHER_ROWS),
    *_cases("sklearn.discriminant_analysis", "LinearDiscriminantAnalysis", _CLASSES, OTHER_ROWS),
    *_cases("sklearn.cluster", "KMeans", ("clusters or outliers",), OTHER_ROWS, n_clusters=8, random_state=0),
    *_composed(_calibrated("sigmoid"), "CalibratedClassifierCV (sigmoid)", _CLASSES),
    *_composed(_calibrated("isotonic"), "CalibratedClassifierCV (isotonic)", _CLASSES),
    *_composed(_voting("soft"), "VotingClassifier (soft)", _CLASSES),
    *_composed(_voting("hard"), "VotingClassifier (hard)", _CLASSES),
    *_composed(_stacking, "StackingClassifier", _CLASSES),
    _network("LogisticRegression by skl2onnx", "onnx_file", "ONNX file"),
    _network("HistGradientBoostingClassifier", "mlflow_folder", "MLflow folder", environment="mlflow"),
    _network(
        "Module (64 ReLU)",
        "torch_module",
        "PyTorch",
        environment="torch",
        labels=networks.LABELS,
        meaning="logits",
    ),
    _network("Sequential (64 ReLU)", "keras_model", "Keras", environment="keras", labels=networks.LABELS),
)
