"""What was measured: one cell for each series and model, kept in benchmarks/http.json."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.http.servers import Numbers

MEASURED = Path(__file__).resolve().parents[1] / "http.json"


@dataclass(frozen=True)
class Cell:
    """The rounds of all systems of one series, and under which circumstances."""

    series: str
    """"servers": requests side by side; "worker": calls of the Functions worker; "first": first answers."""
    model: str
    runs: Mapping[str, tuple[Numbers, ...]]
    """By system, in order."""
    probes: Mapping[str, Numbers]
    """One short run of systems that were left out of the rounds because another of their kind was faster."""
    machine: str = ""
    """When, on what, with which versions, and how busy it was before."""
    commit: str = ""
    """Of this repository; -dirty if files were changed."""

    @property
    def key(self) -> str:
        """Its name in http.json."""
        return f"{self.series}/{self.model}"

    def median(self, system: str) -> Numbers | None:
        """Return the median of each number of a system's rounds; None if it did not run."""
        runs = self.runs.get(system)
        return {name: statistics.median(run[name] for run in runs) for name in runs[0]} if runs else None


@dataclass(frozen=True)
class Measured:
    """All cells."""

    cells: tuple[Cell, ...] = ()

    def find(self, series: str, model: str) -> Cell | None:
        """Return the cell of a series and model; None if it was not measured."""
        return next((cell for cell in self.cells if (cell.series, cell.model) == (series, model)), None)

    def with_cell(self, new: Cell) -> "Measured":
        """Return these with one more, in place of an older one of the same key."""
        return Measured(tuple(({cell.key: cell for cell in self.cells} | {new.key: new}).values()))

    @classmethod
    def read(cls, file: Path = MEASURED) -> "Measured":
        """Read what was measured so far; nothing if there is no file."""
        if not file.exists():
            return cls()
        return cls(tuple(map(_cell, json.loads(file.read_text("utf-8"))["cells"])))

    def write(self, file: Path = MEASURED) -> None:
        """Write it, whole or not at all."""
        unfinished = file.with_name(f"unfinished-{file.name}")
        unfinished.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        unfinished.replace(file)


def _cell(values: dict[str, Any]) -> Cell:
    return Cell(**values | {"runs": {name: tuple(runs) for name, runs in values["runs"].items()}})
