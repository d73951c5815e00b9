"""Where the time goes, in settings that miss a target."""

from collections.abc import Iterable, Iterator, Mapping

from benchmarks.engine.branches import CHUNK, ROW_REPEATED, ROWS_OF_FILE
from benchmarks.engine.cells import Cell, Measured
from benchmarks.engine.models import LINEAR
from benchmarks.engine.steps import ALONE, BLOCK_BYTES, BLOCKS, FILE_ROWS, ROUNDS, STEPS
from benchmarks.engine.steps import OURS as DROPSCORE
from benchmarks.engine.systems import ONE_ROW, OURS
from benchmarks.engine.targets import Verdict

TEXT = """
Our medians, in seconds, in each setting that misses a target. "Before and after" is the process's wall time
outside of the receipt's `seconds`: starting Python, imports, ending. Stages are CPU seconds, summed over threads;
"no stage" is the process's CPU time outside of them: start-up, opening the model, and work that is in no stage.
"Idle" is what the cores could have worked in `seconds` and did not work in any stage: opening the model, waiting
for the first block or for the disk, threads that end apart, committing. "1 row" is the process's wall time for a
file of one row.

{table}

{start}
"""

BRANCHES = """
Trees are walked branch by branch. Over the file's rows the processor cannot know which side comes next; over one
row repeated it does, and the same graph takes the same steps on arrays of the same sizes. The difference is what
wrong guesses cost inside of ONNX Runtime: nanoseconds a row, one thread, {chunk:,} rows a call, feeding included.

| model | {heads} | of that, wrong guesses |
|---|---|---|---|
{table}
"""

CSV_STEPS = """
What a row of CSV costs where all columns are kept, in microseconds of CPU: of the {ours:.2f} that the data path's
steps take, the library calls in them alone take {alone:.2f}, so all that our own code adds is {added:.2f}.

| step | library calls | {heads} |
|---|---|---|---|
{table}

One thread, {model}, the first {blocks} blocks of {mebibytes} MiB of {rows:,} rows, which need no quotes; medians of
{rounds} rounds. The calls are given the same bytes as our code, block by block in turns with it. The data path of a
run is longer. Not in here are memory that is new to the process (glibc is told to keep what was let go, so that the
system has next to none to clear), saving what was written to the disk and `fsync`, committing, handing blocks from
thread to thread, and what threads that work at once cost each other.
"""


def where_time_goes(measured: Measured, verdicts: Iterable[Verdict], rows: int) -> str:
    """Return the section's text; nothing if all is met and start-up was not measured."""
    missed = {
        (verdict.model, verdict.target.format, verdict.target.keep) for verdict in verdicts if verdict.met is False
    }
    cells = [
        cell
        for cell in measured.cells
        if cell.series == "sides"
        and cell.setting.rows == rows
        and (cell.setting.model, cell.setting.format, cell.setting.keep) in missed
    ]
    if not cells and not measured.start:
        return ""
    table = "\n".join(stage_lines(cells)) if cells else "None misses one."
    text = TEXT.format(table=table, start="\n".join(start_lines(measured)))
    return text + branches(measured) + csv_steps(measured)


def stage_lines(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield the table's lines: a setting each, a column for each stage that any of them has."""
    ours = [(c, taken, one) for c in cells if (taken := c.median(OURS)) and (one := c.median(ONE_ROW))]
    stages = list(dict.fromkeys(stage for _, taken, _ in ours for stage in taken.stages_cpu))
    heads = ["model", "format", "kept", "process", "before and after", "run", *stages, "no stage", "idle", "1 row"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for cell, taken, one_row in ours:
        inside = sum(taken.stages_cpu.values())
        numbers = [
            taken.wall,
            taken.wall - taken.seconds,
            taken.seconds,
            *(taken.stages_cpu.get(stage, 0.0) for stage in stages),
            taken.cpu - inside,
            cell.cores * taken.seconds - inside,
            one_row.wall,
        ]
        setting = cell.setting
        words = [setting.model, setting.format, setting.keep, *(f"{number:.2f}" for number in numbers)]
        yield f"| {' | '.join(words)} |"


def start_lines(measured: Measured) -> Iterator[str]:
    """Yield what start-up takes, as benchmarks/engine/start.py measured it; nothing if it did not."""
    start = measured.start
    if not start:
        return
    yield from ["| program | wall s |", "|---|---|"]
    for name, wall in start["programs"].items():
        yield f"| {name} | {wall:.3f} |"
    imports = ", ".join(f"{package} {taken:.3f}" for package, taken in start["imports"].items())
    yield f"\nImported packages' own seconds (`-X importtime`, which adds some): {imports}.\n\n{start['machine']}"


def branches(measured: Measured) -> str:
    """Return what benchmarks/engine/branches.py measured; nothing if it did not."""
    taken = measured.start.get("branches")
    if not taken:
        return ""
    lines = [
        f"| {name} | {numbers[ROWS_OF_FILE]:,.0f} | {numbers[ROW_REPEATED]:,.0f} | "
        f"{1 - numbers[ROW_REPEATED] / numbers[ROWS_OF_FILE]:.0%} |"
        for name, numbers in taken.items()
    ]
    return BRANCHES.format(chunk=CHUNK, heads=f"{ROWS_OF_FILE} | {ROW_REPEATED}", table="\n".join(lines))


def csv_steps(measured: Measured) -> str:
    """Return what benchmarks/engine/steps.py measured; nothing if it did not."""
    taken = measured.start.get("steps")
    if not taken:
        return ""
    lines = [
        f"| {step.title} | {step.calls} | {_cell(taken[name], DROPSCORE)} | {_cell(taken[name], ALONE)} |"
        for name, step in STEPS.items()
    ]
    whole = [taken[name] for name, step in STEPS.items() if not step.is_part]
    ours, alone = (sum(numbers[head] for numbers in whole) for head in (DROPSCORE, ALONE))
    lines.append(f"| together, each once | | {ours:.3f} | {alone:.3f} |")
    return CSV_STEPS.format(
        ours=ours,
        alone=alone,
        added=ours - alone,
        heads=f"{DROPSCORE} | {ALONE}",
        table="\n".join(lines),
        blocks=BLOCKS,
        mebibytes=BLOCK_BYTES >> 20,
        rows=FILE_ROWS,
        model=LINEAR,
        rounds=ROUNDS,
    )


def _cell(numbers: Mapping[str, float], head: str) -> str:
    return f"{numbers[head]:.3f}" if head in numbers else ""
