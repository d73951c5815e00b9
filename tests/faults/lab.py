"""Where cases are tried: one Azurite for all, containers and queues for each, processes that start fast."""

import itertools
import multiprocessing
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

from devhost.azurite import Azurite
from errors import BlobNotFoundError, ConditionFailedError
from model_store.packaging import build_package
from model_store.registry import Registry
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.runs import submit
from scoring.services import Services
from settings import Settings
from storage import BlobPath, QueueMessage, Storage
from tests.faults.leases import give_back
from tests.faults.places import Reader, find_reader, forget, make
from tests.faults.recorder import read_log
from tests.faults.results import read_result
from tests.faults.scenes import Scene
from tests.faults.worker import Task, connect, work
from tests.hand_model import HandModel, make_conversion

Backend = Literal["azurite", "folder"]
BACKENDS: tuple[Backend, ...] = ("azurite", "folder")

COMMON = {
    "DROPSCORE_THREADS": "2",
    "DROPSCORE_BLOCK_BYTES": "300",
    "DROPSCORE_MAX_RECORD_BYTES": "2000",
    "DROPSCORE_SWEEP_SECONDS": "0",
}
"""Settings of every case: a file of two thousand bytes is several blocks, and a sweep is never too early."""

NAMES = ("incoming", "scored", "rejected", "runs", "models", "jobs_queue", "splits_queue", "events_queue")
"""Settings that name containers and queues: each case has its own."""

PATIENCE = 90  # seconds until a worker that has not ended counts as stuck

LIFE = 240.0
"""Seconds until Azurite is old. Every ten minutes it collects the extents that no blob has any more, and answers
nobody meanwhile: more than a minute, measured, after ten minutes of cases."""

