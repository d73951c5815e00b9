"""Where the registry's files lie: <container>/<name>/<version>/<file>. What they mean, the registry says."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from errors import BlobNotFoundError, PackageInvalidError
from model_store.packages import MANIFEST, MAX_MANIFEST_BYTES
from storage import ANY_ETAG, BlobPath, BlobStore, StagedWriter

PIECE_BYTES = 8 * 1024 * 1024
"""Larger files are sent and fetched in pieces of this size."""

Files = Mapping[int, Mapping[str, int]]
"""Of one name: the bytes of each file of each version, begun and deleted ones included."""

_VERSION_FILE = re.compile(r"(?P<name>[^/]+)/(?P<version>[1-9][0-9]*)/(?P<file>[^/]+)")


def registered(files: Files) -> list[int]:
    """Return the versions that exist, oldest first: those with a manifest that is not empty."""
    return sorted(number for number, sizes in files.items() if sizes.get(MANIFEST))


class Shelf:
    """The files of all versions in one container. Every method may raise what a BlobStore does."""

    def __init__(self, blobs: BlobStore, container: str) -> None:
        self._blobs = blobs
        self._container = container

    def path(self, name: str, version: int, file: str) -> BlobPath:
        """Return where a version's file is, or would be."""
        return BlobPath(self._container, f"{name}/{version}/{file}")

    def registered(self) -> dict[str, list[int]]:
        """Return the versions that exist of every name that has one, oldest first; names are sorted."""
        found: dict[str, list[int]] = {}
        for match, size in self._list(""):
            if match["file"] == MANIFEST and size:
                found.setdefault(match["name"], []).append(int(match["version"]))
        return {name: sorted(found[name]) for name in sorted(found)}

    def files(self, name: str) -> Files:
        """Return what there is of each version of `name`."""
        files: dict[int, dict[str, int]] = {}
        for match, size in self._list(f"{name}/"):
            files.setdefault(int(match["version"]), {})[match["file"]] = size
        return files

    def manifest(self, name: str, version: int) -> bytes:
        """Return a version's manifest; BlobNotFoundError also for a deleted version, whose manifest is empty."""
        path = self.path(name, version, MANIFEST)
        if not (manifest := self.small(path)):
            raise BlobNotFoundError(f"{path} is empty: the version was deleted", file=str(path))
        return manifest

    def small(self, path: BlobPath) -> bytes:
        """Return all of a blob that should be small; PackageInvalidError rather than filling the memory."""
        data = self._blobs.read(path, length=MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise PackageInvalidError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes")
        return data

    def write_new(self, path: BlobPath, data: bytes) -> None:
        """Write a small blob that must not be there yet: ConditionFailedError if it is."""
        self._blobs.write(path, data, if_none_match=ANY_ETAG, content_type="application/json")

    def upload(self, path: BlobPath, file: Path) -> None:
        """Send a file; a large one a piece at a time."""
        with file.open("rb") as stream:
            if file.stat().st_size <= PIECE_BYTES:
                self._blobs.write(path, stream.read())
                return
            with StagedWriter(self._blobs, path, prefix="package", block_bytes=PIECE_BYTES) as writer:
                shutil.copyfileobj(stream, writer, PIECE_BYTES)
                writer.commit()

    def download(self, path: BlobPath, size: int, target: Path) -> None:
        """Fetch a file's first `size` bytes into the new file `target`, a piece at a time."""
        with target.open("xb") as file:
            for offset in range(0, size, PIECE_BYTES):
                file.write(self._blobs.read(path, offset=offset, length=min(PIECE_BYTES, size - offset)))

    def _list(self, prefix: str) -> Iterator[tuple[re.Match[str], int]]:
        """Yield the files of versions and their sizes; a container that is not there has none."""
        try:
            for blob in self._blobs.list(self._container, prefix):
                if match := _VERSION_FILE.fullmatch(blob.path.name):
                    yield match, blob.size
        except BlobNotFoundError:
            return
