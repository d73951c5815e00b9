"""Both backends for the contract tests: a folder, and Azure's SDK against an Azurite started here."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from settings import Connection, Settings
from storage import BlobPath, Storage, open_storage


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
