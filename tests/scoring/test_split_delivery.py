"""Splits under at-least-once delivery: duplicates, any order, many workers at once, lost blocks, early ends."""

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from errors import ConditionFailedError, MessageInvalidError, RunCancelledError, StorageUnavailableError
from scoring.ending import end_run
from scoring.intake import accept_message
from scoring.pipeline import run_job
from scoring.receipt import write_up
from scoring.runs import list_runs, replay
from scoring.splits.finish import MOST_ATTEMPTS
from scoring.splits.markers import Markers
from scoring.splits.plan import Plans
from scoring.splits.worker import accept_split, give_up_split
from storage import BlobPath
from tests.memory_store import MemoryBlobStore
from tests.scoring.test_csv import HEADER
from tests.scoring.test_pipeline import interrupt
from tests.split_runs import Fleet, score_whole

ROWS = b"".join(b"%d,20,%s,true,basic\n" % (row, b"x" if row % 20 == 3 else b"3") for row in range(200))
FILE = HEADER + ROWS
OUTPUT = BlobPath("scored", "churn/a.csv")


def planned(fleet: Fleet, data: bytes = FILE, **options) -> tuple[str, list[str]]:
    """Drop a file and plan its run; return the run's id and the messages of its splits."""
    assert accept_message(fleet.drop("a.csv", data, **options).to_json(), fleet.services) is None
    messages = fleet.services.queues.sent("scoring-splits")
    fleet.delivered = {"scoring-splits": len(messages)}
    return json.loads(messages[0])["run_id"], messages


def receipts(fleet: Fleet) -> list[str]:
    names = [blob.path.name for blob in fleet.services.blobs.list("runs")]
    return [name for name in names if name.endswith("receipt.json")]


