"""Storage connections: from the name of a setting to clients, and calls that do not block the event loop."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from devhost.azurite import Azurite
from devhost.errors import StartupError

# Pollers try again by themselves and a failed write fails the invocation, so a client's own retries (up to a minute
# and a half by default) would only hide that Azurite is gone and hold up the exit.
_PATIENCE: Any = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 60}

T = TypeVar("T")
C = TypeVar("C", BlobServiceClient, QueueServiceClient)


class Connections:
    """The app's storage accounts; `call` runs a client's blocking method in a thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._blobs: dict[str, BlobServiceClient] = {}
        self._queues: dict[str, QueueServiceClient] = {}
        # No more threads than a client keeps connections, or urllib3 warns of each that it has to throw away.
        self._threads = ThreadPoolExecutor(10, thread_name_prefix="storage")

    def text(self, setting: str) -> str:
        """Return the connection string that `setting`, or AzureWebJobs<setting>, holds."""
        for name in (f"AzureWebJobs{setting}", setting):
            if text := self._environment.get(name):
                development = text.strip().rstrip(";").lower() == "usedevelopmentstorage=true"
                return Azurite().connection_string if development else text
        raise StartupError(
            f"The connection {setting} is not set: put a storage connection string under Values in "
            "local.settings.json (devhost does not use managed identities)"
        )

    def blobs(self, setting: str) -> BlobServiceClient:
        """Return the client for the blobs of a connection."""
        if setting not in self._blobs:
            self._blobs[setting] = self._open(BlobServiceClient, setting)
        return self._blobs[setting]

    def queues(self, setting: str) -> QueueServiceClient:
        """Return the client for the queues of a connection."""
        if setting not in self._queues:
            self._queues[setting] = self._open(QueueServiceClient, setting)
        return self._queues[setting]

    def _open(self, kind: type[C], setting: str) -> C:
        try:
            return kind.from_connection_string(self.text(setting), **_PATIENCE)
        except ValueError as error:
            raise StartupError(
                f"The connection {setting} is no storage connection string: copy it again"
            ) from error

    async def call(self, method: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Run a client's blocking method in a thread and wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(method, *args, **kwargs))

    def close(self) -> None:
        """Close the clients' sockets."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for blobs in self._blobs.values():
            blobs.close()
        for queues in self._queues.values():
            queues.close()
