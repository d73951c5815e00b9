"""What was measured: one cell for each model, format and kept columns, kept in benchmarks/engine.json."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).resolve().parents[1] / "engine.json"


@dataclass(frozen=True)
class Setting:
    """What is scored, with what, and how much of it is kept."""

    model: str
    format: str
    """csv or parquet."""
    keep: str
    """id, or all columns; the model's answers are added to either."""
    rows: int


@dataclass(frozen=True)
class Run:
    """What one process took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    peak: float
    """Megabytes (1e6 bytes) of resident memory at the most."""
    seconds: float = 0
    """Of our receipt: from the run's begin to its end, without the process's start. 0 for others."""
    stages_cpu: Mapping[str, float] = field(default_factory=dict)
    """Of our receipt: CPU seconds by stage, summed over threads."""
    stages_wall: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """The runs of all systems in one setting, and under which circumstances."""

    series: str
    """"sides": systems side by side; "growth": our own runs by number of rows."""
    setting: Setting
    runs: Mapping[str, tuple[Run, ...]]
    """By system, in order; ours also on a file of one row."""
    probes: Mapping[str, Run] = field(default_factory=dict)
    """One run of systems that were left out of the rounds because another of their kind was faster."""
    cores: int = 0
    machine: str = ""
    """When, on what, with which versions."""
    commit: str = ""
    """Of this repository; -dirty if files were changed."""

    @property
    def key(self) -> str:
        """Its name in engine.json."""
        return "/".join(map(str, (self.series, *asdict(self.setting).values())))

    def median(self, system: str) -> Run | None:
        """Return the median of each number of a system's runs; None if it did not run."""
        runs = self.runs.get(system)
        return median(runs) if runs else None


def median(runs: tuple[Run, ...]) -> Run:
    """Return the median of each number."""
    numbers = {
        name: statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak", "seconds")
    }
    return Run(**numbers, stages_cpu=_stages(runs, "stages_cpu"), stages_wall=_stages(runs, "stages_wall"))


def _stages(runs: tuple[Run, ...], name: str) -> dict[str, float]:
    stages = dict.fromkeys(stage for run in runs for stage in getattr(run, name))
    return {stage: statistics.median(getattr(run, name).get(stage, 0.0) for run in runs) for stage in stages}


@dataclass(frozen=True)
class Measured:
    """All cells, and what start-up takes."""

    cells: tuple[Cell, ...] = ()
    start: Mapping[str, Any] = field(default_factory=dict)
    """See benchmarks/engine/start.py."""

    def find(self, series: str, setting: Setting) -> Cell | None:
        """Return the cell of a setting; None if it was not measured."""
        return next((cell for cell in self.cells if (cell.series, cell.setting) == (series, setting)), None)

    def with_cell(self, new: Cell) -> "Measured":
        """Return these with one more, in place of an older one of the same setting."""
        cells = {cell.key: cell for cell in self.cells} | {new.key: new}
        return Measured(tuple(cells.values()), self.start)

    @classmethod
    def read(cls, file: Path = MEASURED) -> "Measured":
        """Read what was measured so far; nothing if there is no file."""
        if not file.exists():
            return cls()
        values = json.loads(file.read_text("utf-8"))
        return cls(tuple(map(_cell, values["cells"])), values["start"])

    def write(self, file: Path = MEASURED) -> None:
        """Write it, whole or not at all."""
        unfinished = file.with_name(f"unfinished-{file.name}")
        unfinished.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        unfinished.replace(file)


def _cell(values: dict[str, Any]) -> Cell:
    runs = {name: tuple(Run(**run) for run in taken) for name, taken in values["runs"].items()}
    probes = {name: Run(**run) for name, run in values["probes"].items()}
    return Cell(**values | {"setting": Setting(**values["setting"]), "runs": runs, "probes": probes})
