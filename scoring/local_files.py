"""Files of this machine on their way into a store and out of it."""

import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from errors import BlobNotFoundError, OptionsInvalidError
from storage import Blob, BlobPath, BlobStore
from storage.folder import FolderBlobStore
from storage.reader import stream
from storage.writer import StagedWriter


def name_of(file: Path) -> str:
    """Return what a local file, or folder, is called, with the columns that its path has: `plan=pro/part-0.csv`."""
    names = [file.name]
    for folder in file.absolute().parents:
        if not folder.name.partition("=")[1]:
            break
        names.append(folder.name)
    return "/".join(reversed(names))


def target_of(output: Path, result: str, file: Path) -> Path:
    """Return which file the result called `result` is to be copied to: `output`, or one in it if that is a folder.

    The folder it lies in is made. OptionsInvalidError where the result would replace `file`, its own input, or
    where there can be no such file.
    """
    target = output / PurePosixPath(result).name if output.is_dir() else output
    if target.resolve() == file.resolve():
        raise OptionsInvalidError(f"the output {target} is the file itself: the result would replace its input")
    make_folder(target.parent)
    return target


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those it lies in; OptionsInvalidError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionsInvalidError(f"there can be no folder {folder} for the output: {error.strerror}") from error


def place(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Put a local file where a run reads it: without a copy if the store is a folder of this machine."""
    if isinstance(blobs, FolderBlobStore):
        with suppress(OSError):  # this file system, or this user, has no links: copied like anywhere else
            blobs.link(target, file)
            return
    upload(blobs, file, target)


def upload(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Copy a local file of any size into a store."""
    with file.open("rb") as source, StagedWriter(blobs, target, prefix="upload") as writer:
        shutil.copyfileobj(source, writer, 4 * 1024 * 1024)
        writer.commit()


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
    with file.open("wb") as target:
        for chunk in stream(blobs, blob):
            target.write(chunk)
