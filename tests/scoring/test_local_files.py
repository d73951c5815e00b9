"""Results on their way to this machine's disk."""

import pytest

from errors import BlobNotFoundError, ConditionFailedError, OptionsInvalidError, ResultGoneError
from model_store import ModelReference
from scoring.job import Job
from scoring.local_files import download, fetch
from scoring.options import Options
from scoring.pipeline import run_job
from storage import BlobPath
from tests.memory_store import MemoryBlobStore
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import interrupt

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


def test_another_runs_result_is_not_copied(services, drop, tmp_path):
    """Who waits for a run gets that run's result, or is told that it was replaced; what there was is left alone."""
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    receipt = drop("a.csv", GOOD)
    run_job(Job(BlobPath("incoming", "churn/a.csv"), ModelReference("churn"), Options(keep="none")), services)
    with pytest.raises(ResultGoneError):
        fetch(receipt, services, target)
    assert target.read_bytes() == b"old"


def test_a_copy_that_breaks_off_leaves_nothing(services, drop, tmp_path):
    """A result that is replaced while it is copied is no part of a file; the file that was there stays."""
    target = tmp_path / "out.csv"
    target.write_bytes(b"old")
    receipt = drop("a.csv", GOOD)
    scored = BlobPath.parse(receipt.output)
    changed = interrupt(services, "read", scored, lambda: services.blobs.write(scored, b"newer") and None)
    with pytest.raises(ConditionFailedError):
        fetch(receipt, changed, target)
    assert [(file.name, file.read_bytes()) for file in tmp_path.glob("*.*")] == [("out.csv", b"old")]
