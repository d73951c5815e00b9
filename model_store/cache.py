"""Models at hand: resolved references for a while, packages on this machine's disk, a few of them open."""

import shutil
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from uuid import uuid4

from errors import PackageInvalidError
from model_store.model import Model
from model_store.reference import ModelReference
from model_store.registry import ModelVersion, Registry

MODELS_OPEN = 8
"""Models kept open; beyond it the one used longest ago is let go (whoever still holds it may go on using it)."""


class ModelCache:
    """What one process needs of the registry, asked for once; safe for any number of threads.

    `folder` holds packages by digest. Processes of one machine share it: a package appears there whole, by one
    rename, and a damaged one is fetched again.
    """

    def __init__(self, registry: Registry, folder: Path, alias_seconds: float) -> None:
        self._registry = registry
        self._folder = folder
        self._alias_seconds = alias_seconds
        self._lock = threading.Lock()
        self._resolved: dict[ModelReference, tuple[ModelVersion, float]] = {}
        self._models: OrderedDict[str, Future[Model]] = OrderedDict()

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        """Return the version a reference means; an alias may be up to `alias_seconds` old. Errors as Registry's."""
        wanted = ModelReference.parse(reference) if isinstance(reference, str) else reference
        known = self._resolved.get(wanted)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        asked = time.monotonic()
        version = self._registry.resolve(wanted)
        until = asked + self._alias_seconds if wanted.version is None else float("inf")
        self._resolved[wanted] = version, until
        return version

    def load(self, version: ModelVersion) -> Model:
        """Return the open model of a version, loading it at most once however many threads ask.

        Errors as Registry.fetch and Model.open; a failed load is tried again by the next call.
        """
        with self._lock:
            loading = self._models.get(version.digest)
            if loading is not None:
                self._models.move_to_end(version.digest)
            else:
                mine = self._models[version.digest] = Future()
                self._drop_oldest()
        if loading is not None:
            return loading.result()
        try:
            model = self._open(version)
        except BaseException as error:
            with self._lock:
                self._models.pop(version.digest, None)
            mine.set_exception(error)
            raise
        mine.set_result(model)
        return model

    def _drop_oldest(self) -> None:
        """Let models go that were used longest ago; those still loading stay."""
        loaded = [digest for digest, future in self._models.items() if future.done()]
        for digest in loaded[: max(0, len(self._models) - MODELS_OPEN)]:
            del self._models[digest]

    def _open(self, version: ModelVersion) -> Model:
        """Open a version from the disk, fetching it if it is not there, or not sound."""
        place = self._folder / version.digest
        if place.is_dir():
            try:
                return _open_exactly(place, version)
            except PackageInvalidError:  # this machine's copy is damaged: the registry's decides
                self._discard(place)
        self._fetch(version, place)
        return _open_exactly(place, version)

    def _fetch(self, version: ModelVersion, place: Path) -> None:
        """Bring a version's package to `place`, unless another process has done so meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arriving = self._beside(place)
        arriving.mkdir()
        try:
            self._registry.fetch(version, arriving)
            try:
                arriving.rename(place)
            except OSError:  # its name differs between systems: what counts is whether the package is there
                if not place.is_dir():
                    raise
        finally:
            shutil.rmtree(arriving, ignore_errors=True)  # gone already if the rename went well

    def _discard(self, place: Path) -> None:
        """Take a package away by one rename: nobody sees half of it. Another process may have been faster."""
        leaving = self._beside(place)
        try:
            place.rename(leaving)
        except FileNotFoundError:
            return
        shutil.rmtree(leaving, ignore_errors=True)  # out of everybody's way already

    def _beside(self, place: Path) -> Path:
        return place.with_name(f".{place.name}-{uuid4().hex}")


def _open_exactly(place: Path, version: ModelVersion) -> Model:
    """Open the package at `place`; PackageInvalidError if it is sound but not this version's."""
    model = Model.open(place)
    if model.digest != version.digest:
        raise PackageInvalidError(f"{place} holds another package than {version}")
    return model
