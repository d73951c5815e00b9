"""Results in several files: a folder that is one table, and belongs to the newest version of its input."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from scoring.table_parts import SUCCESS
from storage import BlobPath
from tests.hand_model import make_sample
from tests.memory_store import MemoryQueueStore
from tests.split_runs import Fleet, score_whole


def table(rows: int, *, bad: int = 0) -> pa.Table:
    """Return rows as the model takes them, every `bad`th without what it needs."""
    sample = make_sample(rows)
    visits = [None if bad and row % bad == 0 else visits for row, visits in enumerate(sample["visits"].to_pylist())]
    sample = sample.set_column(sample.schema.get_field_index("visits"), "visits", pa.array(visits, pa.int64()))
    return sample.append_column("row", pa.array(range(rows)))


def folder(fleet: Fleet, place: str | None, target: Path) -> Path:
    """Copy a result of several files to this machine."""
    assert place
    path = BlobPath.parse(place)
    for blob in fleet.services.blobs.list(path.container, f"{path.name}/"):
        file = target / path.container / blob.path.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(fleet.services.blobs.read(blob.path))
    return target / path.container / path.name


def names(fleet: Fleet, container: str) -> list[str]:
    return [blob.path.name for blob in fleet.services.blobs.list(container)]


@pytest.mark.parametrize("bad", [0, 50, 3])
def test_a_parquet_file_in_splits_is_one_table(fleets, parquet, tmp_path: Path, bad: int) -> None:
    """The folder, read by pyarrow and pandas, has the single result's rows in their order; so have the rejects."""
    fleet = fleets(split_rows=250)
    data = parquet(table(1000, bad=bad), row_group_size=100)
    receipt = fleet.score("a.parquet", data, error_threshold=-1)
    whole, result, rejects = score_whole(fleet.services, fleet.drop("a.parquet", data, error_threshold=-1))
    assert (receipt.rows, receipt.reject_codes, receipt.output) == (whole.rows, whole.reject_codes, whole.output)
    place = folder(fleet, receipt.output, tmp_path)
    assert sorted(file.name for file in place.iterdir()) == [SUCCESS, *(f"part-0000{i}.parquet" for i in range(5))]
    expected = pq.read_table(BytesIO(result))
    assert ds.dataset(place).to_table().equals(expected)
    pd.testing.assert_frame_equal(pd.read_parquet(place), expected.to_pandas())
    if bad:
        place = folder(fleet, receipt.rejects, tmp_path)
        assert ds.dataset(place).to_table().equals(pq.read_table(BytesIO(rejects)))
    else:
        assert names(fleet, "rejected") == []


def test_values_of_the_path_are_each_parts(fleets, parquet, tmp_path: Path) -> None:
    """A column that only the path has is scored with in every split, as in one go."""
    fleet = fleets(split_rows=100)
    data = parquet(table(400).drop_columns("plan"), row_group_size=100)
    name = "plan=pro/day=2026-11-21/a.parquet"
    receipt = fleet.score(name, data)
    _, result, _ = score_whole(fleet.services, fleet.drop(name, data))
    place = folder(fleet, receipt.output, tmp_path)
    assert place.parts[-3:] == ("plan=pro", "day=2026-11-21", "a.parquet")
    expected = pq.read_table(BytesIO(result))
    assert ds.dataset(place).to_table().equals(expected)
    hive = ds.dataset(tmp_path / "scored", partitioning="hive").to_table()
    assert hive.select(expected.column_names).equals(expected)
    assert set(hive["plan"].to_pylist()) == {"pro"}


@pytest.mark.parametrize("store", ["memory", "folder"])
def test_a_newer_result_leaves_nothing_of_the_older(fleets, services, parquet, store: str) -> None:
    """Many parts, then few, then a single file, then parts again: only the newest version's are there."""
    fleet = fleets(split_rows=100)
    if store == "folder":
        settings = replace(services.settings, split_rows=100, block_bytes=4096)
        fleet = Fleet(replace(services, settings=settings, queues=MemoryQueueStore()))
    parts = {}
    for rows in (400, 200, 50, 300):
        receipt = fleet.score("a.parquet", parquet(table(rows, bad=10), row_group_size=100), error_threshold=-1)
        assert receipt.rows["read"] == rows
        parts[rows] = names(fleet, "scored"), len(names(fleet, "rejected"))
    assert parts[50] == (["churn/a.parquet"], 1)
    for rows, count in ((400, 4), (200, 2), (300, 3)):
        files = [f"churn/a.parquet/part-{number:05d}.parquet" for number in range(count)]
        assert parts[rows] == ([f"churn/a.parquet/{SUCCESS}", *files], count + 1)


