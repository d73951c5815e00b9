"""What people ask of runs: a list of them, how one is, to run it once more, to stop it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, get_args

from errors import (
    MessageInvalidError,
    RunCancelledError,
    RunEndedError,
    RunNotFoundError,
    RunUnderWayError,
)
from model_store import ModelReference
from scoring.ended_runs import NOT_ENDED, EndedRuns, Summary
from scoring.ending import end_run
from scoring.entering import begin, enter
from scoring.job import MOST_ATTEMPTS, Job, Run
from scoring.open_runs import OpenRun
from scoring.options import Options
from scoring.pipeline import check_run
from scoring.receipt import Receipt, Status, write_up
from scoring.results import is_in_place
from scoring.services import Services
from scoring.splits.markers import Markers
from storage import BlobPath

QUEUED, RUNNING = UNDER_WAY = "queued", "running"
"""What runs are that have no receipt yet; queued are those that were given out before somebody took their job."""

STATUSES = (*UNDER_WAY, *get_args(Status))
"""All that a run can be."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was asked for."""

    run: Run
    is_new: bool
    """Whether its job was queued just now; False for a run that waits already, is under way, or has ended."""


def submit(job: Job, services: Services) -> Submitted:
    """Queue a job, and return the run that it will be: one may ask for it, and cancel it, from now on.

    It is pinned here and now, to the input's version and to the one that the model's reference means, whenever
    the job is taken. A run that is known is not queued again, unless it was given up. The errors are those that
    the run would end with at once: BlobNotFoundError, ModelNotFoundError, FormatUnsupportedError, NameInvalidError;
    MessageInvalidError for a folder.
    """
    if job.is_of_folder:
        raise MessageInvalidError(
            "a folder is no single run: name its files one by one, or put the job on the queue of jobs",
            file=str(job.input),
        )
    run = begin(job, services)
    check_run(run, services)
    is_new = not _is_known(run, services)
    if is_new:  # before anything says that it is: whoever asks again would be told that it waits
        services.queues.send(services.settings.jobs_queue, run.job.to_json())
    return Submitted(expect(run.job, services), is_new)


def expect(job: Job, services: Services) -> Run:
    """Write down which run a job is that somebody queues, as the blob trigger does for a dropped file; return it.

    Pinned as by `submit`. If nobody does queue it, the sweeper will.
    """
    entered = enter(job, services, is_queued=True)
    if entered.is_waiting:  # also where that was written down before: by us, if the answer was lost
        services.receipts.announce_queued(entered.run)
    return entered.run


