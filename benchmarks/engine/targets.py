"""The targets of issue 4 as data, and how each is measured: medians of runs in turns, on two cores.

The rows of MLflow and of Polars name no format; their figures are those of CSV files, so they are judged there, and
for Parquet the same ratio is shown without a target.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.engine.cells import Cell, Measured, Run, Setting
from benchmarks.engine.models import LINEAR, TREES
from benchmarks.engine.systems import ALONE, MLFLOW, ONE_ROW, OURS, PANDAS, POLARS

ROWS = 2_000_000
"""What the targets are for; those of growth have others."""

Measure = Callable[[Measured, Setting], float | None]
"""Gives a target's number in a setting; None where what it needs was not measured."""


@dataclass(frozen=True)
class Target:
    """A number to reach, for each model that it is asked of."""

    title: str
    measure: Measure
    format: str
    keep: str
    limits: Mapping[str, float] = field(default_factory=dict)
    """By model; a model without one is shown and not judged."""
    models: tuple[str, ...] = (LINEAR, *TREES)
    at_least: bool = True
    """Whether more is better."""


@dataclass(frozen=True)
class Verdict:
    """A target's number for one model."""

    target: Target
    model: str
    value: float | None

    @property
    def limit(self) -> float | None:
        """What was asked for."""
        return self.target.limits.get(self.model)

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None if it was not measured, or not asked for."""
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.target.at_least else self.value <= self.limit


def faster_than(*systems: str) -> Measure:
    """Divide their wall seconds by ours; of several systems, the fastest one's."""

    def measure(measured: Measured, setting: Setting) -> float | None:
        cell, ours = _ours(measured, setting)
        theirs = [taken.wall for name in systems if cell and (taken := cell.median(name))]
        return min(theirs) / ours.wall if ours and theirs else None

    return measure


def peak(measured: Measured, setting: Setting) -> float | None:
    """Megabytes at the most."""
    _, ours = _ours(measured, setting)
    return ours.peak if ours else None


def wall_of_cpu(measured: Measured, setting: Setting) -> float | None:
    """Our run's seconds over what its stages' CPU seconds would take if all cores always worked."""
    cell, ours = _ours(measured, setting)
    return ours.seconds / (sum(ours.stages_cpu.values()) / cell.cores) if cell and ours else None


def data_path(measured: Measured, setting: Setting) -> float | None:
    """CPU microseconds of a row in all stages but "score", which is ONNX Runtime's."""
    _, ours = _ours(measured, setting)
    if not ours:
        return None
    return sum(cpu for stage, cpu in ours.stages_cpu.items() if stage != "score") / setting.rows * 1e6


def data_path_of_process(measured: Measured, setting: Setting) -> float | None:
    """CPU microseconds of a row in the whole process, less the stage "score" and what a file of one row takes.

    Unlike the stages it leaves nothing out: reading ahead, threads of libraries, collecting garbage.
    """
    cell, ours = _ours(measured, setting)
    one_row = cell.median(ONE_ROW) if cell else None
    if not ours or not one_row:
        return None
    scored = ours.stages_cpu.get("score", 0.0) - one_row.stages_cpu.get("score", 0.0)
    return (ours.cpu - one_row.cpu - scored) / (setting.rows - 1) * 1e6


def of_onnxruntime(measured: Measured, setting: Setting) -> float | None:
    """Our rows/s as a share of ONNX Runtime's alone: our run's seconds, without the start of the process."""
    cell, ours = _ours(measured, setting)
    alone = cell.median(ALONE) if cell else None
    return alone.wall / ours.seconds if ours and alone else None


def grown(number: str, rows: int, reference: int) -> Measure:
    """Divide a number of our runs on so many rows by that of the reference's."""

    def measure(measured: Measured, setting: Setting) -> float | None:
        sizes = [Setting(setting.model, setting.format, setting.keep, count) for count in (rows, reference)]
        runs = [cell.median(OURS) if (cell := measured.find("growth", size)) else None for size in sizes]
        many, few = (getattr(run, number) if run else None for run in runs)
        return many / few if many and few else None

    return measure


