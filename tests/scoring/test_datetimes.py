"""Dates and times from files and rows reach a graph that takes them, as microseconds since 1970."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto

from model_store.convert import NULL_TEXT, Conversion
from model_store.convert.graph import GraphWriter
from model_store.model import Model
from model_store.packaging import build_package
from model_store.registry import Registry
from model_store.signature import Column, ColumnType, Signature
from scoring.conform import cast
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.rows import score_rows
from storage import BlobPath

SIGNATURE = Signature(
    (Column("when", ColumnType.DATETIME, nullable=False), Column("wait", ColumnType.DOUBLE)),
    (Column("prediction", ColumnType.DOUBLE),),
)
TEN = datetime(2026, 11, 21, 10, tzinfo=UTC)


def hours(rows: pa.Table) -> pa.Table:
    """Return hours since 1970, and `wait` hours more."""
    since = pc.divide(rows["when"].cast(pa.int64()).cast(pa.float64()), 3.6e9)
    return pa.table({"prediction": pc.add(since, rows["wait"])})


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    graph = GraphWriter(SIGNATURE.inputs, SIGNATURE.outputs)
    since = graph.node("Div", graph.cast("when", TensorProto.DOUBLE), graph.constant(3.6e9))
    graph.give(SIGNATURE.outputs[0], graph.node("Add", since, "wait"))
    times = pa.array([TEN.replace(hour=hour, tzinfo=None) for hour in range(24)], pa.timestamp("us"))
    sample = pa.table({"when": times, "wait": [float(hour) for hour in range(24)]}, schema=SIGNATURE.input_schema)
    conversion = Conversion(
        graph=graph.model().SerializeToString(deterministic=True),
        signature=SIGNATURE,
        null_text=NULL_TEXT,
        labels=(),
        framework="by-hand",
        versions={},
        sample=sample,
        predict=hours,
    )
    folder = tmp_path_factory.mktemp("times") / "package"
    build_package(conversion, folder)
    return folder


def test_a_package_with_times_is_checked_and_opened(package) -> None:
    """Trial rows, golden rows, example and summary hold times as any other column; the drift summary too."""
    info = Model.open(package).metadata
    assert info.signature.inputs[0] == SIGNATURE.inputs[0]
    assert info.parity.max_abs_difference == 0
    assert info.parity.rows > 10_000
    assert len(info.training["columns"]["when"]["deciles"]) == 9


TEXTS = [
    "2026-11-21T10:00:00",
    "2026-11-21 10:00",
    "2026-11-21T10:00:00.000000",
    "2026-11-21T10:00:00Z",
    "2026-11-21 12:00:00+02:00",
    "2026-11-21T06:30:00.000-0330",
    "2026-11-21T11+01",
    "2026-11-21T10:00:00.0000000Z",
    "2026-11-21T10:00:00.000000000",
]


@pytest.mark.parametrize("text", TEXTS)
def test_rows_have_times_as_text(package, text) -> None:
    """JSON has no times: ISO 8601 is read, and converted to UTC where it names a zone."""
    (answer,) = score_rows([{"when": text, "wait": 1}], Model.open(package))
    assert answer["prediction"] == TEN.timestamp() / 3600 + 1


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (None, "null_not_allowed"),
        ("yesterday", "value_type"),
        (1.5, "value_type"),
        ("", "value_type"),
        ("2026-11-21T10:00:00.0000001Z", "value_type"),
        ("2026-11-21T10:00:00+25:00", "value_type"),
        ("2026-11-21T10:00:00 Europe/Berlin", "value_type"),
    ],
)
def test_what_is_no_time_is_rejected(package, cell, code) -> None:
    """A graph has no null time either."""
    (answer,) = score_rows([{"when": cell, "wait": 1}], Model.open(package))
    assert answer["error"]["code"] == code


def parquet(kind: pa.DataType) -> bytes:
    sink = BytesIO()
    pq.write_table(pa.table({"when": pa.array([TEN, TEN, None], kind), "wait": [0.0, 2.0, 1.0]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"when,wait\n2026-11-21T10:00:00,0\n2026-11-21 10:00:00,2\n,1\n"),
        ("seconds.parquet", parquet(pa.timestamp("s"))),
        ("nanoseconds.parquet", parquet(pa.timestamp("ns"))),
        ("zone.parquet", parquet(pa.timestamp("us", "UTC"))),
        ("zoned.csv", b"when,wait\n2026-11-21T10:00:00Z,0\n2026-11-21 12:00:00+02:00,2\n,1\n"),
        ("berlin.parquet", parquet(pa.timestamp("ms", "Europe/Berlin"))),
    ],
)
def test_files_have_times_of_any_unit(services, package, name, data) -> None:
    """Text in CSV, any unit in Parquet, UTC where there is a zone; an empty cell is rejected."""
    Registry(services.blobs, services.settings.models).add("times", package)
    path = BlobPath("incoming", f"times/{name}")
    services.blobs.write(path, data)
    job = replace(Job.for_dropped(path), options=Options.from_dict({"error_threshold": -1}))
    receipt = run_job(job, services)
    assert receipt.rows == {"read": 3, "scored": 2, "rejected": 1}
    assert receipt.reject_codes == {"null_not_allowed": 1}
    scored = services.blobs.read(BlobPath.parse(receipt.output))
    if name.endswith(".csv"):
        predictions = [float(line.split(b",")[-1]) for line in scored.splitlines()[1:]]
    else:
        predictions = pq.read_table(BytesIO(scored))["prediction"].to_pylist()
    assert predictions == [TEN.timestamp() / 3600, TEN.timestamp() / 3600 + 2]


def test_a_column_may_mix_times_with_and_without_a_zone() -> None:
    """Each cell is read on its own, whatever stands beside it, and as pandas.to_datetime reads it with utc=True."""
    cells = [*TEXTS, "2026-11-20", "2026-11-20T23:59:59.999999-00:30", "yesterday", None, "2026-11-20T10:00:60"]
    array, lost = cast(pa.array(cells), pa.timestamp("us"))
    bad = {"yesterday", "2026-11-20T10:00:60"}
    assert lost.tolist() == [cell in bad for cell in cells]
    expected = [None if cell is None or cell in bad else pd.to_datetime(cell, utc=True) for cell in cells]
    assert array.to_pylist() == [time and time.tz_localize(None).to_pydatetime() for time in expected]
    for cell, time in zip(cells, array.to_pylist(), strict=True):
        assert cast(pa.array([cell], pa.string()), pa.timestamp("us"))[0].to_pylist() == [time]