def test_a_failed_newer_version_leaves_no_folder(fleets, parquet) -> None:
    """A version past its threshold takes the older one's scores away, and has its own rejects as a folder."""
    fleet = fleets(split_rows=100)
    fleet.score("a.parquet", parquet(table(300), row_group_size=100))
    receipt = fleet.score("a.parquet", parquet(table(300, bad=2), row_group_size=100))
    assert receipt.error
    assert (receipt.status, receipt.error["code"]) == ("failed", "threshold_exceeded")
    assert names(fleet, "scored") == []
    assert len(names(fleet, "rejected")) == 4
    receipt = fleet.score("a.parquet", parquet(table(300).drop_columns("age"), row_group_size=100))
    assert receipt.error
    assert receipt.error["code"] == "column_missing"
    assert names(fleet, "rejected") == []


def test_a_table_of_parts_holds_nothing_of_other_inputs(fleets, parquet, tmp_path: Path) -> None:
    """What is called as its parts lies beside them, not among them; and no other file is touched."""
    fleet = fleets(split_rows=100)
    data = parquet(table(80), row_group_size=80)
    others = [fleet.score(f"a.parquet/{name}", data).output for name in ("part-00000.parquet", "more.parquet")]
    assert others == ["scored/churn/a.parquet.files/part-00000.parquet", "scored/churn/a.parquet/more.parquet"]
    receipt = fleet.score("a.parquet", parquet(table(300), row_group_size=100))
    place = folder(fleet, receipt.output, tmp_path)
    assert ds.dataset(sorted(place.glob("part-*"))).count_rows() == receipt.rows["read"] == 300
    fleet.score("a.parquet", data)  # the parts go, and nothing else
    assert names(fleet, "scored") == sorted(["churn/a.parquet", *(name.removeprefix("scored/") for name in others)])


@pytest.mark.parametrize("keep", ["all", ["row", "plan"]])
def test_parquet_becomes_one_csv_file(fleets, parquet, keep) -> None:
    """Splits of row groups write into one CSV file, the same byte for byte as in one go."""
    fleet = fleets(split_rows=200)
    data = parquet(table(900, bad=40), row_group_size=100)
    options = {"output_format": "csv", "error_threshold": -1, "keep": keep}
    receipt = fleet.score("a.parquet", data, **options)
    whole, result, rejects = score_whole(fleet.services, fleet.drop("a.parquet", data, **options))
    assert (receipt.rows, receipt.output) == (whole.rows, "scored/churn/a.parquet.csv")
    assert fleet.delivered["scoring-splits"] == 5
    assert fleet.result(receipt) == result
    assert rejects


def test_csv_becomes_a_table_of_parts(fleets, tmp_path: Path) -> None:
    """Splits of a CSV file write a part each; the rejects are still one CSV file."""
    fleet = fleets(split_bytes=2000)
    rows = b"".join(b"%d,20,%s,true,basic\n" % (row, b"x" if row % 30 == 0 else b"3") for row in range(400))
    options = {"output_format": "parquet", "error_threshold": -1}
    receipt = fleet.score("a.csv", b"id,age,visits,member,plan\n" + rows, **options)
    job = fleet.drop("a.csv", b"id,age,visits,member,plan\n" + rows, **options)
    whole, result, rejects = score_whole(fleet.services, job)
    assert (receipt.rows, receipt.output, receipt.rejects) == (whole.rows, whole.output, whole.rejects)
    assert ds.dataset(folder(fleet, receipt.output, tmp_path)).to_table().equals(pq.read_table(BytesIO(result)))
    assert fleet.rejects(receipt) == rejects
