"""Packages on this machine's disk, shared by its processes."""

import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from errors import PackageInvalidError, StorageUnavailableError
from model_store.model import Model
from model_store.registry import ModelVersion, Registry

_LEFT_SECONDS = 3600
"""What a process was bringing or taking away and has not touched for so long, it has died over."""


class DiskCache:
    """Packages in folders of `folder` named by their digests, at most about `max_bytes` of them.

    A package appears there whole, by one rename, after it was opened and its golden rows were right; it leaves by
    one rename too. A process that is reading it just then, or finds it damaged, fetches it again.
    """

    def __init__(self, registry: Registry, folder: Path, max_bytes: int) -> None:
        self._registry = registry
        self._folder = folder
        self._max_bytes = max_bytes

    def open(self, version: ModelVersion) -> Model:
        """Open a version from the disk, fetching it if it is not there, or not sound.

        Errors as Registry.fetch and Model.open; StorageUnavailableError for a disk that is full, or cannot be used.
        """
        try:
            return self._open(version)
        except OSError as error:
            raise StorageUnavailableError(
                f"packages cannot be kept in {self._folder} ({error.strerror}): make room there, or set "
                "DROPSCORE_CACHE to another folder"
            ) from error

    def _open(self, version: ModelVersion) -> Model:
        place = self._folder / version.digest
        if place.is_dir():
            try:
                model = _open_exactly(place, version)
            except PackageInvalidError:  # damaged, or trimmed away just now: the registry's copy decides
                self._discard(place)
            else:
                with suppress(OSError):  # trimmed away since: the model is open all the same
                    os.utime(place)
                return model
        return self._fetch(version, place)

    def trim(self, keep: Collection[str]) -> None:
        """Remove the packages opened longest ago until the rest fits; never those with a digest in `keep`."""
        found = list(self._packages())
        total = sum(size for _, size, _ in found)
        for _, size, place in sorted(found):
            if total <= self._max_bytes:
                break
            if place.name not in keep:
                self._discard(place)
                total -= size
        for path in self._folder.glob(".*"):
            with suppress(FileNotFoundError):  # its process lives, and was just done with it
                if time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    def _packages(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each package was last opened, its bytes, and where it is."""
        for place in self._folder.glob("[!.]*"):
            with suppress(OSError):  # another process has just taken it away
                size = sum(file.stat().st_size for file in place.iterdir())
                yield place.stat().st_mtime, size, place

    def _fetch(self, version: ModelVersion, place: Path) -> Model:
        """Bring a version's package, open it, and put it in its place unless another process has done so."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arriving = self._beside(place)
        arriving.mkdir()
        try:
            self._registry.fetch(version, arriving)
            model = _open_exactly(arriving, version)
            try:
                arriving.rename(place)
            except OSError:  # its name differs between systems: what counts is whether the package is there
                if not place.is_dir():
                    raise
        finally:
            shutil.rmtree(arriving, ignore_errors=True)  # gone already if the rename went well
        return model

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
        raise PackageInvalidError(f"what is kept here as {version} is another package")
    return model
