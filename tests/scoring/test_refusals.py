"""Cells that the source model would refuse are rejected by name, row for row: numbers too large, unknown texts."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from model_store import Column, ColumnType, Signature, package
from model_store.model import Model
from scoring.conform import conform
from scoring.csv.cells import CellReader
from scoring.csv.dialect import Dialect
from scoring.csv.header import Header
from scoring.csv.records import cut_records
from scoring.rejects import Rejects
from scoring.rows import score_rows

SINGLE = float(np.finfo(np.float32).max)


def check(cells: pa.Array, column: Column) -> list[str | None]:
    """Return each cell's reject code."""
    rejects = Rejects(len(cells))
    conform({column.name: cells}, Signature((column,), ()), len(cells), rejects)
    faults = [rejects.find(row) for row in range(len(cells))]
    assert all(fault is None or fault.column == column.name for fault in faults)
    return [fault and fault.code for fault in faults]


def test_numbers_beyond_the_limit_are_rejected() -> None:
    """Both infinities and larger numbers; the limit itself, nulls and NaN are not."""
    cells = pa.array([1.0, SINGLE, -SINGLE, SINGLE * 1.001, -1e300, np.inf, -np.inf, np.nan, None])
    codes = check(cells, Column("size", ColumnType.DOUBLE, limit=SINGLE))
    assert codes == [None, None, None, *["value_range"] * 4, None, None]
    assert check(cells, Column("size", ColumnType.DOUBLE)) == [None] * len(cells)
    limited = Column("size", ColumnType.DOUBLE, limit=SINGLE)
    assert check(cells[:3], limited) == [None] * 3
    assert check(cells[5:], limited) == codes[5:]
    assert check(cells[:0], limited) == check(pa.array([], pa.float64()), limited) == []
    assert check(pa.nulls(3, pa.float64()), limited) == [None] * 3


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (ColumnType.FLOAT, pa.array([5.0, 11.0, -np.inf, None], pa.float32())),
        (ColumnType.LONG, pa.array([5, 11, -(2**63), -10])),
        (ColumnType.INTEGER, pa.array([5, 11, -(2**31), 10], pa.int32())),
    ],
)
def test_every_type_of_number_has_a_limit(kind, cells) -> None:
    """Integers are compared as numbers, the smallest of them too."""
    assert check(cells, Column("size", kind, limit=10.0)) == [None, "value_range", "value_range", None]


def test_texts_that_are_not_allowed_are_rejected() -> None:
    """Nulls are another question: nullability's."""
    cells = pa.array(["a", "c", None, "", "b"])
    column = Column("plan", ColumnType.STRING, allowed=("a", "b"))
    assert check(cells, column) == [None, "category_unknown", None, "category_unknown", None]
    strict = Column("plan", ColumnType.STRING, allowed=("a", "b"), nullable=False)
    assert check(cells, strict)[2] == "null_not_allowed"


@pytest.fixture(scope="module")
def forest(tmp_path_factory) -> tuple[Model, object]:
    """Serve a forest behind an encoder as scikit-learn makes it: it refuses unseen texts and infinity."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=300), "plan": random.choice(["basic", "plus", "pro"], 300)})
    columns = ColumnTransformer([("plan", OneHotEncoder(), ["plan"])], remainder="passthrough")
    model = make_pipeline(columns, RandomForestClassifier(5, random_state=0))
    model.fit(frame, frame["size"] + (frame["plan"] == "pro") > 0.5)
    folder = tmp_path_factory.mktemp("forest") / "package"
    package(model, frame, folder)
    return Model.open(folder), model


ROWS = [
    ({"size": 0.5, "plan": "pro"}, None),
    ({"size": 3e38, "plan": "basic"}, None),
    ({"size": 0.5, "plan": "gold"}, "category_unknown"),
    ({"size": 0.5, "plan": ""}, "category_unknown"),
    ({"size": float("inf"), "plan": "pro"}, "value_range"),
    ({"size": 3.5e38, "plan": "pro"}, "value_range"),
    ({"size": -1e300, "plan": "pro"}, "value_range"),
]


@pytest.mark.parametrize(("row", "code"), ROWS)
def test_a_row_is_rejected_where_the_source_raises(forest, row, code) -> None:
    """What scikit-learn refuses is refused with a code, and what it answers is answered alike."""
    served, source = forest
    (answer,) = score_rows([row], served)
    if code is None:
        assert answer["probability_true"] == source.predict_proba(pd.DataFrame([row]))[0, 1]
        return
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"unknown categories|infinity"):
        source.predict(pd.DataFrame([row]))
    assert answer["error"]["code"] == code


def test_files_are_checked_like_rows(forest) -> None:
    """A CSV file's cells are rejected with the same codes."""
    served, _ = forest
    text = "".join(f"{row['size']!r},{row['plan']}\n" for row, _ in ROWS if row["plan"])
    (records,) = cut_records([text.encode()])
    cells = CellReader(Header(("size", "plan"), b""), served.signature, (), Dialect()).read(records)
    faults = [cells.rejects.find(row) for row in range(len(cells.batch))]
    assert [fault and fault.code for fault in faults] == [code for row, code in ROWS if row["plan"]]
