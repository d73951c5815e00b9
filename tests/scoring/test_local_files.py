"""Results on their way to this machine's disk."""

import pytest

from errors import BlobNotFoundError, OptionsInvalidError
from scoring.local_files import download
from storage import BlobPath
from tests.memory_store import MemoryBlobStore

RESULT = BlobPath("scored", "churn/a.parquet")
PARTS = {"_SUCCESS": b"", "part-00000.parquet": b"first", "part-00001.parquet": b"second"}


@pytest.fixture
def blobs() -> MemoryBlobStore:
    """Return a store with a result in parts, and a neighbour whose name only begins alike."""
    store = MemoryBlobStore()
    for name, data in PARTS.items():
        store.write(BlobPath(RESULT.container, f"{RESULT.name}/{name}"), data)
    store.write(BlobPath(RESULT.container, f"{RESULT.name}.gz"), b"another")
    return store


def test_a_result_in_parts_becomes_a_folder(blobs, tmp_path):
    """The folder has the parts' names and bytes, and nothing else."""
    download(blobs, RESULT, tmp_path / "out" / "a.parquet")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out" / "a.parquet").iterdir()} == PARTS


def test_parts_are_not_put_beside_others(blobs, tmp_path):
    """A folder that holds something is left as it is."""
    (tmp_path / "part-00009.parquet").write_bytes(b"older")
    with pytest.raises(OptionsInvalidError, match="not empty"):
        download(blobs, RESULT, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["part-00009.parquet"]


def test_no_result_is_said_to_be_missing(blobs, tmp_path):
    """What is neither a blob nor a folder of them leaves nothing behind."""
    with pytest.raises(BlobNotFoundError):
        download(blobs, BlobPath("scored", "churn/b.parquet"), tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()
