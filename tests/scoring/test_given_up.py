"""Jobs that are given up while somebody still works on them: receipt and result say the same, whoever is faster."""

from dataclasses import replace

import pytest

from scoring.entering import begin, enter
from scoring.intake import give_up
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.runs import list_runs
from storage import BlobPath
from tests.scoring.test_csv import GOOD, HEADER
from tests.scoring.test_pipeline import INPUT, OUTPUT, interrupt

JOB = Job.for_dropped(INPUT)
REJECTED = BlobPath("rejected", "churn/a.csv")


def late(services, before) -> object:
    """Return services in which `before` happens just before the run's receipt is written: its result is up."""
    path = BlobPath("runs", f"{begin(JOB, services).id}/receipt.json")
    interrupted = interrupt(services, "write", path, before)
    return replace(interrupted, receipts=replace(services.receipts, blobs=interrupted.blobs))


def names(services, container: str) -> list[str]:
    return [blob.path.name for blob in services.blobs.list(container)]


def test_a_run_given_up_between_its_commit_and_its_receipt(services) -> None:
    """The giving up takes the result back, so the run does not say that it succeeded."""
    services.blobs.write(INPUT, GOOD)
    receipt = run_job(JOB, late(services, lambda: give_up(JOB.to_json(), services) and None))
    assert services.receipts.get(receipt.run_id) == receipt
    assert (receipt.output, names(services, "scored")) == (None, [])
    again = run_job(JOB, services)
    assert (again.run_id, again.status) == (receipt.run_id, "succeeded")
    assert names(services, "scored") == ["churn/a.csv"]


def test_a_run_given_up_once_more_between_its_commit_and_its_receipt(services) -> None:
    """The same of a run that was given up before, and that a later delivery tries again."""
    services.blobs.write(INPUT, GOOD)
    give_up(JOB.to_json(), services)
    receipt = run_job(JOB, late(services, lambda: give_up(JOB.to_json(), services) and None))
    assert services.receipts.get(receipt.run_id) == receipt
    assert (receipt.output, names(services, "scored")) == (None, [])


def test_a_run_that_is_tried_again_is_not_stopped_where_nothing_is_up(services) -> None:
    """It was given up before, and the message of that comes once more: there is nothing to take back."""
    services.blobs.write(INPUT, GOOD)
    first = give_up(JOB.to_json(), services)
    again = interrupt(services, "stage_block", OUTPUT, lambda: give_up(JOB.to_json(), services) and None)
    receipt = run_job(JOB, again)
    assert (receipt.run_id, receipt.status) == (first.run_id, "succeeded")
    assert names(services, "scored") == ["churn/a.csv"]


def test_a_run_whose_replay_begins_between_its_commit_and_its_receipt(services) -> None:
    """A replay ends what it takes the place of; that takes back its result, and does not name one either."""
    services.blobs.write(INPUT, GOOD)
    first = give_up(JOB.to_json(), services)
    newer = replace(JOB, attempt=1)
    receipt = run_job(JOB, late(services, lambda: run_job(newer, services) and None))
    assert (receipt.run_id, receipt.output) == (first.run_id, None)
    assert names(services, "scored") == ["churn/a.csv"]
    assert services.blobs.stat(OUTPUT).metadata["dropscore_run"] != first.run_id


def test_a_run_that_was_given_up_and_has_succeeded_is_not_listed_as_failed(services) -> None:
    """Neither by its status nor on a later page: what was said of it before is not true any more."""
    services.blobs.write(INPUT, GOOD)
    give_up(JOB.to_json(), services)
    assert [run.status for run in list_runs(services)] == ["failed"]
    run_job(JOB, services)
    assert list_runs(services, status="failed") == []
    [run] = list_runs(services)
    assert list_runs(services, after=run.key) == []


@pytest.mark.parametrize(("tried_again", "left"), [(False, []), (True, ["churn/a.csv"])])
def test_a_run_given_up_between_its_rejects_and_its_result(services, tried_again, left) -> None:
    """No receipt names its rejects, so they are taken back, unless somebody tries it again, who may name them."""
    services.blobs.write(INPUT, HEADER + b"1,20,3,true,pro\n2,x,3,true,pro\n")
    job = replace(JOB, options=Options(error_threshold=-1))

    def meanwhile() -> None:
        give_up(job.to_json(), services)
        if tried_again:
            enter(job, services)

    receipt = run_job(job, interrupt(services, "commit_blocks", REJECTED, meanwhile))
    assert receipt.error
    assert receipt.error["code"] == "retries_exhausted"
    assert names(services, "rejected") == left
    assert run_job(job, services).status == "succeeded"
    assert names(services, "rejected") == ["churn/a.csv"]
