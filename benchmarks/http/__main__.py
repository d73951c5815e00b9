"""Ask servers for one row, side by side with what people use today, and write it into benchmarks/RESULTS.md.

Dropscore and its peers answer the same row with the same models, which benchmarks.engine trains. FastAPI and MLflow
are in .venv-bench, MLServer in .venv-mlserver, and requests come from wrk (Debian's package of that name): `make
bench-http` installs all of them, wrk by apt-get. Each series of each model is saved in benchmarks/http.json when it
is done.

    python -m benchmarks.http [--models logreg hgb] [--series servers worker first] [--systems fastapi mlserver]
                              [--rounds 5] [--seconds 8] [--calls 5000] [--file FILE]
    python -m benchmarks.http --render             # only writes RESULTS.md anew from what was measured
"""

import argparse
import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.engine.models import TITLES, make
from benchmarks.http import first, report, servers
from benchmarks.http.cells import MEASURED, Cell, Measured
from benchmarks.http.circumstances import check_tools, circumstances
from benchmarks.http.rows import WORK
from benchmarks.http.servers import Numbers
from benchmarks.http.systems import FASTAPI, MLFLOW, MLSERVERS, OURS, SYSTEMS, ours_settings
from benchmarks.processes import ROOT, environment
from benchmarks.results import commit

MODELS = ("logreg", "hgb")
PROBE_SECONDS = 2
Taken = tuple[dict[str, tuple[Numbers, ...]], dict[str, Numbers]]


def main() -> None:
    """Measure what was asked for, print and keep it."""
    arguments = parse()
    if arguments.render:
        report.write(Measured.read(arguments.file), arguments.calls)
        return
    check_tools(arguments.systems)
    WORK.mkdir(parents=True, exist_ok=True)
    lock = (WORK / "lock").open("w")  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("this benchmark is running here already: two would disturb each other")
    commit()
    for model in arguments.models:
        make(model)
        for series in arguments.series:
            where = circumstances()
            runs, probes = SERIES[series](model, arguments)
            cell = Cell(series, model, runs, probes, where, commit())
            Measured.read(arguments.file).with_cell(cell).write(arguments.file)
            tell("\n".join(LINES[series]([cell])))
    measured = Measured.read(arguments.file)
    tell("\n".join(report.target_lines(report.judge(measured, arguments.models), arguments.models)))
    if arguments.file == MEASURED:
        report.write(measured, arguments.calls)


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=TITLES, default=MODELS)
    parser.add_argument("--series", nargs="+", choices=SERIES, default=tuple(SERIES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=tuple(SYSTEMS), help="ours always runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of requests to a server, in each round")
    parser.add_argument("--calls", type=int, default=5000, help="of the Functions worker, in each round")
    parser.add_argument("--file", type=Path, default=MEASURED, help="keep cells there, and leave RESULTS.md alone")
    parser.add_argument("--render", action="store_true")
    arguments = parser.parse_args()
    arguments.models, arguments.systems = tuple(arguments.models), tuple(arguments.systems)
    return arguments


def measure_servers(model: str, arguments: argparse.Namespace) -> Taken:
    """Compare all answers, leave out what is slower than another of its kind, and measure the others in turns."""
    probes: dict[str, Numbers] = {}
    ours = None
    for name in SYSTEMS:
        if name == OURS or name in arguments.systems:
            answers, probes[name] = servers.check(name, model, PROBE_SECONDS, ours)
            ours = ours or answers
            tell(f"{name}: the same answers; {probes[name]['rate']:,.0f} requests/s in a short run")
    chosen = without_slower(probes)
    runs = in_turns(chosen, arguments.rounds, lambda name: servers.measure(name, model, arguments.seconds))
    return runs, {name: probe for name, probe in probes.items() if name not in chosen}


def without_slower(
    probes: dict[str, Numbers], kinds: Sequence[Sequence[str]] = (FASTAPI, MLFLOW, MLSERVERS)
) -> list[str]:
    """Return the systems without those of a kind that are slower than its fastest."""
    left_out = set()
    for kind in kinds:
        of_kind = [name for name in kind if name in probes]
        left_out |= set(of_kind) - {max(of_kind, key=lambda name: probes[name]["rate"], default="")}
    return [name for name in probes if name not in left_out]


def measure_worker(model: str, arguments: argparse.Namespace) -> Taken:
    """Measure calls of the Functions worker; each round is a process of its own."""

    def run(_name: str) -> Numbers:
        words = [sys.executable, "-m", "benchmarks.http.worker", model, str(arguments.calls)]
        settings = ours_settings(model) | {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
        done = subprocess.run(
            words, cwd=ROOT, env=environment() | settings, stdout=subprocess.PIPE, text=True, check=True
        )
        numbers: Numbers = json.loads(done.stdout.splitlines()[-1])
        return numbers

    return in_turns([OURS], arguments.rounds, run), {}


def measure_first(model: str, arguments: argparse.Namespace) -> Taken:
    """Measure first predictions, after a round that counts for nothing: it warms the disk's cache up."""
    in_turns(first.FIRST, 1, lambda name: first.measure(name, model))
    return in_turns(first.FIRST, arguments.rounds, lambda name: first.measure(name, model)), {}


def in_turns(
    names: Sequence[str] | dict[str, str], rounds: int, run: Callable[[str], Numbers]
) -> dict[str, tuple[Numbers, ...]]:
    """Run all, one after the other, and that so many times."""
    runs: dict[str, list[Numbers]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, taken in runs.items():
            taken.append(run(name))
    return {name: tuple(taken) for name, taken in runs.items()}


def tell(text: str) -> None:
    """Write at once: a run takes minutes."""
    print(text, flush=True)


SERIES: dict[str, Callable[[str, argparse.Namespace], Taken]] = {
    "servers": measure_servers,
    "worker": measure_worker,
    "first": measure_first,
}
LINES = {"servers": report.server_lines, "worker": report.worker_lines, "first": report.first_lines}


if __name__ == "__main__":
    main()
