"""The training sample in numbers, and rows in JSON that lose nothing."""

import json
import math
from datetime import datetime

import numpy as np
import pyarrow as pa

from model_store.golden import _from_json, golden_entry
from model_store.signature import Column, ColumnType
from model_store.training import make_rows, summarise


def test_columns_are_summarised_by_their_kind():
    """Numbers by their distribution, texts and booleans by their most frequent values, nulls counted apart."""
    summary = summarise(
        pa.table(
            {"age": [10.0, 20.0, None, 30.0], "plan": ["b", "a", "a", None], "member": [True, False, True, True]}
        )
    )
    assert summary["rows"] == 4
    age, plan, member = (summary["columns"][name] for name in ("age", "plan", "member"))
    assert (age["count"], age["nulls"], age["mean"], age["min"], age["max"]) == (3, 1, 20.0, 10.0, 30.0)
    assert len(age["deciles"]) == 9
    assert age["deciles"][4] == 20.0
    assert plan == {"count": 3, "nulls": 1, "distinct": 2, "top": [["a", 2], ["b", 1]]}
    assert member["top"] == [[True, 3], [False, 1]]


def test_awkward_columns_are_summarised_too():
    """Columns of nulls, of NaN and infinities, and of times give JSON that has no NaN in it."""
    summary = summarise(
        pa.table(
            {
                "nothing": pa.array([None, None], pa.float64()),
                "strange": [math.nan, math.inf],
                "when": pa.array([datetime(2026, 1, 1), None], pa.timestamp("us")),  # noqa: DTZ001
            }
        )
    )
    assert summary["columns"]["nothing"] == {"count": 0, "nulls": 2}
    assert "mean" not in summary["columns"]["strange"]
    json.dumps(summary, allow_nan=False)


def test_rows_are_made_like_the_sample():
    """Numbers fill the deciles, nulls and categories are as frequent as they were; the same at every call."""
    random = np.random.default_rng(0)
    count = 5000
    sample = pa.table(
        {
            "age": pa.array(random.exponential(20, count), mask=random.random(count) < 0.2),
            "zero": pa.array(np.where(random.random(count) < 0.6, 0, random.integers(1, 9, count)), pa.int32()),
            "plan": pa.array(random.choice(["a", "b"], count, p=[0.9, 0.1]).tolist()),
            "member": pa.array(random.random(count) < 0.3),
            "when": pa.array(random.integers(0, 10**15, count), pa.timestamp("us")),
        }
    )
    kinds = [ColumnType.DOUBLE, ColumnType.INTEGER, ColumnType.STRING, ColumnType.BOOLEAN, ColumnType.DATETIME]
    columns = [
        Column(name, kind, nullable=name == "age") for name, kind in zip(sample.column_names, kinds, strict=True)
    ]
    summary = json.loads(json.dumps(summarise(sample)))
    made = make_rows(summary, columns, count)
    assert made.schema.equals(sample.schema)
    assert made.equals(make_rows(summary, columns, count))
    again = summarise(made)["columns"]
    for name, known in summarise(sample)["columns"].items():
        assert abs(again[name]["nulls"] - known["nulls"]) < 100
        if "deciles" in known:
            assert again[name]["min"] >= known["min"]
            assert again[name]["max"] <= known["max"]
            spread = known["deciles"][-1] - known["deciles"][0]
            assert np.abs(np.subtract(again[name]["deciles"], known["deciles"])).max() < 0.1 * spread + 1
        else:
            assert abs(dict(again[name]["top"])[known["top"][0][0]] - known["top"][0][1]) < 150


def test_rows_are_made_of_columns_nobody_has_seen_values_of():
    """A column of nulls is made of nulls if it may be; else of something of its type."""
    empty = {"rows": 0, "columns": {"nothing": {"count": 0, "nulls": 9}}}
    columns = [
        Column("nothing", ColumnType.DOUBLE),
        Column("number", ColumnType.DOUBLE, nullable=False),
        Column("known", ColumnType.STRING, nullable=False, categories=("x", "y")),
        Column("text", ColumnType.STRING, nullable=False),
        Column("flag", ColumnType.BOOLEAN, nullable=False),
    ]
    made = make_rows(empty, columns, 100)
    assert made["nothing"].null_count == 100
    assert 0.5 < np.std(made["number"].to_numpy()) < 1.5
    assert set(made["known"].to_pylist()) == {"x", "y"}
    assert set(made["text"].to_pylist()) == {""}
    assert set(made["flag"].to_pylist()) == {True, False}


def test_rows_come_back_to_the_last_bit():
    """Doubles, infinities, floats, times and texts beyond ASCII; NaN comes back as a null, fed alike."""
    table = pa.table(
        {
            "double": [0.1 + 0.2, 5e-324, -math.inf, None],
            "float": pa.array([0.1, 3.4e38, math.inf, None], pa.float32()),
            "long": [2**63 - 1, -(2**63), 0, 1],
            "when": pa.array([datetime(2026, 1, 1, 12, 30, 0, 1)] * 4, pa.timestamp("us")),  # noqa: DTZ001
            "text": ["ä∅", "", "\uffff", None],
            "flag": [True, False, True, False],
        }
    )
    entry = json.loads(json.dumps(golden_entry(table, table.slice(0, 0)), allow_nan=False))
    assert _from_json(entry["inputs"], table.schema).equals(table)
    nan = golden_entry(pa.table({"x": [math.nan]}), pa.table({}))
    assert nan["inputs"] == {"x": [None]}
