"""Rows to train and try models on, and the comparison of ONNX Runtime with scikit-learn that all tests make."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa

from model_store.convert import Conversion
from model_store.signature import ColumnType

NUMBERS = ["amount", "ratio", "visits"]
TEXTS = ["city", "plan"]


def people(count: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Make rows with nulls, integers, booleans and strings."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": random.normal(100, 40, count),
            "ratio": random.exponential(size=count),
            "visits": random.integers(0, 30, count),
            "member": random.random(count) < 0.4,
            "city": random.choice(["Rome", "Paris", "Oslo", "Bern", "Zürich"], count),
            "plan": random.choice(["basic", "plus", "pro"], count),
        }
    )
    frame.loc[random.random(count) < 0.06, "amount"] = np.nan
    frame.loc[random.random(count) < 0.06, "city"] = None
    return frame


def target(frame: pd.DataFrame, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Make a number that depends on all columns of `people`."""
    noise = np.random.default_rng(seed + 1).normal(size=len(frame))
    cities = frame["city"].map({"Rome": 1.0, "Oslo": -1.0}).fillna(0.0).to_numpy()
    plans = (frame["plan"] == "pro").to_numpy()
    return (
        frame["amount"].fillna(90).to_numpy() / 40
        + frame["ratio"].to_numpy() * np.where(plans, 1.0, -0.5)
        + frame["visits"].to_numpy() / 15
        - frame["member"].to_numpy()
        + cities
        + noise / 2
    )


def two(frame: pd.DataFrame) -> Any:
    """Make labels of two classes."""
    values = target(frame)
    return np.where(values > np.median(values), "stays", "goes")


def three(frame: pd.DataFrame) -> Any:
    """Make labels of three classes."""
    return np.digitize(target(frame), np.quantile(target(frame), [0.3, 0.7])) * 10


def strangers(count: int = 3000, seed: int = 7) -> pd.DataFrame:
    """Make rows of the same columns with categories that `people` never has."""
    frame = people(count, seed)
    frame.loc[::9, "city"] = "Atlantis"
    frame.loc[::11, "plan"] = ""
    frame.loc[::50, ["city", "plan"]] = "nan"
    return frame


def near(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return values, their neighbours in double, and their neighbours in float32."""
    double = np.unique(np.asarray(values, dtype=np.float64))
    single = double.astype(np.float32)
    around = [double, np.nextafter(double, -np.inf), np.nextafter(double, np.inf)]
    around += [
        side.astype(np.float64) for side in (single, np.nextafter(single, -np.inf), np.nextafter(single, np.inf))
    ]
    # Halfway between two floats, rounding decides.
    around += [(around[3] + around[4]) / 2, (around[3] + around[5]) / 2]
    return np.unique(np.concatenate(around))


def at_thresholds(frame: pd.DataFrame, thresholds: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Put values at and around thresholds into rows: each of a column once, and all columns' at random."""
    random = np.random.default_rng(3)
    parts = [frame]
    for name, values in thresholds.items():
        around = near(values)
        part = frame.sample(len(around), replace=True, random_state=1).astype({name: np.float64})
        part[name] = around
        parts.append(part)
    rows = pd.concat([part.astype(dict.fromkeys(thresholds, np.float64)) for part in parts], ignore_index=True)
    for name, values in thresholds.items():
        mixed = random.random(len(rows)) < 0.3
        rows.loc[mixed, name] = random.choice(near(values), mixed.sum())
    return rows


def rows_of(conversion: Conversion, frame: pd.DataFrame) -> pa.Table:
    """Make a table of the conversion's inputs."""
    columns = conversion.signature.inputs
    return pa.table(
        [pa.Array.from_pandas(frame[column.name]).cast(column.type.arrow) for column in columns],
        schema=conversion.signature.input_schema,
    )


def run(conversion: Conversion, table: pa.Table) -> dict[str, Any]:
    """Run the graph as the contract says: [N] inputs, [N, 1] for a single one; nulls as NaN or as the null text."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(conversion.graph, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for column in conversion.signature.inputs:
        cells = table[column.name].to_pylist()
        if column.type is ColumnType.STRING:
            array = np.array([conversion.null_text if cell is None else cell for cell in cells], dtype=object)
        elif column.type in {ColumnType.DOUBLE, ColumnType.FLOAT}:
            dtype = column.type.arrow.to_pandas_dtype()
            array = np.array([np.nan if cell is None else cell for cell in cells], dtype=dtype)
        else:
            array = np.array(cells, dtype=column.type.arrow.to_pandas_dtype())
        feeds[column.name] = array.reshape(-1, 1) if len(conversion.signature.inputs) == 1 else array
    names = [column.name for column in conversion.signature.outputs]
    assert [node.name for node in session.get_outputs()] == names
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_agrees(conversion: Conversion, frame: pd.DataFrame, *, tolerance: float = 1e-12) -> dict[str, Any]:
    """Check labels to be the same and numbers to be within the tolerance, relative above 1; return the answers."""
    table = rows_of(conversion, frame)
    wanted = conversion.predict(table)
    assert wanted.schema.equals(conversion.signature.output_schema)
    given = run(conversion, table)
    for column in conversion.signature.outputs:
        got, want = given[column.name], wanted[column.name].to_numpy()
        assert got.shape == (len(frame),), column
        if column.type is ColumnType.DOUBLE:
            assert got.dtype == np.float64
            worst = np.max(np.abs(got - want) / np.maximum(1.0, np.abs(want)))
            assert worst <= tolerance, f"{column.name} is off by {worst}"
        else:
            assert (got == want).all(), f"{column.name}: {(got != want).sum()} of {len(got)} labels differ"
    return given
