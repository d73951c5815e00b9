"""Files of this machine on their way into a store and out of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from errors import BlobNotFoundError, OptionsInvalidError
from scoring.receipt import Receipt
from scoring.results import ResultFile, find_result
from scoring.services import Services
from storage import Blob, BlobPath, BlobStore
from storage.folder import FolderBlobStore
from storage.reader import stream
from storage.writer import StagedWriter

_SLASHES = ("/", os.sep)


def name_of(file: Path) -> str:
    """Return what a local file, or folder, is called, with the columns that its path has: `plan=pro/part-0.csv`."""
    names = [file.name]
    for folder in file.absolute().parents:
        if not folder.name.partition("=")[1]:
            break
        names.append(folder.name)
    return "/".join(reversed(names))


def target_of(output: str, result: str, file: Path) -> Path:
    """Return which file the result called `result` is to be copied to: `output`, or one in it if that is a folder.

    It is a folder if there is one, or if it ends in a slash; that, or the folder it lies in, is made.
    OptionsInvalidError where the result would replace `file`, its own input, or where there can be no such file:
    better now than after hours of scoring.
    """
    target = Path(output)
    if target.is_dir() or output.endswith(_SLASHES):
        target /= PurePosixPath(result).name
    if target.resolve() == file.resolve():
        raise OptionsInvalidError(f"the output {target} is the file itself: the result would replace its input")
    make_folder(target.parent)
    if not _is_special(target):
        with _new_file(target) as new:
            new.touch()
    return target


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those it lies in; OptionsInvalidError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionsInvalidError(f"there can be no folder {folder} for the output: {error.strerror}") from error


def place(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Put a local file where a run reads it: without a copy if the store is a folder of this machine.

    A pipe is copied all the same: it can be read but once, and from its beginning.
    """
    if isinstance(blobs, FolderBlobStore) and file.is_file():
        with suppress(OSError):  # this file system, or this user, has no links: copied like anywhere else
            blobs.link(target, file)
            return
    upload(blobs, file, target)


def upload(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Copy a local file of any size into a store."""
    with file.open("rb") as source, StagedWriter(blobs, target, prefix="upload") as writer:
        shutil.copyfileobj(source, writer, 4 * 1024 * 1024)
        writer.commit()


def fetch(receipt: Receipt, services: Services, target: Path) -> None:
    """Copy the result of a run as `download` does; ResultGoneError where another run's has taken its place."""
    found = find_result(receipt.run_id, "output", services)
    if isinstance(found, ResultFile):
        _copy(services.blobs, found.blob, target)
    else:
        download(services.blobs, BlobPath.parse(receipt.output or ""), target)


def download(blobs: BlobStore, source: BlobPath, target: Path) -> None:
    """Copy a blob of any size to a local file; or a result that is a folder of parts to an empty folder.

    OptionsInvalidError where that folder holds something: parts of two results would make one table.
    """
    try:
        _copy(blobs, blobs.stat(source), target)
    except BlobNotFoundError:
        parts = list(blobs.list(source.container, f"{source.name}/"))
        if not parts:
            raise
        make_folder(target)
        if any(target.iterdir()):
            raise OptionsInvalidError(f"the output {target} is a folder that is not empty: name another") from None
        for part in parts:
            _copy(blobs, part, target / PurePosixPath(part.path.name).name)


def _copy(blobs: BlobStore, blob: Blob, file: Path) -> None:
    """Copy a blob; the file has all of it, or is what it was before."""
    if _is_special(file):
        with _explained(file), file.open("wb") as target:
            _write(blobs, blob, target)
        return
    with _new_file(file) as new:
        with new.open("wb") as target:
            _write(blobs, blob, target)
        new.replace(file.resolve())


def _write(blobs: BlobStore, blob: Blob, target: IO[bytes]) -> None:
    for chunk in stream(blobs, blob):
        target.write(chunk)


def _is_special(file: Path) -> bool:
    """Say whether it is a pipe or a device, such as /dev/stdout: no other file can be put in its place."""
    return file.exists() and not file.is_file()


@contextmanager
def _new_file(file: Path) -> Iterator[Path]:
    """Give a file to write beside `file`, to be moved to its place; OptionsInvalidError where there can be none."""
    new = file.resolve().with_name(f".dropscore-{os.getpid()}.part")
    with _explained(file):
        try:
            yield new
        finally:
            new.unlink(missing_ok=True)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # whoever read from it, such as `head`, has enough: that is no fault to tell of
        raise
    except OSError as error:
        raise OptionsInvalidError(f"the output {file} cannot be written: {error.strerror}") from error
