"""Blobs as plain files in a local folder: the same promises as Azure's, without Azure."""

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from errors import (
    BlobNotFoundError,
    BlocksMissingError,
    ConditionFailedError,
    NameInvalidError,
    StorageDeniedError,
    StorageUnavailableError,
)
from storage.blobs import Blob, BlobPath
from storage.files import locked, sync_folder, write_synced
from storage.folder_staging import Staging
from storage.names import check_block_id, check_container, check_metadata, check_path, check_range

PRIVATE = ".dropscore"
"""The folder under a storage's root where it keeps what users need not see; no container can have this name."""

_LONGEST_SEGMENT = 255  # bytes; what Linux, macOS and Windows can hold
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one blob's parts are."""

    path: BlobPath
    file: Path
    """The blob itself, at the path its name says."""
    staged: Staging
    metadata: Path
    """Folder of its metadata: one file, named by the ETag it belongs to."""
    new: Path
    """Its next block or version while that is written, by the holder of the lock alone."""
    lock: Path


class FolderBlobStore:
    """BlobStore over a folder on a local disk, for any number of threads and processes of this machine.

    A container is a folder under `root` and a blob a plain file in it, so files can be opened, dropped in, replaced
    and removed by hand: a hand-made change changes the ETag, and metadata of the replaced version is forgotten.
    Versions become visible at once, by a rename, so `root` must be one file system. Links to files are followed,
    links to folders are not. Names follow Azure's rules and the disk's: no empty folder names, no backslashes, at
    most 255 bytes between slashes, and no blob both `a` and `a/b`. Whether names that differ only in case or in
    Unicode normalisation are one file is the file system's choice: on Linux they are two. No content type is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._private = self._root / PRIVATE

    def check(self, path: BlobPath) -> None:
        """Raise NameInvalidError if there can be no blob at `path`."""
        check_path(path)
        _check_segments(path)

    def create_container(self, container: str) -> None:
        """Make a container; one that is there already is left as it is."""
        check_container(container)
        (self._root / container).mkdir(parents=True, exist_ok=True)

    def stat(self, path: BlobPath) -> Blob:
        """Return what is known of a blob's current version."""
        place = self._locate(path)
        with _translated(path):
            while True:
                info = _look(place)
                metadata = _read_metadata(place, _etag(info))
                if metadata or _etag(_look(place)) == _etag(info):
                    return _blob(path, info, metadata)
                # replaced in between, and its metadata with it: look again

    def read(
        self, path: BlobPath, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> bytes:
        """Return `length` bytes from `offset` (all the rest by default); fewer, or none, past the end."""
        check_range(offset, length)
        place = self._locate(path)
        with _translated(path):
            _look(place)  # opening anything but a file might block
            with place.file.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)
                data = file.read(max(0, size - offset if length is None else min(length, size - offset)))
                if if_match is not None and if_match != _etag(os.fstat(file.fileno())):
                    raise _changed(path)
        return data

    def poll(self, path: BlobPath, etag: str | None = None) -> tuple[str, bytes] | None:
        """Return a small blob's ETag and bytes; None if it is still the version with this `etag`."""
        place = self._locate(path)
        with _translated(path):
            if _etag(_look(place)) == etag:
                return None
            with place.file.open("rb") as file:  # a write puts another file in its place: this one stays whole
                return _etag(os.fstat(file.fileno())), file.read()

    def write(
        self,
        path: BlobPath,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,  # noqa: ARG002  # Azure keeps it, files have none
    ) -> str:
        """Put a whole small blob and return its ETag."""
        place, kept = self._locate(path), check_metadata(metadata)
        with _translated(path), locked(place.lock):
            _check_conditions(place, if_match, if_none_match)
            return self._replace(place, lambda new: new.write_bytes(data), kept)

    def link(self, path: BlobPath, target: Path) -> None:
        """Make a blob a link to a file elsewhere on this machine: nothing is copied; OSError where links cannot be.

        It follows the file: once that is changed or gone, so is the blob. The blob's own file is left as it is.
        """
        place = self._locate(path)
        if place.file.resolve() == target.resolve():
            return
        with locked(place.lock), _new_file(place) as new:
            new.symlink_to(target.absolute())
            _move(place)
        _forget_metadata(place, except_of=None)

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        """Keep one block, invisible until committed; staging an id again replaces it."""
        check_block_id(block_id)
        place = self._locate(path)
        # under the lock: a commit removes the folder, and a thread that is writing there would stumble or be lost
        with _translated(path), locked(place.lock):
            place.staged.add(block_id, data)

    def commit_blocks(
        self,
        path: BlobPath,
        block_ids: Sequence[str],
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,  # noqa: ARG002  # Azure keeps it, files have none
    ) -> str:
        """Make the blob exactly these staged blocks, in this order, at once, and return its ETag."""
        place, kept = self._locate(path), check_metadata(metadata)
        with _translated(path), locked(place.lock):
            _check_conditions(place, if_match, if_none_match)
            if missing := place.staged.missing(block_ids):
                raise BlocksMissingError(
                    f"{path}: {missing} of {len(block_ids)} blocks to commit are not staged: stage them again",
                    file=str(path),
                )
            return self._replace(place, lambda new: place.staged.assemble(block_ids, new), kept)

    def drop_blocks(self, path: BlobPath, prefix: str) -> None:
        """Remove staged blocks whose ids begin so, unless another writer's are among them: then a commit does."""
        place = self._locate(path)
        with _translated(path), locked(place.lock):
            place.staged.drop(prefix)

    def delete(self, path: BlobPath, *, if_match: str | None = None) -> None:
        """Remove a blob; the folders it was in stay."""
        place = self._locate(path)
        with _translated(path), locked(place.lock):
            _look(place)
            _check_conditions(place, if_match, None)
            place.file.unlink()
            _forget_metadata(place, except_of=None)

    def list(self, container: str, prefix: str = "", *, metadata: bool = False) -> Iterator[Blob]:
        """Yield the blobs whose names start with `prefix`, by name."""
        for blob in _walk(container, self._container(container), "", prefix):
            if not metadata:
                yield blob
                continue
            try:
                yield self.stat(blob.path)
            except BlobNotFoundError:  # removed since: then it is not there
                continue

    def _container(self, container: str) -> Path:
        check_container(container)
        folder = self._root / container
        if not folder.is_dir():
            raise BlobNotFoundError(f"{container}: there is no such container: create it")
        return folder

    def _locate(self, path: BlobPath) -> _Place:
        self.check(path)
        folder = self._container(path.container)
        file = folder / path.name
        if not file.parent.resolve().is_relative_to(folder.resolve()):
            raise NameInvalidError(f"{path}: a link leads out of the container", file=str(path))
        key = hashlib.sha256(path.name.encode()).hexdigest()[:32]
        return _Place(
            path=path,
            file=file,
            staged=Staging(self._private / "staged" / path.container / key),
            metadata=self._private / "metadata" / path.container / key,
            new=self._private / "new" / path.container / key,
            # 256 locks a container, whatever the number of its blobs
            lock=self._private / "locks" / path.container / key[:2],
        )

    def _replace(self, place: _Place, fill: Callable[[Path], object], metadata: dict[str, str]) -> str:
        """Let `fill` write a new version and put it in the old one's place; the caller holds the lock."""
        with _new_file(place) as new:
            fill(new)
            with new.open("r+b") as file:
                now = time.time_ns()  # finer than the kernel's own clock for files: it makes the ETag unique
                os.utime(file.fileno() if os.utime in os.supports_fd else new, ns=(now, now))
                os.fsync(file.fileno())
            etag = _etag(new.stat())
            if metadata:
                place.metadata.mkdir(parents=True, exist_ok=True)
                write_synced(place.metadata / etag, json.dumps(metadata).encode())
            _move(place)
        sync_folder(place.file.parent)
        _forget_metadata(place, except_of=etag)
        return etag


