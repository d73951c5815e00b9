"""The sweeper: runs that nobody works on are set going again, finished, or given up; all others are left alone."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from errors import MessageInvalidError, StorageUnavailableError
from scoring.entering import begin
from scoring.intake import accept_message
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.receipt import write_up
from scoring.splits.worker import accept_split
from scoring.sweeper import sweep
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT, OUTPUT, interrupt
from tests.scoring.test_split_delivery import FILE
from tests.split_runs import Fleet

JOB = Job.for_dropped(INPUT)
MINUTE = timedelta(minutes=1)


def die(services) -> str:
    """Begin a run, and leave it as a killed process does."""
    services.blobs.write(INPUT, GOOD)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(JOB, interrupt(services, "commit_blocks", OUTPUT, killed))
    return begin(JOB, services).id


def messages(services, queue: str = "scoring-jobs") -> list[str]:
    return [message.body for message in services.queues.receive(queue, limit=32)]


def open_entries(services) -> list[str]:
    return [blob.path.name for blob in services.blobs.list("runs", "_open/")]


def later(minutes: float) -> datetime:
    return datetime.now(UTC) + minutes * MINUTE


def test_a_run_whose_message_was_lost_is_sent_again(services) -> None:
    """A dead run's job is on the queue again after a while, for the version it had, and then ends as usual."""
    run_id = die(services)
    assert sweep(services, later(14)) == 0
    assert messages(services) == []
    assert sweep(services, later(16)) == 1
    [body] = messages(services)
    assert json.loads(body)["etag"] == services.blobs.stat(INPUT).etag
    receipt = accept_message(body, services)
    assert receipt
    assert (receipt.run_id, receipt.status) == (run_id, "succeeded")
    assert open_entries(services) == []
    assert sweep(services, later(600)) == 0


def test_an_input_replaced_while_a_job_that_was_swept_waits(services) -> None:
    """What the job was sent for, whichever version is current, is scored all the same: nobody else names it."""
    die(services)
    sweep(services, later(16))
    [body] = messages(services)
    services.blobs.write(INPUT, GOOD + b"4,1,1,true,pro\n")
    receipt = accept_message(body, services)
    assert receipt
    assert receipt.status == "superseded"
    [body] = messages(services)
    receipt = accept_message(body, services)
    assert receipt
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 4)
    assert (open_entries(services), messages(services)) == ([], [])


def test_a_run_that_shows_signs_of_life_is_left_alone(services) -> None:
    """A long run that says now and then how far it is counts as alive, however long ago it began."""
    run_id = die(services)
    entry = services.open_runs.find(begin(JOB, services))
    assert services.open_runs.sweep(entry, 3)
    services.receipts.report(run_id, {"rows_read": 5})
    assert sweep(services, later(14)) == 0
    assert sweep(services, later(16)) == 1  # not four times as long: it has lived since it was last swept
    found = services.open_runs.find(begin(JOB, services))
    assert found.sweeps == 1


def test_a_run_of_which_nothing_comes_is_given_up(services) -> None:
    """Each sweep waits twice as long as the one before; after the last the run fails, and an event says so."""
    run_id = die(services)
    for sweeps, minutes in enumerate((15, 30, 60, 120, 240)):
        assert sweep(services, later(minutes - 1)) == 0, sweeps
        assert sweep(services, later(minutes + 1)) == 1, sweeps
        assert len(messages(services)) == 1
        assert services.receipts.find(run_id) is None
    assert sweep(services, later(481)) == 1
    receipt = services.receipts.get(run_id)
    assert receipt.error
    assert receipt.error["code"] == "retries_exhausted"
    assert [json.loads(body)["id"] for body in messages(services, "scoring-events")] == [f"{run_id}-given-up"]
    assert (open_entries(services), messages(services)) == ([], [])


