"""What a run needs beside its job: storage, models, threads. Wired here, passed down from there."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from errors import SettingsError, StorageDeniedError
from model_store.cache import ModelCache
from model_store.registry import Registry
from scoring.engine import Engine
from scoring.log_lines import line
from scoring.open_runs import OpenRuns
from scoring.receipt import Receipts
from settings import Settings
from storage import BlobStore, QueueStore, open_storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """A process's collaborators; one set is shared by all its runs and requests."""

    settings: Settings
    blobs: BlobStore
    queues: QueueStore
    models: ModelCache
    receipts: Receipts
    engine: Engine

    @property
    def open_runs(self) -> OpenRuns:
        """The runs under way."""
        return OpenRuns(self.blobs, self.settings.runs)

    @classmethod
    def for_command(cls, store: str | None) -> "Services":
        """Open what a command's --store names; SettingsError for a folder that is not there, as after a slip.

        No model can be in one, and it would be made. Without --store it may be missing: no model was added yet.
        """
        settings = Settings.for_command(store)
        if store and settings.folder and not Path(settings.folder).is_dir():
            raise SettingsError(
                f"--store {store}: there is no such folder; name one that a model was added to, or azure for the "
                "storage account"
            )
        return cls.open(settings)

    @classmethod
    def open(cls, settings: Settings) -> "Services":
        """Wire the services that `settings` describe, and make the containers and queues that are not there.

        An identity may be let use them and not make them; or nothing at all for a while, and then there have to be
        services to put poison messages back with.
        """
        storage = open_storage(settings)
        for container in (settings.incoming, settings.scored, settings.rejected, settings.runs, settings.models):
            _make(storage.blobs.create_container, container)
        for queue in (settings.jobs_queue, settings.splits_queue, settings.events_queue):
            _make(storage.queues.create_queue, queue)
        registry = Registry(storage.blobs, settings.models)
        return cls(
            settings,
            storage.blobs,
            storage.queues,
            ModelCache(registry, Path(settings.cache), settings.alias_seconds, settings.cache_bytes),
            Receipts(storage.blobs, settings.runs),
            Engine(settings.scoring_threads),
        )


def _make(create: Callable[[str], None], name: str) -> None:
    try:
        create(name)
    except StorageDeniedError as denied:  # if it is not there, who uses it says so
        log.warning(line("not_made", name=name, message=denied.message))
