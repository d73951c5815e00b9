"""Files in splits: the same result as in one go, whoever scores them, in whatever order and how often."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.registry import Registry
from scoring.services import Services
from scoring.splits.markers import Markers
from scoring.splits.plan import Plans
from settings import Connection, Settings
from tests.memory_store import MemoryQueueStore
from tests.scoring.test_csv import HEADER
from tests.split_runs import Fleet, score_whole

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
    assert Markers(services.blobs, "runs", receipt.run_id).done(0) == set(range(len(plan.splits)))
    assert receipt.rows == {"read": 400, "scored": 400, "rejected": 0}


@pytest.fixture
def azure_services(azurite: str, tmp_path: Path, hand_package: Path) -> Iterator[Services]:
    settings = Settings(
        storage=Connection("Azurite", azurite),
        cache=str(tmp_path),
        **{name: f"splits-{name}" for name in ("incoming", "scored", "rejected", "runs", "models")},
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
