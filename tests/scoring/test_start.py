"""What scoring loads: nothing that only packaging needs."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.scoring.test_csv import GOOD
from tests.scoring.test_rows import ROW

SCORE = """
import json, sys
from model_store import ModelReference
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.rows import score_rows
from scoring.services import Services
from settings import Settings
from storage import BlobPath

services = Services.open(Settings.for_command(sys.argv[1]))
for name in json.loads(sys.argv[2]):
    print(run_job(Job.for_dropped(BlobPath("incoming", f"churn/{name}")), services).rows)
model = services.models.load(services.models.resolve(ModelReference("churn")))
rows = score_rows(json.loads(sys.argv[3]), model)
print([list(row) for row in rows])
print(sorted({"pandas", "sklearn", "rich", "typer", "pydantic", "yaml", "asyncio"} & set(sys.modules)))
"""


def test_scoring_loads_no_pandas(services, monkeypatch) -> None:
    """CSV, rejects, Parquet and rows at hand are scored without pandas, which pyarrow would import."""
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    incoming = Path(services.settings.folder) / "incoming/churn"
    incoming.mkdir(parents=True, exist_ok=True)
    bad = b"4,x,1,true,pro\n5,1,1,true\n"
    (incoming / "good.csv").write_bytes(GOOD)
    (incoming / "bad.csv").write_bytes(GOOD + GOOD.partition(b"\n")[2] * 20 + bad)
    table = pa.table({name: [ROW[name], None] for name in ("age", "visits", "member", "plan")})
    pq.write_table(pa.concat_tables([table.slice(0, 1)] * 20 + [table]), incoming / "a.parquet")
    arguments = [services.settings.folder, json.dumps(["good.csv", "bad.csv", "a.parquet"])]
    done = subprocess.run(
        [sys.executable, "-c", SCORE, *arguments, json.dumps([ROW, ROW | {"age": "x"}])],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [
        "{'read': 3, 'scored': 3, 'rejected': 0}",
        "{'read': 65, 'scored': 63, 'rejected': 2}",
        "{'read': 22, 'scored': 21, 'rejected': 1}",
        "[['prediction', 'probability_leave'], ['error']]",
        "[]",
    ]


def test_the_command_loads_no_more_than_it_shows(services, monkeypatch, tmp_path: Path) -> None:
    """`score` without a terminal loads no rich, pydantic, yaml or pandas, nor Azure's libraries for a folder."""
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    source = tmp_path / "a.csv"
    source.write_bytes(GOOD)
    command = [sys.executable, "-X", "importtime", "-m", "scoring", "score", str(source), "--model", "churn"]
    done = subprocess.run(
        [*command, "--store", services.settings.folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import")}
    assert "onnxruntime" in loaded
    azure = {"azure.core", "azure.storage.blob", "azure.functions"}
    unwanted = azure | {"rich", "pydantic", "yaml", "pandas", "sklearn", "onnx", "fastapi", "asyncio"}
    assert not unwanted & loaded
