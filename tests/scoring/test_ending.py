"""Runs that somebody else ends, that a later delivery finds, or that are overtaken: one outcome, no leftovers."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from errors import (
    RetriesExhaustedError,
    RunCancelledError,
    RunEndedError,
    StorageDeniedError,
    StorageUnavailableError,
)
from model_store.cache import ModelCache
from model_store.registry import Registry
from scoring.ending import end_run
from scoring.entering import begin
from scoring.intake import accept_message, give_up
from scoring.job import Job
from scoring.open_runs import OpenRuns
from scoring.options import Options
from scoring.pipeline import run_here, run_job
from scoring.receipt import write_up
from scoring.runs import replay
from scoring.tally import Tally
from scoring.watch import Watch
from storage import BlobPath
from tests.scoring.test_csv import GOOD, HEADER
from tests.scoring.test_pipeline import INPUT, OUTPUT, interrupt

JOB = Job.for_dropped(INPUT)


def cancel(services, job: Job = JOB) -> None:
    run = begin(job, services)
    end_run(write_up(run, datetime.now(UTC), error=RunCancelledError("cancelled")), run, services)


def names(services, container: str, prefix: str = "") -> list[str]:
    return [blob.path.name for blob in services.blobs.list(container, prefix)]


def events(services) -> list[str]:
    return [json.loads(message.body)["id"] for message in services.queues.receive("scoring-events", limit=32)]


@pytest.fixture
def aliased(services, packages):
    """Services that see a moved alias at once; champion is version 1 of 2."""
    registry = Registry(services.blobs, services.settings.models)
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    return replace(services, models=ModelCache(registry, Path(services.settings.cache), alias_seconds=0)), registry


def test_every_delivery_of_a_job_is_the_same_run(aliased) -> None:
    """A job that died after it began goes on with its model version, although the alias has moved since."""
    services, registry = aliased
    services.blobs.write(INPUT, GOOD)
    died = interrupt(services, "commit_blocks", OUTPUT, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_job(JOB, died)
    registry.set_alias("churn", "champion", 2)
    expected = begin(JOB, services).id
    receipt = run_job(JOB, services)
    assert (receipt.run_id, receipt.model["version"]) == (expected, 1)
    assert names(services, "runs", "_open") == []
    assert run_job(JOB, services).model["version"] == 2  # sent once more, it is a job of its own


def test_an_alias_moved_between_two_that_begin_at_once(aliased) -> None:
    """Of two deliveries that begin at the same time the first to say so decides the version for both."""
    services, registry = aliased
    services.blobs.write(INPUT, GOOD)
    entry = BlobPath("runs", f"_open/{begin_key(services)}.json")

    def first() -> None:
        registry.set_alias("churn", "champion", 2)
        services.open_runs.open(begin(JOB, services))

    receipt = run_job(JOB, interrupt(services, "write", entry, first))
    assert receipt.model["version"] == 2
    assert events(services) == [receipt.run_id]


def begin_key(services) -> str:
    opened = services.open_runs.open(begin(JOB, services))
    [name] = names(services, "runs", "_open")
    services.open_runs.close(opened.run)
    return Path(name).stem


def test_a_run_that_is_cancelled_before_its_commit_puts_nothing_up(services) -> None:
    """Cancelled while it works: no result, no rejects, one receipt, one event, and the delivery is done."""
    services.blobs.write(INPUT, GOOD + b"4,x,1,true,pro\n")
    job = replace(JOB, options=replace(JOB.options, error_threshold=-1))
    receipt = run_job(job, interrupt(services, "stage_block", OUTPUT, lambda: cancel(services, job)))
    assert (receipt.status, receipt.error and receipt.error["code"]) == ("cancelled", "run_cancelled")
    assert services.receipts.get(receipt.run_id) == receipt
    assert run_job(job, services) == receipt
    assert [*names(services, "scored"), *names(services, "rejected"), *names(services, "runs", "_open")] == []
    assert events(services) == [receipt.run_id]


def test_a_run_that_is_cancelled_just_as_it_commits_takes_its_result_back(services) -> None:
    """Between the last look and the commit: what was put up is taken back, as the receipt does not name it."""
    services.blobs.write(INPUT, GOOD)
    receipt = run_job(JOB, interrupt(services, "commit_blocks", OUTPUT, lambda: cancel(services)))
    assert receipt.status == "cancelled"
    assert names(services, "scored") == []


def test_a_result_of_a_run_that_died_and_was_cancelled_is_taken_back(services) -> None:
    """Committed, then killed, then cancelled: the receipt names no result, so there is none."""
    services.blobs.write(INPUT, GOOD)
    run = begin(JOB, services)
    receipt = BlobPath("runs", f"{run.id}/receipt.json")
    died = interrupt(services, "write", receipt, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    died = replace(died, receipts=replace(services.receipts, blobs=died.blobs))
    with pytest.raises(KeyboardInterrupt):
        run_job(JOB, died)
    assert names(services, "scored") == ["churn/a.csv"]
    cancel(services)
    assert names(services, "scored") == []


def test_a_run_that_is_given_up_while_it_works_puts_nothing_up(services) -> None:
    """The poison handler's receipt counts: a delivery that was thought dead and is not stops at its next look."""
    services.blobs.write(INPUT, GOOD)
    working = interrupt(services, "stage_block", OUTPUT, lambda: give_up(JOB.to_json(), services))
    receipt = run_job(JOB, working)
    assert receipt.error
    assert receipt.error["code"] == "retries_exhausted"
    assert names(services, "scored") == []


