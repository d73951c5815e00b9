"""The registry over HTTP: which models there are, what a version takes, gives and was checked for, and aliases."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import MessageInvalidError
from model_store import Column, ModelReference
from model_store.packages import PackageInfo
from model_store.registry import ModelVersion
from scoring.strict_json import read_json
from web.answers import answer
from web.bodies import Limits, read_body
from web.models import Models


def registry_routes(models: Models, limits: Limits) -> list[Route]:
    """Return the routes of the registry; those of an alias are for administrators (web/access.py)."""

    def list_models(_request: Request) -> Response:
        """List the registered models, each with its versions and aliases."""
        registry = models.registry()
        listed = [
            {"name": name, "versions": numbers, "aliases": registry.aliases(name)}
            for name, numbers in registry.registered().items()
        ]
        return answer({"models": listed})

    def show_model(request: Request) -> Response:
        """Show a model's versions and aliases, and which version its bare name means."""
        return answer(_describe_model(models, request.path_params["name"]))

    def show_version(request: Request) -> Response:
        """Show what a version takes and gives, and how it compares with what was trained."""
        name, number = request.path_params["name"], request.path_params["version"]
        registry = models.registry()
        version = registry.resolve(ModelReference.parse(f"{name}@{number}"))
        aliases = registry.alias_table(version.name).of(version.version)
        return answer(_finite(_describe_version(version, registry.describe(version), aliases)))

    async def alias(request: Request) -> Response:
        """Point an alias at a version; or, by DELETE, take it away."""
        version = None if request.method == "DELETE" else _wanted(await read_body(request, limits))
        name, alias = request.path_params["name"], request.path_params["alias"]
        await run_in_threadpool(_point, models, name, alias, version)
        return answer({"name": name, "alias": alias, "version": version})

    return [
        Route("/api/models", list_models),
        Route("/api/models/{name}", show_model),
        Route("/api/models/{name}/versions/{version}", show_version),
        Route("/api/models/{name}/aliases/{alias}", alias, methods=["PUT", "DELETE"]),
    ]


def _describe_model(models: Models, name: str) -> dict[str, Any]:
    registry = models.registry()
    numbers = registry.numbers(name)
    current = registry.number(ModelReference(name))
    table = registry.alias_table(name)
    digests = {version.version: version.digest for version in registry.versions(name)}
    return {
        "name": name,
        "current": current,
        "aliases": dict(table.versions),
        "versions": [
            {"version": number, "digest": digests.get(number), "aliases": table.of(number)} for number in numbers
        ],
    }


def _describe_version(version: ModelVersion, info: PackageInfo, aliases: list[str]) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "aliases": aliases,
        "created": info.created,
        "framework": info.framework,
        "built_with": dict(info.versions),
        "bytes": info.size,
        "signature": {
            "inputs": [_describe_input(column) for column in info.signature.inputs],
            "outputs": [{"name": column.name, "type": column.type.value} for column in info.signature.outputs],
        },
        "labels": list(info.labels),
        "parity": asdict(info.parity),
    }


def _describe_input(column: Column) -> dict[str, Any]:
    return column.to_mlflow() | {"nullable": column.nullable} | column.refusals


def _point(models: Models, name: str, alias: str, version: int | None) -> None:
    if version is None:
        models.registry().remove_alias(name, alias)
    else:
        models.registry().set_alias(name, alias, version)


def _wanted(body: bytes) -> int:
    content = read_json(body, "the body")
    version = content.get("version") if isinstance(content, dict) and len(content) == 1 else None
    if type(version) is not int or version < 1:
        raise MessageInvalidError('the body must be {"version": 3}, the number of a registered version')
    return version


def _finite(value: Any) -> Any:
    """Return what JSON can hold of a value: null for what is no finite number."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
