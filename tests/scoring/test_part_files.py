"""Tables of many files: folders as Spark, Hive and pyarrow write them."""

import json

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from scoring.intake import accept_file, accept_message, give_up
from scoring.part_files import is_hidden
from storage import BlobPath
from tests.hand_model import hand_scores, make_sample
from tests.scoring.test_csv import GOOD

HIDDEN = [
    "_SUCCESS",
    "_metadata",
    "_common_metadata",
    "_committed_6345",
    "_started_6345",
    "sales/_SUCCESS",
    "sales/._SUCCESS.crc",
    "sales/.part-0.parquet.crc",
    "sales/part-0.csv.crc",
    "sales/.hidden.csv",
    "sales/_temporary/0/task_1/part-0.parquet",
    "sales/_delta_log/00000.checkpoint.parquet",
    "sales/.tmp/a.csv",
    "sales/",
]
DATA = [
    "_customers.csv",
    "sales/part-0.parquet",
    "sales/_day=1/part-0.csv",
    "a_b/c.d/e.csv",
    "sales/day=_1/x.parquet",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_what_writers_keep_beside_data_is_passed_over(services, name: str, caplog) -> None:
    """It makes neither a job nor a failed receipt, and the log says so."""
    path = BlobPath("incoming", f"churn/{name}")
    if not name.endswith("/"):
        services.blobs.write(path, b"x")
    with caplog.at_level("INFO"):
        assert accept_file(path, services) is None
    assert [record.levelname for record in caplog.records if "file_passed_over" in record.message] == ["INFO"]
    assert services.queues.receive("scoring-jobs") == []
    assert list(services.blobs.list("runs")) == []


@pytest.mark.parametrize("name", DATA)
def test_data_is_not_hidden(services, name: str) -> None:
    """A CSV or Parquet file is data, even if its name begins with an underscore; so is a partition's folder."""
    path = BlobPath("incoming", f"churn/{name}")
    services.blobs.write(path, GOOD)
    assert accept_file(path, services)


def test_blobs_that_stand_for_folders_are_passed_over(services) -> None:
    """Data Lake Storage has empty blobs for folders, whose metadata says so; other empty files are files."""
    folder, file = BlobPath("incoming", "churn/sales.parquet"), BlobPath("incoming", "churn/a.csv")
    services.blobs.write(folder, b"", metadata={"hdi_isfolder": "true"})
    services.blobs.write(file, b"")
    assert accept_file(folder, services) is None
    assert accept_file(file, services)
    assert list(services.blobs.list("runs")) == []


def queued(services) -> list[dict[str, object]]:
    return [json.loads(message.body) for message in services.queues.receive("scoring-jobs", limit=32)]


@pytest.mark.parametrize("folder", ["churn/sales/", "churn/sales"])
def test_a_folder_is_a_job_for_each_of_its_files(services, parquet, folder: str) -> None:
    """Each CSV and Parquet file below gets a job with the folder's options, in name order, and then its receipt."""
    files = {
        "churn/sales/b/part-1.parquet": parquet(make_sample(3)),
        "churn/sales/a=1/part-0.csv": GOOD,
        "churn/sales/_SUCCESS": b"",
        "churn/sales/notes.txt": b"x",
        "churn/sales/_temporary/part-0.csv": GOOD,
        "churn/sales/empty.csv": b"",
        "churn/sales-2/part-0.csv": GOOD,
    }
    for name, data in files.items():
        services.blobs.write(BlobPath("incoming", name), data)
    services.blobs.write(BlobPath("incoming", "churn/sales/c.csv"), b"", metadata={"hdi_isfolder": "true"})
    assert accept_message(json.dumps({"input": f"incoming/{folder}", "keep": "none"}), services) is None
    jobs = queued(services)
    names = ["sales/a=1/part-0.csv", "sales/b/part-1.parquet", "sales/empty.csv"]
    assert [job["input"] for job in jobs] == [f"incoming/churn/{name}" for name in names]
    assert {(job["model"], job["keep"]) for job in jobs} == {("churn", "none")}
    receipts = [accept_message(json.dumps(job), services) for job in jobs]
    assert [receipt.status for receipt in receipts] == ["succeeded", "succeeded", "failed"]
    assert [receipt.output for receipt in receipts[:2]] == [f"scored/churn/{name}" for name in names[:2]]


def test_a_folder_asked_for_twice_is_the_same_runs(services) -> None:
    """Jobs name the version of their file, so a message that comes again changes nothing."""
    services.blobs.write(BlobPath("incoming", "churn/sales/a.csv"), GOOD)
    body = json.dumps({"input": "incoming/churn/sales/"})
    assert (accept_message(body, services), accept_message(body, services)) == (None, None)
    first, second = queued(services)
    assert first == second
    assert accept_message(json.dumps(first), services) == accept_message(json.dumps(second), services)


@pytest.mark.parametrize("folder", ["incoming/churn/nothing/", "nowhere/churn/"])
def test_a_folder_without_files_fails(services, folder: str) -> None:
    """A receipt says that nothing lies there."""
    services.blobs.write(BlobPath("incoming", "churn/nothing/_SUCCESS"), b"")
    receipt = accept_message(json.dumps({"input": folder, "model": "churn"}), services)
    assert (receipt.status, receipt.error["code"]) == ("failed", "blob_not_found")
    assert services.receipts.get(receipt.run_id) == receipt
    assert queued(services) == []


def test_a_folder_that_was_given_up_gets_a_receipt(services) -> None:
    """As any other message of the poison queue."""
    receipt = give_up(json.dumps({"input": "incoming/churn/sales/"}), services)
    assert receipt.error["code"] == "retries_exhausted"


def test_hive_tables_come_back_as_one_table(services, tmp_path) -> None:
    """What pyarrow wrote as a partitioned data set is, scored file by file, again one, with the scores beside."""
    sample = make_sample(30).append_column("id", pa.array(range(30))).to_pylist()
    table = pa.Table.from_pylist([row | {"plan": row["plan"] or "a/b c"} for row in sample])
    ds.write_dataset(
        table, tmp_path / "sales", format="parquet", partitioning=["plan", "member"], partitioning_flavor="hive"
    )
    for file in sorted((tmp_path / "sales").rglob("*.parquet")):
        path = BlobPath("incoming", f"churn/{file.relative_to(tmp_path).as_posix()}")
        services.blobs.write(path, file.read_bytes())
    accept_message('{"input": "incoming/churn/sales/"}', services)
    jobs = queued(services)
    assert len(jobs) == len(table.group_by(["plan", "member"]).aggregate([]))
    assert all(accept_message(json.dumps(job), services).status == "succeeded" for job in jobs)
    scored = ds.dataset(f"{services.settings.folder}/scored/churn/sales", partitioning="hive").to_table()
    rows = scored.sort_by("id").to_pylist()
    expected = hand_scores([(row["age"], row["visits"], row["member"], row["plan"]) for row in table.to_pylist()])
    assert [row["probability_leave"] for row in rows] == pytest.approx(expected, abs=1e-15)
    assert [row["plan"] for row in rows] == table["plan"].to_pylist()


def test_names_alone_say_what_is_hidden() -> None:
    """The rule itself, over the same names."""
    assert [is_hidden(name) for name in HIDDEN] == [True] * len(HIDDEN)
    assert [is_hidden(name) for name in DATA] == [False] * len(DATA)
