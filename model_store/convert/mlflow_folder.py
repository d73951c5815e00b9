"""Read the folders that MLflow saves models in: what is inside is packaged as if it had been given alone.

MLmodel is read here, not by MLflow: its loaders would run whatever the folder asks for.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from errors import EstimatorInvalidError, SampleInvalidError
from model_store.packages import MLMODEL

if TYPE_CHECKING:
    import pandas as pd

_FILES: Mapping[str, Sequence[str]] = {
    "onnx": ("{data}",),
    "sklearn": ("{pickled_model}",),
    "lightgbm": ("{data}",),
    "xgboost": ("{data}",),
    "pytorch": ("{model_data}/model.pt2", "{model_data}/model.pth"),
    "keras": ("{data}", "{data}/model.keras"),
    "tensorflow": ("{data}/model.keras", "{saved_model_dir}", "{data}"),
}
"""Where each flavor that we can package keeps its model, in the words of the flavor's entry."""

_CELLS = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "datetime": "datetime64[us]",
}


def is_mlflow_folder(path: Path) -> bool:
    """Say whether MLflow, or something that writes as it does, saved a model there."""
    return (path / MLMODEL).is_file()


def model_file(folder: Path) -> tuple[str, Path, Mapping[str, Any]]:
    """Return a folder's flavor, the file or folder of its model, and the flavor's entry in MLmodel.

    EstimatorInvalidError if there is no flavor that we can package, or the model is not there.
    """
    flavors = _read(folder).get("flavors")
    if not isinstance(flavors, dict):
        raise EstimatorInvalidError(f"{MLMODEL} in {folder.name} names no flavors")
    for flavor, patterns in _FILES.items():
        entry = flavors.get(flavor)
        if not isinstance(entry, dict):
            continue
        for pattern in patterns:
            path = _inside(folder, pattern, entry)
            if path is not None and path.exists():
                return flavor, path, entry
        raise EstimatorInvalidError(f"{folder.name} has no file for the {flavor} model that its {MLMODEL} names")
    raise EstimatorInvalidError(
        f"{folder.name} holds a model of the flavor {', '.join(sorted(flavors))}: {', '.join(_FILES)} can be "
        "packaged; of others, package the model itself"
    )


def read_example(folder: Path) -> "pd.DataFrame | None":
    """Return the rows of a folder's input example, in the types of its signature; None if it has none.

    SampleInvalidError if they cannot be read.
    """
    import pandas as pd  # noqa: PLC0415 - only where models are packaged

    mlmodel = _read(folder)
    saved = mlmodel.get("saved_input_example_info") or {}
    if saved.get("type") != "dataframe" or saved.get("pandas_orient", "split") != "split":
        return None
    try:
        path = _inside(folder, "{artifact_path}", saved)
        if path is None:
            return None
        example = json.loads(path.read_bytes())
        rows = pd.DataFrame(example["data"], columns=example.get("columns"))
        columns = json.loads((mlmodel.get("signature") or {}).get("inputs") or "[]")
        for column in columns:
            if column.get("name") in rows.columns and column.get("type") in _CELLS:
                rows[column["name"]] = _typed(rows[column["name"]], column["type"])
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise SampleInvalidError(
            f"the input example of {folder.name} cannot be read ({type(error).__name__}): give --sample FILE"
        ) from error
    return rows


def _typed(cells: Any, kind: str) -> Any:
    if kind not in {"float", "double", "string"} and cells.isna().any():
        return cells  # whole numbers with nulls stay as pandas reads them
    return cells.astype(_CELLS[kind])


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load((folder / MLMODEL).read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise EstimatorInvalidError(f"{MLMODEL} in {folder.name} cannot be read") from error
    if not isinstance(content, dict):
        raise EstimatorInvalidError(f"{MLMODEL} in {folder.name} cannot be read")
    return content


def _inside(folder: Path, pattern: str, entry: Mapping[str, Any]) -> Path | None:
    """Return the path that an entry names; EstimatorInvalidError if it leaves the folder."""
    try:
        path = folder / pattern.format_map(entry)
    except KeyError:  # the entry has no such word
        return None
    if not path.resolve().is_relative_to(folder.resolve()):
        raise EstimatorInvalidError(f"{MLMODEL} in {folder.name} names a file outside of its folder")
    return path
