"""The API as uvicorn runs it: web.app:app."""

import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import web.app
from tests.scoring.test_rows import ROW


def test_importing_opens_no_storage(tmp_path) -> None:
    """`uvicorn web.app:app` starts without a connection; making the app asks storage for nothing."""
    code = "import web.app, os; web.app.app; print(os.listdir(os.environ['DROPSCORE_FOLDER']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={"DROPSCORE_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_app_alone_serves_by_its_settings(services, monkeypatch) -> None:
    """The same settings, read from the environment, lead to the same models."""
    monkeypatch.setenv("DROPSCORE_FOLDER", services.settings.folder)
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    monkeypatch.setenv("DROPSCORE_FUNCTION_KEYS", "one,two")
    web.app._own_app.cache_clear()
    try:
        with TestClient(web.app.app) as client:
            answer = client.post("/api/predict/churn", json=ROW, headers={"x-functions-key": "two"})
            assert answer.json()["model"]["version"] == 1
            assert client.post("/api/predict/churn", json=ROW).status_code == 401
    finally:
        web.app._own_app.cache_clear()


def test_other_names_are_not_there() -> None:
    """The module makes no attribute but `app`."""
    with pytest.raises(AttributeError):
        _ = web.app.application
