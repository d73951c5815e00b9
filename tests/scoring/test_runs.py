"""What people do with runs: list them, look at one, run one once more, stop one; on the command line too."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from errors import (
    BlobNotFoundError,
    MessageInvalidError,
    RetriesExhaustedError,
    RunEndedError,
    RunNotFoundError,
    RunUnderWayError,
)
from model_store import ModelReference
from model_store.registry import Registry
from scoring.__main__ import app
from scoring.ended_runs import EndedRuns, Summary
from scoring.ending import end_run
from scoring.entering import begin
from scoring.intake import accept_message, give_up
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.receipt import write_up
from scoring.runs import cancel, describe_run, list_runs, replay
from scoring.splits.worker import accept_split
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT, OUTPUT, interrupt
from tests.scoring.test_split_delivery import FILE

JOB = Job.for_dropped(INPUT)
invoke = CliRunner().invoke


def drop(services, data: bytes = GOOD, name: str = "a.csv", model: str = "churn"):
    path = BlobPath("incoming", f"churn/{name}")
    services.blobs.write(path, data)
    return run_job(Job(path, ModelReference.parse(model)), services)


def deliver(services):
    [message] = services.queues.receive("scoring-jobs")
    services.queues.delete("scoring-jobs", message)
    return accept_message(message.body, services)


@pytest.fixture
def store(services, monkeypatch) -> str:
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    return services.settings.folder


def test_runs_are_listed_newest_first(services) -> None:
    """Those under way come first, then those that ended, whatever their status, the last one first."""
    ended = [drop(services), drop(services, b"id\n1\n", "b.csv"), drop(services, name="c.csv", model="churn@1")]
    services.blobs.write(BlobPath("incoming", "churn/d.csv"), GOOD)
    running = services.open_runs.open(begin(replace(JOB, input=BlobPath("incoming", "churn/d.csv")), services)).run
    found = list_runs(services)
    assert [run.run_id for run in found] == [running.id, *(receipt.run_id for receipt in reversed(ended))]
    assert [run.status for run in found] == ["running", "succeeded", "failed", "succeeded"]
    assert [run.error for run in found] == [None, None, "column_missing", None]
    newest = found[1]
    assert (newest.input, newest.model, newest.version) == ("incoming/churn/c.csv", "churn@1", 1)
    assert (newest.rows, newest.finished) == (ended[2].rows, ended[2].finished)


def test_a_list_is_filtered_and_paged(services) -> None:
    """By status and by model, a page at a time; a list of any length reads no receipt."""
    receipts = [drop(services, name=f"{number}.csv", model="churn@1") for number in range(3)]
    receipts += [drop(services, b"id\n1\n", "b.csv"), drop(services, name="c.csv")]
    ids = [receipt.run_id for receipt in reversed(receipts)]
    unread = replace(services, blobs=Unread(services.blobs))
    assert [run.run_id for run in list_runs(unread, limit=2)] == ids[:2]
    assert [run.run_id for run in list_runs(unread, limit=9, after=list_runs(unread, limit=2)[-1].key)] == ids[2:]
    assert [run.run_id for run in list_runs(unread, status="failed")] == [ids[1]]
    assert [run.run_id for run in list_runs(unread, model="churn@1", status="succeeded", limit=2)] == ids[2:4]
    assert [run.run_id for run in list_runs(unread, model="churn")] == ids
    assert list_runs(unread, status="running") == []
    assert list_runs(unread, model="chur") == []


class Unread:
    """A blob store of which nothing is read but listings."""

    def __init__(self, blobs) -> None:
        self.list = blobs.list


def test_a_run_that_ended_after_all_is_listed_once(services) -> None:
    """A job that was given up and then sent again is one run, with its last outcome."""
    services.blobs.write(INPUT, GOOD)
    give_up(JOB.to_json(), services)
    run_job(JOB, services)
    assert [run.status for run in list_runs(services)] == ["succeeded"]


def test_a_run_with_a_receipt_is_not_listed_as_running(services) -> None:
    """A process that dies between the receipt and the end of its run leaves no doubt about the outcome."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    services.receipts.record(write_up(run, datetime.now(UTC), output=OUTPUT))
    assert [run.status for run in list_runs(services)] == ["succeeded"]


