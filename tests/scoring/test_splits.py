"""Files in splits: the same result as in one go, whoever scores them, in whatever order and how often."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import StorageUnavailableError
from model_store.registry import Registry
from scoring.entering import begin
from scoring.intake import accept_message
from scoring.runs import describe_run
from scoring.services import Services
from scoring.splits.markers import Markers
from scoring.splits.plan import Plans
from scoring.splits.worker import accept_split
from settings import Connection, Settings
from storage import BlobPath
from tests.memory_store import MemoryBlobStore, MemoryQueueStore
from tests.scoring.test_csv import HEADER
from tests.scoring.test_pipeline import interrupt
from tests.split_runs import Fleet, score_whole

ROWS = HEADER + b"".join(
    b'%d,20,%s,true,"ba\nsic"\n' % (row, b"x" if row % 30 == 7 else b"3") for row in range(400)
)
FIELDS = st.sampled_from(
    [b"1", b"44", b"3", b"true", b"basic", b"", b"NA", b'"a\nb"', b'"x,""y"""', b"x", b"\xff", b'5"']
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n"])


@st.composite
def csv_files(draw) -> bytes:
    """Return files with a header and rows good, bad, ragged and quoted, and every kind of line end."""
    rows = draw(
        st.lists(st.one_of(st.just(b"1,20,3,true,basic"), st.lists(FIELDS, min_size=1, max_size=6).map(b",".join)))
    )
    ends = draw(st.lists(LINE_ENDS, min_size=len(rows) + 1, max_size=len(rows) + 1))
    start = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n\r\n"]))
    text = start + HEADER.rstrip(b"\n") + b"".join(end + row for end, row in zip(ends, rows, strict=False))
    return text + draw(st.sampled_from([b"", ends[-1]]))


@given(csv_files(), st.integers(1, 200), st.sampled_from([16, 64, 4096]))
def test_a_csv_file_in_splits_is_the_same_byte_for_byte(fleets, data, split_bytes, block_bytes) -> None:
    """Wherever records are cut, result, rejects and counts are those of the file scored in one go."""
    fleet = fleets(split_bytes=split_bytes, block_bytes=block_bytes)
    receipt = fleet.score("a.csv", data, error_threshold=-1)
    whole, result, rejects = score_whole(fleet.services, fleet.drop("a.csv", data, error_threshold=-1))
    assert (receipt.status, receipt.error and receipt.error["code"]) == (
        whole.status,
        whole.error and whole.error["code"],
    )
    assert (receipt.rows, receipt.reject_codes, receipt.dialect) == (whole.rows, whole.reject_codes, whole.dialect)
    if result is not None:
        assert (fleet.result(receipt), fleet.rejects(receipt)) == (result, rejects)


