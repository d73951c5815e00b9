"""Polars and ONNX Runtime, put together the obvious way: read, one call of `run`, write.

python polars_onnx.py SOURCE TARGET MODEL.onnx KEEP     # KEEP: id or all
"""

import sys

import onnxruntime as ort
import polars as pl

NULL = "\uffffnull\uffff"  # the text that the graph takes for a null

source, target, graph, keep = sys.argv[1:]
parquet = source.endswith(".parquet")
rows = pl.read_parquet(source) if parquet else pl.read_csv(source)
session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
feeds = {
    tensor.name: (
        rows[tensor.name].fill_null(NULL).to_numpy()
        if tensor.type == "tensor(string)"
        else rows[tensor.name].cast(pl.Float64).to_numpy()
    )
    for tensor in session.get_inputs()
}
prediction, probability = session.run(["prediction", "probability_yes"], feeds)
result = (rows if keep == "all" else rows.select("id")).with_columns(
    prediction=prediction, probability_yes=probability
)
if parquet:
    result.write_parquet(target)
else:
    result.write_csv(target)
