"""Opens a package for mlflow.pyfunc.

A copy of this file is in every package, in an archive; it imports nothing of Dropscore. MLflow's own loader of ONNX
models writes a null text as "None" or "nan", which data may hold as well, and cannot read the string columns of
pandas 3.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

CHUNK_ROWS = 4096
DTYPES = {
    "tensor(bool)": np.bool_,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


class Model:
    """The package's graph, as MLflow calls it."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "dropscore.json").read_bytes())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._null_text = manifest["null_text"]
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = self._session.get_inputs()
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002  # MLflow's
        """Return one row of answers for each row of `data`: a DataFrame, or what makes one."""
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        feeds = {tensor.name: self._feed(frame[tensor.name], tensor) for tensor in self._inputs}
        parts = [
            self._session.run(
                self._outputs, {name: cells[start : start + CHUNK_ROWS] for name, cells in feeds.items()}
            )
            for start in range(0, max(len(frame), 1), CHUNK_ROWS)
        ]
        columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return pd.DataFrame(dict(zip(self._outputs, columns, strict=True)), index=frame.index)

    def _feed(self, cells: "pd.Series[Any]", tensor: Any) -> "np.ndarray[Any, Any]":
        """Return a column as its tensor takes it: nulls of numbers are NaN, of texts the package's own text."""
        empty = cells.isna()
        if tensor.type == "tensor(string)":
            array = np.array(
                [self._null_text if null else str(cell) for cell, null in zip(cells, empty, strict=True)],
                dtype=np.object_,
            )
        elif tensor.type in {"tensor(float)", "tensor(double)"}:
            array = cells.to_numpy(DTYPES[tensor.type], na_value=np.nan)
        elif empty.any():
            raise ValueError(f"column {tensor.name!r} has nulls, and the model takes none there")
        elif pd.api.types.is_datetime64_any_dtype(cells.dtype):
            array = cells.to_numpy("datetime64[us]").astype(np.int64)
        else:
            array = cells.to_numpy(DTYPES[tensor.type])
        return array.reshape(-1, 1) if len(tensor.shape) == 2 else array


def _load_pyfunc(path: str) -> Model:
    """Open the package's folder: MLflow calls this by name."""
    return Model(Path(path))
