"""A result as a reader gets it: one blob, or a folder of Parquet files that is there once `_SUCCESS` is."""

import hashlib
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from errors import BlobNotFoundError
from storage import BlobPath
from tests.faults.places import Reader


def read_result(blobs: Reader, path: BlobPath) -> tuple[str, bytes] | None:
    """Return an ETag and what is at a path: a CSV file's bytes, or a table's rows, however many files it has.

    None where there is nothing yet, or a folder that is being written.
    """
    try:
        etag, data = blobs.poll(path) or ("", b"")
    except BlobNotFoundError:
        return _read_folder(blobs, path) if path.name.endswith(".parquet") else None
    return etag, _rows([data]) if path.name.endswith(".parquet") else data


def digest(data: bytes) -> str:
    """Return what a version of a result is known by."""
    return hashlib.sha256(data).hexdigest()[:16]


def _read_folder(blobs: Reader, path: BlobPath) -> tuple[str, bytes] | None:
    before = _success(blobs, path)
    if before is None:
        return None
    try:
        names = [blob.path for blob in blobs.list(path.container, f"{path.name}/part-")]
        parts = [(blobs.poll(name) or ("", b""))[1] for name in names]
    except BlobNotFoundError:  # taken away meanwhile: then `_SUCCESS` was taken before it
        parts = []
    after = _success(blobs, path)
    return (before, _rows(parts)) if before == after else None


def _success(blobs: Reader, path: BlobPath) -> str | None:
    """Return the ETag of the folder's `_SUCCESS`, if there is one."""
    try:
        return (blobs.poll(BlobPath(path.container, f"{path.name}/_SUCCESS")) or ("", b""))[0]
    except BlobNotFoundError:
        return None


def _rows(files: list[bytes]) -> bytes:
    """Return the rows of Parquet files as text: the same for the same rows, whatever their row groups."""
    try:
        table = pa.concat_tables([pq.read_table(BytesIO(file), use_threads=False) for file in files])
    except (pa.ArrowInvalid, OSError) as error:
        return f"unreadable: {error}".encode()
    sink = BytesIO()
    csv.write_csv(table.combine_chunks(), sink)
    return sink.getvalue()
