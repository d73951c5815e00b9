"""What the converters of LightGBM and XGBoost share: which models are theirs, and native Boosters as estimators.

Both frameworks have a scikit-learn interface, by which their models are the last step of a pipeline or stand alone,
and a Booster of their own. A Booster is converted as the estimator it would have been: `prediction` and
`probability_0`, `probability_1`, ... as its objective says, for it knows labels as numbers only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

FRAMEWORKS = ("lightgbm", "xgboost")


class Native(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A Booster behind scikit-learn's interface."""

    def __init__(
        self,
        booster: Any,
        answer: Callable[[Any], NDArray[Any]],
        names: Sequence[str] | None,
        width: int,
        classes: int = 0,
    ) -> None:
        self.booster = booster
        self.answer = answer
        self.names = names
        self.width = width
        self.classes = classes
        self.n_features_in_ = width
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True


class NativeRegressor(RegressorMixin, Native):  # type: ignore[misc] # scikit-learn has no types
    """A Booster that answers one number."""

    def predict(self, rows: Any) -> NDArray[Any]:
        """Answer [N]."""
        return self.answer(rows)


class NativeClassifier(ClassifierMixin, Native):  # type: ignore[misc] # scikit-learn has no types
    """A Booster that answers probabilities: of class 1, or of each class."""

    @property
    def classes_(self) -> NDArray[np.int64]:
        """[classes]."""
        return np.arange(self.classes)

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        """Answer [N, classes]."""
        answer = self.answer(rows)
        return answer if answer.ndim == 2 else np.column_stack([1 - answer, answer])

    def predict(self, rows: Any) -> NDArray[Any]:
        """Answer [N]: the first likeliest class, of two the second if it is above one half."""
        answer = self.answer(rows)
        return answer.argmax(axis=1) if answer.ndim == 2 else (answer > 0.5).astype(np.int64)


def framework(model: object) -> str | None:
    """Return whose model it is, or None if neither's; a subclass made elsewhere may predict differently."""
    owner = model.booster if isinstance(model, Native) else model
    root = type(owner).__module__.partition(".")[0]
    return root if root in FRAMEWORKS else None


def converter(model: object) -> ModuleType | None:
    """Return the module that converts such models, or None if neither framework's."""
    name = framework(model)
    return import_module(f"model_store.convert.{name}") if name else None


def as_estimator(model: object) -> Native | None:
    """Return a Booster as an estimator, and None for anything else."""
    module = converter(model) if type(model).__name__ == "Booster" else None
    native: Native | None = module.as_estimator(model) if module else None
    return native


def native_names(model: object, names: Sequence[str], columns: Iterable[str]) -> tuple[str, ...]:
    """Return a model's names of its features as the sample's columns spell them: LightGBM writes spaces as `_`."""
    spelled = {column.replace(" ", "_"): column for column in columns} if framework(model) == "lightgbm" else {}
    return tuple(spelled.get(name, name) for name in names)


def native_categories(model: object, columns: Sequence[str]) -> Mapping[str, NDArray[Any]] | None:
    """Return what `columns`, those that may be of pandas' category dtype, can hold, as far as the model knows that.

    None if it was not fitted on such columns.
    """
    module = converter(model)
    found: Mapping[str, NDArray[Any]] | None = module.native_categories(model, columns) if module else None
    return found
