"""What rows by HTTP load: nothing that only packaging needs."""

import json
import subprocess
import sys
from pathlib import Path

from tests.scoring.test_rows import ROW

ASK = """
import json, sys
from starlette.testclient import TestClient
from scoring.services import Services
from settings import Settings
from web.app import create_app

settings = Settings.for_command(sys.argv[1])
services = Services.open(settings)
client = TestClient(create_app(lambda: services, settings))
answer = client.post("/api/predict/churn", json=json.loads(sys.argv[2])).json()
print([list(row) for row in answer["predictions"]])
print(sorted({"pandas", "sklearn", "rich"} & set(sys.modules)))
"""


def test_rows_by_http_load_no_pandas(services, monkeypatch) -> None:
    """Good rows and bad ones are answered without pandas, which pyarrow would import."""
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    rows = json.dumps([ROW, ROW | {"plan": None}, ROW | {"age": "x"}, ROW | {"visits": 2**70}])
    done = subprocess.run(
        [sys.executable, "-c", ASK, services.settings.folder, rows],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    outputs = ["prediction", "probability_leave"]
    assert done.stdout.splitlines() == [str([outputs, outputs, ["error"], ["error"]]), "[]"]
