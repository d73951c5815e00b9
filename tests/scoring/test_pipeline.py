"""The run protocol: running twice equals running once, and the newest input version owns the result."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as arrow_csv

from errors import ConditionFailedError, StorageUnavailableError
from model_store import ModelReference
from model_store.cache import ModelCache
from model_store.registry import Registry
from scoring.entering import begin
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from storage import BlobPath
from storage.folder import PRIVATE
from tests.scoring.test_csv import GOOD, HEADER

INPUT = BlobPath("incoming", "churn/a.csv")
OUTPUT = BlobPath("scored", "churn/a.csv")


class Interrupted:
    """A blob store that does something else just before its first call of one method on one path."""

    def __init__(self, blobs: Any, method: str, path: BlobPath, before: Callable[[], None]) -> None:
        self._blobs, self._method, self._path, self._before = blobs, method, path, before

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._blobs, name)
        if name != self._method:
            return real

        def call(path: BlobPath, *arguments: Any, **options: Any) -> Any:
            if path == self._path and (before := self._before):
                self._before = None  # type: ignore[assignment]  # once only
                before()
            return real(path, *arguments, **options)

        return call


def interrupt(services, method: str, path: BlobPath, before: Callable[[], None]):
    return replace(services, blobs=Interrupted(services.blobs, method, path, before))


def test_a_second_delivery_does_nothing(drop, services) -> None:
    """A redelivered job finds the receipt and leaves result and receipt as they are."""
    first = drop("a.csv", GOOD)
    etag = services.blobs.stat(OUTPUT).etag
    assert run_job(Job.for_dropped(INPUT), services) == first
    assert services.blobs.stat(OUTPUT).etag == etag


def test_a_run_that_died_before_its_receipt_is_finished_by_the_next(drop, services) -> None:
    """Committed but without a receipt: the next delivery writes the receipt and keeps the same bytes."""
    first = drop("a.csv", GOOD)
    before = drop.result(first)
    services.blobs.delete(BlobPath("runs", f"{first.run_id}/receipt.json"))
    again = run_job(Job.for_dropped(INPUT), services)
    assert again.status == "succeeded"
    assert (again.run_id, drop.result(again)) == (first.run_id, before)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_running_again_gives_the_same_bytes(drop, services, parquet, kind: str) -> None:
    """The same job on the same input writes byte-identical results and rejects."""
    from tests.hand_model import make_sample

    csv = HEADER + b"".join(b"%d,%d,%s,true,pro\n" % (i, i, b"x" if i % 20 == 0 else b"3") for i in range(300))
    data = csv if kind == "csv" else parquet(make_sample(5000))
    first = drop(f"a.{kind}", data)
    blobs = [drop.result(first)] + ([drop.rejects(first)] if first.rejects else [])
    for name in (first.output, first.rejects, f"runs/{first.run_id}/receipt.json"):
        if name:
            services.blobs.delete(BlobPath.parse(name))
    second = run_job(Job.for_dropped(BlobPath("incoming", f"churn/a.{kind}")), services)
    assert [drop.result(second)] + ([drop.rejects(second)] if second.rejects else []) == blobs


def test_input_replaced_while_it_is_scored(services) -> None:
    """A run whose input is replaced under it ends as superseded and leaves no result."""
    services.blobs.write(INPUT, GOOD)
    changed = interrupt(
        services, "stage_block", OUTPUT, lambda: services.blobs.write(INPUT, GOOD + b"4,1,1,true,\n") and None
    )
    receipt = run_job(Job.for_dropped(INPUT), changed)
    assert receipt.status == "superseded"
    assert not list(services.blobs.list("scored"))


def test_input_deleted_while_it_is_scored(services) -> None:
    """A run whose input is deleted under it ends as superseded and leaves no result."""
    services.blobs.write(INPUT, GOOD)
    changed = interrupt(services, "stage_block", OUTPUT, lambda: services.blobs.delete(INPUT))
    assert run_job(Job.for_dropped(INPUT), changed).status == "superseded"
    assert not list(services.blobs.list("scored"))


def test_input_never_there(services) -> None:
    """A job for a file that is not there fails with a receipt; it is not tried again and again."""
    receipt = run_job(Job(INPUT, ModelReference("churn")), services)
    assert receipt.error
    assert (receipt.status, receipt.error["code"]) == ("failed", "blob_not_found")
    assert receipt.input == {"path": str(INPUT)}


def test_input_gone_before_its_run_begins(services) -> None:
    """The receipt says which version of the file was meant, though nobody has seen it; so does the run's event."""
    etag = services.blobs.write(INPUT, GOOD)
    services.blobs.delete(INPUT)
    receipt = run_job(Job.for_dropped(INPUT, etag), services)
    assert receipt.error
    assert (receipt.status, receipt.error["code"]) == ("failed", "blob_not_found")
    assert receipt.input == {"path": str(INPUT), "etag": etag}
    [event] = services.queues.receive("scoring-events")
    assert json.loads(event.body)["data"]["input"] == receipt.input


