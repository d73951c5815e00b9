"""One step of a pipeline, and what is said about it when it cannot be converted."""

from dataclasses import dataclass
from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from errors import EstimatorInvalidError


@dataclass(frozen=True)
class Step:
    """A fitted transformer or estimator and where it stands."""

    path: tuple[str, ...]
    """The names of the steps it is inside of, outermost first, and its own; () for the estimator itself."""
    model: Any

    def inner(self, name: str, model: Any) -> "Step":
        """Return the step `name` inside of this one."""
        return Step((*self.path, name), model)

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'the estimator'} ({type(self.model).__name__})"

    def refuse(self, reason: str, *, column: str | None = None) -> EstimatorInvalidError:
        """Return the error that names this step; `reason` completes the sentence."""
        return EstimatorInvalidError(f"{self} {reason}", column=column)


def unwrapped(step: Step) -> Step:
    """Return the estimator that a search or a FrozenEstimator asks, or the step itself."""
    while True:
        if isinstance(step.model, FrozenEstimator):
            step = Step(step.path, step.model.estimator)
        elif hasattr(step.model, "best_estimator_"):
            step = Step(step.path, step.model.best_estimator_)
        else:
            return step


def final(step: Step) -> Step:
    """Return the step that answers: the last of a pipeline, or the estimator itself."""
    step = unwrapped(step)
    while isinstance(step.model, Pipeline):
        step = unwrapped(step.inner(*step.model.steps[-1]))
    return step
