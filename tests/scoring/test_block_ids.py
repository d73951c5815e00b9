"""What blocks of a result are called: two runs of one id that differ can never mix theirs."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from errors import StorageUnavailableError
from model_store import ModelReference
from model_store.model import Model
from model_store.registry import ModelVersion
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from storage import BlobPath
from tests.scoring.test_csv import HEADER

INPUT, OUTPUT = BlobPath("incoming", "churn/a.csv"), BlobPath("scored", "churn/a.csv")
BAD = b"bad,1.5x,3,true,basic\n"
ROWS = [b"%d,%d,3,true,basic\n" % (row, row % 90) for row in range(100, 150)]


@dataclass
class Staged:
    """A blob store that keeps what is staged of the result, and is out of order when that is to be committed."""

    blobs: Any
    blocks: dict[str, bytes] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.blobs, name)

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        if path == OUTPUT:
            assert block_id not in self.blocks
            self.blocks[block_id] = bytes(data)

    def commit_blocks(self, path: BlobPath, _block_ids: Any, **_options: Any) -> str:
        raise StorageUnavailableError("out of order", file=str(path))


@dataclass(frozen=True)
class Otherwise:
    """A model cache that gives another model than the one it names."""

    models: Any
    model: Model

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        return self.models.resolve(reference)

    def load(self, _version: ModelVersion) -> Model:
        return self.model


@pytest.fixture
def stage(services) -> Callable[..., dict[str, bytes]]:
    """Score the file without an end to the run, and return the blocks of its result by their ids."""

    def staged(model: Model | None = None, keep: str = "all", **settings: Any) -> dict[str, bytes]:
        blobs = Staged(services.blobs)
        twin = replace(services, blobs=blobs, settings=replace(services.settings, **settings))
        if model:
            twin = replace(twin, models=Otherwise(services.models, model))
        with pytest.raises(StorageUnavailableError):
            run_job(replace(Job.for_dropped(INPUT), options=Options.from_dict({"keep": keep})), twin)
        return blobs.blocks

    return staged


@pytest.mark.parametrize("rows", [ROWS, [*ROWS[:20], BAD, *ROWS[20:]]], ids=["good", "a bad row"])
@pytest.mark.parametrize("keep", ["all", "none"])
def test_one_id_means_one_content(
    services, stage, packages: Callable[..., Path], rows: list[bytes], keep: str
) -> None:
    """Tries of one run stage the same blocks; one that cuts or answers otherwise stages others under other ids."""
    services.blobs.write(INPUT, HEADER + b"".join(rows))
    blocks = stage(keep=keep)
    assert len(blocks) > 5
    assert stage(keep=keep) == blocks
    for twin in (stage(keep=keep, block_bytes=100), stage(Model.open(packages(bias=-2.5)), keep=keep)):
        common = blocks.keys() & twin.keys()
        assert len(common) < 3  # what the result begins with, and perhaps one more that is the same
        assert all(blocks[name] == twin[name] for name in common)