PRELOADED = [
    "tests.faults.worker",
    "scoring.intake",
    "scoring.sweeper",
    "model_store.model",
    "web.access",
    "azurefunctions.extensions.bindings.blob",
    "onnxruntime",
]
"""What workers import, but function_app: it reads its settings when it is imported."""


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run makes of a file: the only results that anybody may ever see."""

    scored: bytes
    rejected: bytes | None
    rows: Mapping[str, int]


class Lab:
    """What all cases share; a context manager. Sites may be opened on any thread."""

    def __init__(self, azurite: str | None = None) -> None:
        """Use the Azurite of a connection string, or start one when it is first asked for."""
        self._folder = TemporaryDirectory(prefix="dropscore-faults-")
        self.folder = Path(self._folder.name)
        self._given = azurite
        self._started: Azurite | None = None
        self._since = 0.0
        self._lock = threading.RLock()
        self._packages: dict[float, Path] = {}
        self.shelves: dict[float, str] = {}
        """Containers that several cases have, by the bias of the model in them."""
        self._wholes: dict[tuple[bytes, float], Whole] = {}
        self._calls: dict[tuple[Scene, Backend, int], int] = {}
        self._counting = threading.Lock()
        self._processes = multiprocessing.get_context("forkserver")
        # Workers are forked from a process that has imported all this and done nothing yet.
        self._processes.set_forkserver_preload(PRELOADED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._started.stop()
        self._folder.cleanup()

    def renew(self, life: float = LIFE) -> None:
        """Put an Azurite of ours that is older than `life` (seconds) out of use; no case may be under way."""
        with self._lock:
            if self._started and time.monotonic() - self._since > life:
                self._started.stop()
                self._started = self._given = None
                self.shelves.clear()
                self.__dict__.pop("storage", None)

    @property
    def connection_string(self) -> str:
        """Azurite's."""
        with self._lock:  # of several threads, one starts it
            if self._given is None:
                self._started, self._since = Azurite.on_free_ports().start(), time.monotonic()
                self._given = self._started.connection_string
            return self._given

    @cached_property
    def storage(self) -> Storage:
        """All that is in Azurite: one client for all cases, whose connections stay open."""
        return connect(Settings.load({"AzureWebJobsStorage": self.connection_string}))

    def package(self, bias: float = -2.0) -> Path:
        """Return the package of the hand-made model with that bias."""
        with self._lock:
            if bias not in self._packages:
                self._packages[bias] = self.folder / f"package{bias}"
                build_package(make_conversion(HandModel(bias=bias)), self._packages[bias])
            return self._packages[bias]

    def whole(self, scene: Scene, content: bytes, bias: float = -2.0) -> Whole:
        """Return what comes of `content` in one undisturbed and unsplit run of another store."""
        package = self.package(bias)
        with self._lock:
            if (content, bias) not in self._wholes:
                self._wholes[content, bias] = self._score(scene, content, package)
            return self._wholes[content, bias]

    def _score(self, scene: Scene, content: bytes, package: Path) -> Whole:
        with TemporaryDirectory(dir=self.folder) as folder:
            services = Services.open(
                Settings.load(COMMON | {"DROPSCORE_FOLDER": folder, "DROPSCORE_CACHE": f"{folder}/cache"})
            )
            Registry(services.blobs).add("churn", package)
            path = scene.path("incoming")
            services.blobs.write(path, content)
            receipt = run_job(Job.for_dropped(path), services)
            services.engine.close()
            assert receipt.output, receipt.error
            scored, rejected = (
                place and read_result(services.blobs, BlobPath.parse(place))
                for place in (receipt.output, receipt.rejects)
            )
            assert scored
            return Whole(scored[1], rejected[1] if rejected else None, receipt.rows)

    def open(self, scene: Scene, backend: Backend = "azurite", *, biases: Sequence[float] = (-2.0,)) -> "Site":
        """Make a place for one case: storage of its own with the models, and nothing else in it yet.

        With several biases there are as many versions of the model, and `champion` is the first.
        """
        key = uuid4().hex[:12]
        folder = self.folder / key
        folder.mkdir()
        if backend == "folder":
            environment = {"DROPSCORE_FOLDER": str(folder / "store")}
        else:
            known = Settings.__dataclass_fields__
            defaults = {name: str(known[name].default) for name in NAMES if name in known}
            environment = {f"DROPSCORE_{name.upper()}": f"{value}-{key}" for name, value in defaults.items()}
            environment["AzureWebJobsStorage"] = self.connection_string
            environment["AzureFunctionsWebHost__hostid"] = f"faults-{key}"  # or hosts would take each other's blobs
        environment |= COMMON | {f"DROPSCORE_{name.upper()}": value for name, value in scene.settings.items()}
        environment["DROPSCORE_CACHE"] = str(folder / "cache")
        if backend == "azurite" and len(biases) == 1:
            environment["DROPSCORE_MODELS"] = self.shelf(*biases)
        site = Site(self, scene, environment, folder)
        make(site.storage, site.containers, [*site.queues, site.settings.events_queue])
        models = Registry(site.storage.blobs, site.settings.models)
        if site.settings.models in site.containers:
            for bias in biases:
                models.add("churn", self.package(bias))
        if len(biases) > 1:
            models.set_alias("churn", "champion", 1)
        return site

    def shelf(self, bias: float) -> str:
        """Return a container of Azurite's that has the model with that bias, for cases that move no alias."""
        package = self.package(bias)
        with self._lock:
            if bias not in self.shelves:
                shelf = f"models-{uuid4().hex[:12]}"
                Registry(self.storage.blobs, shelf).add("churn", package)
                self.shelves[bias] = shelf
            return self.shelves[bias]

    def count_calls(self, scene: Scene, backend: Backend = "azurite", *, biases: Sequence[float] = (-2.0,)) -> int:
        """Return K: how often one undisturbed worker calls storage, the deletion of its message included."""
        key = scene, backend, len(biases)
        with self._counting:
            if key not in self._calls:
                site = self.open(scene, backend, biases=biases)
                site.send(site.drop(scene.content)[1])
                task = site.task()
                assert site.run(task) == [0]
                self._calls[key] = max(line.get("call", 0) for line in read_log(task.log))
            return self._calls[key]

    def start(self, task: Task) -> Any:
        """Start a worker process."""
        process = self._processes.Process(target=work, args=(task,), daemon=True)
        process.start()
        return process


