"""Package every kind of model, compare it with its source, measure it, and write the table of docs/models.md.

Each case of benchmarks/estimators.py runs in a process of its own: it is trained, packaged through the parity gate,
opened as a serving process opens it, and compared with its source on up to a million rows that it was not trained
on. Networks run in the environments of `make test-frameworks`, which has to have run. Rows/s are of one thread,
feeding ONNX Runtime included, medians of 5 rounds in turns.

    python -m benchmarks.models [NAME ...]      # cases whose framework or name holds one of these; without, all
    python -m benchmarks.models --write         # only write docs/models.md anew from what was measured
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import rows as data
from benchmarks.estimators import CASES, Case

HERE = Path(__file__).resolve().parent
MEASURED = HERE / "models.json"
"""What was measured last, by case: the table's rows, also of cases that this machine did not run again."""

PAGE = HERE.parent / "docs" / "models.md"
BEGIN, END = "<!-- table: python -m benchmarks.models -->", "<!-- end of table -->"

HEAD = (
    "| model | answers | prepared by | rows compared | flips per million | largest difference "
    "| rows/s, model.onnx | rows/s, served | |"
)

PIECE = 50_000
"""Rows compared at a time."""

ROUNDS = 5
ROUND_SECONDS = 1.0
"""Of one system in one round, about: fast models get more rows."""


@dataclass(frozen=True)
class Measurement:
    """What a run of one case gave."""

    name: str
    framework: str
    answers: str
    prepared: str
    rows: int
    """Compared with the source."""
    flips_per_million: float
    max_difference: float
    """Largest |difference|: of probabilities and scores; of regressions as a share of the mean magnitude."""
    portable: float
    """Rows/s of model.onnx."""
    served: float
    """Rows/s of what is served: fast.onnx where there is one."""
    note: str
    """What is off and why; the error of a model that is refused."""
    versions: str
    machine: str
    """When, on what, and on which Python."""


def measure(case: Case) -> Measurement:
    """Train, package, compare, and time one case."""
    from errors import DropscoreError  # noqa: PLC0415  # heavy with what follows: --write needs none of it
    from model_store.convert import Meaning, ModelOptions, convert  # noqa: PLC0415  # as above
    from model_store.model import Model, OpenGraph  # noqa: PLC0415  # as above
    from model_store.packages import GRAPH  # noqa: PLC0415  # as above
    from model_store.packaging import build_package  # noqa: PLC0415  # as above

    machine = f"{dt.datetime.now(dt.UTC):%Y-%m-%d} on {platform.machine()}, Python {platform.python_version()}"
    nothing = Measurement(case.name, case.framework, case.answers, case.prepared, 0, 0, 0, 0, 0, "", "", machine)
    estimator, sample = case.fit()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "package"
        try:
            conversion = convert(estimator, sample, options=ModelOptions(case.labels, Meaning(case.meaning)))
            info = build_package(conversion, folder)
        except DropscoreError as error:
            return replace(nothing, note=f"refused: {error.message}")
        model = Model.open(folder)
        portable = OpenGraph(folder / GRAPH, info.signature, info.null_text)
        flips, worst = compare_all(case, conversion, model)
        batch = next(batches(case, conversion, PIECE))
        speeds = rows_a_second({"portable": portable.predict, "served": model.predict}, batch)
    stock = ", ".join(conversion.stock_steps)
    libraries = {**conversion.versions, "onnxruntime": version("onnxruntime")}
    return replace(
        nothing,
        rows=case.rows,
        flips_per_million=flips / case.rows * 1e6,
        max_difference=worst,
        portable=speeds["portable"],
        served=speeds["served"],
        note=f"{stock} by skl2onnx, not exact" if stock else "",
        versions=", ".join(f"{name} {number}" for name, number in sorted(libraries.items())),
    )


def batches(case: Case, conversion: Any, size: int) -> Iterator[Any]:
    """Yield the rows to compare on, in the signature's schema, a piece at a time."""
    import pyarrow as pa  # noqa: PLC0415  # heavy: --write does not need it

    columns = conversion.signature.inputs
    for start in range(0, case.rows, size):
        frame = data.make_rows(min(size, case.rows - start), seed=1000 + start)
        for column in columns:
            if not column.nullable:  # scoring rejects a null there
                frame[column.name] = frame[column.name].fillna(0.0)
        arrays = [pa.Array.from_pandas(frame[column.name]).cast(column.type.arrow) for column in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=conversion.signature.input_schema)