def test_an_older_run_never_replaces_a_newer_result(drop, services) -> None:
    """A slow run of the old version that comes to its commit after the new version's leaves that one alone."""
    services.blobs.write(INPUT, GOOD)
    newer = HEADER + b"9,1,1,true,pro\n"
    slow = interrupt(services, "commit_blocks", OUTPUT, lambda: drop("a.csv", newer) and None)
    receipt = run_job(Job.for_dropped(INPUT), slow)
    assert receipt.status == "superseded"
    assert services.blobs.read(OUTPUT).splitlines()[1].startswith(b"9,1,1,true,pro,")


def test_a_twin_that_commits_first_is_as_good(services) -> None:
    """Two deliveries of one job at once: the loser of the commit finds the same result and the same receipt."""
    services.blobs.write(INPUT, GOOD)
    twin = interrupt(services, "commit_blocks", OUTPUT, lambda: run_job(Job.for_dropped(INPUT), services) and None)
    receipt = run_job(Job.for_dropped(INPUT), twin)
    assert receipt.status == "succeeded"
    assert receipt == services.receipts.get(receipt.run_id)


def test_old_rejects_go_when_the_new_input_has_none(drop, services) -> None:
    """The rejects path, too, belongs to the newest input version."""
    drop("a.csv", HEADER + b"1,x,1,true,pro\n", error_threshold=-1)
    assert list(services.blobs.list("rejected"))
    drop("a.csv", GOOD, error_threshold=-1)
    assert not list(services.blobs.list("rejected"))


def test_an_old_result_goes_when_the_new_input_fails(drop, services) -> None:
    """A failed newer version does not leave the older one's scores to be taken for its own."""
    drop("a.csv", GOOD)
    assert drop("a.csv", b"id\n1\n").status == "failed"
    assert not list(services.blobs.list("scored"))


def test_a_failed_run_leaves_other_results_of_the_same_input(drop, services) -> None:
    """A run with impossible options does not take away what another run made of the same version."""
    drop("a.csv", GOOD)
    failed = run_job(replace(Job.for_dropped(INPUT), options=Options(keep=("nope",))), services)
    assert failed.status == "failed"
    assert list(services.blobs.list("scored"))


def test_a_passing_storage_fault_is_raised_for_a_retry(services) -> None:
    """What a retry can mend leaves no receipt, and the retry succeeds."""
    services.blobs.write(INPUT, GOOD)

    def fail() -> None:
        raise StorageUnavailableError("the service is busy")

    with pytest.raises(StorageUnavailableError):
        run_job(Job.for_dropped(INPUT), interrupt(services, "commit_blocks", OUTPUT, fail))
    assert services.receipts.find(begin(Job.for_dropped(INPUT), services).id) is None
    assert run_job(Job.for_dropped(INPUT), services).status == "succeeded"


