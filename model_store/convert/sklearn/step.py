"""One step of a pipeline, and what is said about it when it cannot be converted."""

from dataclasses import dataclass, replace
from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RANSACRegressor
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from errors import EstimatorInvalidError


@dataclass(frozen=True)
class Step:
    """A fitted transformer or estimator and where it stands."""

    path: tuple[str, ...]
    """The names of the steps it is inside of, outermost first, and its own; () for the estimator itself."""
    model: Any
    sparse: bool = False
    """Whether an estimator is given a sparse matrix, in which XGBoost takes zeros for missing."""

    def inner(self, name: str, model: Any) -> "Step":
        """Return the step `name` inside of this one."""
        return replace(self, path=(*self.path, name), model=model)

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'the estimator'} ({type(self.model).__name__})"

    def refuse(self, reason: str, *, column: str | None = None) -> EstimatorInvalidError:
        """Return the error that names this step; `reason` completes the sentence."""
        return EstimatorInvalidError(f"{self} {reason}", column=column)


def unwrapped(step: Step) -> Step:
    """Return the estimator that answers for a search, or for another one that only says how it is fitted."""
    while True:
        if isinstance(step.model, FrozenEstimator):
            step = replace(step, model=step.model.estimator)
        elif isinstance(step.model, SelfTrainingClassifier | RANSACRegressor):
            step = replace(step, model=step.model.estimator_)
        elif hasattr(step.model, "best_estimator_"):
            step = replace(step, model=step.model.best_estimator_)
        else:
            return step


def final(step: Step) -> Step:
    """Return the step that answers: the last of a pipeline, or the estimator itself."""
    step = unwrapped(step)
    while isinstance(step.model, Pipeline):
        step = unwrapped(step.inner(*step.model.steps[-1]))
    return step