def test_a_job_that_was_given_up_does_put_its_result_up_when_sent_again(services) -> None:
    """The receipt that was there when a run began is not taken for one that ends it."""
    services.blobs.write(INPUT, GOOD)
    given_up = give_up(JOB.to_json(), services)
    receipt = run_job(JOB, services)
    assert (receipt.run_id, receipt.status) == (given_up.run_id, "succeeded")
    assert names(services, "scored") == ["churn/a.csv"]


def test_an_input_replaced_just_after_the_commit(services) -> None:
    """A result that is overtaken at once is taken back: the newer version may have none to put in its place."""
    services.blobs.write(INPUT, GOOD)
    late = interrupt(services, "commit_blocks", OUTPUT, lambda: services.blobs.write(INPUT, b"id\n1\n") and None)
    assert run_job(JOB, late).status == "superseded"
    assert run_job(JOB, services).status == "failed"
    assert names(services, "scored") == []


@pytest.mark.parametrize("source", ["polling", "eventgrid"])
def test_a_version_that_nobody_is_told_of_is_queued(services, source) -> None:
    """Event Grid says nothing of changed metadata; polling finds every version, and needs no help."""
    services = replace(services, settings=replace(services.settings, blob_source=source, sweep_seconds=0))

    def overtake(job: Job, change) -> list[str]:
        changed = interrupt(services, "commit_blocks", OUTPUT, change)
        assert run_job(job, changed).status == "superseded"
        received = services.queues.receive("scoring-jobs", limit=32)
        for message in received:
            services.queues.delete("scoring-jobs", message)
        return [message.body for message in received]

    etag = services.blobs.write(INPUT, GOOD)
    bodies = overtake(
        Job.for_dropped(INPUT, etag), lambda: services.blobs.write(INPUT, GOOD, metadata={"by": "me"})
    )
    etag = services.blobs.stat(INPUT).etag
    assert [Job.from_json(body) for body in bodies] == [Job.for_dropped(INPUT, etag)] * (source == "eventgrid")
    assert overtake(replace(JOB, etag=etag), lambda: services.blobs.delete(INPUT)) == []
    etag = services.blobs.write(INPUT, GOOD)
    other = replace(JOB, etag=etag, options=Options(keep="none"))  # somebody's who named the version
    assert overtake(other, lambda: services.blobs.write(INPUT, GOOD)) == []


def test_an_older_result_that_comes_while_a_failed_run_cleans_up(services) -> None:
    """A failed run of the newer version removes the older result also where that was replaced under its hands."""
    services.blobs.write(INPUT, GOOD)
    assert run_job(JOB, services).status == "succeeded"
    services.blobs.write(INPUT, b"id\n1\n")
    older = services.blobs.stat(OUTPUT)

    def put_again() -> None:
        services.blobs.write(OUTPUT, HEADER, metadata=older.metadata)

    assert run_job(JOB, interrupt(services, "delete", OUTPUT, put_again)).status == "failed"
    assert names(services, "scored") == []


@pytest.mark.parametrize("fault", [KeyboardInterrupt, StorageUnavailableError("the disk is full")])
def test_a_run_that_was_interrupted_at_a_terminal_is_closed(services, fault) -> None:
    """Nobody delivers its job again, so no later run of the same file is held to what this one was pinned to."""
    services.blobs.write(INPUT, GOOD)
    stopped = interrupt(services, "commit_blocks", OUTPUT, lambda: (_ for _ in ()).throw(fault))
    with pytest.raises((KeyboardInterrupt, StorageUnavailableError)):
        run_here(JOB, stopped)
    assert names(services, "runs", "_open") == []
    assert run_here(JOB, services).status == "succeeded"