def test_a_large_file_is_planned_and_each_split_is_scored_once(fleets) -> None:
    """One message a split, one marker a split, a plan that covers the file without gaps, and one receipt."""
    fleet = fleets(split_bytes=1000)
    services = fleet.services
    data = HEADER + b'"1",20,3,true,"ba\nsic"\n' * 400
    receipt = fleet.score("a.csv", data)
    plan = Plans(services.blobs, "runs").find(receipt.run_id)
    assert plan
    assert len(plan.splits) == -(-len(data) // 1000)
    assert [split.start for split in plan.splits] == [0, *(split.stop for split in plan.splits[:-1])]
    assert plan.splits[-1].stop == len(data)
    assert fleet.delivered["scoring-splits"] == len(plan.splits)
    assert Markers(services.blobs, "runs", receipt.run_id).latest() == (0, set(range(len(plan.splits))))
    assert receipt.rows == {"read": 400, "scored": 400, "rejected": 0}


def test_a_run_in_splits_can_be_asked_for(fleets) -> None:
    """While it is looked at, and while its splits are scored, the run is running, and says how far it is."""
    fleet = fleets(split_bytes=1000, block_bytes=500, scan_seconds=0)
    job = fleet.drop("a.csv", ROWS)
    accept_message(job.to_json(), fleet.services)
    run_id = begin(job, fleet.services).id
    status = describe_run(run_id, fleet.services)
    assert (status["status"], status["scan"]["done"]) == ("running", False)
    while not (messages := fleet.services.queues.sent("scoring-splits")):
        for accept, message in fleet.messages():
            accept(message, fleet.services)
    for message in messages[:3]:
        accept_split(message, fleet.services)
    status = describe_run(run_id, fleet.services)
    assert (status["status"], status["model"]["version"]) == ("running", 1)
    assert status["splits"] == {"all": len(messages), "done": 3}


@pytest.mark.parametrize("block_bytes", [64, 700])
def test_a_scan_goes_on_where_an_invocation_stopped(fleets, block_bytes: int) -> None:
    """However short an invocation's time is, the job's next delivery goes on, and the result is the same."""
    fleet = fleets(split_bytes=1500, block_bytes=block_bytes, scan_seconds=0)
    receipt = fleet.score("a.csv", ROWS, error_threshold=-1)
    job = fleet.drop("a.csv", ROWS, error_threshold=-1)
    whole, result, rejects = score_whole(fleet.services, job)
    assert fleet.delivered["scoring-jobs"] > len(ROWS) // block_bytes // 2
    assert (receipt.rows, fleet.result(receipt), fleet.rejects(receipt)) == (whole.rows, result, rejects)


class Reads:
    """A blob store that remembers where the input was read."""

    def __init__(self, blobs: MemoryBlobStore) -> None:
        self._blobs = blobs
        self.offsets: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def read(self, path: BlobPath, *, offset: int = 0, **options: Any) -> bytes:
        if path.container == "incoming":
            self.offsets.append(offset)
        return self._blobs.read(path, offset=offset, **options)


class Dying:
    """A blob store that fails once a blob has been written so many times."""

    def __init__(self, blobs: MemoryBlobStore, path: BlobPath, times: int) -> None:
        self._blobs, self._path, self._times = blobs, path, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def write(self, path: BlobPath, data: bytes, **options: Any) -> str:
        if path == self._path:
            self._times -= 1
            if self._times < 0:
                raise StorageUnavailableError("killed here")
        return self._blobs.write(path, data, **options)


def test_a_scan_that_died_is_not_begun_anew(fleets) -> None:
    """What was seen up to the last cut that was written down is not read again, but for the beginning."""
    fleet = fleets(split_bytes=1000, block_bytes=500)
    job = fleet.drop("a.csv", ROWS)
    record = BlobPath("runs", f"{begin(job, fleet.services).id}/scan.json")
    with pytest.raises(StorageUnavailableError):
        accept_message(job.to_json(), replace(fleet.services, blobs=Dying(fleet.services.blobs, record, 5)))
    seen = json.loads(fleet.services.blobs.read(record))["scan"]["seen"][0]
    reads = Reads(fleet.services.blobs)
    assert accept_message(job.to_json(), replace(fleet.services, blobs=reads)) is None
    assert seen > 4000
    assert seen in reads.offsets
    assert reads.offsets.count(0) == 1
    assert fleet.work().rows == score_whole(fleet.services, job)[0].rows


def test_two_scans_of_one_file_make_one_plan(fleets) -> None:
    """A job delivered twice is scanned by both; the slower one takes over what the faster has found."""
    fleet = fleets(split_bytes=1000, block_bytes=500)
    job = fleet.drop("a.csv", ROWS)
    record = BlobPath("runs", f"{begin(job, fleet.services).id}/scan.json")
    faster = interrupt(
        fleet.services, "write", record, lambda: accept_message(job.to_json(), fleet.services) and None
    )
    assert accept_message(job.to_json(), faster) is None
    receipt = fleet.work()
    plan = Plans(fleet.services.blobs, "runs").find(receipt.run_id)
    assert plan
    assert (receipt.rows, plan.splits[-1].stop) == (score_whole(fleet.services, job)[0].rows, len(ROWS))


def test_a_record_that_is_too_large_ends_the_scan(fleets) -> None:
    """The scan says of a quote that is never closed what scoring in one go says, and holds no more of the file."""
    fleet = fleets(split_bytes=1000, block_bytes=500, max_record_bytes=2000)
    data = HEADER + b"1,20,3,true,basic\n" * 200 + b'"' + b"1,20,3,true,basic\n" * 200
    receipt = fleet.score("a.csv", data)
    assert receipt.error
    assert receipt.error["code"] == "record_too_large"
    assert receipt.error == score_whole(fleet.services, fleet.drop("a.csv", data))[0].error


@pytest.mark.parametrize(
    ("name", "encoding", "is_cut"),
    [
        ("a.csv", "latin-1", True),
        ("a.csv", "cp932", False),
        ("a.csv", "utf-16", False),
        ("a.csv.gz", "utf-8", False),
    ],
)
def test_files_that_cannot_be_cut_are_scored_whole(fleets, name: str, encoding: str, is_cut: bool) -> None:
    """Compressed files, and encodings in which a byte can be a part of several characters, are scored in one go."""
    fleet = fleets(split_bytes=500)
    text = ROWS.decode()
    data = text.replace("sic", "sic\u30bd" if encoding == "cp932" else "sic\u00e9").encode(encoding)
    data = gzip.compress(data, mtime=0) if name.endswith("gz") else data
    options = {"error_threshold": -1, "csv": {"encoding": encoding}}
    receipt = fleet.score(name, data, **options)
    whole, result, rejects = score_whole(fleet.services, fleet.drop(name, data, **options))
    assert (receipt.status, receipt.rows) == (whole.status, whole.rows)
    assert (fleet.result(receipt), fleet.rejects(receipt)) == (result, rejects)
    assert ("scoring-splits" in fleet.delivered and fleet.delivered["scoring-splits"] > 0) is is_cut


@pytest.mark.parametrize("options", [{"csv": {"header": False}}, {"keep": "none"}, {"keep": ["plan"]}])
def test_options_hold_for_every_split(fleets, options) -> None:
    """Without a header, and with other columns kept, splits make what one go does."""
    fleet = fleets(split_bytes=500)
    data = b"".join(b'%d,3,true,"ba\nsic"\n' % (row % 90) for row in range(200))
    data = data if "csv" in options else b"age,visits,member,plan\n" + data
    receipt = fleet.score("a.csv", data, **options)
    whole, result, _ = score_whole(fleet.services, fleet.drop("a.csv", data, **options))
    assert fleet.delivered["scoring-splits"] > 5
    assert (receipt.rows, fleet.result(receipt)) == (whole.rows, result)


@pytest.fixture
def azure_services(azurite: str, tmp_path: Path, hand_package: Path) -> Iterator[Services]:
    mark = uuid4().hex[:12]
    settings = Settings(
        storage=Connection("Azurite", azurite),
        cache=str(tmp_path),
        **{name: f"{name}-{mark}" for name in ("incoming", "scored", "rejected", "runs", "models")},
    )
    opened = Services.open(settings)
    Registry(opened.blobs, settings.models).add("churn", hand_package)
    yield replace(opened, queues=MemoryQueueStore())
    opened.engine.close()


@pytest.mark.azurite
def test_splits_end_in_one_blob_on_azure_storage(azure_services, drop) -> None:
    """Blocks staged by several splits are committed in their order, and the result is that of a single run."""
    data = HEADER + b"".join(b'%d,20,%s,true,"ba\nsic"\n' % (i, b"x" if i % 30 == 7 else b"3") for i in range(600))
    services = replace(
        azure_services, settings=replace(azure_services.settings, split_bytes=3000, block_bytes=1000)
    )
    fleet = Fleet(services)
    receipt = fleet.score("a.csv", data)
    whole = drop("a.csv", data)
    assert (receipt.status, receipt.rows, fleet.delivered["scoring-splits"]) == ("succeeded", whole.rows, 5)
    assert (fleet.result(receipt), fleet.rejects(receipt)) == (drop.result(whole), drop.rejects(whole))
