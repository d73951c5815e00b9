"""Polars and ONNX Runtime by somebody who has measured: chunks of 4,096 rows, a thread of ours for each core.

python polars_chunks.py SOURCE TARGET MODEL.onnx KEEP     # KEEP: id or all
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import polars as pl

NULL = "\uffffnull\uffff"  # the text that the graph takes for a null
CHUNK = 4096

source, target, graph, keep = sys.argv[1:]
parquet = source.endswith(".parquet")
rows = pl.read_parquet(source) if parquet else pl.read_csv(source)
options = ort.SessionOptions()
options.intra_op_num_threads = 1  # the threads share the session, each call of `run` stays on its own
session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
inputs = session.get_inputs()


def score(start: int) -> list[np.ndarray]:
    """Return the answers for one chunk."""
    chunk = rows.slice(start, CHUNK)
    feeds = {
        tensor.name: (
            chunk[tensor.name].fill_null(NULL).to_numpy()
            if tensor.type == "tensor(string)"
            else chunk[tensor.name].cast(pl.Float64).to_numpy()
        )
        for tensor in inputs
    }
    return session.run(["prediction", "probability_yes"], feeds)


with ThreadPoolExecutor(os.cpu_count()) as pool:
    answers = list(pool.map(score, range(0, rows.height, CHUNK)))
prediction, probability = (np.concatenate(parts) for parts in zip(*answers, strict=True))
result = (rows if keep == "all" else rows.select("id")).with_columns(
    prediction=prediction, probability_yes=probability
)
if parquet:
    result.write_parquet(target)
else:
    result.write_csv(target)
