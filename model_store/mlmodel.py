"""The files that MLflow looks for in a model's folder, so that `mlflow.pyfunc` and `mlflow.onnx` open it."""

import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import pyarrow as pa

from errors import PackageInvalidError
from model_store.signature import Signature

MLFLOW_VERSION = "3.17.2"
"""The MLflow whose folder layout is written: any from 2.0 on reads it."""

_LOADER = Path(__file__).parent / "convert" / "dropscore_pyfunc.py"
"""The code that MLflow opens a package with; it is copied into each and never imported here."""

_LOADER_ARCHIVE = f"{_LOADER.stem}.zip"
"""Python imports from an archive without leaving compiled files beside it, which no package may hold."""

_SERVED_WITH = ("numpy", "onnxruntime")
"""What opening the model needs besides MLflow and onnx: the versions that the graph was checked with."""

_AS_WRITTEN = re.compile(
    rb"^signature:\n  inputs: '((?:[^'\n]|'')*)'\n  outputs: '((?:[^'\n]|'')*)'\n(?! )", re.MULTILINE
)
"""The entry `signature` as `mlflow_files` writes it, unless it is very long."""


def mlflow_files(
    signature: Signature,
    example: pa.Table,
    *,
    versions: Mapping[str, str],
    created: datetime,
    digest: str,
    graph: str,
) -> dict[str, bytes]:
    """Return MLmodel, the environment's files, the loader and the input example, by file name.

    `example` holds a few rows in the inputs' schema, `graph` is the name of the graph's file.
    """
    python = platform.python_version()
    requirements = _requirements(versions)
    mlmodel = {
        "artifact_path": "model",
        "flavors": {
            "onnx": {
                "code": None,
                "data": graph,
                "onnx_version": versions.get("onnx", ""),
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "code": _LOADER_ARCHIVE,  # what MLflow puts on Python's path
                "data": ".",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": _LOADER.stem,
                "python_version": python,
            },
        },
        "mlflow_version": MLFLOW_VERSION,
        # From the content: packaging the same estimator again is the same model to MLflow as well.
        "model_uuid": digest[:32],
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "type": "dataframe",
        },
        "signature": signature.to_mlflow(),
        "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
        "name": "mlflow-env",
    }
    python_env = {
        "python": python,
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        "MLmodel": _yaml(mlmodel),
        "requirements.txt": ("\n".join(requirements) + "\n").encode(),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml(python_env),
        "input_example.json": _dataframe_split(example),
        _LOADER_ARCHIVE: _loader_archive(),
    }


def _loader_archive() -> bytes:
    """Return the loader as an archive, always the same bytes."""
    archive = BytesIO()
    entry = ZipInfo(_LOADER.name)  # of 1980, and stored as it is
    entry.create_system = 3  # wherever it is made
    with ZipFile(archive, "w") as file:
        file.writestr(entry, _LOADER.read_bytes())
    return archive.getvalue()


def read_mlmodel(mlmodel: bytes) -> dict[str, str]:
    """Return the `signature` entry of an MLmodel file; PackageInvalidError if there is none to read."""
    if len(found := _AS_WRITTEN.findall(mlmodel)) == 1:
        with suppress(UnicodeDecodeError):
            inputs, outputs = (text.decode().replace("''", "'") for text in found[0])
            return {"inputs": inputs, "outputs": outputs}
    import yaml  # noqa: PLC0415  # of a start that opens a model of ours, importing it would be a twentieth

    try:
        signature = yaml.safe_load(mlmodel)["signature"]
        return {side: signature[side] for side in ("inputs", "outputs")}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise PackageInvalidError(f"MLmodel has no signature to read: {type(error).__name__}") from error


def _requirements(versions: Mapping[str, str]) -> list[str]:
    known = {name: version(name) for name in _SERVED_WITH} | {n: v for n, v in versions.items() if n == "onnx"}
    return [f"mlflow=={MLFLOW_VERSION}", *(f"{name}=={known[name]}" for name in sorted(known))]


def _dataframe_split(rows: pa.Table) -> bytes:
    """Return rows as MLflow's dataframe_split JSON; what JSON has no number for is null."""
    names = rows.column_names
    data = [[_json_cell(row[name]) for name in names] for row in rows.to_pylist()]
    return json.dumps({"columns": names, "data": data}, ensure_ascii=False, allow_nan=False).encode()


def _json_cell(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:  # nan and both infinities
        return None
    return value.isoformat() if isinstance(value, datetime) else value


def _yaml(content: Mapping[str, Any]) -> bytes:
    import yaml  # noqa: PLC0415  # a process that serves never packages

    text: str = yaml.safe_dump(dict(content), sort_keys=True, allow_unicode=True, width=10_000)
    return text.encode()