def test_what_a_newer_dropscore_writes_is_understood(drop, services) -> None:
    """Both run for a while when the app is deployed anew: what this one does not know is passed over."""
    receipt = drop("a.csv", GOOD)
    path = BlobPath("runs", f"{receipt.run_id}/receipt.json")
    services.blobs.write(path, json.dumps(receipt.to_dict() | {"colour": "blue"}).encode())
    [listed] = services.blobs.list("runs", "_ended/", metadata=True)
    entry = json.dumps(receipt.summary.to_dict() | {"colour": "blue"})
    services.blobs.write(listed.path, entry.encode(), metadata=dict.fromkeys(listed.metadata, entry))
    assert run_job(Job.for_dropped(INPUT), services) == receipt
    assert list_runs(services) == [receipt.summary]


def test_a_summary_too_long_for_metadata(services) -> None:
    """Names of 1,024 characters, each of which takes twelve in metadata, are kept in the entry itself."""
    name = "incoming/churn/" + "😀" * 1000
    entry = Summary("1" * 32, "failed", name, "churn", 1, {"read": 0}, "x", "", "2026-11-21T00:00:00+00:00", 0)
    runs = EndedRuns(services.blobs, "runs")
    runs.add(entry)
    assert list(runs.list()) == [entry]
    assert list(EndedRuns(services.blobs, "nowhere").list()) == []


def test_a_run_is_described_while_it_works_and_when_it_has_ended(services) -> None:
    """Plan and progress first, then the receipt; RunNotFoundError for any other id, however it is written."""
    services.blobs.write(INPUT, GOOD)
    seen = []
    run_id = begin(JOB, services).id
    run_job(JOB, interrupt(services, "commit_blocks", OUTPUT, lambda: seen.append(describe_run(run_id, services))))
    assert [record["status"] for record in seen] == ["running"]
    assert describe_run(run_id, services)["rows"]["read"] == 3
    for unknown in ("0" * 32, "..", "a/../b", "", "x" * 2000, "\u0001"):
        with pytest.raises(RunNotFoundError):
            describe_run(unknown, services)
        with pytest.raises(RunNotFoundError):
            cancel(unknown, services)
        with pytest.raises(RunNotFoundError):
            replay(unknown, services)


def test_a_run_in_splits_is_described_cancelled_and_replayed(fleets) -> None:
    """It says how many of its splits are scored; cancelled, it stops; replayed, it is planned anew."""
    fleet = fleets(split_bytes=1000)
    services = fleet.services
    assert accept_message(fleet.drop("a.csv", FILE).to_json(), services) is None
    sent = services.queues.sent("scoring-splits")
    fleet.delivered["scoring-splits"] = len(sent)
    run_id = json.loads(sent[0])["run_id"]
    accept_split(sent[0], services)
    record = describe_run(run_id, services)
    assert (record["status"], record["splits"]) == ("running", {"all": len(sent), "done": 1})
    assert [(run.run_id, run.status) for run in list_runs(services)] == [(run_id, "running")]
    stopped = interrupt(services, "stage_block", OUTPUT, lambda: cancel(run_id, services) and None)
    stopped = replace(stopped, receipts=services.receipts)
    for message in sent[1:]:
        accept_split(message, stopped)
    assert services.receipts.get(run_id).status == "cancelled"
    assert list(services.blobs.list("scored")) == []
    again = replay(run_id, services)
    receipt = fleet.work()
    assert (receipt.run_id, receipt.status, receipt.attempt) == (again.id, "succeeded", 1)
    assert [(run.run_id, run.status) for run in list_runs(services)] == [
        (again.id, "succeeded"), (run_id, "cancelled"),
    ]  # fmt: skip


def test_a_failed_run_is_replayed(services, packages) -> None:
    """It runs again as a run of its own, with the model that its reference means now; the old receipt stays."""
    failed = drop(services, b"id\n1\n")
    again = replay(failed.run_id, services)
    receipt = deliver(services)
    assert (receipt.run_id, receipt.status, receipt.attempt) == (again.id, "failed", 1)
    assert again.id != failed.run_id
    assert replay(receipt.run_id, services).job.attempt == 2
    assert deliver(services).attempt == 2
    assert services.receipts.get(failed.run_id) == failed
    Registry(services.blobs, services.settings.models).add("churn", packages(-1.0))
    assert [run.attempt for run in list_runs(services)] == [2, 1, 0]


def test_a_run_without_its_model_is_replayed_once_that_is_there(services, hand_package) -> None:
    """The model that was not there decided the run's id: there is no need of another attempt."""
    failed = drop(services, model="later")
    Registry(services.blobs, services.settings.models).add("later", hand_package)
    again = replay(failed.run_id, services)
    receipt = deliver(services)
    assert (receipt.run_id, receipt.status, receipt.attempt) == (again.id, "succeeded", 0)