@dataclass
class Site:
    """One case's own storage, and the workers on it."""

    lab: Lab
    scene: Scene
    environment: Mapping[str, str]
    folder: Path
    logs: list[Path] = field(default_factory=list)
    stuck: int = 0
    """Workers that had to be ended."""
    _numbers: Any = field(default_factory=itertools.count)

    @cached_property
    def settings(self) -> Settings:
        """As workers read them."""
        return Settings.load(self.environment)

    @cached_property
    def storage(self) -> Storage:
        """The storage itself, without any disturbance."""
        return connect(self.settings) if self.settings.folder else self.lab.storage

    @cached_property
    def reader(self) -> Reader:
        """The same for those who only read."""
        return find_reader(self.storage, self.settings)

    @property
    def containers(self) -> list[str]:
        """The containers that no other case has."""
        ours = self.settings
        names = (ours.incoming, ours.scored, ours.rejected, ours.runs, ours.models)
        return [name for name in names if name not in self.lab.shelves.values()]

    @property
    def queues(self) -> list[str]:
        """The queues whose messages are work, and those of what failed at every try."""
        names = [self.settings.jobs_queue, getattr(self.settings, "splits_queue", "")]
        return [name + end for name in names if name for end in ("", "-poison")]

    @property
    def input(self) -> BlobPath:
        """Where the file is dropped."""
        return self.scene.path(self.settings.incoming)

    @property
    def result(self) -> BlobPath:
        """Where its result is to be."""
        return BlobPath(self.settings.scored, self.input.name)

    @property
    def rejects(self) -> BlobPath:
        """Where its rejects are to be."""
        return BlobPath(self.settings.rejected, self.input.name)

    def drop(self, content: bytes) -> tuple[str, str]:
        """Write the file and return its ETag and the message that its drop becomes."""
        etag = self.storage.blobs.write(self.input, content)
        return etag, self.scene.job(self.settings.incoming, etag).to_json()

    def send(self, body: str, times: int = 1) -> None:
        """Put a job's message on the queue, so many times; or have one of them come of its run's submission."""
        if self.scene.is_submitted:
            services = Services.open(self.settings)
            times -= submit(Job.from_json(body), services).is_new
            services.engine.close()
        for _ in range(times):
            self.storage.queues.send(self.settings.jobs_queue, body)

    def task(self, **what: Any) -> Task:
        """Describe a worker."""
        log = self.folder / f"worker{next(self._numbers)}.log"
        self.logs.append(log)
        return Task(what.pop("environment", self.environment), log, (self.result, self.rejects), **what)

    def run(self, *tasks: Task, lose: bool = False) -> list[int]:
        """Run workers at once until all have ended, and return their exit codes; -9 for one that was killed.

        What a killed one had in hand is given back as soon as it is dead; or, to `lose` it, deleted.
        """
        started = {process.sentinel: (process, task) for process, task in ((self.lab.start(t), t) for t in tasks)}
        running, deadline = set(started), time.monotonic() + PATIENCE
        while running:
            ended = wait(running, max(0, deadline - time.monotonic()))
            if not ended:
                self.stuck += len(running)
                for sentinel in running:
                    started[sentinel][0].kill()
                ended = list(running)
            for sentinel in ended:
                process, task = started[sentinel]
                process.join()
                if process.exitcode:
                    self._release(task, lose=lose)
                running.discard(sentinel)
        return [process.exitcode for process, _ in started.values()]

    def _release(self, task: Task, *, lose: bool) -> None:
        for line in read_log(task.log):
            if "delivered" in line:
                queue, (identity, receipt, times) = line["delivered"], line["message"]
                message = QueueMessage(identity, "", receipt, times)
                if lose:
                    with suppress(BlobNotFoundError, ConditionFailedError):  # it was deleted in time
                        self.storage.queues.delete(queue, message)
                else:
                    give_back(self.storage, queue, message)

    def written(self) -> int:
        """Return how many bytes workers have written down so far."""
        return sum(log.stat().st_size for log in tuple(self.logs) if log.exists())

    def read_logs(self) -> list[dict[str, Any]]:
        """Return what all workers wrote down, one after the other."""
        return [line for log in self.logs for line in read_log(log)]

    def close(self) -> None:
        """Forget the case."""
        if not self.settings.folder:
            forget(self.storage, self.containers, [*self.queues, self.settings.events_queue])
        shutil.rmtree(self.folder, ignore_errors=True)
