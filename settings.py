"""Every setting, read from the environment in one place.

Names, defaults and meanings are the fields below: field `incoming` is the setting DROPSCORE_INCOMING, and so on.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Literal, get_args

from errors import SettingsError

VERSION = "0.1.0"
"""Dropscore's own; pyproject.toml says the same."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a storage account, as Azure Functions writes it: `<name>` or `<name>__<field>` settings."""

    name: str
    connection_string: str = ""
    """The setting `<name>`; where it is empty, managed identity is used with the service URIs."""
    blob_service_uri: str = ""
    queue_service_uri: str = ""
    account_name: str = ""
    """Stands for the two URIs of that account in Azure's public cloud."""
    client_id: str = ""
    """Of a user-assigned identity; empty for the system-assigned one, or a developer's own sign-in."""

    @classmethod
    def load(cls, name: str, environment: Mapping[str, str]) -> "Connection":
        """Read the settings of connection `name`."""
        return cls(
            name,
            environment.get(name, ""),
            environment.get(f"{name}__blobServiceUri", ""),
            environment.get(f"{name}__queueServiceUri", ""),
            environment.get(f"{name}__accountName", ""),
            environment.get(f"{name}__clientId", ""),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process is set up; a frozen snapshot of its environment."""

    connection: str = "AzureWebJobsStorage"
    """The name of the storage connection that triggers and code use."""
    storage: Connection = Connection("AzureWebJobsStorage")
    """That connection's own settings: read from `<connection>` and `<connection>__*`."""
    folder: str = ""
    """A local folder to use in place of Azure Storage; empty for Azure."""
    incoming: str = "incoming"
    """Container of dropped files."""
    scored: str = "scored"
    """Container of results."""
    rejected: str = "rejected"
    """Container of rejected rows."""
    runs: str = "runs"
    """Container of runs' records."""
    models: str = "models"
    """Container of the registry."""
    jobs_queue: str = "scoring-jobs"
    """Queue of jobs; its poison queue is this name + "-poison"."""
    splits_queue: str = "scoring-splits"
    """Queue of splits of files too large for one invocation; its poison queue is this name + "-poison"."""
    events_queue: str = "scoring-events"
    """Queue of events: one for each run that has ended."""
    events_source: str = "/dropscore"
    """What events give as their `source`: tells the events of several installations apart."""
    sweep_schedule: str = "0 */5 * * * *"
    """When the sweeper looks for lost messages and dead runs: second, minute, hour, day, month, weekday; UTC."""
    sweep_seconds: int = 900
    """How long a run may show no sign of life before its messages are sent again, then twice that, and so on."""
    max_sweeps: int = 5
    """How often they are before the run is given up, if it still shows none."""
    split_bytes: int = 1024**3
    """A file of more bytes is scored in splits of about so many, on any number of machines; 0 for no limit."""
    split_rows: int = 0
    """The same in rows, of Parquet files; 0 for no limit."""
    scan_seconds: int = 600
    """How long one invocation may look for places where a CSV file can be cut before another goes on with it."""
    threads: int = 0
    """Scoring threads of this process; 0 for one a core."""
    block_bytes: int = 6 * 1024 * 1024
    """Bytes of CSV that one thread scores at a time."""
    max_record_bytes: int = 16 * 1024 * 1024
    """The longest CSV record that is accepted."""
    max_expansion: int = 200
    """Bytes of text that one byte of a compressed CSV file may become, once it is more than 64 MiB of text; rows or
    values that one byte of a Parquet file may stand for, once it is more than 16 million of them."""
    max_request_bytes: int = 4 * 1024 * 1024
    """The largest body of a prediction request."""
    max_request_rows: int = 10_000
    """The most rows of a prediction request."""
    max_upload_bytes: int = 5 * 1024**3
    """The largest file that is taken over HTTP."""
    max_answer_bytes: int = 64 * 1024**2
    """The most of a file that one answer brings under the Functions host, which holds answers whole in memory."""
    model: str = ""
    """The model that /invocations and /score mean where the request names none: a reference such as churn@champion.
    Without one it is the registry's only model."""
    alias_seconds: int = 30
    """How long a resolved alias may be used before it is looked up again."""
    cache: str = str(Path(gettempdir()) / "dropscore")
    """Folder on this machine where packages are cached."""
    cache_bytes: int = 2 * 1024**3
    """Bytes of packages kept there: those opened longest ago are removed beyond it, but none that is open."""
    blob_source: Literal["polling", "eventgrid"] = "polling"
    """How the host finds dropped files: "polling" (local) or "eventgrid" (Azure)."""

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read DROPSCORE_* from `environment` (this process's by default); SettingsError for what does not fit.

        A value that was mistyped must not mean the default, nor a number something that nobody would want.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, str | int] = {}
        for setting in fields(cls):
            name = f"DROPSCORE_{setting.name.upper()}"
            text = environment.get(name, "")
            if not text or setting.name == "storage":
                continue
            if setting.type is int:
                values[setting.name] = _whole_number(name, text, int(setting.name not in _MAY_BE_ZERO))
            elif (choices := get_args(setting.type)) and text not in choices:
                raise SettingsError(f"{name} must be one of: {', '.join(choices)}")
            else:
                values[setting.name] = text
        settings = cls(**values)  # type: ignore[arg-type]  # each value was made to its field's type above
        for kind, group in _APART.items():
            _check_apart(settings, kind, group)
        return replace(settings, storage=Connection.load(settings.connection, environment))

    @classmethod
    def for_command(cls, store: str | None, folder: Path = Path()) -> "Settings":
        """Read settings as a command does: the environment over `folder`/local.settings.json, as `func start` does.

        `store` is a folder for local storage, or "azure" for the storage account of the connection settings;
        without one it is DROPSCORE_FOLDER, or else the folder .dropscore. SettingsError for a file that is no JSON.
        """
        settings = cls.load(_local_values(folder) | dict(os.environ))
        if store == "azure":
            return replace(settings, folder="")
        return replace(settings, folder=store or settings.folder or ".dropscore")

    @property
    def scoring_threads(self) -> int:
        """How many blocks this process scores at once."""
        return self.threads or os.cpu_count() or 1


_MAY_BE_ZERO = {
    "sweep_seconds", "max_sweeps", "split_bytes", "split_rows", "scan_seconds", "threads", "alias_seconds",
    "cache_bytes",
}  # fmt: skip
"""All other numbers are of something of which there must be one."""

_APART = {
    "container": ("incoming", "scored", "rejected", "runs", "models"),
    "queue": ("jobs_queue", "splits_queue", "events_queue"),
}
"""Each of these has a place of its own: results among the inputs would be scored in turn."""


def _whole_number(name: str, text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise SettingsError(f"{name} must be a whole number, and at least {least}")
    return number


def _check_apart(settings: Settings, kind: str, group: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for name in group:
        other = taken.setdefault(getattr(settings, name), name)
        if other != name:
            raise SettingsError(
                f"DROPSCORE_{other.upper()} and DROPSCORE_{name.upper()} name the same {kind}: give each its own"
            )


def _local_values(folder: Path) -> dict[str, str]:
    path = folder / "local.settings.json"
    try:
        values = json.loads(path.read_text("utf-8")).get("Values", {})
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return {name: str(value) for name, value in values.items()}
