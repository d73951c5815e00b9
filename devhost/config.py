"""host.json and local.settings.json, read and checked."""

import copy
import json
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devhost.errors import StartupError

DEFAULT_PORT = 7071


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """extensions.queues of host.json, and the lease."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    """More messages are fetched when no more than this many are being worked on."""
    max_polling_interval: float = 2.0
    """Seconds; the real default of a minute would make a local run feel broken."""
    visibility_timeout: float = 0.0
    """Seconds before a failed message is tried again."""
    max_dequeue_count: int = 5
    encoding: str = "base64"
    """"base64" or "none"."""
    lease: float = 30.0
    """Seconds a message in work is hidden from others, renewed at a third of it.

    The real host takes ten minutes. Here the host is often killed and started again, and its messages should not
    be gone for ten minutes each time.
    """


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """extensions.blobs of host.json, and how often to look."""

    max_degree_of_parallelism: int = 8
    poison_blob_threshold: int = 5
    scan_interval: float = 2.0
    """Seconds between two listings of a container; the real host's with the emulator."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What host.json says, as far as this host acts on it; functionTimeout is not enforced."""

    host_id: str
    """Names this host's receipts: AzureFunctionsWebHost__hostid, or one made from the app's folder name."""
    route_prefix: str = "api"
    queues: QueueSettings = field(default_factory=QueueSettings)
    blobs: BlobSettings = field(default_factory=BlobSettings)
    log_levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What local.settings.json says."""

    values: Mapping[str, str] = field(default_factory=dict)
    port: int = DEFAULT_PORT

    def apply(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Put the values into the environment; variables that are set already win."""
        for name, value in self.values.items():
            environment.setdefault(name, value)


def read_local_settings(directory: Path) -> LocalSettings:
    """Read local.settings.json; without the file, nothing is set."""
    document = _read_json(directory / "local.settings.json")
    if document.get("IsEncrypted"):
        raise StartupError(
            "local.settings.json is encrypted: run `func settings decrypt` or set IsEncrypted to false"
        )
    values = {str(name): str(value) for name, value in document.get("Values", {}).items()}
    return LocalSettings(values, int(document.get("Host", {}).get("LocalHttpPort", DEFAULT_PORT)))


def read_host_settings(
    directory: Path, environment: Mapping[str, str], *, queue_lease: float, blob_scan: float
) -> HostSettings:
    """Read host.json; without the file, the defaults hold.

    As on the real host, variables such as AzureFunctionsJobHost__extensions__queues__batchSize override it.
    """
    document = _overridden(_read_json(directory / "host.json"), environment)
    if document and document.get("version") != "2.0":
        raise StartupError('host.json must say "version": "2.0"')
    extensions = document.get("extensions", {})
    host_id = environment.get("AzureFunctionsWebHost__hostid") or f"devhost-{directory.name}"
    return HostSettings(
        host_id=re.sub("[^a-z0-9]+", "-", host_id.lower()).strip("-")[:32].rstrip("-"),
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        queues=_queue_settings(extensions.get("queues", {}), queue_lease),
        blobs=_blob_settings(extensions.get("blobs", {}), blob_scan),
        log_levels=document.get("logging", {}).get("logLevel", {}),
    )


def _overridden(document: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return host.json with the environment's AzureFunctionsJobHost__* put in; names are matched in any case."""
    document = copy.deepcopy(document)
    for name, value in environment.items():
        prefix, *path = name.split("__")
        if prefix.lower() != "azurefunctionsjobhost" or not path:
            continue
        section = document
        for part in path[:-1]:
            section = section.setdefault(_spelled(part, section), {})
        section[_spelled(path[-1], section)] = value
    return document


def _spelled(name: str, section: Mapping[str, Any]) -> str:
    """Return `name` as `section` spells it, if it has it."""
    return next((known for known in section if known.lower() == name.lower()), name)


def _queue_settings(section: Mapping[str, Any], lease: float) -> QueueSettings:
    batch_size = int(section.get("batchSize", 16))
    if not 1 <= batch_size <= 32:
        raise StartupError("host.json: extensions.queues.batchSize must be from 1 to 32")
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise StartupError('host.json: extensions.queues.messageEncoding must be "base64" or "none"')
    interval = section.get("maxPollingInterval")
    return QueueSettings(
        batch_size=batch_size,
        new_batch_threshold=int(section.get("newBatchThreshold", batch_size // 2 * _cores())),
        max_polling_interval=QueueSettings().max_polling_interval if interval is None else _seconds(interval),
        visibility_timeout=_seconds(section.get("visibilityTimeout", "00:00:00")),
        max_dequeue_count=int(section.get("maxDequeueCount", 5)),
        encoding=encoding,
        lease=lease,
    )


def _blob_settings(section: Mapping[str, Any], scan_interval: float) -> BlobSettings:
    return BlobSettings(
        max_degree_of_parallelism=int(section.get("maxDegreeOfParallelism", 8 * _cores())),
        poison_blob_threshold=int(section.get("poisonBlobThreshold", 5)),
        scan_interval=scan_interval,
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _seconds(text: str) -> float:
    """Read a .NET time span, `[days.]hh:mm:ss[.fraction]`."""
    match = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d(?:\.\d+)?)", str(text))
    if match is None:
        raise StartupError(f"host.json: {text!r} is no time span: write hh:mm:ss")
    days, hours, minutes, seconds = match.groups(default="0")
    return int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StartupError(f"{path.name} is no valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise StartupError(f"{path.name} must hold a JSON object")
    return document