def test_a_run_that_died_behind_its_receipt_is_finished(services) -> None:
    """Its event is sent and its entry removed, if no delivery has done that."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(JOB, services)).run
    receipt = services.receipts.record(write_up(run, datetime.now(UTC), output=OUTPUT))
    assert sweep(services, later(16)) == 1
    assert [json.loads(body)["id"] for body in messages(services, "scoring-events")] == [receipt.run_id]
    assert (open_entries(services), messages(services)) == ([], [])


def test_a_fault_that_nobody_foresaw_stops_no_other_run(services) -> None:
    """What breaks at one run, whatever it is, is raised once the others have been looked after."""
    die(services)
    other = BlobPath("incoming", "churn/b.csv")
    services.blobs.write(other, GOOD)
    services.open_runs.open(begin(replace(JOB, input=other), services))
    first, second = (services.open_runs.read(blob).run for blob in services.open_runs.list())

    class Breaking:
        def __getattr__(self, name: str):
            return getattr(services.blobs, name)

        def list(self, container: str, prefix: str = "", **options):
            if prefix == f"{first.id}/":
                raise ZeroDivisionError
            return services.blobs.list(container, prefix, **options)

    with pytest.raises(ZeroDivisionError):
        sweep(replace(services, blobs=Breaking()), later(16))
    [body] = messages(services)
    assert json.loads(body)["input"] == str(second.job.input)


def test_a_run_without_an_input_is_ended_at_once(services) -> None:
    """Its job would be of another run, were there an input by now: so no message is sent."""
    run = services.open_runs.open(begin(JOB, services)).run
    services.blobs.write(INPUT, GOOD)
    assert sweep(services, later(16)) == 1
    receipt = services.receipts.get(run.id)
    assert receipt.error
    assert receipt.error["code"] == "blob_not_found"
    assert (open_entries(services), messages(services)) == ([], [])


def test_a_job_for_whichever_version_is_not_lost_with_the_one_it_had(services) -> None:
    """Where the input was replaced meanwhile, the newer version is scored too: no other job may be for it."""
    old = die(services)
    services.blobs.write(INPUT, GOOD + b"4,1,1,true,pro\n")
    assert sweep(services, later(16)) == 1
    [first] = [accept_message(body, services) for body in messages(services)]
    assert (first.run_id, first.status) == (old, "superseded")
    [second] = [accept_message(body, services) for body in messages(services)]
    assert (second.status, second.rows["read"]) == ("succeeded", 4)
    assert open_entries(services) == []


def in_splits(fleet: Fleet) -> tuple[str, list[str]]:
    """Plan a run in splits; return its id and the messages that were sent for them."""
    assert accept_message(fleet.drop("a.csv", FILE).to_json(), fleet.services) is None
    sent = fleet.services.queues.sent("scoring-splits")
    fleet.delivered["scoring-splits"] = len(sent)
    return json.loads(sent[0])["run_id"], sent


def test_splits_whose_messages_were_lost_are_sent_again(fleets) -> None:
    """Only those that are not scored yet; a marker is a sign of life of the whole run."""
    fleet = fleets(split_bytes=1000)
    run_id, sent = in_splits(fleet)
    accept_split(sent[1], fleet.services)
    assert sweep(fleet.services, later(14)) == 0
    assert sweep(fleet.services, later(16)) == 1
    assert fleet.services.queues.sent("scoring-splits")[len(sent) :] == [sent[0], *sent[2:]]
    assert (fleet.work().run_id, open_entries(fleet.services)) == (run_id, [])


def test_splits_that_nobody_put_together_are(fleets) -> None:
    """Where the last worker died behind its marker, the sweeper finishes the run by itself."""
    fleet = fleets(split_bytes=1000)
    run_id, sent = in_splits(fleet)
    *others, last = sent
    for message in others:
        accept_split(message, fleet.services)

    def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accept_split(last, interrupt(fleet.services, "commit_blocks", OUTPUT, killed))
    assert sweep(fleet.services, later(16)) == 1
    receipt = fleet.services.receipts.get(run_id)
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 200)
    assert open_entries(fleet.services) == []


def test_a_run_in_splits_of_which_nothing_comes_is_given_up(fleets) -> None:
    """After so many sweeps without a further marker, and not before, whatever was scored of it."""
    fleet = fleets(split_bytes=1000, max_sweeps=1)
    run_id, sent = in_splits(fleet)
    assert sweep(fleet.services, later(16)) == 1
    accept_split(sent[0], fleet.services)
    assert sweep(fleet.services, later(16)) == 1
    assert fleet.services.receipts.find(run_id) is None
    assert sweep(fleet.services, later(31)) == 1
    assert fleet.services.receipts.get(run_id).error["code"] == "retries_exhausted"
    assert open_entries(fleet.services) == []
    assert list(fleet.services.blobs.list("scored")) == []


def test_of_two_sweepers_one_sends(services) -> None:
    """Each machine has a timer: who changes the entry first sends the message."""
    die(services)
    [entry] = open_entries(services)
    twice = interrupt(services, "write", BlobPath("runs", entry), lambda: sweep(services, later(16)) and None)
    sweep(twice, later(16))
    assert len(messages(services)) == 1


def test_one_entry_that_cannot_be_looked_after_does_not_keep_the_others(services) -> None:
    """The fault is raised at the end, for the host's log."""
    die(services)
    services.blobs.write(BlobPath("incoming", "churn/b.csv"), GOOD)
    other = replace(JOB, input=BlobPath("incoming", "churn/b.csv"))
    services.open_runs.open(begin(other, services))
    first, _ = open_entries(services)

    def fail() -> None:
        raise StorageUnavailableError("the service is busy")

    with pytest.raises(StorageUnavailableError):
        sweep(interrupt(services, "poll", BlobPath("runs", first), fail), later(16))
    assert len(messages(services)) == 1
    services.blobs.write(BlobPath("runs", "_open/0.json"), b"{}")
    with pytest.raises(MessageInvalidError, match="delete it"):
        sweep(services, later(60))
    assert len(messages(services)) == 2
