"""The limit: ONNX Runtime alone, two threads over arrays that are ready in memory; prints what that took, as JSON.

The graph that is served, fast.onnx, takes and gives codes of texts; model.onnx takes and gives the texts.

python onnxruntime_alone.py SOURCE.parquet TARGET.parquet PACKAGE GRAPH THREADS
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

CHUNK = 4096

source, target, package, graph, threads = sys.argv[1:]
manifest = json.loads((Path(package) / "dropscore.json").read_bytes())
rows = pq.read_table(source)
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(str(Path(package) / graph), options, providers=["CPUExecutionProvider"])


def ready(name: str, kind: str) -> np.ndarray:
    """Return a column as the graph takes it."""
    cells = rows[name]
    if kind == "tensor(string)":
        return pc.fill_null(cells, manifest["null_text"]).to_numpy()
    if kind == "tensor(int32)":
        texts = [*manifest["categories"][name], None, manifest["null_text"]]
        codes = pc.index_in(cells.combine_chunks(), pa.array(texts, pa.string()))
        return pc.fill_null(codes, len(texts)).to_numpy(zero_copy_only=False)
    return cells.to_numpy()


feeds = {tensor.name: ready(tensor.name, tensor.type) for tensor in session.get_inputs()}


def run(start: int) -> list[np.ndarray]:
    """Score one chunk."""
    chunk = {name: array[start : start + CHUNK] for name, array in feeds.items()}
    return session.run(["prediction", "probability_yes"], chunk)


run(0)
with ThreadPoolExecutor(int(threads)) as pool:
    wall, cpu = time.perf_counter(), time.process_time()
    answers = list(pool.map(run, range(0, rows.num_rows, CHUNK)))
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
prediction, probability = (np.concatenate(parts) for parts in zip(*answers, strict=True))
if prediction.dtype == np.int32:
    texts = json.loads(session.get_modelmeta().custom_metadata_map["dropscore_labels"])["prediction"]
    prediction = np.array(texts, object)[prediction]
labels = pa.array(prediction, pa.string())
pq.write_table(pa.table({"id": rows["id"], "prediction": labels, "probability_yes": probability}), target)
print(json.dumps(taken))
