"""Writes whose answer is lost, and processes that die, at each single write of a run: what is left is made good."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from errors import DropscoreError, StorageUnavailableError
from scoring.entering import enter
from scoring.intake import accept_message
from scoring.job import Job
from scoring.receipt import Receipt, Receipts
from scoring.runs import describe_run, submit
from scoring.services import Services
from scoring.splits.worker import accept_split
from storage import BlobPath
from tests.memory_store import MemoryBlobStore, MemoryQueueStore
from tests.scoring.test_csv import GOOD, HEADER

INPUT = BlobPath("incoming", "churn/a.csv")
WRITES = ("write", "stage_block", "commit_blocks", "delete", "send")
DATA = GOOD + b"4,x,1,true,pro\n"
OLDER = HEADER + b"9,1,1,true,pro\n8,x,1,true,pro\n"
JOBS = {
    "scored, some rejected": json.dumps({"input": str(INPUT), "model": "churn", "error_threshold": -1}),
    "too many rejected": json.dumps({"input": str(INPUT), "model": "churn", "error_threshold": 0}),
    "failed": json.dumps({"input": str(INPUT), "model": "churn", "keep": ["nope"]}),
}

ACCEPTS = {"scoring-jobs": accept_message, "scoring-splits": accept_split}

Write = Callable[[], Any]


def dies_before(_write: Write) -> None:
    """Die, or be turned away, before the write is done."""
    raise StorageUnavailableError("the connection was refused")


def dies_after(write: Write) -> None:
    """Write, and never get the answer."""
    write()
    raise StorageUnavailableError("the connection was reset")


def sent_again(write: Write) -> Any:
    """Write, lose the answer, and send the request again, as the SDK does by itself."""
    write()
    return write()


@dataclass
class Faulty:
    """A store whose write number `at`, over all its methods, meets a fault; the others are counted only."""

    store: Any
    counter: "Counter"

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.store, name)
        if name not in WRITES:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            return self.counter.count(f"{name} {arguments[0]}", lambda: real(*arguments, **options))

        return call


@dataclass
class Counter:
    """What all the stores of one process share."""

    at: int
    fault: Callable[[Write], Any]
    writes: list[str] = field(default_factory=list)

    def count(self, name: str, write: Write) -> Any:
        self.writes.append(name)
        return self.fault(write) if len(self.writes) == self.at else write()


@dataclass
class World:
    """A storage account in memory, and processes that work on it one after the other."""

    services: Services
    blobs: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    queues: MemoryQueueStore = field(default_factory=MemoryQueueStore)

    def process(self, at: int = 0, fault: Callable[[Write], Any] = dies_before) -> tuple[Services, Counter]:
        counter = Counter(at, fault)
        blobs: Any = Faulty(self.blobs, counter)
        queues: Any = Faulty(self.queues, counter)
        return replace(self.services, blobs=blobs, queues=queues, receipts=Receipts(blobs, "runs")), counter

    def deliver(self, body: str, services: Services, on: str = "scoring-jobs") -> Receipt:
        """Deliver a message, and those that it leads to, each until it is done with; return the last receipt."""
        waiting, last = [(ACCEPTS[on], body)], None
        sent = {queue: len(self.queues.sent(queue)) for queue in ACCEPTS}
        while waiting:
            accept, message = waiting.pop(0)
            try:
                last = accept(message, services) or last
            except DropscoreError as error:
                assert error.retryable  # any other would be a fault of ours
                waiting.append((accept, message))
            for queue, acceptor in ACCEPTS.items():
                new = self.queues.sent(queue)[sent[queue] :]
                waiting += [(acceptor, message) for message in new]
                sent[queue] += len(new)
        assert last
        return last

    def state(self) -> dict[str, Any]:
        """Return what users see at the end: results, rejects, and receipts without their times."""
        seen: dict[str, Any] = {}
        for container in ("scored", "rejected"):
            seen |= {str(blob.path): self.blobs.read(blob.path) for blob in self.blobs.list(container)}
        names = [blob.path.name for blob in self.blobs.list("runs")]
        for name in names:
            if name.endswith("/receipt.json"):
                receipt = json.loads(self.blobs.read(BlobPath("runs", name)))
                seen[name] = {key: receipt[key] for key in ("status", "rows", "output", "rejects", "error")}
        seen["open"] = [name for name in names if name.startswith("_open/")]
        return seen

    def events(self) -> list[str]:
        return [json.loads(body)["id"] for body in self.queues.sent("scoring-events")]


@pytest.fixture
def world(services: Services) -> Callable[..., World]:
    def make(split_bytes: int = 0) -> World:
        made = World(replace(services, settings=replace(services.settings, split_bytes=split_bytes)))
        made.blobs.write(INPUT, OLDER)
        quiet, _ = made.process()
        made.deliver(JOBS["scored, some rejected"], quiet)
        made.blobs.next_version(1000)  # however often that run wrote how far it was: runs have their ids of it
        made.blobs.write(INPUT, DATA)
        made.queues.clear()
        return made

    return make


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("fault", [dies_before, dies_after, sent_again])
@pytest.mark.parametrize("split_bytes", [0, 30], ids=["whole", "in splits"])
def test_a_fault_at_any_write_leaves_no_trace(
    world, job: str, fault: Callable[[Write], Any], split_bytes: int
) -> None:
    """Whichever write of a run meets the fault, redelivery ends in the same result, receipt and event."""
    undisturbed = world(split_bytes)
    services, counter = undisturbed.process()
    undisturbed.deliver(JOBS[job], services)
    expected = undisturbed.state()
    assert expected["open"] == []
    assert len(undisturbed.events()) == 1
    assert len(counter.writes) >= 6
    assert len(undisturbed.queues.sent("scoring-splits")) == (3 if split_bytes and job != "failed" else 0)
    versions = [int(undisturbed.blobs.stat(INPUT).etag.removeprefix("v"))]
    for number, name in enumerate(counter.writes, 1):
        broken = world(split_bytes)
        services, _ = broken.process(number, fault)
        broken.deliver(JOBS[job], services)
        assert broken.state() == expected, name
        assert set(broken.events()) == set(undisturbed.events()), name
        versions.append(int(broken.blobs.stat(INPUT).etag.removeprefix("v")))
    assert len(set(versions)) == 1  # or the runs would not be the same


@pytest.mark.parametrize("fault", [dies_before, dies_after, sent_again])
@pytest.mark.parametrize("split_bytes", [0, 30], ids=["whole", "in splits"])
def test_a_fault_at_the_end_of_a_superseded_run_loses_no_newer_version(
    world, fault: Callable[[Write], Any], split_bytes: int
) -> None:
    """A job for whichever version is current is queued anew for the newer one, whichever write meets the fault."""

    def replaced() -> tuple[World, str, str]:
        """Begin a run, which dies, and replace its input; return what is delivered then, and on which queue."""
        made = world(split_bytes)
        services, _ = made.process()
        run = enter(Job.from_json(JOBS["scored, some rejected"]), services).run
        queue, body = "scoring-jobs", run.job.to_json()  # as the sweeper sends it again
        if split_bytes:
            assert accept_message(body, services) is None
            queue, body = "scoring-splits", made.queues.sent("scoring-splits")[0]
        made.blobs.write(INPUT, DATA + b"5,2,2,true,pro\n")
        made.queues.clear()
        return made, queue, body

    made, queue, body = replaced()
    services, counter = made.process()
    assert made.deliver(body, services, queue).rows["read"] == 5
    expected = made.state()
    statuses = [seen["status"] for name, seen in expected.items() if name.endswith("/receipt.json")]
    assert sorted(statuses) == ["succeeded", "succeeded", "superseded"]  # the first is of the older version yet
    for number, name in enumerate(counter.writes, 1):
        broken, queue, body = replaced()
        services, _ = broken.process(number, fault)
        broken.deliver(body, services, queue)
        assert broken.state() == expected, name


@pytest.mark.parametrize("fault", [dies_before, dies_after, sent_again])
def test_a_submission_that_meets_a_fault_is_queued_all_the_same(world, fault: Callable[[Write], Any]) -> None:
    """Whichever write meets it, and asked for again where that failed: its message is there, and its id known."""
    made, job = world(), Job.from_json(JOBS["scored, some rejected"])
    services, counter = made.process()
    submit(job, services)
    assert len(made.queues.sent("scoring-jobs")) == 1
    for number, name in enumerate(counter.writes, 1):
        broken = world()
        services, _ = broken.process(number, fault)
        try:
            run = submit(job, services).run
        except StorageUnavailableError:
            run = submit(job, services).run
        assert describe_run(run.id, services)["status"] == "queued", name
        bodies = broken.queues.sent("scoring-jobs")
        assert bodies, name
        for body in bodies:
            assert broken.deliver(body, services).run_id == run.id, name


def test_a_crash_before_the_event_is_made_good_by_the_next_delivery(world) -> None:
    """A receipt alone ends no run: whoever finds it with an open entry sends the event and removes that."""
    made = world()
    services, counter = made.process()
    receipt = made.deliver(JOBS["failed"], services)
    at = next(n for n, name in enumerate(counter.writes, 1) if name == "send scoring-events")
    made = world()
    services, _ = made.process(at, dies_before)
    with pytest.raises(StorageUnavailableError):
        accept_message(JOBS["failed"], services)
    assert made.events() == []
    assert len(made.state()["open"]) == 1
    again = accept_message(JOBS["failed"], services)
    assert again == services.receipts.get(receipt.run_id)
    assert made.events() == [receipt.run_id]
    assert made.state()["open"] == []


@pytest.mark.parametrize("job", JOBS)
def test_a_duplicate_that_comes_after_the_end_changes_nothing(world, job: str) -> None:
    """Not a single write, and no second event: there is only looked."""
    made = world()
    quiet, _ = made.process()
    receipt = made.deliver(JOBS[job], quiet)
    late, counter = made.process()
    assert made.deliver(JOBS[job], late) == receipt
    assert counter.writes == []


def test_a_slow_twin_leaves_a_later_result_alone(world) -> None:
    """Where its run has ended and another's result has followed, a late commit looks at the receipt and stops."""
    made, other = world(), json.loads(JOBS["scored, some rejected"]) | {"keep": "none"}
    quiet, _ = made.process()
    slow, counter = made.process(at=7)
    seen: dict[str, Any] = {}

    def meanwhile(write: Write) -> Any:
        made.deliver(JOBS["scored, some rejected"], quiet)
        made.deliver(json.dumps(other), quiet)
        seen.update(made.state())
        return write()

    counter.fault = meanwhile
    receipt = made.deliver(JOBS["scored, some rejected"], slow)
    assert counter.writes[6] == "commit_blocks rejected/churn/a.csv"
    assert receipt.status == "succeeded"
    assert made.state() == seen
    assert len(made.events()) == 2