def _ours(measured: Measured, setting: Setting) -> tuple[Cell | None, Run | None]:
    cell = measured.find("sides", setting)
    return cell, cell.median(OURS) if cell else None


def _limits(linear: float, trees: float) -> dict[str, float]:
    return {LINEAR: linear} | dict.fromkeys(TREES, trees)


_PANDAS, _MLFLOW, _POLARS, _ALONE = (
    ("pandas + joblib, its wall s over ours", faster_than(PANDAS)),
    ("mlflow.pyfunc, the fastest of its flavors, its wall s over ours", faster_than(*MLFLOW)),
    ("polars + onnxruntime, its wall s over ours", faster_than(POLARS)),
    ("rows/s over those of ONNX Runtime alone", of_onnxruntime),
)
_BUSY = {"csv": _limits(1.1, 1.1), "parquet": _limits(1.1, 1.1)}
_DATA_PATH = {"csv": _limits(1.3, 1.3), "parquet": _limits(0.7, 0.7)}
_BOTH = [(kind, keep) for kind in ("csv", "parquet") for keep in ("id", "all")]
_GROWTH_MODELS = ("logreg", "hgb")


def _everywhere(title: str, measure: Measure, limits: Mapping[str, Mapping[str, float]]) -> Iterator[Target]:
    """Yield a target of which less is better, with limits by format."""
    for kind, keep in _BOTH:
        yield Target(title, measure, kind, keep, limits[kind], at_least=False)


def _of_growth(title: str, measure: Measure, limit: float) -> Iterator[Target]:
    for kind, keep in _BOTH:
        limits = dict.fromkeys(_GROWTH_MODELS, limit)
        yield Target(title, measure, kind, keep, limits, _GROWTH_MODELS, at_least=False)


TARGETS: tuple[Target, ...] = (
    Target(*_PANDAS, "csv", "id", {"logreg": 7, "rf": 3.3, "gb": 5, "hgb": 3.3, "lgbm": 3.1}),
    Target(*_PANDAS, "csv", "all", _limits(22, 8)),
    Target(*_PANDAS, "parquet", "id", _limits(10, 2.9)),
    Target(*_PANDAS, "parquet", "all", _limits(6, 2.9)),
    Target(*_MLFLOW, "csv", "id", _limits(6.5, 2.9)),
    Target(*_MLFLOW, "csv", "all", _limits(15, 6)),
    Target(*_MLFLOW, "parquet", "id"),
    Target(*_MLFLOW, "parquet", "all"),
    Target(*_POLARS, "csv", "id", _limits(1.15, 1.15)),
    Target(*_POLARS, "csv", "all", _limits(1.7, 1.2)),
    Target(*_POLARS, "parquet", "id"),
    Target(*_POLARS, "parquet", "all"),
    *_everywhere("peak memory, MB", peak, {"csv": _limits(350, 350), "parquet": _limits(350, 350)}),
    *_everywhere("the run's wall s over its stages' CPU s / cores", wall_of_cpu, _BUSY),
    *_everywhere("data path by stages, CPU microseconds a row", data_path, _DATA_PATH),
    *_everywhere("data path by the process, CPU microseconds a row", data_path_of_process, _DATA_PATH),
    Target(*_ALONE, "parquet", "id", dict.fromkeys(TREES, 0.85)),
    Target(*_ALONE, "parquet", "all", dict.fromkeys(TREES, 0.85)),
    *_of_growth("wall s of 10 million rows over those of 1 million", grown("wall", 10_000_000, 1_000_000), 10.3),
    *_of_growth("peak memory of 10 million rows over that of 2 million", grown("peak", 10_000_000, ROWS), 1.1),
)


def judge(measured: Measured, rows: int = ROWS) -> list[Verdict]:
    """Return every target's number for every model it is asked of."""
    return [
        Verdict(target, model, target.measure(measured, Setting(model, target.format, target.keep, rows)))
        for target in TARGETS
        for model in target.models
    ]