def _check_segments(path: BlobPath) -> None:
    for segment in path.name.split("/"):
        reason = ""
        if not segment:
            reason = "a folder or file name in it is empty"
        elif len(segment.encode()) > _LONGEST_SEGMENT:
            reason = f"a folder or file name in it is longer than {_LONGEST_SEGMENT} bytes"
        elif os.name == "nt" and (
            segment.partition(".")[0].lower() in _WINDOWS_DEVICES
            or segment.endswith((".", " "))
            or not set(segment).isdisjoint('<>:"|?*')
        ):
            reason = "Windows cannot have it"
        if reason:
            raise NameInvalidError(f"{path} cannot be kept in a folder: {reason}", file=str(path))


@contextmanager
def _translated(path: BlobPath) -> Iterator[None]:
    """Raise ours for what the operating system says about `path`; the one place for it."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise BlobNotFoundError(f"{path} does not exist", file=str(path)) from exc
    except PermissionError as exc:
        raise StorageDeniedError(f"{path}: access refused: check the permissions", file=str(path)) from exc
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise NameInvalidError(f"{path} is too long a name for this disk", file=str(path)) from exc
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageUnavailableError(f"{path}: the disk is full: make room", file=str(path)) from exc
        raise


@contextmanager
def _new_file(place: _Place) -> Iterator[Path]:
    """Give a file to write what is new into; the caller holds the lock and moves it where it belongs."""
    place.new.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield place.new
    finally:
        place.new.unlink(missing_ok=True)  # not moved, so something failed: it may be large, and the disk full


def _look(place: _Place) -> os.stat_result:
    info = place.file.stat()
    if not stat.S_ISREG(info.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a plain file", str(place.file))
    return info


def _etag(info: os.stat_result) -> str:
    return f"{info.st_mtime_ns:x}-{info.st_size:x}-{info.st_ino:x}"


def _blob(path: BlobPath, info: os.stat_result, metadata: Mapping[str, str] | None = None) -> Blob:
    return Blob(path, info.st_size, _etag(info), datetime.fromtimestamp(info.st_mtime, UTC), metadata or {})


def _changed(path: BlobPath) -> ConditionFailedError:
    return ConditionFailedError(f"{path}: it has changed, or is not there any more", file=str(path))


def _check_conditions(place: _Place, if_match: str | None, if_none_match: str | None) -> None:
    try:
        etag = _etag(_look(place))
    except (FileNotFoundError, NotADirectoryError):
        etag = ""
    if if_none_match is not None and etag:
        raise ConditionFailedError(f"{place.path}: it exists already", file=str(place.path))
    if if_match is not None and if_match != etag:
        raise _changed(place.path)


def _move(place: _Place) -> None:
    """Put the new version in its place, making and removing folders as that takes."""
    while True:
        try:
            place.file.parent.mkdir(parents=True, exist_ok=True)
            if place.file.is_dir():
                _remove_empty(place.file)
            place.new.replace(place.file)
        except FileNotFoundError:
            if not place.new.exists():
                raise
            continue  # another thread has just removed the folder because it was empty
        except (FileExistsError, NotADirectoryError):
            raise NameInvalidError(
                f"{place.path} cannot be kept in a folder: a part of its name is a blob itself",
                file=str(place.path),
            ) from None
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EISDIR}:
                raise
            raise NameInvalidError(
                f"{place.path} cannot be kept in a folder: there are blobs under it", file=str(place.path)
            ) from None
        return


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but empty folders; OSError (ENOTEMPTY) for one that holds more."""
    for child in folder.iterdir():
        if not child.is_dir() or child.is_symlink():
            raise OSError(errno.ENOTEMPTY, "not empty", str(folder))
        _remove_empty(child)
    folder.rmdir()


def _read_metadata(place: _Place, etag: str) -> dict[str, str]:
    try:
        text = (place.metadata / etag).read_bytes()
    except FileNotFoundError:
        return {}
    metadata: dict[str, str] = json.loads(text)
    return metadata


def _forget_metadata(place: _Place, *, except_of: str | None) -> None:
    if not place.metadata.exists():
        return
    for file in place.metadata.iterdir():
        if file.name != except_of:
            file.unlink()
    if except_of is None:
        place.metadata.rmdir()


def _walk(container: str, folder: Path, parent: str, prefix: str) -> Iterator[Blob]:
    """Yield the blobs under `folder`, whose names start with `parent`, in the order of their whole names."""
    with os.scandir(folder) as entries:
        # a folder sorts as its children do, by its name and a slash: "a-b" < "a/b" < "a0"
        named = {parent + entry.name + "/" * entry.is_dir(follow_symlinks=False): entry for entry in entries}
    for name in sorted(named):
        try:
            if name.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from _walk(container, Path(named[name]), name, prefix)
            elif name.startswith(prefix) and named[name].is_file():
                yield _blob(BlobPath(container, name), named[name].stat())
        except FileNotFoundError:  # removed since: then it is not there
            continue
