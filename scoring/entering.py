"""How a job becomes a run: what it is pinned to, and whether an earlier delivery has begun it, or ended it."""

import logging
from dataclasses import dataclass, replace

from errors import BlobNotFoundError, ModelError, StorageDeniedError
from model_store.registry import ModelVersion
from scoring.ending import settle, settle_if_open
from scoring.job import Job, Run
from scoring.log_lines import line
from scoring.open_runs import pinned
from scoring.output import check_results
from scoring.receipt import Found, Receipt
from scoring.services import Services
from storage import Blob

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entered:
    """A run that a delivery of its job has found, or begun."""

    run: Run
    found: Found | None
    """The receipt that it has already."""
    is_waiting: bool = False
    """Whether nobody had taken its job before."""

    @property
    def ended(self) -> Receipt | None:
        """The receipt of a run that has ended for good: there is nothing left to do."""
        return self.found.receipt if self.found and self.found.receipt.is_final else None


def enter(job: Job, services: Services, *, is_queued: bool = False) -> Entered:
    """Begin the run of a job, or go on with the one that an earlier delivery of it has begun.

    With `is_queued` nobody begins: the run is only written down, for those who ask before somebody does.
    """
    before = None
    while True:
        entered = _enter(job, services, is_queued=is_queued)
        is_overtaken = entered.ended and entered.ended.status == "superseded" and entered.run.id != before
        if job.etag or not is_overtaken:
            return entered
        before = entered.run.id  # whoever ended it may not have known of a job for whichever version is current


def _enter(job: Job, services: Services, *, is_queued: bool) -> Entered:
    while True:
        run = _pin(job, services)
        found = services.receipts.look(run.id)
        if found and found.receipt.is_final:  # the usual end of what is delivered twice: nothing is written for it
            settle_if_open(found.receipt, run, services)
            return Entered(pinned(run), found)
        entry = services.open_runs.open(run, is_queued=is_queued)
        found = services.receipts.look(entry.run.id)
        entered = Entered(entry.run, found, entry.is_queued)
        is_earlier = entry.run.job.attempt < job.attempt
        # One that was given up may be tried again, but not by what was sent to take its place.
        if entered.found is None or not (entered.ended or is_earlier):
            if entry.is_queued and not is_queued:
                services.open_runs.take(entry)
            return entered
        # Whoever wrote the receipt has died before the rest was done, or has ended in between.
        settle(entered.found.receipt, entry.run, services)
        if not is_earlier:
            return entered


def begin(job: Job, services: Services) -> Run:
    """Return the run that a job is, or would be, without beginning it."""
    run = _pin(job, services)
    entry = services.open_runs.find(run)
    return entry.run if entry and entry.run.job.attempt >= job.attempt else pinned(run)


def _pin(job: Job, services: Services) -> Run:
    """Pin what a run works on: the version of the input that is meant, or is there now, and the model's.

    The model's is exactly what the reference means now, whether or not it can be opened: a run that fell back on
    another where that one is damaged would be another run, here but not on the next machine.
    """
    check_results(job, services.blobs, services.settings)
    source: Blob | None = None
    try:
        source = services.blobs.stat(job.input)
        if job.etag:
            source = replace(source, etag=job.etag)  # if that is gone, the first read will say so: superseded
    except (BlobNotFoundError, StorageDeniedError) as error:
        log.warning(line("input_missing", input=str(job.input), error=error.code))
    model: ModelVersion | None = None
    try:
        model = services.models.resolve(job.model_meant)
    except ModelError as error:
        log.warning(line("model_refused", input=str(job.input), model=str(job.model), error=error.code))
    return Run(job, source, model)
