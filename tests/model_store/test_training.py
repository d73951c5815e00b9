"""The training sample in numbers, and rows in JSON that lose nothing."""

import json
import math
from datetime import datetime

import pyarrow as pa

from model_store.golden import _from_json, golden_entry
from model_store.training import summarise


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
