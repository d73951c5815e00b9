"""How a run ends, whoever ends it: its receipt, what follows from that, and last of all its entry is removed.

Each step may be done twice, and by two at a time. A process that dies between two of them leaves the run's entry
behind: the next delivery of its job, or else the sweeper, finds that and does the rest.
"""

from collections.abc import Iterator

from errors import BlobNotFoundError, ConditionFailedError, NameInvalidError
from scoring.events import send_ended
from scoring.job import Job, Run, format_of
from scoring.options import Options
from scoring.output import RUN_KEY, result_paths
from scoring.receipt import Receipt
from scoring.services import Services
from scoring.splits.table_folder import left_by
from storage import ANY_ETAG, BlobPath, BlobStore


def end_run(receipt: Receipt, run: Run, services: Services, over: str | None = ANY_ETAG) -> Receipt:
    """End a run with this receipt, unless it has ended before, and return the one that counts.

    `over` is as of `Receipts.record`.
    """
    counting = services.receipts.record(receipt, over)
    if counting is receipt:
        _follow_up(counting, run, services)
    else:
        settle_if_open(counting, run, services)
    return counting


def settle_if_open(receipt: Receipt, run: Run, services: Services) -> None:
    """Do what is left to do for a run that has its receipt, if whoever wrote that has not come to it."""
    if _is_open(run, services):
        settle(receipt, run, services)
    else:  # it may have been put up just after the receipt was written, and its process have died then
        withdraw(receipt, run, services)


def settle(receipt: Receipt, run: Run, services: Services) -> None:
    """Do what is left to do for a run that has its receipt and was not closed."""
    services.receipts.enlist(receipt)
    _follow_up(receipt, run, services)


def _follow_up(receipt: Receipt, run: Run, services: Services) -> None:
    withdraw(receipt, run, services)
    if receipt.status == "superseded":
        _queue_newer(run, services)
    send_ended(receipt, services)
    services.open_runs.close(run)
    if not receipt.is_final and services.open_runs.find(run) is None:
        withdraw(receipt, run, services)  # who was stopped by it has left to us what we had not seen yet


def _queue_newer(run: Run, services: Services) -> None:
    """Queue a run's job for the version that has come in the place of its own, if nothing else may bring that here.

    The entry says so, and is there until this is done: of who dies before, the next sees it.
    """
    entry, settings = services.open_runs.find(run), services.settings
    if entry and entry.run.id == run.id and entry.newer:
        services.queues.send(settings.jobs_queue, entry.newer.to_json())
    elif settings.blob_source == "eventgrid" and (job := _dropped_since(run, services)):
        # Later, so that the version's own event, if there is one, comes first: then its run is known.
        services.queues.send(settings.jobs_queue, job.to_json(), delay=settings.sweep_seconds)


def _dropped_since(run: Run, services: Services) -> Job | None:
    """Return the job of the version that is in a dropped file's place now; None where there is none.

    Whoever changes a blob's metadata or properties makes another version of it, of which Event Grid says nothing.
    """
    path, job = run.job.input, run.job
    is_dropped = path.container == services.settings.incoming and path.name.startswith(f"{job.model}/")
    if not is_dropped or job.options != Options():
        return None
    try:
        return Job.for_dropped(path, services.blobs.stat(path).etag)
    except BlobNotFoundError:
        return None


def withdraw(receipt: Receipt, run: Run, services: Services) -> None:
    """Delete what a run has put up and its receipt does not name.

    There is such a thing where it was cancelled, given up or overtaken by a newer input just when it committed.
    """
    if receipt.status == "succeeded":
        return
    put_up = list(_put_up(receipt, run, services))
    # Whoever tries again a run that was given up may have just put that up: it must not say so behind our back.
    if put_up and (receipt.is_final or services.receipts.stir(receipt)):
        for path in put_up:
            _take_back(services.blobs, path, run)


def _put_up(receipt: Receipt, run: Run, services: Services) -> Iterator[BlobPath]:
    """Yield the blobs of a run that its receipt does not name."""
    named = {receipt.output, receipt.rejects}
    for path in result_paths(run.job, services.settings):
        if str(path) in named:
            continue
        if _is_of(run, path, services.blobs):
            yield path
        if format_of(path.name) == "parquet":
            yield from left_by(run, path, services.blobs)


def _is_of(run: Run, path: BlobPath, blobs: BlobStore) -> bool:
    try:
        return blobs.stat(path).metadata.get(RUN_KEY) == run.id
    except (BlobNotFoundError, NameInvalidError):
        return False


def _take_back(blobs: BlobStore, path: BlobPath, run: Run) -> None:
    while True:
        try:
            current = blobs.stat(path)
            if current.metadata.get(RUN_KEY) != run.id:
                return
            blobs.delete(path, if_match=current.etag)
        except BlobNotFoundError:
            return
        except ConditionFailedError:
            continue  # somebody has just replaced it: look again at whose it is


def _is_open(run: Run, services: Services) -> bool:
    found = services.open_runs.find(run)
    return found is not None and found.run.id == run.id
