"""Row groups are copied in the background, while the next are scored."""

import threading
from dataclasses import dataclass, field

import pytest

import scoring.parquet.codec
from errors import ConditionFailedError
from scoring.job import Job
from scoring.parquet.source import ParquetSource
from scoring.pipeline import run_job
from scoring.tally import Tally
from storage import BlobPath
from tests.scoring.test_parquet_splice import make_rows

_READ = ParquetSource.read


def _copies() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("splice")]


@dataclass
class _Gate:
    """Keeps what is read to be copied until many rows are scored."""

    rows: int
    opened: threading.Event = field(default_factory=threading.Event)
    waited: list[bool] = field(default_factory=list)

    def read(self, source: ParquetSource, part: range) -> bytes:
        if threading.current_thread() in _copies():
            self.waited.append(self.opened.wait(20))
        return _READ(source, part)

    def progress(self, _read: int, tally: Tally) -> None:
        if tally.read >= self.rows:
            self.opened.set()


@pytest.fixture
def job(drop, parquet, monkeypatch) -> Job:
    """Write a file of two row groups, each of many slices, and return the job to score it."""
    monkeypatch.setattr(scoring.parquet.codec, "SLICE_ROWS", 10)
    path = BlobPath("incoming", "churn/a.parquet")
    drop.services.blobs.write(path, parquet(make_rows(400), row_group_size=200))
    return Job.for_dropped(path)


def test_scoring_goes_on_while_a_row_group_is_copied(drop, job, monkeypatch) -> None:
    """A copy that storage is slow with stops no thread that scores."""
    gate = _Gate(rows=390)

    def read(source: ParquetSource, part: range) -> bytes:
        return gate.read(source, part)

    monkeypatch.setattr(ParquetSource, "read", read)
    receipt = run_job(job, drop.services, gate.progress)
    assert gate.waited
    assert all(gate.waited)
    assert (receipt.status, receipt.rows["scored"]) == ("succeeded", 400)
    assert not _copies()


def test_what_a_copy_raises_ends_the_run(drop, job, monkeypatch) -> None:
    """A file that is replaced while its bytes are copied is superseded, and nothing runs on."""

    def read(source: ParquetSource, part: range) -> bytes:
        if threading.current_thread() in _copies():
            raise ConditionFailedError("it has changed", file=source.file)
        return _READ(source, part)

    monkeypatch.setattr(ParquetSource, "read", read)
    assert run_job(job, drop.services).status == "superseded"
    assert not _copies()
