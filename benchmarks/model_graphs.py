"""Measure graphs: our exact one, its fast form, and the stock converters' float32 one, family by family.

Each is run by ONNX Runtime on one thread in chunks of 4,096 rows, from an Arrow table to arrays of answers: what it
costs to feed a graph is part of it. What counts is that thread's CPU time, and the three take turns, so that a busy
machine disturbs little. Prints a table, and writes it to benchmarks/RESULTS.md.

    python -m benchmarks.model_graphs [--rounds 5] [--rows 100000] [family ...]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.model_families import CASES, Case
from benchmarks.results import machine, write_section
from benchmarks.rows import NUMBERS, TEXTS, make_rows
from errors import EstimatorInvalidError
from model_store.comparison import compare
from model_store.convert import convert
from model_store.convert.codes import encode_strings
from model_store.model import CHUNK_ROWS, OpenGraph
from model_store.packages import with_categories
from model_store.parity import TOLERANCE

WORK = Path(__file__).resolve().parent / ".work"
LIBRARIES = (
    "pyarrow",
    "onnxruntime",
    "scikit-learn",
    "skl2onnx",
    "onnxmltools",
    "lightgbm",
    "xgboost-cpu",
    "numpy",
)
CHECKED_ROWS = 2000
"""Rows whose answers are compared with the source's before anything is timed."""

BATCH_ROWS = 4 * CHUNK_ROWS
"""Rows of one call of ours, which cuts them itself: about what a block of a file has."""

TITLE = "Graphs of model families (`python -m benchmarks.model_graphs`)"
TEXT = """
{numbers} columns of numbers and {texts} of text, 2% nulls. ONNX Runtime, one thread, chunks of {chunk:,} rows,
feeding included; rows per second of its CPU time. Medians of {rounds} rounds of {rows:,} rows, in turns. "exact" is
model.onnx, "fast" is fast.onnx, which is what serves, and "stock" the float32 graph of skl2onnx or onnxmltools.

| family | exact | fast | stock | exact / stock | fast / stock |
|---|---|---|---|---|---|
{table}

{machine}.
"""

Score = Callable[[], None]


@dataclass(frozen=True)
class Rates:
    """Rows per second of one family's graphs; None where there is no such graph."""

    exact: float
    fast: float | None
    stock: float | None

    def row(self, name: str) -> str:
        """Return the family's line of the table."""
        rates = [f"{rate:,.0f}" if rate else "-" for rate in (self.exact, self.fast, self.stock)]
        ratios = [f"{ours / self.stock:.2f}" if ours and self.stock else "-" for ours in (self.exact, self.fast)]
        return f"| {name} | {' | '.join(rates + ratios)} |"


def measure(case: Case, rows: pd.DataFrame, rounds: int) -> Rates:
    """Train, convert and measure one family; EstimatorInvalidError if there is no converter for it."""
    estimator, sample = case.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # converters warn of versions and types that nobody here can change
        scores = dict(_scores(case, estimator, sample, rows))
    times: dict[str, list[float]] = {name: [] for name in scores}
    for turn in range(rounds + 1):
        for name, score in scores.items():
            started = time.thread_time()
            score()
            if turn:  # the first warms up
                times[name].append(time.thread_time() - started)
    rates = {name: len(rows) / statistics.median(taken) for name, taken in times.items()}
    return Rates(rates["exact"], rates.get("fast"), rates.get("stock"))


def _scores(case: Case, estimator: Any, sample: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[str, Score]]:
    """Yield the functions that score all rows with each graph; EstimatorInvalidError if ours is not exact."""
    conversion = convert(estimator, sample)
    signature, null_text = conversion.signature, conversion.null_text
    columns = [pa.Array.from_pandas(rows[column.name], type=column.type.arrow) for column in signature.inputs]
    table = pa.table(columns, schema=signature.input_schema)
    coded = encode_strings(conversion.graph, signature, null_text)
    exact = OpenGraph(_written("exact", conversion.graph), signature, null_text)
    few = table.slice(0, CHECKED_ROWS)
    comparison = compare(
        conversion.predict(few), exact.predict(few.to_batches()[0]), classifier=bool(conversion.labels)
    )
    if failing := int(comparison.failing(TOLERANCE).sum()):
        raise EstimatorInvalidError(f"{failing} of {len(few)} rows get other answers than the source's")
    yield "exact", partial(_ours, exact, table)
    if coded:
        fast = OpenGraph(_written("fast", coded.graph), with_categories(signature, coded.categories), null_text)
        yield "fast", partial(_ours, fast, table)
    stock = case.stock(estimator, sample)
    if stock is not None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(stock, options, providers=["CPUExecutionProvider"])
        yield "stock", partial(_theirs, session, table)


def _written(name: str, graph: bytes) -> Path:
    path = WORK / f"{name}.onnx"
    path.write_bytes(graph)
    return path


def _ours(graph: OpenGraph, table: pa.Table) -> None:
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        graph.predict(batch)


def _theirs(session: Any, table: pa.Table) -> None:
    """Score as users of skl2onnx do: [n, 1] of float or string for each column, nulls of strings as ''."""
    for batch in table.to_batches(max_chunksize=CHUNK_ROWS):
        feeds = {}
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_string(cells.type):
                array = pc.fill_null(cells, "").to_numpy(zero_copy_only=False)
            else:
                array = cells.to_numpy(zero_copy_only=False).astype(np.float32)
            feeds[name] = array.reshape(-1, 1)
        session.run(None, feeds)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("families", nargs="*", help="only these; RESULTS.md stays as it is")
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    rows = make_rows(arguments.rows, seed=1)
    lines = []
    for case in CASES:
        if arguments.families and case.name not in arguments.families:
            continue
        started = time.perf_counter()
        try:
            line = measure(case, rows, arguments.rounds).row(case.name)
        except (EstimatorInvalidError, ImportError) as error:
            print(f"left out: {case.name}: {error}", flush=True)
            continue
        print(line, f"({time.perf_counter() - started:.0f} s)", flush=True)
        lines.append(line)
    text = TEXT.format(
        numbers=len(NUMBERS), texts=len(TEXTS), chunk=CHUNK_ROWS, rounds=arguments.rounds, rows=arguments.rows,
        table="\n".join(lines), machine=machine(LIBRARIES),
    )  # fmt: skip
    print(text)
    if not arguments.families:
        write_section(TITLE, text)


if __name__ == "__main__":
    main()