def test_a_run_whose_model_came_while_it_began_is_not_scored_by_it(services, hand_package) -> None:
    """What a run is pinned to holds for "no such model" too, or its id would lie."""
    services.blobs.write(INPUT, GOOD)
    job = replace(JOB, model=ModelReference("later"))
    services.open_runs.open(begin(job, services))
    Registry(services.blobs, services.settings.models).add("later", hand_package)
    receipt = run_job(job, services)
    assert receipt.error
    assert (receipt.error["code"], receipt.model) == ("model_not_found", {"reference": "later"})
    replay(receipt.run_id, services)
    assert deliver(services).status == "succeeded"


def test_a_poisoned_run_is_replayed(services) -> None:
    """What failed at every try really runs again, and leaves the receipt of the giving up as it is."""
    services.blobs.write(INPUT, GOOD)
    given_up = give_up(JOB.to_json(), services)
    replay(given_up.run_id, services)
    receipt = deliver(services)
    assert receipt.status == "succeeded"
    assert services.receipts.get(given_up.run_id) == given_up
    with pytest.raises(RunEndedError, match="succeeded"):
        replay(given_up.run_id, services)
    with pytest.raises(RunEndedError, match="nothing to replay"):
        replay(receipt.run_id, services)
    assert services.queues.receive("scoring-jobs") == []


def test_a_superseded_run_is_replayed_on_the_current_version(services) -> None:
    """The input that it had is gone: its job is for the one that is there now."""
    services.blobs.write(INPUT, GOOD)
    newer = GOOD + b"4,1,1,true,pro\n"
    replaced = interrupt(services, "stage_block", OUTPUT, lambda: services.blobs.write(INPUT, newer) and None)
    superseded = run_job(JOB, replaced)
    assert superseded.status == "superseded"
    again = replay(superseded.run_id, services)
    receipt = deliver(services)
    assert (receipt.run_id, receipt.status, receipt.rows["read"]) == (again.id, "succeeded", 4)
    services.blobs.delete(INPUT)
    with pytest.raises(BlobNotFoundError):
        replay(superseded.run_id, services)


def test_a_cancelled_run_is_replayed(services) -> None:
    """Cancelling is for good for the run that was cancelled, not for its job."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    with pytest.raises(RunUnderWayError):
        replay(run.id, services)
    cancelled = cancel(run.id, services)
    assert run_job(JOB, services) == cancelled
    replay(run.id, services)
    assert deliver(services).status == "succeeded"


def test_what_never_became_a_job_cannot_be_replayed(services) -> None:
    """A message that nobody understood has a receipt, and that says so."""
    receipt = accept_message("not json", services)
    with pytest.raises(MessageInvalidError, match="never became a job"):
        replay(receipt.run_id, services)


def test_a_run_whose_result_was_replaced_is_replayed(services) -> None:
    """Another run of the same file has its path: the first one's result can be had again, and by nothing else."""
    receipt = drop(services)
    result = services.blobs.read(OUTPUT)
    run_job(replace(JOB, options=Options(keep="none")), services)
    replay(receipt.run_id, services)
    assert deliver(services).status == "succeeded"
    assert services.blobs.read(OUTPUT) == result
    with pytest.raises(RunEndedError, match="nothing to replay"):
        replay(receipt.run_id, services)


def test_a_run_is_cancelled_once_and_only_while_it_goes_on(services) -> None:
    """Whoever works on it stops at the next look; a run that has ended says how."""
    services.blobs.write(INPUT, GOOD)
    run_id = begin(JOB, services).id
    working = interrupt(services, "stage_block", OUTPUT, lambda: cancel(run_id, services) and None)
    receipt = run_job(JOB, working)
    assert (receipt.status, receipt.error["code"]) == ("cancelled", "run_cancelled")
    assert [blob.path.name for blob in services.blobs.list("scored")] == []
    assert [blob.path.name for blob in services.blobs.list("runs", "_open")] == []
    with pytest.raises(RunEndedError, match="cancelled"):
        cancel(run_id, services)
    succeeded = drop(services)
    with pytest.raises(RunEndedError, match="succeeded"):
        cancel(succeeded.run_id, services)


