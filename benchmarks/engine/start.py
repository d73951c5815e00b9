"""Where the start of a process goes: what its imports take."""

import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from benchmarks.processes import ROOT, environment

PROGRAMS = {
    "python, which does nothing": ["-c", "pass"],
    "import scoring.__main__": ["-c", "import scoring.__main__"],
    "python -m scoring --help": ["-m", "scoring", "--help"],
}
LARGEST = 12
"""Packages that are listed."""


def measure_start(rounds: int) -> dict[str, Any]:
    """Return seconds of programs that start and do little, and of the imports, medians of so many rounds."""
    imports = _imports()  # first: it also compiles what was not compiled before
    walls: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, words in PROGRAMS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=ROOT, env=environment(), check=True, capture_output=True)
            walls[name].append(time.perf_counter() - started)
    programs = {name: statistics.median(taken) for name, taken in walls.items()}
    return {"programs": programs, "imports": imports}


def _imports() -> dict[str, float]:
    command = [sys.executable, "-X", "importtime", "-c", "import scoring.__main__"]
    for _ in range(2):
        run = subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    return import_times(run.stderr.decode())


def import_times(log: str) -> dict[str, float]:
    """Return the seconds that the largest packages' own modules took, from what `-X importtime` writes.

    An imported module's seconds are its own package's, whoever imported it; to trace makes all of them longer.
    """
    seconds: Counter[str] = Counter()
    for own, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", log, re.MULTILINE):
        seconds[module.partition(".")[0]] += int(own)
    return {package: taken / 1e6 for package, taken in seconds.most_common(LARGEST)}
