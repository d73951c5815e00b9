"""Files of this machine on their way into a store and out of it."""

import shutil
from contextlib import suppress
from pathlib import Path

from storage import BlobPath, BlobStore
from storage.folder import FolderBlobStore
from storage.reader import stream
from storage.writer import StagedWriter


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


def download(blobs: BlobStore, source: BlobPath, file: Path) -> None:
    """Copy a blob of any size to a local file."""
    with file.open("wb") as target:
        for chunk in stream(blobs, blobs.stat(source)):
            target.write(chunk)
