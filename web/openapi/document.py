"""The whole document."""

from typing import Any

from settings import VERSION, Settings
from web.bodies import Limits
from web.openapi import files, inference, mlflow, predictions, process, registry, results, runs
from web.openapi.columns import Described
from web.openapi.operations import ERRORS, Operations, Schema

_TAGS = {
    predictions.TAG: "Rows at hand: a few of them, scored while the caller waits.",
    mlflow.TAG: "The same by MLflow's scoring protocol, and Azure ML's.",
    inference.TAG: "The same by the Open Inference Protocol, version 2, of KServe, Triton and MLServer.",
    runs.TAG: "Files: scored in the background, each by a run.",
    registry.TAG: "The registered models, their versions, and the aliases that point at them.",
    process.TAG: "Whether the process is well.",
    process.DOCS_TAG: "This document, and its page.",
}

_ABOUT = """\
Drop a file of rows into a storage container, get it back with the model's scores; or score a few rows at once.

- JSON is read strictly, and so written: no `NaN`, no key twice; in answers, null stands for NaN.
- Errors never quote what a row holds.
- Every answer has an `x-request-id`, the one that was sent if there was one.
- Where there is `GET`, there is `HEAD`. A path answers other methods with 405, and an unknown path is a 404.
- Keys are sent in the header `x-functions-key`, or behind the path as `?code=`. Behind the Functions host, a 401
  has no body: it is the host's.
"""


def describe_api(
    models: list[Described], settings: Settings, assets: list[str], damaged: list[str]
) -> dict[str, Any]:
    """Return the document; `damaged` are names of models of which the description cannot be read."""
    limits = Limits.of(settings)
    operations: Operations = {
        **predictions.predict_operations(models, limits),
        **mlflow.mlflow_operations(models),
        **inference.inference_operations(models),
        **runs.runs_operations(limits),
        **results.results_operations(),
        **files.files_operations(models, settings.max_upload_bytes),
        **registry.registry_operations(),
        **process.process_operations(assets),
    }
    schemas: dict[str, Schema] = {
        **ERRORS,
        **predictions.predict_schemas(models),
        **mlflow.mlflow_schemas(),
        **inference.inference_schemas(models),
        **runs.runs_schemas(),
        **results.results_schemas(),
        **files.files_schemas(),
        **registry.registry_schemas(),
    }
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), operation in operations.items():
        paths.setdefault(path, {})[method] = operation.to_dict(path)
    about = _ABOUT
    if damaged:
        about += f"\nNot described, because their packages are damaged: {', '.join(damaged)}.\n"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dropscore", "version": VERSION, "description": about},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
    }


def _key(place: str, name: str, description: str) -> dict[str, str]:
    return {"type": "apiKey", "in": place, "name": name, "description": description}


_SCHEMES = {
    "functionKey": _key("header", "x-functions-key", "A function key, or an admin key."),
    "functionCode": _key("query", "code", "The same, for who cannot send headers."),
    "adminKey": _key("header", "x-functions-key", "An admin key (of the Functions host: the master key)."),
    "adminCode": _key("query", "code", "The same, for who cannot send headers."),
}
