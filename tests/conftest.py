"""What tests of several floors share: the hand-built model, and services on a folder that have it registered."""

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings as hypothesis_settings

import model_store.cache
from devhost.azurite import Azurite
from model_store.model import Model
from model_store.packaging import build_package
from model_store.registry import Registry
from scoring.engine import Engine
from scoring.services import Services
from settings import Settings
from tests.hand_model import HandModel, make_conversion
from tests.split_runs import Fleet, memory_services

# `make test-frameworks`, `test-clients` and `test-pages` run these.
collect_ignore = ["frameworks", "clients", "pages"]

# What is trained here is small: on several cores that others use too, its threads wait for each other, and the same
# model takes five times as much of them. OpenMP reads this when scikit-learn is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines are shared and noisy: a slow example is no failure.
hypothesis_settings.register_profile("house", deadline=None)
hypothesis_settings.load_profile("house")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests that may wait for news of an alias do so, however slow this machine is."""
    monkeypatch.setattr(model_store.cache, "PATIENCE", 60.0)


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """Start Azurite on free ports and give its connection string."""
    with Azurite.on_free_ports() as started:
        yield started.connection_string


@pytest.fixture(scope="session")
def hand_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "hand"
    build_package(make_conversion(), folder)
    return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return package folders by the model's bias, each built once: look, do not touch."""
    folder = tmp_path_factory.mktemp("packages")

    def built(bias: float = -2.0) -> Path:
        place = folder / f"bias{bias}"
        if not place.exists():
            build_package(make_conversion(HandModel(bias=bias)), place)
        return place

    return built


@pytest.fixture
def services(tmp_path: Path, hand_package: Path) -> Iterator[Services]:
    settings = Settings(
        folder=str(tmp_path / "store"),
        cache=str(tmp_path / "cache"),
        threads=2,
        block_bytes=200,
        max_record_bytes=2000,
    )
    opened = Services.open(settings)
    Registry(opened.blobs, settings.models).add("churn", hand_package)
    yield opened
    opened.engine.close()


@pytest.fixture(scope="session")
def fleets(hand_package: Path) -> Iterator[Callable[..., Fleet]]:
    """Return a function that makes machines, given settings, which score what is in memory."""
    engine, model = Engine(2), Model.open(hand_package)
    yield lambda **settings: Fleet(memory_services(model, engine, **settings))
    engine.close()


@pytest.fixture
def parquet() -> Callable[..., bytes]:
    def write(table: pa.Table, **options: Any) -> bytes:
        sink = BytesIO()
        pq.write_table(table, sink, **options)
        return sink.getvalue()

    return write
