"""What requests are sent to: the whole API over a folder with models and runs, keys asked for as in production."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from model_store.packaging import build_package
from model_store.registry import Registry
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.runs import submit
from scoring.services import Services
from settings import Settings
from storage import BlobPath
from tests.echo_model import open_echo
from tests.hand_model import HandModel, make_conversion
from web.app import create_app
from web.keys import Keys

GOOD = b"age,visits,member,plan\n20,3,true,basic\n,4,false,\n61.5,0,true,pro\n"
FUNCTION_KEY, ADMIN_KEY = "function-key", "admin-key"


@dataclass(frozen=True)
class Scene:
    """The API, its document, and what parts of paths lead somewhere."""

    app: Starlette
    document: Mapping[str, Any]
    known: Mapping[str, tuple[str, ...]]
    """By a parameter's name."""


@contextmanager
def opened(folder: Path) -> Iterator[Scene]:
    """Make everything in an empty folder."""
    settings = Settings(
        folder=str(folder / "store"), cache=str(folder / "cache"), threads=2, model="churn", alias_seconds=3600
    )
    services = Services.open(settings)
    registry = Registry(services.blobs, settings.models)
    for bias in (-2.0, -1.0):
        build_package(make_conversion(HandModel(bias=bias)), folder / f"bias{bias}")
        registry.add("churn", folder / f"bias{bias}")
    registry.set_alias("churn", "champion", 1)
    open_echo(folder / "echo")
    registry.add("echo", folder / "echo")
    try:
        app = create_app(lambda: services, settings, Keys(FUNCTION_KEY, ADMIN_KEY).check)
        with TestClient(app, headers={"x-functions-key": FUNCTION_KEY}) as client:
            document = client.get("/api/openapi.json").json()
        known = {
            "model": ("churn", "churn@1", "churn@champion", "models:/churn/2", "echo"),
            "name": ("churn", "echo"),
            "version": ("1", "2", "champion"),
            "alias": ("champion", "challenger"),
            "run_id": tuple(_runs(services)),
            "path": ("docs.js", "docs.css", "2026/a.csv", "b.parquet"),
        }
        yield Scene(app, document, known)
    finally:
        services.engine.close()


def _runs(services: Services) -> Iterator[str]:
    """Yield the ids of runs: with a result, with rejected rows too, with these alone, with neither, and queued."""
    rows, bad = GOOD.partition(b"\n")[2], b"x,1,true,pro\n"
    for number, data in enumerate((GOOD, GOOD + rows * 4 + bad, GOOD + bad * 9, b"age,visits\n1,2\n")):
        path = BlobPath("incoming", f"churn/{number}.csv")
        services.blobs.write(path, data)
        yield run_job(Job.for_dropped(path), services).run_id
    path = BlobPath("incoming", "churn/rows.csv")  # that of the document's example
    services.blobs.write(path, GOOD)
    yield submit(Job.for_dropped(path), services).run.id