def test_a_run_that_ends_while_it_is_being_cancelled(services) -> None:
    """The first receipt counts, and the other side is told."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    receipt = BlobPath("runs", f"{run.id}/receipt.json")
    late = interrupt(services, "write", receipt, lambda: run_job(JOB, services) and None)
    late = replace(late, receipts=replace(services.receipts, blobs=late.blobs))
    with pytest.raises(RunEndedError, match="succeeded"):
        cancel(run.id, late)
    assert services.receipts.get(run.id).status == "succeeded"
    assert [blob.path.name for blob in services.blobs.list("scored")] == ["churn/a.csv"]


def test_a_given_up_run_that_is_tried_again_can_be_cancelled(services) -> None:
    """Its old receipt is no end for good, so cancelling takes its place."""
    services.blobs.write(INPUT, GOOD)
    run = begin(JOB, services)
    error = RetriesExhaustedError("the job failed at every try")
    end_run(write_up(run, datetime.now(UTC), error=error), run, services)
    with pytest.raises(RunEndedError):
        cancel(run.id, services)
    working = interrupt(services, "stage_block", OUTPUT, lambda: cancel(run.id, services) and None)
    assert run_job(JOB, working).status == "cancelled"


def test_runs_on_the_command_line(services, store) -> None:
    """`runs list`, for people and as JSON; a page says how to go on."""
    failed, done = drop(services, b"id\n1\n", "b.csv"), drop(services)
    shown = invoke(app, ["runs", "list", "--store", store])
    assert shown.exit_code == 0, shown.output
    header, *lines = shown.stdout.splitlines()
    assert header.split() == ["run", "status", "model", "input", "rows", "rejected", "seconds", "ended"]
    assert [line.split()[:2] for line in lines] == [[done.run_id, "succeeded"], [failed.run_id, "failed:"]]
    assert "incoming/churn/a.csv     3         0" in lines[0]
    page = invoke(app, ["runs", "list", "--store", store, "--limit", "1"])
    key = page.stderr.split()[-1]
    rest = invoke(app, ["runs", "list", "--store", store, "--after", key, "--json", "--limit", "1"])
    content = json.loads(rest.stdout)
    assert [run["run_id"] for run in content["runs"]] == [failed.run_id]
    nothing = invoke(app, ["runs", "list", "--store", store, "--status", "cancelled"])
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "no such runs\n")
    wrong = invoke(app, ["runs", "list", "--store", store, "--status", "done"])
    assert (wrong.exit_code, wrong.stderr.split(":")[0]) == (1, "options_invalid")


def test_a_run_is_shown_on_the_command_line(services, store) -> None:
    """Its receipt once it has ended, how far it is before; code 1 if there is none."""
    done = drop(services)
    shown = invoke(app, ["runs", "show", done.run_id, "--store", store])
    assert shown.exit_code == 0
    assert "3 read = 3 scored + 0 rejected" in shown.stdout
    record = json.loads(invoke(app, ["runs", "show", done.run_id, "--json", "--store", store]).stdout)
    assert record == json.loads(done.to_json())
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    services.receipts.announce(run)
    assert "none reported yet" in invoke(app, ["runs", "show", run.id, "--store", store]).stdout
    services.receipts.report(run.id, {"rows_read": 12345})
    assert "12,345 read" in invoke(app, ["runs", "show", run.id, "--store", store]).stdout
    missing = invoke(app, ["runs", "show", "0" * 32, "--store", store])
    assert (missing.exit_code, missing.stderr.split(":")[0]) == (1, "run_not_found")


def test_a_run_is_cancelled_and_replayed_on_the_command_line(services, store) -> None:
    """In a folder a replay runs here and now; both commands end with 1 where there is nothing to do."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    done = invoke(app, ["runs", "cancel", run.id, "--store", store])
    assert (done.exit_code, done.stdout) == (0, f"cancelled {run.id}\n")
    done = invoke(app, ["runs", "cancel", run.id, "--store", store])
    assert (done.exit_code, done.stderr.split(":")[0]) == (1, "run_ended")
    done = invoke(app, ["runs", "replay", run.id, "--json", "--store", store])
    receipt = json.loads(done.stdout)
    assert (done.exit_code, receipt["status"], receipt["attempt"]) == (0, "succeeded", 1)
    done = invoke(app, ["runs", "replay", run.id, "--store", store])
    assert (done.exit_code, done.stderr.split(":")[0]) == (1, "run_ended")
    failed = drop(services, b"id\n1\n", "b.csv")
    done = invoke(app, ["runs", "replay", failed.run_id, "--store", store])
    assert (done.exit_code, "column_missing" in done.stdout) == (1, True)
