"""Two runs that write one folder of parts at the same time: `_SUCCESS` is never beside another run's part."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from errors import BlocksMissingError
from model_store import ModelReference
from scoring.job import Job, Run
from scoring.options import Options
from scoring.output import RUN_KEY
from scoring.splits.table_folder import TableFolder
from scoring.table_parts import SUCCESS, part_name
from storage import BlobPath
from tests.memory_store import MemoryBlobStore
from tests.scoring.test_pipeline import Interrupted

INPUT = BlobPath("incoming", "churn/a.parquet")
PATH = BlobPath("scored", "churn/a.parquet")
PARTS = 3


class KilledError(Exception):
    """Stands for a process that dies."""


def folder_of(blobs, name: str) -> TableFolder:
    """Return the folder of one of two runs of the same version of the input."""
    job = Job(INPUT, ModelReference("churn"), Options(keep=(name,)))
    return TableFolder(blobs, PATH, Run(job, blobs.stat(INPUT), None))


def stage(folder: TableFolder) -> list[str]:
    """Stage a run's parts, and return their names."""
    return [f"{part_name(split)}/{folder.part(split).stage(0, b'rows')}" for split in range(PARTS)]


def commit(folder: TableFolder, look: Callable[[], None] = lambda: None) -> None:
    """Stage and commit a run's parts."""
    folder.commit(stage(folder), look)


def owners(blobs) -> set[str]:
    """Return the runs whose parts are beside `_SUCCESS`, and that whose it is; none where there is none."""
    found = list(blobs.list(PATH.container, f"{PATH.name}/", metadata=True))
    is_complete = any(blob.path.name.endswith(SUCCESS) for blob in found)
    return {blob.metadata[RUN_KEY] for blob in found} if is_complete else set()


@pytest.fixture
def blobs() -> MemoryBlobStore:
    store = MemoryBlobStore()
    store.write(INPUT, b"PAR1")
    return store


def test_a_run_that_completes_while_another_begins(blobs) -> None:
    """Looked for and not found, `_SUCCESS` may come before the first part is written: then it is taken away."""
    ours, seen = folder_of(blobs, "ours"), []

    def look() -> None:
        if not seen:
            commit(folder_of(blobs, "theirs"))
            stage(ours)  # what was staged before theirs was committed is dropped
        seen.append(owners(blobs))

    with suppress(BlocksMissingError):
        commit(ours, look)
    assert seen[0]
    assert max(len(runs) for runs in [*seen[3:], owners(blobs)]) == 1
    assert len(seen) > PARTS


def test_a_run_that_completes_after_another_has_begun(blobs) -> None:
    """A part that was written between the last look at all parts and `_SUCCESS` is seen, and that taken away."""
    looks = iter((None, None, KilledError))

    def look() -> None:
        if next(looks):
            raise KilledError

    def meanwhile() -> None:
        with pytest.raises(KilledError):
            commit(folder_of(blobs, "theirs"), look)

    success = BlobPath(PATH.container, f"{PATH.name}/{SUCCESS}")
    with pytest.raises(BlocksMissingError):
        commit(folder_of(Interrupted(blobs, "write", success, meanwhile), "ours"))
    assert owners(blobs) == set()
