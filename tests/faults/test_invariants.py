"""The checker of the fault harness can fail: a broken protocol, and all that may be left behind, is noticed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from storage import BlobPath, Storage
from tests.faults import broken
from tests.faults.changes import Overwrite
from tests.faults.invariants import Promise, violations
from tests.faults.lab import Lab, Site
from tests.faults.recorder import Strike, read_log
from tests.faults.scenes import PLAIN
from tests.faults.watcher import Watcher


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give a lab whose sites are folders."""
    with Lab() as opened:
        yield opened


@dataclass(frozen=True)
class Tried:
    """A plain run that is over, and its message delivered once more."""

    site: Site
    watched: Watcher
    promise: Promise

    def violations(self) -> list[str]:
        self.watched.look()
        return violations(self.site, self.watched, self.promise)

    def edit_receipt(self, **changes: Any) -> None:
        (path,) = (
            blob.path for blob in self.site.storage.blobs.list("runs") if blob.path.name.endswith("receipt.json")
        )
        record = json.loads(self.site.storage.blobs.read(path)) | changes
        self.site.storage.blobs.write(path, json.dumps(record).encode())


@pytest.fixture
def run(lab: Lab) -> Callable[..., Tried]:
    """Give a function that runs the plain scene with one worker, which may be broken or struck."""

    def tried(**what: Any) -> Tried:
        site = lab.open(PLAIN, "folder")
        whole = lab.whole(PLAIN, PLAIN.content)
        etag, body = site.drop(PLAIN.content)
        site.send(body)
        with Watcher(site) as watched:
            again = [(site.settings.jobs_queue, body)]
            site.run(site.task(again=again, **what))
            site.run(site.task(again=again))
        return Tried(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=PLAIN.content))

    return tried


def call_of(run: Callable[..., Tried], begins: str, ends: str = "") -> int:
    """Return the number of the last such call of an undisturbed run."""
    told = [(line["call"], line["what"]) for line in read_log(run().site.logs[0]) if "what" in line]
    return max(number for number, what in told if what.startswith(begins) and what.endswith(ends))


@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        (broken.half_written, "a reader saw"),
        (broken.doubled, "in the end there is"),
        (broken.forgetful, "receipt.json was written 2 times"),
    ],
    ids=["half-written", "doubled", "forgetful"],
)
def test_a_broken_protocol_is_noticed(
    run: Callable[..., Tried], sabotage: Callable[[Storage], Storage], said: str
) -> None:
    """A result seen in part, a block committed twice and a receipt written twice are violations."""
    assert any(said in violation for violation in run(sabotage=sabotage).violations())


def test_a_receipt_before_its_result_is_noticed(run: Callable[..., Tried]) -> None:
    """A worker that writes its receipt first, and is killed then, leaves a receipt for nothing."""
    # such a worker is two commits ahead with its receipt: it makes neither before
    strike = Strike(call_of(run, "write runs/", "receipt.json") - 2, after=True)
    found = run(sabotage=broken.receipt_first, strike=strike).violations()
    assert any("said succeeded while there was no result" in violation for violation in found)


def test_mixed_versions_are_noticed(lab: Lab, run: Callable[..., Tried]) -> None:
    """A worker that reads half of one version of its input and half of the next writes what no run may."""
    last = call_of(run, "read incoming/")
    site = lab.open(PLAIN, "folder")
    wholes = [lab.whole(PLAIN, content) for content in (PLAIN.content, PLAIN.newer)]
    older, body = site.drop(PLAIN.content)
    site.send(body)
    strike = Strike(last, after=False, act=Overwrite(PLAIN, site.input, site.settings.jobs_queue))
    with Watcher(site) as watched:
        site.run(site.task(strike=strike, sabotage=broken.careless))
    newer = site.storage.blobs.stat(site.input).etag
    ends = {"succeeded", "superseded"}
    promise = Promise(wholes, wholes, {older: ends, newer: ends}, input=PLAIN.newer)
    assert any("of no whole run" in violation for violation in violations(site, watched, promise))


def test_an_undisturbed_run_breaks_nothing_and_what_is_left_behind_is_noticed(run: Callable[..., Tried]) -> None:
    """Messages, open entries, runs without an end, wrong sums and a changed input are each a violation."""
    tried = run()
    assert tried.violations() == []
    assert tried.watched.looks > 1
    blobs = tried.site.storage.blobs

    def found(said: str) -> bool:
        return any(said in violation for violation in tried.violations())

    tried.site.send("{}")
    assert found("1 messages are left on scoring-jobs")
    blobs.write(BlobPath("runs", "_open/abc.json"), b"{}")
    assert found("an open entry is left")
    blobs.write(BlobPath("runs", "abc/plan.json"), b"{}")
    assert found("run abc has begun and never ended")
    blobs.write(tried.site.input, PLAIN.newer)
    assert found("the input is not what was dropped")
    tried.site.storage.queues.send("scoring-events", json.dumps({"id": "abc", "type": "dropscore.run.succeeded"}))
    assert found("an event says that run abc has")
    assert found("no event says that run")
    blobs.delete(tried.site.rejects)
    assert found("of no whole run")
    tried.edit_receipt(rows={"read": 60, "scored": 58, "rejected": 3})
    assert found("60 rows read are not 58 + 3")
    assert found("receipt.json was written 2 times")
    tried.edit_receipt(status="failed", error={"code": "retries_exhausted", "message": "why"})
    assert found("ended as failed (retries_exhausted: why)")


def test_other_receipts_are_noticed(run: Callable[..., Tried]) -> None:
    """A run that nobody asked for, one run too many, and no run at all are each a violation."""
    tried = run()
    other = replace(tried, promise=replace(tried.promise, statuses={"v0": {"succeeded"}}))
    found = other.violations()
    assert any("of an input version that nobody wrote" in violation for violation in found)
    assert "no receipt of input version v0" in found
    blobs = tried.site.storage.blobs
    (path,) = (blob.path for blob in blobs.list("runs") if blob.path.name.endswith("receipt.json"))
    blobs.write(BlobPath("runs", "abc/receipt.json"), blobs.read(path))
    assert "2 runs of one version of the input" in tried.violations()
    blobs.delete(path)
    blobs.delete(BlobPath("runs", "abc/receipt.json"))
    assert "there is no receipt" in tried.violations()


def test_a_fault_that_no_retry_mends_is_noticed(run: Callable[..., Tried]) -> None:
    """A delivery that raises what is no passing fault is a violation, though a later one may succeed."""
    assert any("raised KeyError" in violation for violation in run(sabotage=broken.surprising).violations())