def test_nothing_is_queued_where_nobody_takes_it(services) -> None:
    """Whoever scores at a terminal is told that the file was replaced, and no job is left behind for it."""
    services.blobs.write(INPUT, GOOD)
    late = interrupt(services, "commit_blocks", OUTPUT, lambda: services.blobs.write(INPUT, GOOD) and None)
    assert run_here(JOB, late).status == "superseded"
    assert services.queues.receive("scoring-jobs") == []


class Locked:
    """A blob store that lets nobody at one blob."""

    def __init__(self, blobs, path: BlobPath, begins_with: int = 1) -> None:
        self._blobs, self._path, self._left = blobs, path, begins_with

    def __getattr__(self, name: str):
        real = getattr(self._blobs, name)

        def call(path, *arguments, **options):
            if path == self._path:
                self._left -= 1
                if self._left <= 0:
                    raise StorageDeniedError(f"{path}: access refused", file=str(path))
            return real(path, *arguments, **options)

        return call


@pytest.mark.parametrize("begins_with", [1, 2])
def test_an_input_that_we_may_not_read_fails_its_run(services, begins_with: int) -> None:
    """No retry gives us the right to: the run ends at once, and is replayed when somebody has."""
    services.blobs.write(INPUT, GOOD)
    run_job(JOB, services)
    services.blobs.write(INPUT, GOOD)
    denied = replace(services, blobs=Locked(services.blobs, INPUT, begins_with))
    receipt = run_job(JOB, denied)
    assert receipt.error
    assert (receipt.status, receipt.error["code"]) == ("failed", "storage_denied")
    assert names(services, "runs", "_open") == []
    replay(receipt.run_id, services)
    [message] = services.queues.receive("scoring-jobs")
    assert accept_message(message.body, services).status == "succeeded"


def test_an_entry_of_another_run_is_left_alone(services) -> None:
    """Closing a run twice, or after its job was begun anew, removes nothing that is not its own."""
    services.blobs.write(INPUT, GOOD)
    run, open_runs = begin(JOB, services), services.open_runs
    again = replace(run, job=replace(run.job, attempt=1))
    open_runs.close(run)
    open_runs.open(again)
    open_runs.close(run)
    found = open_runs.find(run)
    assert found
    assert found.run == again
    open_runs.close(again)
    assert open_runs.find(run) is None


@pytest.mark.parametrize("error", [RunCancelledError("cancelled"), RetriesExhaustedError("failed at every try")])
def test_a_stale_entry_of_an_earlier_attempt_does_not_swallow_a_later_one(services, error) -> None:
    """A replay that finds the entry of the run it replays ends that properly, and runs all the same."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    first = services.receipts.record(write_up(run, datetime.now(UTC), error=error))
    second = run_job(replace(JOB, attempt=1), services)
    assert second.status == "succeeded"
    assert second.attempt == 1
    assert [event.partition("-")[0] for event in events(services)] == [first.run_id, second.run_id]
    assert services.receipts.get(first.run_id) == first


def test_no_container_no_open_runs(services) -> None:
    """Where no run ever was, none is open."""
    assert list(OpenRuns(services.blobs, "nowhere").list()) == []


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_long_run_is_watched(services) -> None:
    """From time to time, not at each block: a look whether it was ended, and a sign that it is alive."""
    services.blobs.write(INPUT, GOOD)
    run, clock = services.open_runs.open(begin(JOB, services)).run, Clock()
    services.receipts.announce(run)
    watch = Watch(run, services, None, clock)
    error = RetriesExhaustedError("the job failed at every try")
    for second in (1, 4, 6, 29):
        clock.now = second
        watch.update(50, Tally(read=2))
    assert "progress" not in services.receipts.status(run.id)
    clock.now = 31
    watch.update(50, Tally(read=2))
    progress = services.receipts.status(run.id)["progress"]
    assert (progress["bytes_read"], progress["rows_read"], progress["bytes"]) == (50, 2, len(GOOD))
    end_run(write_up(run, datetime.now(UTC), error=error), run, services)
    clock.now = 32
    watch.update(60, Tally(read=3))  # not looked yet
    clock.now = 36
    with pytest.raises(RunEndedError):
        watch.update(60, Tally(read=3))
