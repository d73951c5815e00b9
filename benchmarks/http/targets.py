"""The targets of issue 6 as data, and how each is measured: medians of rounds in turns, on two cores."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.http.cells import Cell, Measured
from benchmarks.http.systems import FASTAPI, MLFLOW, MLSERVERS, OURS

Measure = Callable[[Measured, str], float | None]
"""Gives a target's number for a model; None where what it needs was not measured."""


@dataclass(frozen=True)
class Target:
    """A number to reach."""

    title: str
    measure: Measure
    limit: float
    at_least: bool
    """Whether more is better."""


@dataclass(frozen=True)
class Verdict:
    """A target's number for one model."""

    target: Target
    model: str
    value: float | None

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.target.limit if self.target.at_least else self.value <= self.target.limit


def of_worker(number: str) -> Measure:
    """Return a number of calls through the Functions worker."""

    def measure(measured: Measured, model: str) -> float | None:
        taken = _median(measured.find("worker", model), OURS)
        return taken[number] if taken else None

    return measure


def rate_over(*systems: str) -> Measure:
    """Divide our requests/s by theirs; of several systems, the fastest one's."""

    def measure(measured: Measured, model: str) -> float | None:
        cell = measured.find("servers", model)
        ours = _median(cell, OURS)
        theirs = [taken["rate"] for name in systems if (taken := _median(cell, name))]
        return ours["rate"] / max(theirs) if ours and theirs else None

    return measure


def p99_over(*systems: str) -> Measure:
    """Divide our 99th percentile by theirs; of several systems, the lowest one's."""

    def measure(measured: Measured, model: str) -> float | None:
        cell = measured.find("servers", model)
        ours = _median(cell, OURS)
        theirs = [taken["p99"] for name in systems if (taken := _median(cell, name))]
        return ours["p99"] / min(theirs) if ours and theirs else None

    return measure


def first_over(name: str) -> Measure:
    """Divide the seconds until our first answer, with nothing cached, by theirs."""

    def measure(measured: Measured, model: str) -> float | None:
        cell = measured.find("first", model)
        ours, theirs = _median(cell, OURS), _median(cell, name)
        return ours["seconds"] / theirs["seconds"] if ours and theirs else None

    return measure


def _median(cell: Cell | None, system: str) -> dict[str, float] | None:
    return cell.median(system) if cell else None


TARGETS = (
    Target("one row through the Functions worker, p50, ms", of_worker("p50"), 0.35, at_least=False),
    Target("one row through the Functions worker, p99, ms", of_worker("p99"), 1.5, at_least=False),
    Target("requests/s over those of FastAPI + pandas + scikit-learn", rate_over(*FASTAPI), 12, at_least=True),
    Target("requests/s over those of `mlflow models serve`", rate_over(*MLFLOW), 8, at_least=True),
    Target("p99 over that of `mlflow models serve`", p99_over(*MLFLOW), 1, at_least=False),
    Target("requests/s over those of MLServer", rate_over(*MLSERVERS), 8, at_least=True),
    Target("p99 over that of MLServer", p99_over(*MLSERVERS), 1, at_least=False),
    Target(
        "first prediction of a fresh process, s over those of FastAPI + pandas + scikit-learn",
        first_over(FASTAPI[0]),
        1 / 3,
        at_least=False,
    ),
)


def judge(measured: Measured, models: tuple[str, ...]) -> list[Verdict]:
    """Return every target's number for every model."""
    return [Verdict(target, model, target.measure(measured, model)) for target in TARGETS for model in models]
