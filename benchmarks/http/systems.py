"""The servers that are measured: how each is started, asked for a row, and what its answer says."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine.models import BENCH_PYTHON, STORE
from benchmarks.engine.models import WORK as MODELS
from benchmarks.http.rows import WORK, Row
from benchmarks.processes import ROOT, environment

PEERS = Path(__file__).resolve().parent / "peers"
MLSERVER = ROOT / ".venv-mlserver" / "bin" / "mlserver"
"""MLServer has an environment of its own: it is made for Python 3.12 and older, and for an older FastAPI."""

KEY = "a-key-of-the-benchmark"
"""Ours asks for a key, as it does in Azure; the others ask for none."""

OURS = "dropscore"
FASTAPI = ("fastapi", "fastapi-async")
MLFLOW = ("mlflow-sklearn", "mlflow-package")
MLSERVERS = ("mlserver", "mlserver-alone")

TOLERANCE = 1e-6

Answer = tuple[str | None, float | None]
"""The label and the probability of "yes"; None for what a server does not say."""


@dataclass(frozen=True)
class System:
    """A server."""

    title: str
    """Its name in tables."""
    words: Callable[[str, int], Sequence[str]]
    """Gives the command that serves a model on a port."""
    path: str
    """Where a row is asked for; `{model}` is the model's name."""
    body: Callable[[Row], Any]
    """Puts a row into the server's own form."""
    read: Callable[[Any], Answer]
    """Reads an answer in that form."""
    headers: Mapping[str, str] | None = None
    settings: Callable[[str], Mapping[str, str]] = lambda _model: {}
    """Gives environment variables, for a model."""

    def environment(self, model: str) -> dict[str, str]:
        """Return all environment variables of its process."""
        return environment() | dict(self.settings(model))


def ours_settings(_model: str, cache: Path = WORK / "cache") -> dict[str, str]:
    """Return our settings: models from a folder, and a key that requests must have."""
    return {"DROPSCORE_FOLDER": str(STORE), "DROPSCORE_CACHE": str(cache), "DROPSCORE_FUNCTION_KEYS": KEY}


def uvicorn_words(python: str | Path, app: str, port: int, *more: str) -> list[str]:
    """Return the command of a server by uvicorn: the same options for whatever app."""
    quiet = ("--log-level", "warning", "--no-access-log")
    return [str(python), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *quiet, *more]


def _ours(_model: str, port: int) -> list[str]:
    return uvicorn_words(sys.executable, "web.app:app", port)


def _fastapi(_model: str, port: int) -> list[str]:
    return uvicorn_words(BENCH_PYTHON, "fastapi_pandas:app", port, "--app-dir", str(PEERS))


def _mlflow(kind: str) -> Callable[[str, int], list[str]]:
    """Serve one of the model's folders; that of the onnx flavor is not served: it takes no texts with pandas 3."""

    def words(model: str, port: int) -> list[str]:
        folder = MODELS / f"{model}-{kind}"
        options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
        return [str(BENCH_PYTHON.with_name("mlflow")), "models", "serve", "--model-uri", str(folder), *options]

    return words


def _mlserver(workers: int) -> Callable[[str, int], list[str]]:
    """Let MLServer have so many processes beside its own, in which models are: 1 by default."""

    def words(model: str, port: int) -> list[str]:
        return [str(MLSERVER), "start", str(_mlserver_folder(model, port, workers))]

    return words


def _mlserver_folder(model: str, port: int, workers: int) -> Path:
    """Write the settings that MLServer reads; its other two ports are those behind the first."""
    folder = WORK / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    server = {"host": "127.0.0.1", "debug": False, "parallel_workers": workers, **ports}
    served = {
        "name": model,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(MODELS / f"{model}.joblib")},
    }
    for name, settings in (("settings.json", server), ("model-settings.json", served)):
        (folder / name).write_text(json.dumps(settings), "utf-8")
    return folder


def fastapi_settings(model: str) -> dict[str, str]:
    """Tell the FastAPI app which pickle to load."""
    return {"MODEL": str(MODELS / f"{model}.joblib")}


def _mlflow_settings(_model: str) -> dict[str, str]:
    """Let `mlflow` find the uvicorn beside it, and send nothing to anybody."""
    path = f"{BENCH_PYTHON.parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def _split(row: Row) -> Any:
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}


def _tensors(row: Row) -> Any:
    """Return the row as MLServer's pandas codec has it; one output, for which scikit-learn is asked once."""
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": "BYTES" if isinstance(cell, str) else "FP64", "data": [cell]}
        | ({"parameters": {"content_type": "str"}} if isinstance(cell, str) else {})
        for name, cell in row.items()
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [{"name": "predict_proba"}]}


def _label(no: float, yes: float) -> Answer:
    return ("yes" if yes > no else "no"), yes


def _read_ours(answer: Any) -> Answer:
    [row] = answer["predictions"]
    return row["prediction"], row["probability_yes"]


SYSTEMS: Mapping[str, System] = {
    OURS: System(
        "Dropscore",
        _ours,
        "/api/predict/{model}",
        lambda row: row,
        _read_ours,
        {"x-functions-key": KEY},
        ours_settings,
    ),
    **{
        name: System(
            f"FastAPI + pandas + scikit-learn, `{keyword}`",
            _fastapi,
            path,
            lambda row: row,
            lambda answer: (answer["prediction"], None),
            settings=fastapi_settings,
        )
        for name, path, keyword in zip(FASTAPI, ("/predict", "/predict-async"), ("def", "async def"), strict=True)
    },
    "mlflow-sklearn": System(
        "mlflow models serve, sklearn flavor",
        _mlflow("mlflow-sklearn"),
        "/invocations",
        _split,
        lambda answer: _label(*answer["predictions"][0]),
        settings=_mlflow_settings,
    ),
    "mlflow-package": System(
        "mlflow models serve, our package",
        _mlflow("package"),
        "/invocations",
        _split,
        _read_ours,
        settings=_mlflow_settings,
    ),
    **{
        name: System(
            title,
            _mlserver(workers),
            "/v2/models/{model}/infer",
            _tensors,
            lambda answer: _label(*answer["outputs"][0]["data"]),
        )
        for name, title, workers in zip(
            MLSERVERS,
            ("MLServer, sklearn runtime", "MLServer, sklearn runtime, one process"),
            (1, 0),
            strict=True,
        )
    },
}


def differs(ours: Answer, theirs: Answer) -> bool:
    """Say whether two answers to the same row differ, in what both say."""
    labels = theirs[0] is not None and theirs[0] != ours[0]
    if theirs[1] is None or ours[1] is None:
        return labels
    return labels or not abs(theirs[1] - ours[1]) <= TOLERANCE