def test_a_condition_that_fails_elsewhere_ends_no_run(services) -> None:
    """Only the input's can say that it was replaced; whatever else it was, the job is tried again."""
    services.blobs.write(INPUT, GOOD)

    def fail() -> None:
        raise ConditionFailedError(f"{OUTPUT}: no", file=str(OUTPUT))

    with pytest.raises(ConditionFailedError):
        run_job(Job.for_dropped(INPUT), interrupt(services, "stage_block", OUTPUT, fail))
    assert run_job(Job.for_dropped(INPUT), services).status == "succeeded"


def test_a_run_can_be_asked_for_while_it_works(services) -> None:
    """While a run works its status is running, with its input and model; then it is the receipt."""
    services.blobs.write(INPUT, GOOD)
    job = Job.for_dropped(INPUT)
    run_id = begin(job, services).id
    seen = []
    run_job(
        job, interrupt(services, "commit_blocks", OUTPUT, lambda: seen.append(services.receipts.status(run_id)))
    )
    assert [(s["status"], s["model"]["version"]) for s in seen] == [("running", 1)]
    assert services.receipts.status(run_id)["status"] == "succeeded"


@pytest.fixture
def second(services, packages) -> Registry:
    """Register a second version, leave the champion at the first, and see a moved alias at once."""
    registry = Registry(services.blobs, services.settings.models)
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    return registry


def watching(services, registry: Registry):
    return replace(services, models=ModelCache(registry, Path(services.settings.cache), alias_seconds=0))


def test_a_run_keeps_the_version_it_began_with(services, second) -> None:
    """An alias moved under a run changes the next one, not this: every row of a result is of one version."""
    services = watching(services, second)
    services.blobs.write(INPUT, GOOD)
    moved = interrupt(services, "stage_block", OUTPUT, lambda: second.set_alias("churn", "champion", 2))
    first = run_job(Job.for_dropped(INPUT), moved)
    kept = services.blobs.read(OUTPUT)
    after = run_job(Job.for_dropped(INPUT), services)
    assert (first.model["version"], after.model["version"]) == (1, 2)
    assert first.run_id != after.run_id
    fixed = run_job(replace(Job.for_dropped(INPUT), model=ModelReference("churn", version=1)), services)
    assert fixed.output is not None
    assert services.blobs.read(BlobPath.parse(fixed.output)) == kept


def test_a_run_falls_back_on_no_other_version(services, second) -> None:
    """A champion that cannot be opened fails the run, here as on a machine that never had another open."""
    services = watching(services, second)
    services.blobs.write(INPUT, GOOD)
    assert services.models.current("churn").version.version == 1
    services.blobs.write(BlobPath("models", "churn/2/model.onnx"), b"damaged")
    second.set_alias("churn", "champion", 2)
    assert services.models.current("churn").version.version == 1
    receipt = run_job(Job.for_dropped(INPUT), services)
    assert receipt.error
    assert (receipt.status, receipt.error["code"], receipt.model["version"]) == ("failed", "package_invalid", 2)
    second.set_alias("churn", "champion", 1)
    assert run_job(Job.for_dropped(INPUT), services).status == "succeeded"


def test_every_part_of_a_job_is_in_its_run_id(services) -> None:
    """Another input version, model reference, or option is another run; the same job is the same run."""
    services.blobs.write(INPUT, GOOD)
    job = Job.for_dropped(INPUT)
    ids = {begin(job, services).id}
    assert begin(Job.from_json(job.to_json()), services).id in ids
    ids.add(begin(replace(job, options=Options(keep="none")), services).id)
    ids.add(begin(replace(job, model=ModelReference("churn", version=1)), services).id)
    services.blobs.write(INPUT, GOOD)
    ids.add(begin(job, services).id)
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("a.csv", {"begin", "open", "read", "wait", "cut", "parse", "score", "encode", "write", "commit", "rest"}),
        ("a.parquet", {"begin", "open", "parse", "conform", "score", "write", "commit", "rest"}),
    ],
)
def test_a_receipt_says_how_fast_and_where_the_time_went(drop, name: str, stages: set[str]) -> None:
    """Rates of rows and bytes, wall and CPU seconds of every stage, and the process's peak of memory."""
    data = GOOD
    if name.endswith("parquet"):
        buffer = BytesIO()
        pq.write_table(arrow_csv.read_csv(BytesIO(GOOD)), buffer)
        data = buffer.getvalue()
    receipt = drop(name, data)
    assert set(receipt.stages["cpu"]) == set(receipt.stages["wall"]) == stages
    rows, size = receipt.rates["rows_per_second"], receipt.rates["bytes_per_second"]
    assert size / rows == pytest.approx(len(data) / 3, rel=0.01)
    assert receipt.peak_memory_bytes is None or receipt.peak_memory_bytes > 2**24
    assert drop.services.receipts.find(receipt.run_id) == receipt


