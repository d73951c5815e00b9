"""The tables of what was measured, and the sections of benchmarks/RESULTS.md."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.engine.cells import Cell, Measured
from benchmarks.engine.models import TITLES
from benchmarks.engine.profile import where_time_goes
from benchmarks.engine.systems import ALONE, ALONE_PORTABLE, OURS, SYSTEMS
from benchmarks.engine.targets import ROWS, Verdict, judge
from benchmarks.results import write_section

KEPT = {"id": "id + outputs kept", "all": "all columns kept"}
FORMATS = {"csv": "CSV to CSV", "parquet": "Parquet to Parquet"}
COMMAND = "(`python -m benchmarks.engine"

SIDES = """
id, 20 columns of numbers and 4 of text, 2% of the cells empty, numbers of at most 11 decimals: 2,000,000 rows are
460 MB of CSV, or Parquet in row groups of 1,048,576 rows (Snappy). Models were trained on 50,000 rows: {models}.
Each run is a process of its own, in turns; start-up, loading the model, reading and writing the file are
included. Medians; in the last column, that system's wall s over Dropscore's. Before anything was measured, the
answers of all systems for all rows were compared: labels equal, probabilities within 1e-6.

*polars + onnxruntime* is one call of `run`, as one writes it first; *in chunks* cuts rows into 4,096 and scores
them on a thread for each core. *mlflow.pyfunc, onnx flavor* is MLflow's own loader, *our package* the loader that
our packages bring. A flavor with "1" run was slower in one run of each, and was left out of the rounds. *ONNX
Runtime alone* is the limit: two threads over arrays that are ready in memory, timed inside of the process;
fast.onnx is what Dropscore serves.
{tables}

{machines}
"""

GROWTH = """
Dropscore on the first 0.1, 1, 2 and 10 million of the same rows; sizes in turns, medians. Wall s include the
start of the process; the last column is wall s of a row, over those of a million rows.

| model | format | kept | rows | runs | wall s | CPU s | rows/s | peak memory | a row, 1 million = 1 |
|---|---|---|---|---|---|---|---|---|---|
{table}

{machines}
"""

TARGETS = """
{summary} Medians of runs in turns, {rows:,} rows unless told otherwise; the limit is in brackets.

| target | format | kept | {models} |
|---|---|---|{rules}
{table}

"The run's wall s" are the receipt's `seconds`: from the run's begin to its end, without the start of the process.
CPU seconds are the receipt's `stages`, summed over threads. The data path is all but ONNX
Runtime and feeding it: by stages, all but "score"; by the process, its CPU time less "score" and less that of a
process that scores one row, which leaves out nothing. Rows/s over those of ONNX Runtime alone go by the receipt's
`seconds` too. Where there is no limit none was set: those of MLflow and Polars are of CSV files.
"""


def render(measured: Measured, rows: int = ROWS) -> dict[str, str]:
    """Return RESULTS.md's sections by title; without those of which nothing was measured."""
    verdicts = judge(measured, rows)
    sides = [cell for cell in measured.cells if cell.series == "sides" and cell.setting.rows == rows]
    growth = sorted(
        (cell for cell in measured.cells if cell.series == "growth"), key=lambda cell: cell.setting.rows
    )
    sections = {}
    if sides:
        tables = "\n".join(line for group in _groups(sides) for line in group)
        models = "; ".join(f"{name}: {title}" for name, title in TITLES.items())
        text = SIDES.format(models=models, tables=tables, machines=_machines(sides))
        sections[f"Whole files, side by side {COMMAND}`)"] = text
    if growth:
        text = GROWTH.format(table="\n".join(_growth(growth)), machines=_machines(growth))
        sections[f"Growth with the file {COMMAND} --growth`)"] = text
    if any(verdict.value is not None for verdict in verdicts):
        sections["The engine's targets"] = _targets(verdicts, rows)
        if text := where_time_goes(measured, verdicts, rows):
            sections["Where the time goes"] = text
    return sections


def write(measured: Measured) -> None:
    """Write the sections into benchmarks/RESULTS.md."""
    for title, text in render(measured).items():
        write_section(title, text)


