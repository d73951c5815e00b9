"""Functions and their bindings, as the worker indexed them, with %SETTING% expressions resolved."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devhost.errors import StartupError
from devhost.messages import RpcFunctionMetadata

TRIGGERS = ("httpTrigger", "queueTrigger", "blobTrigger", "timerTrigger")
OUTPUTS = ("http", "queue", "blob")
DEFAULT_CONNECTION = "AzureWebJobsStorage"


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding of a function."""

    name: str
    type: str
    properties: Mapping[str, Any]
    """The rest of it, as function.json would have it."""

    @property
    def connection(self) -> str:
        """The name of the setting that holds the connection string."""
        return self.properties.get("connection") or DEFAULT_CONNECTION

    @property
    def binary(self) -> bool:
        """Whether the function asked for bytes."""
        return str(self.properties.get("dataType", "")).lower() == "binary"

    @property
    def deferred(self) -> bool:
        """Whether the function takes an SDK type (BlobClient) and so wants to be told where the data is."""
        return bool(self.properties.get("properties", {}).get("SupportsDeferredBinding"))

    @property
    def has_expression(self) -> bool:
        """Whether a property holds a {token} that is filled in at every call."""
        return any("{" in value for value in self.properties.values() if isinstance(value, str))


@dataclass(frozen=True, slots=True)
class Function:
    """A function: what starts it and where its outputs go."""

    id: str
    name: str
    trigger: Binding
    outputs: tuple[Binding, ...]

    @property
    def full_name(self) -> str:
        """The name in receipts and poison messages."""
        return f"Host.Functions.{self.name}"


def read_function(metadata: RpcFunctionMetadata, environment: Mapping[str, str]) -> Function:
    """Read a function's bindings; StartupError if one is of a kind this host does not know."""
    triggers, outputs = [], []
    for raw in metadata.raw_bindings:
        properties = {key: _resolve(value, environment, metadata.name) for key, value in json.loads(raw).items()}
        binding = Binding(properties.pop("name"), properties.pop("type"), properties)
        if binding.type in TRIGGERS:
            triggers.append(binding)
        elif binding.type in OUTPUTS and str(properties.get("direction")).upper() == "OUT":
            outputs.append(binding)
        else:
            raise StartupError(
                f"Function {metadata.name}: devhost has no {properties.get('direction')} binding {binding.type!r}; "
                f"it has the triggers {', '.join(TRIGGERS)} and the outputs {', '.join(OUTPUTS)}"
            )
    if len(triggers) != 1:
        raise StartupError(f"Function {metadata.name} has {len(triggers)} triggers; it needs one")
    return Function(metadata.function_id, metadata.name, triggers[0], tuple(outputs))


def is_disabled(name: str, environment: Mapping[str, str]) -> bool:
    """Say whether the setting AzureWebJobs.<function>.Disabled turns a function off."""
    return environment.get(f"AzureWebJobs.{name}.Disabled", "").lower() in ("true", "1")


def _resolve(value: Any, environment: Mapping[str, str], function: str) -> Any:
    if not isinstance(value, str):
        return value

    def setting(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise StartupError(
                f"Function {function}: {match.group()} does not resolve to a value: "
                f"set {name} under Values in local.settings.json, or in the environment"
            )
        return environment[name]

    return re.sub("%([^%]+)%", setting, value)


def fill(expression: str, tokens: Mapping[str, str], function: str) -> str:
    """Fill the {token}s of a binding expression, whatever their case; a token nobody provides is an error."""
    known = {name.lower(): value for name, value in tokens.items()} | {"rand-guid": str(uuid.uuid4())}

    def token(match: re.Match[str]) -> str:
        try:
            return known[match.group(1).lower()]
        except KeyError:
            raise LookupError(f"Function {function}: nothing provides {match.group()} in {expression!r}") from None

    return re.sub(r"\{([^{}]+)\}", token, expression)
