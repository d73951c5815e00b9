"""Look after runs that nobody works on: their message was lost, or their process died and left them behind.

The host delivers a message again whose process has died, so most of this never happens. It does where a process
died between writing down what is to be done and sending the message for it, or where a queue was emptied by hand.
Rows in a message are lost with it: of their run the sweeper says so.
"""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

from errors import DropscoreError, RetriesExhaustedError
from scoring.ending import end_run, settle
from scoring.entering import Entered
from scoring.job import Run
from scoring.log_lines import line
from scoring.open_runs import OpenRun
from scoring.pipeline import score_run
from scoring.receipt import write_up
from scoring.records import look_after_records
from scoring.records_runs import RecordsRuns
from scoring.services import Services
from scoring.splits.finish import resume
from storage import Blob

log = logging.getLogger(__name__)


def sweep(services: Services, now: datetime | None = None) -> int:
    """Look through the runs under way and do what the silent ones need; return how many those are.

    `now` is the time, UTC. What one run needs may fail: the others are looked after all the same, and the first
    such fault is raised at the end, so that the host's log shows it. The next sweep tries again.
    """
    now = now or datetime.now(UTC)
    faults: list[Exception] = []
    silent = 0
    entries = chain(
        ((_look_after, blob) for blob in services.open_runs.list()),
        ((_look_after_rows, blob) for blob in RecordsRuns(services.blobs, services.settings.runs).list()),
    )
    for look_after, blob in entries:
        try:
            silent += look_after(blob, now, services)
        except Exception as fault:  # whatever it is, it is of this run alone
            code = fault.code if isinstance(fault, DropscoreError) else type(fault).__name__
            message = fault.message if isinstance(fault, DropscoreError) else None
            log.warning(line("sweep_failed", entry=blob.path.name, error=code, message=message))
            faults.append(fault)
    if faults:
        raise faults[0]
    return silent


def _look_after(blob: Blob, now: datetime, services: Services) -> bool:
    """Do what a run needs; False for one that shows signs of life."""
    settings = services.settings
    patience = timedelta(seconds=settings.sweep_seconds)
    if now - blob.modified < patience or (entry := services.open_runs.read(blob)) is None:
        return False
    run = entry.run
    signs = [sign.modified for sign in services.blobs.list(settings.runs, f"{run.id}/")]
    last = max([blob.modified, *signs])
    if last > blob.modified:  # it has gone on since it was swept
        entry = replace(entry, sweeps=0)
    if now - last < patience * 2**entry.sweeps:
        return False
    receipt = services.receipts.find(run.id)
    if receipt and receipt.is_final:
        settle(receipt, run, services)
    elif entry.sweeps >= settings.max_sweeps:
        _abandon(entry, services)
    elif services.open_runs.sweep(entry, entry.sweeps + 1):  # or another sweeper is faster
        silence = (now - last).total_seconds()
        log.warning(line("run_swept", run=run.id, silent_seconds=silence, sweeps=entry.sweeps + 1))
        _send_again(run, services)
    return True


def _look_after_rows(blob: Blob, now: datetime, services: Services) -> bool:
    """Do what a run of rows needs; it is waited for as long as any other run before that is given up."""
    settings = services.settings
    silence, patience = now - blob.modified, timedelta(seconds=settings.sweep_seconds)
    if silence < patience:
        return False
    if ended := look_after_records(blob, services, is_hopeless=silence >= patience * 2**settings.max_sweeps):
        log.warning(line("rows_swept", entry=blob.path.name, silent_seconds=silence.total_seconds()))
    return ended


def _send_again(run: Run, services: Services) -> None:
    if run.input is None:  # there is nothing to score; and if there is by now, its job would be another run
        score_run(Entered(run, services.receipts.look(run.id)), services)
        return
    if resume(run.id, services):  # in splits: those that are not scored yet get their messages again
        return
    services.queues.send(services.settings.jobs_queue, run.job.to_json())


def _abandon(entry: OpenRun, services: Services) -> None:
    error = RetriesExhaustedError(
        f"the run's messages were sent again {entry.sweeps} times and nothing came of it; the log may say why. "
        "Once that is mended, replay the run"
    )
    log.warning(line("run_abandoned", run=entry.run.id, sweeps=entry.sweeps))
    end_run(write_up(entry.run, entry.started, error=error), entry.run, services)