def compare_all(case: Case, conversion: Any, model: Any) -> tuple[int, float]:
    """Return the label flips and the largest difference between the source and the served model."""
    import numpy as np  # noqa: PLC0415  # heavy: --write does not need it
    import pyarrow as pa  # noqa: PLC0415  # as above

    from model_store.comparison import compare  # noqa: PLC0415  # as above

    flips, worst = 0, 0.0
    for batch in batches(case, conversion, PIECE):
        answers = conversion.predict(pa.Table.from_batches([batch]))
        found = compare(answers, model.predict(batch), classifier=bool(conversion.labels))
        flips += sum(int(mask.sum()) for mask in found.flips.values())
        worst = max([worst, *(float(np.max(weighed)) for weighed in found.weighed.values())])
    return flips, worst


def rows_a_second(systems: dict[str, Any], batch: Any) -> dict[str, float]:
    """Time prediction in turns and return each system's median rows/s."""
    first = next(iter(systems.values()))
    started = time.perf_counter()
    first(batch.slice(0, 4096))
    seconds = time.perf_counter() - started
    rows = int(min(len(batch), max(4096, ROUND_SECONDS / seconds * 4096)))
    batch = batch.slice(0, rows)
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, predict in systems.items():
            started = time.perf_counter()
            predict(batch)
            taken[name].append(time.perf_counter() - started)
    return {name: rows / statistics.median(times) for name, times in taken.items()}


def in_a_process(number: int) -> Measurement:
    """Run one case in a process of its own; SystemExit, with what it said, if it fails."""
    place = CASES[number].environment
    python = HERE.parent / ".venv-frameworks" / place / "bin" / "python" if place else sys.executable
    command = [python, "-W", "ignore", "-m", "benchmarks.models", "--case", str(number)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # libraries' own
    run = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{CASES[number].name} failed:\n{run.stderr}")
    return Measurement(**json.loads(run.stdout.splitlines()[-1]))


def write_page(measured: dict[str, dict[str, Any]]) -> None:
    """Write the table into docs/models.md, between its two marks."""
    known = [Measurement(**measured[name]) for name in map(_key, CASES) if name in measured]
    lines = [HEAD, "|---|---|---|---|---|---|---|---|---|"]
    for framework in dict.fromkeys(m.framework for m in known):
        lines += [_line(m) for m in known if m.framework == framework]
    machines = {
        machine: ", ".join(dict.fromkeys(m.framework for m in known if m.machine == machine))
        for machine in sorted({m.machine for m in known})
    }
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(
        [BEGIN, "", *lines, "", *(f"- {names}: measured {machine}." for machine, names in machines.items()), END]
    )
    PAGE.write_text(before + table + after, "utf-8")


def _key(case: Case) -> str:
    return f"{case.framework}/{case.name}/{case.answers}"


def _line(m: Measurement) -> str:
    model = m.name if m.framework == "scikit-learn" else f"{m.framework}: {m.name}"
    if not m.rows:
        return f"| {model} | {m.answers} | {m.prepared} | | | | | | {m.note} |"
    return (
        f"| {model} | {m.answers} | {m.prepared} | {m.rows:,} | {m.flips_per_million:g} | {m.max_difference:.1g} | "
        f"{_round(m.portable):,} | {_round(m.served):,} | {m.note} |"
    )


def _round(speed: float) -> int:
    """Keep two digits: the next one is noise."""
    return int(float(f"{speed:.2g}"))


def main() -> None:
    """Measure what was asked for, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(asdict(measure(CASES[arguments.case]))))
        return
    measured = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else {}
    chosen = (
        []
        if arguments.write
        else [
            number
            for number, case in enumerate(CASES)
            if not arguments.names
            or any(name.lower() in f"{case.framework}: {case.name}".lower() for name in arguments.names)
        ]
    )
    for number in chosen:
        case = CASES[number]
        started = time.perf_counter()
        result = in_a_process(number)
        print(f"{_line(result)} {time.perf_counter() - started:.0f} s", flush=True)
        measured = json.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() else {}
        measured[_key(case)] = asdict(result)
        MEASURED.write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    write_page(measured)


if __name__ == "__main__":
    main()
