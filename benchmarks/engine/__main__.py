"""Score whole files, side by side with what people use today, and write benchmarks/RESULTS.md.

Rows are made, models are trained on 50,000 of them. Every system runs in a process of its own, in turns; start-up,
loading the model, reading and writing are included. MLflow and Polars are in an environment of their own
(.venv-bench; `make bench` installs it). Each cell, a model, a format and what is kept, is saved in
benchmarks/engine.json when it is done: a run may be ended at any time and gone on with later.

    python -m benchmarks.engine [--models logreg hgb] [--formats csv] [--keep id] [--systems pandas polars]
                                [--rounds 5] [--rows 2000000] [--better-mlflow] [--missing]
    python -m benchmarks.engine --growth [...]     # ours on 0.1, 1, 2 and 10 million rows, logreg and hgb
    python -m benchmarks.engine --profile          # start-up, trees, CSV steps: "Where the time goes"
    python -m benchmarks.engine --render           # only writes RESULTS.md anew from what was measured
    python -m benchmarks.engine --quick            # a small part of it, on 200,000 rows, printed only
"""

import argparse
import datetime as dt
import fcntl
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.engine import models, report
from benchmarks.engine.branches import measure_branches
from benchmarks.engine.cells import MEASURED, Cell, Measured, Run, Setting
from benchmarks.engine.data import WORK, source
from benchmarks.engine.start import measure_start
from benchmarks.engine.steps import measure_steps
from benchmarks.engine.systems import (
    ALONE,
    ONE_ROW,
    OURS,
    PANDAS,
    POLARS,
    SYSTEMS,
    check,
    chosen,
    take_turns,
    without_slower,
)
from benchmarks.engine.targets import ROWS
from benchmarks.results import commit

GROWTH = (100_000, 1_000_000, 2_000_000, 10_000_000)
GROWTH_MODELS = ("logreg", "hgb")
QUICK = (Setting("hgb", "csv", "id", 200_000), Setting("logreg", "parquet", "all", 200_000))
QUICK_SYSTEMS = (OURS, PANDAS, "mlflow-sklearn", "mlflow-onnx", POLARS, ALONE)
LIBRARIES = ("pyarrow", "onnxruntime", "numpy", "pandas", "scikit-learn", "lightgbm", "mlflow-skinny", "polars")


def main() -> None:
    """Measure what was asked for, print and keep it."""
    arguments = parse()
    WORK.mkdir(parents=True, exist_ok=True)
    file = arguments.file
    if arguments.render:
        report.write(Measured.read(file))
        return
    if not models.BENCH_PYTHON.exists():
        sys.exit(".venv-bench is not there: `make bench` or `make bench-quick` installs it")
    lock = (WORK / "lock").open("w")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("a benchmark is running here: two would disturb each other, and delete each other's results")
    if arguments.profile:
        measured = Measured.read(file)
        start = measure_start(arguments.rounds) | {"branches": measure_branches(), "steps": measure_steps()}
        start |= {"machine": f"{machine()}. Commit {commit()}."}
        Measured(measured.cells, start).write(file)
    elif arguments.growth:
        for setting in settings(arguments, arguments.models or GROWTH_MODELS, GROWTH[0]):
            measure_growth(setting, arguments, file)
    else:
        names = arguments.models or tuple(models.TITLES)
        for setting in QUICK if arguments.quick else settings(arguments, names, arguments.rows):
            if arguments.missing and Measured.read(file).find("sides", setting):
                continue
            measure_sides(setting, arguments, file)
    if file == MEASURED:
        report.write(Measured.read(file))


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=models.TITLES)
    parser.add_argument("--formats", nargs="+", choices=("csv", "parquet"), default=("csv", "parquet"))
    parser.add_argument("--keep", nargs="+", choices=("id", "all"), default=("id", "all"))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=tuple(SYSTEMS), help="ours always runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=GROWTH, help="rows, for --growth")
    parser.add_argument("--better-mlflow", action="store_true", help="of MLflow's only the fastest, by a run each")
    parser.add_argument("--missing", action="store_true", help="leave out cells that were measured before")
    parser.add_argument("--file", type=Path, default=MEASURED, help="keep cells there, and leave RESULTS.md alone")
    modes = parser.add_mutually_exclusive_group()
    for mode in ("growth", "profile", "render", "quick"):
        modes.add_argument(f"--{mode}", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.better_mlflow, arguments.systems = 3, True, QUICK_SYSTEMS
        arguments.file = WORK / "quick.json"
    return arguments


def settings(arguments: argparse.Namespace, names: tuple[str, ...], rows: int) -> Iterator[Setting]:
    """Yield what was asked for."""
    for name in names:
        for kind in arguments.formats:
            for keep in arguments.keep:
                yield Setting(name, kind, keep, rows)


def measure_sides(setting: Setting, arguments: argparse.Namespace, file: Path) -> None:
    """Measure the systems on one setting, side by side."""
    started = time.monotonic()
    commit()
    models.make(setting.model)
    source(setting.rows, setting.format)
    probes = check(setting, chosen(setting, arguments.systems))
    systems = without_slower(probes) if arguments.better_mlflow else list(probes)
    one_row = replace(setting, rows=1)
    turns = [*((setting, system) for system in systems), (one_row, OURS)]
    taken = take_turns(turns, arguments.rounds)
    runs = {system: taken[setting, system] for system in systems} | {ONE_ROW: taken[one_row, OURS]}
    left_out = {name: probe for name, probe in probes.items() if name not in systems}
    cell = new_cell("sides", setting, runs, left_out)
    Measured.read(file).with_cell(cell).write(file)
    tell(f"\n{setting}: {time.monotonic() - started:.0f} s")
    tell("\n".join([*report.SIDE_HEAD, *report.side_lines(cell)]))


def measure_growth(base: Setting, arguments: argparse.Namespace, file: Path) -> None:
    """Measure our own runs on files of all sizes, in turns."""
    started = time.monotonic()
    models.make(base.model)
    sizes = [Setting(base.model, base.format, base.keep, rows) for rows in arguments.sizes]
    for setting in sizes:
        source(setting.rows, setting.format)
    measured = Measured.read(file)
    for (setting, system), taken in take_turns([(setting, OURS) for setting in sizes], arguments.rounds).items():
        cell = new_cell("growth", setting, {system: taken}, {})
        measured = measured.with_cell(cell)
        tell("\n".join(report.side_lines(cell)))
    measured.write(file)
    tell(f"{base.model}, {base.format}, {base.keep}: {time.monotonic() - started:.0f} s")


def new_cell(series: str, setting: Setting, runs: dict[str, tuple[Run, ...]], probes: dict[str, Run]) -> Cell:
    """Return a cell that says under which circumstances it was measured: now and here."""
    return Cell(series, setting, runs, probes, os.cpu_count() or 1, machine(), commit())


def machine() -> str:
    """Say when, on what and with what was measured; the versions are those of .venv-bench, and of .venv."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    words = [str(models.BENCH_PYTHON), "-c", code, *LIBRARIES]
    answer = subprocess.run(words, check=True, capture_output=True, text=True)
    versions = ", ".join(" ".join(pair) for pair in zip(LIBRARIES, answer.stdout.split(), strict=True))
    cores = f"{os.cpu_count()} cores of {platform.machine()}"
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {cores}, Python {platform.python_version()}, {versions}"


def tell(text: str) -> None:
    """Write at once: a run takes minutes."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
