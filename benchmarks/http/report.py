"""The tables of what was measured, and the section of benchmarks/RESULTS.md."""

from collections.abc import Iterable, Iterator

from benchmarks.engine.models import TITLES
from benchmarks.http.cells import Cell, Measured
from benchmarks.http.circumstances import LOAD
from benchmarks.http.first import FIRST
from benchmarks.http.rows import COUNT
from benchmarks.http.servers import CONNECTIONS
from benchmarks.http.systems import OURS, SYSTEMS
from benchmarks.http.targets import TARGETS, Verdict, judge
from benchmarks.results import write_section

TITLE = "One row by HTTP (`python -m benchmarks.http`)"

TEXT = """
One row of 20 numbers and 4 texts, the same for all, {models}. Medians of rounds in which the systems take
turns; in each, each is a process of its own, started anew. Before anything was measured, the answers of all to
{rows} rows were compared: labels equal, probabilities within 1e-6 where they are given.

{targets}

### Servers

wrk, one thread, {connections} connections kept alive, the server and wrk on the same cores. Each server is one
process, as its framework starts it by default (MLServer's are two, unless told otherwise); Dropscore's and
FastAPI's are started by uvicorn with the same options, and whatever uvicorn runs has uvloop and httptools.
Dropscore checks a function key; the others check none. FastAPI's app makes `pd.DataFrame([row])` and calls
`pipeline.predict`, in an endpoint of `def` or of `async def`. "CPU ms" are the server's, a request. A system
with "1" round was slower in a short run than another of its kind, and was left out of the rounds. The last
column is Dropscore's requests/s over that system's.

{servers}

### Through the Functions worker

`azure_functions_runtime` of Microsoft's Python worker, from the message of a call to its answer; calls one
after the other, {calls} a round, after 300 that are not measured. gRPC, between host and worker, is not in it.

{worker}

### First prediction of a fresh process

From the start of the process to its first answer: imports, opening the model and scoring, by uvicorn on a
socket that listens already. "Nothing cached" also copies the package from the registry and checks its digests.

{first}

{machines}
"""


def render(measured: Measured, calls: int) -> str:
    """Return the section's text; nothing if nothing was measured."""
    if not measured.cells:
        return ""
    models = tuple(name for name in TITLES if any(cell.model == name for cell in measured.cells))
    cells = {series: [c for n in models if (c := measured.find(series, n))] for series in SERIES}
    return TEXT.format(
        models=" and ".join(f"{TITLES[name]} ({name})" for name in models),
        rows=COUNT,
        targets="\n".join(target_lines(judge(measured, models), models)),
        connections=CONNECTIONS,
        servers="\n".join(server_lines(cells["servers"])),
        calls=f"{calls:,}",
        worker="\n".join(worker_lines(cells["worker"])),
        first="\n".join(first_lines(cells["first"])),
        machines="\n".join(machine_lines(measured.cells)),
    )


SERIES = ("servers", "worker", "first")


def write(measured: Measured, calls: int) -> None:
    """Write the section into benchmarks/RESULTS.md."""
    write_section(TITLE, render(measured, calls))


def machine_lines(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield what was measured on and with, a line for all that differ in how busy the machine was alone."""
    loads: dict[str, list[str]] = {}
    for cell in cells:
        what, _, load = cell.machine.partition(LOAD)
        loads.setdefault(f"{what.removesuffix('; ')}. Commit {cell.commit}.", []).append(load)
    for what, before in loads.items():
        yield f"{what} Load average before each of the measurements: {', '.join(before)}."


def server_lines(cells: list[Cell]) -> Iterator[str]:
    """Yield the table of servers."""
    yield "| model | system | rounds | requests/s | p50 ms | p99 ms | CPU ms | peak memory | ours over it |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in cells:
        ours = cell.median(OURS)
        for name, system in SYSTEMS.items():
            taken = cell.median(name) or cell.probes.get(name)
            if not taken:
                continue
            ratio = f"{ours['rate'] / taken['rate']:.1f}" if ours else ""
            yield (
                f"| {cell.model} | {system.title} | {len(cell.runs.get(name, ())) or 1} | {taken['rate']:,.0f} | "
                f"{taken['p50']:.2f} | {taken['p99']:.2f} | {taken['cpu']:.2f} | {taken['peak']:,.0f} MB | "
                f"{ratio} |"
            )


def worker_lines(cells: list[Cell]) -> Iterator[str]:
    """Yield the table of the Functions worker."""
    yield "| model | rounds | p50 ms | p99 ms | peak memory |"
    yield "|---|---|---|---|---|"
    for cell in cells:
        if taken := cell.median(OURS):
            numbers = f"{taken['p50']:.3f} | {taken['p99']:.3f} | {taken['peak']:,.0f} MB"
            yield f"| {cell.model} | {len(cell.runs[OURS])} | {numbers} |"


def first_lines(cells: list[Cell]) -> Iterator[str]:
    """Yield the table of first predictions."""
    yield "| model | system | rounds | s | peak memory |"
    yield "|---|---|---|---|---|"
    for cell in cells:
        for name, title in FIRST.items():
            if taken := cell.median(name):
                rounds = len(cell.runs[name])
                yield f"| {cell.model} | {title} | {rounds} | {taken['seconds']:.2f} | {taken['peak']:,.0f} MB |"


def target_lines(verdicts: list[Verdict], models: tuple[str, ...]) -> Iterator[str]:
    """Yield the table of targets: in bold where one is missed, nothing where it was not measured."""
    yield f"| target | | {' | '.join(models)} |"
    yield "|---|---|" + "---|" * len(models)
    for target in TARGETS:
        values = [describe(verdict) for verdict in verdicts if verdict.target is target]
        limit = f"{'>=' if target.at_least else '<='} {target.limit:.3g}"
        yield f"| {target.title} | {limit} | {' | '.join(values)} |"


def describe(verdict: Verdict) -> str:
    """Return a target's number."""
    if verdict.value is None:
        return ""
    value = f"{verdict.value:.1f}" if verdict.value >= 10 else f"{verdict.value:.3g}"
    return value if verdict.met else f"**{value}, missed**"