def side_lines(cell: Cell) -> list[str]:
    """Return the table's lines of one cell: a system each."""
    ours = cell.median(OURS)
    lines = []
    for name, title in SYSTEMS.items():
        taken = cell.median(name) or cell.probes.get(name)
        if not taken:
            continue
        runs = len(cell.runs[name]) if name in cell.runs else 1
        peak = "" if name in (ALONE, ALONE_PORTABLE) else f"{taken.peak:,.0f} MB"
        ratio = f"{taken.wall / ours.wall:.2f}" if ours else ""
        lines.append(
            f"| {cell.setting.model} | {title} | {runs} | {taken.wall:.2f} | {taken.cpu:.2f} | "
            f"{cell.setting.rows / taken.wall:,.0f} | {peak} | {ratio} |"
        )
    return lines


SIDE_HEAD = (
    "| model | system | runs | wall s | CPU s | rows/s | peak memory | wall, ours = 1 |",
    "|---|---|---|---|---|---|---|---|",
)


def _groups(cells: list[Cell]) -> Iterator[list[str]]:
    order = list(TITLES)
    for kind, format_title in FORMATS.items():
        for keep, keep_title in KEPT.items():
            group = [cell for cell in cells if (cell.setting.format, cell.setting.keep) == (kind, keep)]
            group.sort(key=lambda cell: order.index(cell.setting.model))
            if group:
                lines = [line for cell in group for line in side_lines(cell)]
                yield [
                    "",
                    f"### {format_title}, {keep_title}, {group[0].setting.rows:,} rows",
                    "",
                    *SIDE_HEAD,
                    *lines,
                ]


def _growth(cells: list[Cell]) -> Iterator[str]:
    walls = {cell.setting: taken.wall for cell in cells if (taken := cell.median(OURS))}
    for cell in sorted(cells, key=lambda cell: (cell.setting.model, cell.setting.format, cell.setting.keep)):
        setting, taken = cell.setting, cell.median(OURS)
        if not taken:
            continue
        reference = walls.get(replace(setting, rows=1_000_000))
        ratio = f"{taken.wall / setting.rows / (reference / 1e6):.2f}" if reference else ""
        yield (
            f"| {setting.model} | {setting.format} | {setting.keep} | {setting.rows:,} | {len(cell.runs[OURS])} | "
            f"{taken.wall:.2f} | {taken.cpu:.2f} | {setting.rows / taken.wall:,.0f} | {taken.peak:,.0f} MB | "
            f"{ratio} |"
        )


def _targets(verdicts: list[Verdict], rows: int) -> str:
    met, missed = (sum(verdict.met is said for verdict in verdicts) for said in (True, False))
    unknown = sum(verdict.limit is not None and verdict.value is None for verdict in verdicts)
    summary = f"{met} of {met + missed} numbers meet their target" + (
        f"; {unknown} were not measured." if unknown else "."
    )
    table: dict[tuple[str, str, str], dict[str, str]] = {}
    for verdict in verdicts:
        target = verdict.target
        line = table.setdefault((target.title, target.format, target.keep), dict.fromkeys(TITLES, ""))
        line[verdict.model] = describe(verdict)
    return TARGETS.format(
        summary=summary,
        rows=rows,
        models=" | ".join(TITLES),
        rules="---|" * len(TITLES),
        table="\n".join(
            f"| {' | '.join(key)} | {' | '.join(line.values())} |"
            for key, line in table.items()
            if any(line.values())
        ),
    )


def describe(verdict: Verdict) -> str:
    """Return a number beside its limit; in bold where it misses it, nothing where there is none."""
    if verdict.value is None:
        return ""
    value = f"{verdict.value:,.0f}" if verdict.value >= 100 else f"{verdict.value:.2f}"
    if verdict.limit is None:
        return value
    limit = f"{'>=' if verdict.target.at_least else '<='} {verdict.limit:g}"
    return f"{value} ({limit})" if verdict.met else f"**{value}, missed** ({limit})"


def _machines(cells: list[Cell]) -> str:
    """Say under which circumstances these cells were measured: once, if they share them."""
    places = dict.fromkeys(f"{cell.machine}. Commit {cell.commit}." for cell in cells)
    return "\n".join(places)