def test_a_failed_receipt_has_no_rates(drop) -> None:
    """A file that was not read to its end has no rows and no rate, but the times of what was done."""
    receipt = drop("a.csv", b"nothing,the,model,knows\n1,2,3,4\n")
    assert receipt.status == "failed"
    assert receipt.rates == {"rows_per_second": None, "bytes_per_second": None}
    assert receipt.rows == {"read": 0, "scored": 0, "rejected": 0}
    assert "open" in receipt.stages["cpu"]


def test_a_version_that_was_replaced_by_an_empty_file_is_superseded(services) -> None:
    """An empty file is refused without a read, and a read is what finds another version."""
    services.blobs.write(INPUT, GOOD)
    etag = services.blobs.stat(INPUT).etag
    services.blobs.write(INPUT, b"")
    assert run_job(Job.for_dropped(INPUT, etag), services).status == "superseded"
    receipt = run_job(Job.for_dropped(INPUT), services)
    assert receipt.error
    assert receipt.error["code"] == "file_empty"


def test_a_run_without_rejects_leaves_none_of_another_run(drop, services) -> None:
    """Of the same version of the input, scored once more otherwise, result and rejects are of one run."""
    data = b"id;age;visits;member;plan\n1;20,5;3;true;basic\n2;30;4;true;pro\n"
    first = drop("a.csv", data, error_threshold=-1)
    assert first.rows == {"read": 2, "scored": 1, "rejected": 1}
    options = Options.from_dict({"csv": {"decimal": ","}})
    second = run_job(replace(Job.for_dropped(INPUT), options=options), services)
    assert (second.rows["scored"], second.rejects) == (2, None)
    assert list(services.blobs.list("rejected")) == []


def staged(services) -> list[Path]:
    return [file for file in (Path(services.settings.folder) / PRIVATE / "staged").rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_run_that_ends_without_a_result_keeps_no_blocks_on_the_disk(drop, services, parquet, name: str) -> None:
    """Nobody would commit them: they would grow with each try of a file that cannot be scored."""
    row = {"age": 20.0, "visits": 1, "plan": "pro"}
    rows = [row | {"id": number, "member": number % 3 > 0 or None} for number in range(300)]
    table = pa.Table.from_pylist(rows)
    text = BytesIO()
    arrow_csv.write_csv(table, text)
    data = text.getvalue() if name == "a.csv" else parquet(table)
    assert drop(name, data).error["code"] == "threshold_exceeded"
    assert staged(services) == []
    path = BlobPath("incoming", f"churn/{name}")
    job = Job.for_dropped(path, services.blobs.stat(path).etag)
    replaced = interrupt(
        services, "commit_blocks", BlobPath("rejected", f"churn/{name}"), lambda: services.blobs.write(path, b"new")
    )
    assert run_job(replace(job, options=Options(error_threshold=-1)), replaced).status == "superseded"
    assert staged(services) == []


def test_a_run_whose_result_is_there_already_keeps_no_blocks_on_the_disk(drop, services) -> None:
    """It died before its receipt: what is staged once more is what was committed."""
    first = drop("a.csv", GOOD + b"4,x,1,true,pro\n", error_threshold=-1)
    services.blobs.delete(BlobPath("runs", f"{first.run_id}/receipt.json"))
    again = run_job(replace(Job.for_dropped(INPUT), options=Options(error_threshold=-1)), services)
    assert (again.run_id, again.status) == (first.run_id, "succeeded")
    assert staged(services) == []