def _is_known(run: Run, services: Services) -> bool:
    """Say whether a run waits, is under way, or has ended for good."""
    entry, receipt = services.open_runs.find(run), services.receipts.find(run.id)
    return bool(entry and entry.run.id == run.id) or bool(receipt and receipt.is_final)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of runs."""

    runs: list[Summary]
    next: str | None
    """What the list goes on behind; None at its end. It may turn out that none behind it fits."""


def list_runs(
    services: Services,
    *,
    status: str | None = None,
    model: str | None = None,
    limit: int = 20,
    after: str = "",
) -> list[Summary]:
    """Return at most `limit` runs: see list_page."""
    return list_page(services, status=status, model=model, limit=limit, after=after).runs


def list_page(
    services: Services,
    *,
    status: str | None = None,
    model: str | None = None,
    limit: int = 20,
    after: str = "",
    most_looked: int | None = None,
) -> Page:
    """Return at most `limit` runs: those under way, then those that have ended, each the newest first.

    `status` is one of a receipt's, "running" or "queued"; `model` a reference as jobs give it, or a name for all
    its versions and aliases. `after` is the `next` of the page before. No receipt is read. Of `most_looked` runs at
    most it is looked whether they fit: a page may have fewer than `limit`, or none, and the list go on even so.
    """
    found: dict[str, Summary] = {}  # one that was given up and has ended after all is on the list twice
    last = after
    for looked, run in enumerate(_all(services, status, limit, after)):
        fits = _fits(run, status, model) and run.run_id not in found
        if looked == most_looked or (fits and len(found) == limit):
            return Page([*found.values()], last)
        if fits:
            found[run.run_id] = run
        last = run.key
    return Page([*found.values()], None)


def describe_run(run_id: str, services: Services) -> dict[str, Any]:
    """Return a run's receipt; or, with status queued or running, what is planned. RunNotFoundError for neither.

    How far it is is `progress`; or, of a run in splits, how many of them there are and how many are scored.
    """
    record = services.receipts.status(run_id)
    if record["status"] == RUNNING and "splits" in record:
        _, done = Markers(services.blobs, services.settings.runs, run_id).latest()
        record = record | {"splits": {"all": len(record["splits"]), "done": len(done)}}
        record.pop("progress", None)  # of one split: which one, nobody knows
    return record


def summarize(run: Run, services: Services) -> Summary:
    """Return what a list says of a run that was submitted; RunNotFoundError for one that nobody wrote down."""
    receipt, entry = services.receipts.find(run.id), services.open_runs.find(run)
    if entry and entry.run.id == run.id and not (receipt and receipt.is_final):
        return _summary_of(entry)
    return (receipt or services.receipts.get(run.id)).summary


def cancel(run_id: str, services: Services) -> Receipt:
    """End a run that is queued or under way, and return its receipt; whoever works on it stops within seconds.

    RunEndedError if it has ended; RunNotFoundError if there never was such a run, or it is that of a dropped file
    or a message whose job nobody has taken yet: it has no id before.
    """
    entry = services.open_runs.find_by_id(run_id)
    receipt = services.receipts.find(run_id)
    if receipt and (receipt.is_final or entry is None):
        raise _has_ended(receipt, "it cannot be cancelled any more")
    if entry is None:
        raise RunNotFoundError(f"there is no run {run_id!r} under way; its job may still be waiting in the queue")
    error = RunCancelledError(
        "the run was cancelled; replay it if that was a mistake", file=str(entry.run.job.input)
    )
    receipt = end_run(write_up(entry.run, entry.started, error=error), entry.run, services)
    if receipt.status != "cancelled":  # it was faster
        raise _has_ended(receipt, "it cannot be cancelled any more")
    return receipt


def replay(run_id: str, services: Services) -> Run:
    """Submit once more the job of a run whose result is not to be had, and return the run that this will be.

    It is a run of its own, on the input's current version and the model that the reference means now: the old
    receipt stays. RunNotFoundError without a receipt; RunUnderWayError while the run goes on; RunEndedError if what
    it would be has succeeded already, and its result is in place; MessageInvalidError if it never became a job; and
    errors as of `submit`.
    """
    return submit(next_attempt(run_id, services).job, services).run


def next_attempt(run_id: str, services: Services) -> Run:
    """Return the run that replaying one is, without queueing its job; errors as in `replay`."""
    if services.open_runs.find_by_id(run_id) and not services.receipts.find(run_id):
        raise RunUnderWayError(f"run {run_id!r} is under way: wait for its end, or cancel it first")
    job = _job_of(services.receipts.get(run_id), services)
    for attempt in range(MOST_ATTEMPTS + 1):
        run = begin(replace(job, attempt=attempt), services)
        receipt = services.receipts.find(run.id)
        if receipt is None:
            return run
        if receipt.status == "succeeded" and is_in_place(receipt, services):
            raise _has_ended(receipt, "there is nothing to replay")
    raise RunEndedError(f"the job of run {run_id!r} was replayed {MOST_ATTEMPTS} times: send it as a new one")


def with_result(job: Job, services: Services) -> Job:
    """Return a job as the attempt that somebody means who waits for its result.

    That is the first one whose receipt does not stand in the way: a run that has succeeded, and whose files are in
    place still, need not be made again; of any other that has ended there is nothing to have. Another file of the
    same name, or the same with other options, may have been scored to its path since.
    """
    for attempt in range(job.attempt, MOST_ATTEMPTS + 1):
        again = replace(job, attempt=attempt)
        receipt = services.receipts.find(begin(again, services).id)
        if receipt is None or not receipt.is_final:
            return again
        if receipt.status == "succeeded" and is_in_place(receipt, services):
            return again
    raise RunEndedError(
        f"{job.input} was scored {MOST_ATTEMPTS:,} times as it is: write it anew", file=str(job.input)
    )


def _job_of(receipt: Receipt, services: Services) -> Job:
    if "records" in receipt.input:
        raise MessageInvalidError(
            f"run {receipt.run_id!r} was of rows in a message, which are not kept: send them again"
        )
    path, reference = receipt.input.get("path"), receipt.model.get("reference")
    if not path or not reference or not receipt.options:
        raise MessageInvalidError(
            f"run {receipt.run_id!r} never became a job: mend its message, or the file's name, and send it again"
        )
    source = BlobPath.parse(path)
    etag = services.blobs.stat(source).etag
    return Job(source, ModelReference.parse(reference), Options.from_dict(receipt.options), etag)


def _has_ended(receipt: Receipt, so: str) -> RunEndedError:
    return RunEndedError(f"run {receipt.run_id!r} has ended, its status is {receipt.status}: {so}")


def _all(services: Services, status: str | None, limit: int, after: str) -> Iterator[Summary]:
    """Yield the runs behind `after` of which some are to be shown, in order."""
    is_among_ended = bool(after) and not after.startswith(NOT_ENDED)
    listed = EndedRuns(services.blobs, services.settings.runs).list(after if is_among_ended else "")
    ended = listed if status not in UNDER_WAY else iter(())
    if is_among_ended or status not in (None, *UNDER_WAY):
        yield from ended
        return
    newest = list(islice(ended, limit))
    # those with a receipt that are still open have died, or are about to end
    known = {run.run_id for run in newest}
    open_runs = map(_summary_of, services.open_runs.each())
    under_way = [run for run in open_runs if run.run_id not in known and run.key > after]
    yield from chain(sorted(under_way, key=lambda run: run.key), newest, ended)


def _summary_of(entry: OpenRun) -> Summary:
    run = entry.run
    return Summary(
        run_id=run.id,
        status=QUEUED if entry.is_queued else RUNNING,
        input=str(run.job.input),
        model=str(run.job.model),
        version=run.model.version if run.model else None,
        rows={},
        error=None,
        started=entry.started.isoformat(),
        finished="",
        seconds=round((datetime.now(UTC) - entry.started).total_seconds(), 3),
        attempt=run.job.attempt,
    )


def _fits(run: Summary, status: str | None, model: str | None) -> bool:
    named = run.model or ""
    return status in (None, run.status) and model in (None, named, named.partition("@")[0])
