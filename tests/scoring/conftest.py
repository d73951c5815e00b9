"""A folder as storage, with the hand-built model registered in it, and a way to score a file there in one call."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.receipt import Receipt
from scoring.services import Services
from storage import BlobPath


@dataclass(frozen=True)
class Drop:
    """Scores bytes as if they had been dropped, and reads back what came of them."""

    services: Services

    def __call__(self, name: str, data: bytes, **options: Any) -> Receipt:
        path = BlobPath("incoming", f"churn/{name}")
        self.services.blobs.write(path, data)
        job = replace(Job.for_dropped(path), options=Options.from_dict(options))
        return run_job(job, self.services)

    def result(self, receipt: Receipt) -> bytes:
        assert receipt.output is not None
        return self.services.blobs.read(BlobPath.parse(receipt.output))

    def rejects(self, receipt: Receipt) -> bytes:
        assert receipt.rejects is not None
        return self.services.blobs.read(BlobPath.parse(receipt.rejects))


@pytest.fixture
def drop(services: Services) -> Drop:
    return Drop(services)
