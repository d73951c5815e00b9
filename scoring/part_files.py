"""Tables of many files: what lies in a folder as Spark, Hive and pyarrow write them, and what lies beside it."""

import logging
from collections.abc import Iterator

from errors import BlobNotFoundError
from scoring.job import format_of
from scoring.log_lines import line
from storage import Blob, BlobPath, BlobStore

log = logging.getLogger(__name__)

FOLDER_KEY = "hdi_isfolder"
"""Metadata of the empty blobs that stand for folders in Azure Data Lake Storage."""


def is_hidden(name: str) -> bool:
    """Say whether a path is of what writers keep beside data: `_SUCCESS`, `_metadata`, `.part-0.parquet.crc`.

    Folders that begin with a dot or an underscore (`_temporary`, `_delta_log`) hide all below them, but for
    partitions (`_day=1`). Of files the underscore alone hides no CSV and no Parquet: those are data.
    """
    *folders, file = name.split("/")
    if not file or any(folder.startswith((".", "_")) and "=" not in folder for folder in folders):
        return True
    return file.startswith(".") or file.endswith(".crc") or (file.startswith("_") and not format_of(file))


def is_folder(blob: Blob) -> bool:
    """Say whether a blob, as `stat` gives it, only stands for a folder."""
    return blob.size == 0 and blob.metadata.get(FOLDER_KEY, "").lower() == "true"


def list_parts(blobs: BlobStore, folder: BlobPath) -> Iterator[Blob]:
    """Yield the CSV and Parquet files at any depth below `folder`, whose name ends in "/", by name.

    What lies beside the data, and other files, are left out.
    """
    for blob in blobs.list(folder.container, folder.name):
        name = blob.path.name.removeprefix(folder.name)
        if is_hidden(name):
            continue
        if not format_of(name):
            log.info(line("file_passed_over", input=str(blob.path)))
        elif blob.size or not _stands_for_folder(blobs, blob.path):
            yield blob


def _stands_for_folder(blobs: BlobStore, path: BlobPath) -> bool:
    try:
        return is_folder(blobs.stat(path))  # listings have no metadata
    except BlobNotFoundError:
        return False  # removed since: its job will say so
