"""What must hold after every case, whatever was done to it; one checker for all."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from errors import BlobNotFoundError
from scoring.receipt import Receipt
from storage import BlobPath
from tests.faults.lab import Site, Whole
from tests.faults.leases import waiting
from tests.faults.results import digest, read_result
from tests.faults.watcher import Watcher


@dataclass(frozen=True)
class Promise:
    """What a case may leave, and must."""

    wholes: Collection[Whole]
    """The results that may ever be seen."""
    final: Collection[Whole]
    """Those that may be there in the end."""
    statuses: Mapping[str, Collection[str]]
    """How the run of each version of the input, by its ETag, may end; each has exactly one."""
    optional: Collection[str] = ()
    """ETags whose run may also never have begun."""
    input: bytes | None = None
    """The input's bytes in the end; None where it was deleted."""
    most_runs: int = 1
    """Of one version of the input."""
    absent: bool = False
    """Whether there may also be no result in the end."""


def violations(site: Site, watched: Watcher, promise: Promise) -> list[str]:
    """Return what does not hold, one line each; none for a case that went well."""
    log = site.read_logs()
    receipts = list(_receipts(site))
    return [
        *_workers(site, log),
        *_looks(site, watched, log, promise),
        *_runs(receipts, promise),
        *_receipts_hold(receipts, promise),
        *_written_once(watched, log),
        *_results(site, receipts, promise),
        *_left(site, receipts),
        *_events(site, receipts),
        *_input(site, promise),
    ]


def _workers(site: Site, log: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    if site.stuck:
        yield f"{site.stuck} workers never ended"
    for line in log:
        if "failed" in line and not line["retryable"]:
            yield f"a delivery raised {line['failed']}, which no retry mends: {line['why']}"


def _looks(site: Site, watched: Watcher, log: Iterable[Mapping[str, Any]], promise: Promise) -> Iterable[str]:
    allowed = {
        str(site.result): {digest(whole.scored) for whole in promise.wholes},
        str(site.rejects): {digest(whole.rejected) for whole in promise.wholes if whole.rejected},
    }
    seen = {(path, known) for (path, _), known in watched.seen.items()}
    seen |= {(line["seen"], line["digest"]) for line in log if "seen" in line}
    for path, known in sorted(seen):
        if known not in allowed[path]:
            yield f"a reader saw at {path} what no undisturbed run writes ({known})"
    # A newer version's run takes an older one's folder away before it puts up its own.
    if watched.early and not promise.absent and len(promise.statuses) == 1:
        yield f"a receipt said succeeded while there was no result: {watched.early[0]}"


def _runs(receipts: Collection[Receipt], promise: Promise) -> Iterable[str]:
    if not receipts:
        yield "there is no receipt"
    versions = Counter(_version(receipt) for receipt in receipts)
    for version, count in versions.items():
        if version not in promise.statuses:
            yield f"{count} receipts of an input version that nobody wrote: {version}"
        elif count > promise.most_runs:
            yield f"{count} runs of one version of the input"
    for version in promise.statuses:
        if version not in versions and version not in promise.optional:
            yield f"no receipt of input version {version}"


def _receipts_hold(receipts: Iterable[Receipt], promise: Promise) -> Iterable[str]:
    for receipt in receipts:
        if receipt.status not in promise.statuses.get(_version(receipt), ()):
            error = receipt.error or {}
            yield f"run {receipt.run_id} ended as {receipt.status} ({error.get('code')}: {error.get('message')})"
        rows = receipt.rows
        if rows["read"] != rows["scored"] + rows["rejected"]:
            yield f"run {receipt.run_id}: {rows['read']} rows read are not {rows['scored']} + {rows['rejected']}"
        if receipt.status == "succeeded" and rows not in [whole.rows for whole in promise.wholes]:
            yield f"run {receipt.run_id} counts {rows}"


def _written_once(watched: Watcher, log: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Count the versions of each receipt; one of a job that was given up may be replaced by one that counts."""
    versions = {key for key, receipt in watched.receipts.items() if receipt.is_final}
    versions |= {(line["receipt"], line["etag"]) for line in log if line.get("is_final")}
    written = Counter(path for path, _ in versions)
    yield from (f"{path} was written {count} times" for path, count in written.items() if count > 1)


def _results(site: Site, receipts: Collection[Receipt], promise: Promise) -> Iterable[str]:
    scored, rejected = (
        (read_result(site.storage.blobs, path) or ("", None))[1] for path in (site.result, site.rejects)
    )
    if scored is None and promise.absent:
        return
    if (scored, rejected) not in [(whole.scored, whole.rejected) for whole in promise.final]:
        yield f"in the end there is {_said(scored)} as result and {_said(rejected)} as rejects, of no whole run"
    for receipt in receipts:
        if receipt.status == "succeeded" and receipt.output != str(site.result):
            yield f"run {receipt.run_id} names {receipt.output} as its result"


def _left(site: Site, receipts: Collection[Receipt]) -> Iterable[str]:
    for queue in site.queues:
        if count := waiting(site.storage, queue):
            yield f"{count} messages are left on {queue}"
    ended = {receipt.run_id for receipt in receipts}
    for blob in site.storage.blobs.list(site.settings.runs):
        folder, _, name = blob.path.name.partition("/")
        if folder == "_open":
            yield f"an open entry is left: {blob.path.name}"
        elif name == "plan.json" and folder not in ended:
            yield f"run {folder} has begun and never ended"


def _events(site: Site, receipts: Iterable[Receipt]) -> Iterable[str]:
    """Compare events with receipts: one may come again, consumers know it by its id, but one has to come."""
    told = set()
    while messages := site.storage.queues.receive(site.settings.events_queue, limit=32):
        told |= {(event["id"], event["type"]) for event in (json.loads(message.body) for message in messages)}
    ended = {(receipt.run_id, f"dropscore.run.{receipt.status}") for receipt in receipts}
    yield from (f"no event says that run {run} has {kind}" for run, kind in ended - told)
    for run, kind in told - ended:
        if not run.endswith("-given-up"):
            yield f"an event says that run {run} has {kind}, and its receipt does not"


def _input(site: Site, promise: Promise) -> Iterable[str]:
    if _read(site, site.input) != promise.input:
        yield "the input is not what was dropped"


def _version(receipt: Receipt) -> str:
    return str(receipt.input.get("etag"))


def _receipts(site: Site) -> Iterable[Receipt]:
    for blob in site.storage.blobs.list(site.settings.runs):
        if blob.path.name.endswith("/receipt.json"):
            yield Receipt.from_json(site.storage.blobs.read(blob.path))


def _read(site: Site, path: BlobPath) -> bytes | None:
    try:
        return site.storage.blobs.read(path)
    except BlobNotFoundError:
        return None


def _said(data: bytes | None) -> str:
    return "nothing" if data is None else f"{len(data)} bytes ({digest(data)})"