@pytest.mark.parametrize("times", [1, 2, 10])
def test_messages_may_come_in_any_order_and_often(fleets, times: int) -> None:
    """Reordered, each delivered so many times, the job's own too, they end in the same result and one event."""
    fleet = fleets(split_bytes=500)
    job = fleet.drop("a.csv", FILE)
    for _ in range(times):
        fleet.services.queues.send("scoring-jobs", job.to_json())
    receipt = fleet.work(times, random.Random(times))  # noqa: S311  # an order, no secret
    whole, result, rejects = score_whole(fleet.services, job)
    assert receipt.rows == whole.rows
    assert (fleet.result(receipt), fleet.rejects(receipt)) == (result, rejects)
    assert receipts(fleet) == [f"{receipt.run_id}/receipt.json"]
    assert len(fleet.services.queues.sent("scoring-events")) == 1
    assert list(fleet.services.open_runs.list()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_many_workers_on_every_split_at_once(fleets, parquet, name: str) -> None:
    """Eight workers that score all splits at once, each in its own order, finish one run with one result."""
    fleet = fleets(split_bytes=500, split_rows=50)
    data = FILE
    if name.endswith("parquet"):
        from tests.scoring.test_split_tables import table

        data = parquet(table(200, bad=20), row_group_size=25)
    job = fleet.drop(name, data)
    assert accept_message(job.to_json(), fleet.services) is None
    messages = fleet.services.queues.sent("scoring-splits")
    together = Barrier(8)

    def work(seed: int) -> None:
        together.wait()
        for message in random.Random(seed).sample(messages, len(messages)):  # noqa: S311  # the same
            accept_split(message, fleet.services)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    run_id = json.loads(messages[0])["run_id"]
    receipt = fleet.services.receipts.get(run_id)
    whole, result, _ = score_whole(fleet.services, job)
    assert (receipt.status, receipt.rows) == ("succeeded", whole.rows)
    if name == "a.csv":
        assert fleet.result(receipt) == result
    assert receipts(fleet) == [f"{run_id}/receipt.json"]
    assert list(fleet.services.open_runs.list()) == []


def test_blocks_dropped_by_a_run_with_other_options(fleets) -> None:
    """Two runs of one version of a file may share a result's path: the one that is cut short stages all anew."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    for message in messages[:-1]:
        assert accept_split(message, fleet.services) is None
    plan = Plans(fleet.services.blobs, "runs").find(run_id)
    assert plan
    other = replace(plan.run.job, options=replace(plan.run.job.options, keep="none"))
    assert run_job(other, fleet.services).status == "succeeded"
    assert accept_split(messages[-1], fleet.services) is None
    assert Markers(fleet.services.blobs, "runs", run_id).latest() == (0, set(range(len(messages))))
    receipt = fleet.work()
    _, result, rejects = score_whole(fleet.services, plan.run.job)
    assert (receipt.run_id, receipt.status) == (run_id, "succeeded")
    assert (fleet.result(receipt), fleet.rejects(receipt)) == (result, rejects)
    assert Markers(fleet.services.blobs, "runs", run_id).latest() == (1, set(range(len(messages))))


class Forgetful:
    """A blob store in which, each time, somebody else's commit has just dropped the blocks of the result."""

    def __init__(self, blobs: MemoryBlobStore) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def commit_blocks(self, path: BlobPath, block_ids: Sequence[str], **options: Any) -> str:
        if path == OUTPUT:
            self._blobs._staged = {key: data for key, data in self._blobs._staged.items() if key[0] != path}
        return self._blobs.commit_blocks(path, block_ids, **options)


def test_a_run_whose_blocks_are_dropped_again_and_again_ends(fleets) -> None:
    """After so many attempts, each of all splits, the run fails, and says why."""
    fleet = fleets(split_bytes=1000)
    fleet.services = replace(fleet.services, blobs=Forgetful(fleet.services.blobs))
    receipt = fleet.score("a.csv", FILE)
    assert receipt.error
    assert receipt.error["code"] == "retries_exhausted"
    plan = Plans(fleet.services.blobs, "runs").find(receipt.run_id)
    assert plan
    assert fleet.delivered["scoring-splits"] == MOST_ATTEMPTS * len(plan.splits)
    assert fleet.rejects(receipt) is None
    assert [blob.path for blob in fleet.services.blobs.list("rejected")] == []


def test_an_input_replaced_between_two_splits_ends_the_run(fleets) -> None:
    """The next split finds another version: the run is superseded, and what other splits staged is never seen."""
    fleet = fleets(split_bytes=1000)
    _, messages = planned(fleet)
    accept_split(messages[0], fleet.services)
    newer = fleet.drop("a.csv", HEADER + ROWS[:30])
    receipt = accept_split(messages[1], fleet.services)
    assert receipt
    assert receipt.status == "superseded"
    assert accept_split(messages[2], fleet.services) == receipt
    assert list(fleet.services.blobs.list("scored")) == []
    assert len(fleet.services.queues.sent("scoring-jobs")) == 0
    assert accept_message(newer.to_json(), fleet.services).status == "succeeded"  # type: ignore[union-attr]  # it is small


@pytest.mark.parametrize("when", ["scanned", "scored"])
def test_a_job_for_the_current_version_is_begun_anew_when_that_changes(fleets, when: str) -> None:
    """A job that names no version, replaced while its splits are made or scored, is queued for the newer one."""
    fleet = fleets(split_bytes=1000, block_bytes=500, scan_seconds=0)
    job = replace(fleet.drop("a.csv", FILE), etag=None)
    assert accept_message(job.to_json(), fleet.services) is None
    if when == "scored":
        while not fleet.services.queues.sent("scoring-splits"):
            for accept, message in fleet.messages():
                accept(message, fleet.services)
    fleet.drop("a.csv", HEADER + b"1,20,3,true,basic\n" * 70)
    assert fleet.work().rows["read"] == 70
    statuses = {json.loads(fleet.services.blobs.read(BlobPath("runs", name)))["status"] for name in receipts(fleet)}
    assert statuses == {"succeeded", "superseded"}


def test_a_permanent_fault_in_a_split_ends_the_run(fleets) -> None:
    """What is wrong in the last split fails the whole run, and says in which row of the file."""
    fleet = fleets(split_bytes=1000)
    receipt = fleet.score("a.csv", FILE + b'1,20,3,true,"never closed\n')
    whole, _, _ = score_whole(fleet.services, fleet.drop("a.csv", FILE + b'1,20,3,true,"never closed\n'))
    assert receipt.error == whole.error
    assert receipt.error
    assert receipt.error["row"] == 201
    assert list(fleet.services.blobs.list("scored")) == []


def test_a_passing_fault_is_raised_and_the_split_is_scored_by_the_next(fleets) -> None:
    """What a retry can mend leaves no marker and no receipt; the message comes again."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)

    def fail() -> None:
        raise StorageUnavailableError("the service is busy")

    with pytest.raises(StorageUnavailableError):
        accept_split(messages[0], interrupt(fleet.services, "stage_block", OUTPUT, fail))
    assert Markers(fleet.services.blobs, "runs", run_id).latest() == (0, set())
    for message in messages:
        receipt = accept_split(message, fleet.services)
    assert receipt
    assert receipt.status == "succeeded"


def test_a_worker_that_died_before_the_end_is_replaced_by_the_next_delivery(fleets) -> None:
    """All markers are there and no receipt: whoever is told of any split, or of the job, finishes the run."""
    for again in ("split", "job"):
        fleet = fleets(split_bytes=1000)
        run_id, messages = planned(fleet)

        def die() -> None:
            raise StorageUnavailableError("killed here")

        for message in messages[:-1]:
            accept_split(message, fleet.services)
        with pytest.raises(StorageUnavailableError):
            accept_split(messages[-1], interrupt(fleet.services, "commit_blocks", OUTPUT, die))
        plan = Plans(fleet.services.blobs, "runs").find(run_id)
        assert plan
        if again == "split":
            receipt = accept_split(messages[0], fleet.services)
        else:
            receipt = accept_message(plan.run.job.to_json(), fleet.services)
        assert receipt
        assert (receipt.run_id, receipt.status) == (run_id, "succeeded")


def test_a_worker_that_died_behind_the_receipt_is_replaced_too(fleets) -> None:
    """The receipt is there, but no event, and the run's entry still is: the split's next delivery mends that."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    for message in messages[:-1]:
        accept_split(message, fleet.services)

    class Dying:
        def send(self, *_arguments: Any) -> None:
            raise StorageUnavailableError("killed here")

    with pytest.raises(StorageUnavailableError):
        accept_split(messages[-1], replace(fleet.services, queues=Dying()))
    receipt = fleet.services.receipts.get(run_id)
    assert len(list(fleet.services.open_runs.list())) == 1
    assert [accept_split(messages[-1], fleet.services) for _ in range(2)] == [receipt, receipt]
    assert len(fleet.services.queues.sent("scoring-events")) == 1
    assert list(fleet.services.open_runs.list()) == []


def test_a_plan_that_is_on_its_way_is_waited_for(fleets) -> None:
    """Storage may say that a blob exists before it can be read: the file is scored in splits all the same."""
    fleet = fleets(split_bytes=1000)

    class Slow(Forgetful):
        """A store that refuses the first plan, as somebody else's is about to be there."""

        def write(self, path: BlobPath, data: bytes, **options: Any) -> str:
            if path.name.endswith("/plan.json") and not refused:
                refused.append(path)
                raise ConditionFailedError(f"{path} exists already")
            return self._blobs.write(path, data, **options)

    refused: list[BlobPath] = []
    fleet.services = replace(fleet.services, blobs=Slow(fleet.services.blobs))
    planned(fleet)
    assert len(refused) == 1


def test_a_job_delivered_again_sends_no_message_twice(fleets) -> None:
    """Large files cost much: what was sent is sent again by the sweeper alone, or if the sending was cut short."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    plan = Plans(fleet.services.blobs, "runs").find(run_id)
    assert plan
    assert accept_message(plan.run.job.to_json(), fleet.services) is None
    assert fleet.services.queues.sent("scoring-splits") == messages
    accept_split(messages[1], fleet.services)
    fleet.services.blobs.delete(BlobPath("runs", f"{run_id}/sent.json"))
    assert accept_message(plan.run.job.to_json(), fleet.services) is None
    sent = fleet.services.queues.sent("scoring-splits")[len(messages) :]
    assert sent == [message for message in messages if message != messages[1]]
    assert fleet.work().status == "succeeded"


def test_the_job_of_a_run_that_was_given_up_may_be_sent_again(fleets) -> None:
    """Its splits that are not scored get their messages, and it ends under the same run id."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    plan = Plans(fleet.services.blobs, "runs").find(run_id)
    assert plan
    accept_split(messages[0], fleet.services)
    give_up_split(messages[1], fleet.services)
    fleet.services.queues.send("scoring-jobs", plan.run.job.to_json())
    receipt = fleet.work()
    assert (receipt.run_id, receipt.status) == (run_id, "succeeded")
    assert fleet.delivered["scoring-splits"] == 2 * len(messages) - 1


def test_a_cancelled_run_is_left_by_its_splits(fleets) -> None:
    """Once a run has ended otherwise, its splits find that and do nothing."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    plan = Plans(fleet.services.blobs, "runs").find(run_id)
    assert plan
    cancelled = end_run(
        write_up(plan.run, plan.started, error=RunCancelledError("cancelled by hand")), plan.run, fleet.services
    )
    for message in messages:
        assert accept_split(message, fleet.services) == cancelled
    assert list(fleet.services.blobs.list("scored")) == []
    assert Markers(fleet.services.blobs, "runs", run_id).latest() == (0, set())


def test_a_run_cancelled_while_a_split_is_scored(fleets) -> None:
    """A run that ends just before the commit of its last split is not put up any more."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    plan = Plans(fleet.services.blobs, "runs").find(run_id)
    assert plan

    def cancel() -> None:
        error = RunCancelledError("cancelled by hand")
        end_run(write_up(plan.run, plan.started, error=error), plan.run, fleet.services)

    for message in messages[:-1]:
        accept_split(message, fleet.services)
    receipt = accept_split(messages[-1], interrupt(fleet.services, "stage_block", OUTPUT, cancel))
    assert receipt
    assert receipt.status == "cancelled"
    assert list(fleet.services.blobs.list("scored")) == []


def test_a_split_that_fails_at_every_try_ends_its_run(fleets) -> None:
    """The poison queue's handler writes the failed receipt, once; a run that has ended keeps its own."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    receipt = give_up_split(messages[2], fleet.services)
    assert receipt
    assert receipt.error
    assert (receipt.run_id, receipt.error["code"]) == (run_id, "retries_exhausted")
    assert "split 2 of" in receipt.error["message"]
    done = fleets(split_bytes=1000)
    succeeded = done.score("a.csv", FILE)
    assert give_up_split(done.services.queues.sent("scoring-splits")[0], done.services) == succeeded


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "{}", "null", "[" * 60_000, b"\xff", '{"run_id": 1, "split": 0}',
        '{"run_id": "../x", "split": 0}', '{"run_id": "' + "0" * 2000 + '", "split": 0}',
        '{"run_id": "00", "split": 0}', '{"run_id": "00", "split": -1}', '{"run_id": "00", "split": true}',
        '{"run_id": "00", "split": 0, "more": 1}',
    ],
)  # fmt: skip
def test_a_message_that_points_at_nothing_is_refused(fleets, body) -> None:
    """What is no pointer, or one at no run, gets a receipt that says so: no try would make it one."""
    services = fleets().services
    receipt = accept_split(body, services)
    assert receipt
    assert receipt.error
    assert receipt.status == "failed"
    assert receipt.error["code"] in ("message_invalid", "run_not_found")
    assert receipt.input["message"]["bytes"] == len(body)
    assert give_up_split(body, services) == receipt
    assert services.receipts.get(receipt.run_id) == receipt
    assert [run.run_id for run in list_runs(services)] == [receipt.run_id]
    events = [json.loads(event) for event in services.queues.sent("scoring-events")]
    assert {event["id"] for event in events} == {receipt.run_id}
    with pytest.raises(MessageInvalidError, match="never became a job"):
        replay(receipt.run_id, services)


def test_the_splits_of_a_run_whose_records_are_gone(fleets) -> None:
    """All of them have one receipt; where only the plan is gone and the run has ended, its own."""
    fleet = fleets(split_bytes=1000)
    run_id, messages = planned(fleet)
    blobs = fleet.services.blobs
    plan = blobs.read(BlobPath("runs", f"{run_id}/plan.json"))
    blobs.delete(BlobPath("runs", f"{run_id}/plan.json"))
    lost = [accept_split(message, fleet.services) for message in messages]
    assert {receipt.run_id for receipt in lost} != {run_id}
    assert len({receipt.run_id for receipt in lost}) == 1
    blobs.write(BlobPath("runs", f"{run_id}/plan.json"), plan)
    beyond = accept_split(json.dumps({"run_id": run_id, "split": len(messages)}), fleet.services)
    assert (beyond.error["code"], beyond.run_id == run_id) == ("message_invalid", False)
    done = [accept_split(message, fleet.services) for message in messages][-1]
    assert (done.run_id, done.status) == (run_id, "succeeded")
    blobs.delete(BlobPath("runs", f"{run_id}/plan.json"))
    assert accept_split(messages[0], fleet.services) == done
