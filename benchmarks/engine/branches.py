"""How much of a tree model's time is the processor's wrong guesses: on rows that differ, and on one row repeated.

A tree is walked branch by branch. Over rows that differ the processor cannot know which side comes next, and starts
anew at each wrong guess; over one row repeated it knows them all. Graph, arrays and their sizes are the same.

    python -m benchmarks.engine.branches MODEL        # prints nanoseconds a row, one thread, as JSON
"""

import json
import statistics
import subprocess
import sys
import time

from benchmarks.engine.data import WORK, source
from benchmarks.engine.models import TREES, make
from benchmarks.processes import ROOT

FILE_ROWS = 2_000_000
ROWS = 65_536
CHUNK = 4096
ROUNDS = 9
ROWS_OF_FILE, ROW_REPEATED = "rows of the file", "one row repeated"


def measure_branches() -> dict[str, dict[str, float]]:
    """Return each tree model's nanoseconds a row: of the file's first rows, and of one of them repeated."""
    taken = {}
    for name in TREES:
        make(name)
        words = [sys.executable, "-m", "benchmarks.engine.branches", name]
        answer = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
        taken[name] = json.loads(answer.stdout)
    return taken


def measure(name: str) -> dict[str, float]:
    """Return one model's figures, medians of rounds in turns."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # heavy, and only here

    from model_store.model import Model  # noqa: PLC0415  # as above

    model = Model.open(WORK / f"{name}-package")
    file = pq.ParquetFile(source(FILE_ROWS, "parquet"))
    schema = model.signature.input_schema
    rows = next(file.iter_batches(ROWS, columns=schema.names)).select(schema.names).cast(schema)
    repeated = rows.take([0] * ROWS)
    taken: dict[str, list[float]] = {ROWS_OF_FILE: [], ROW_REPEATED: []}
    for _ in range(ROUNDS):
        for what, batch in ((ROWS_OF_FILE, rows), (ROW_REPEATED, repeated)):
            started = time.thread_time()
            for start in range(0, ROWS, CHUNK):
                model.predict(batch.slice(start, CHUNK))
            taken[what].append((time.thread_time() - started) / ROWS * 1e9)
    return {what: statistics.median(nanoseconds) for what, nanoseconds in taken.items()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
