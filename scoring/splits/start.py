"""Take a job: score its file here, or plan it and send a message for each of its splits.

Everything here may be done twice, and by two at a time: what counts is the first plan that was written.
"""

import logging
from datetime import UTC, datetime

from errors import DropscoreError
from scoring.entering import Entered, enter
from scoring.job import Job, Run, format_of
from scoring.log_lines import line
from scoring.pipeline import conclude, names, outputs_of, quiet, score_run
from scoring.receipt import Receipt
from scoring.services import Services
from scoring.splits.finish import failing, finish_if_done, go_on
from scoring.splits.plan import Plan, Plans
from scoring.splits.planning import OutOfTimeError, Planning
from scoring.tally import Tally
from scoring.trail import follow
from settings import Settings

log = logging.getLogger(__name__)


def take_job(job: Job, services: Services) -> Receipt | None:
    """Score a job's file, and return its receipt; safe to run again, and errors as `run_job`.

    A file that is too large for one invocation is planned instead, and None returned: its splits are on the queue,
    and whoever scores the last of them ends the run.
    """
    with follow(job.traceparent):
        return _take_job(job, services)


def _take_job(job: Job, services: Services) -> Receipt | None:
    started, tally = datetime.now(UTC), Tally()
    with tally.stage("begin"):
        entered = enter(job, services)
        run = entered.run
        if entered.ended:
            log.info(line("run_known", **names(run), status=entered.ended.status))
            return entered.ended
    if is_large(run, services.settings):
        try:
            plan = Planning(entered, services, started).find()
        except OutOfTimeError:
            services.queues.send(services.settings.jobs_queue, run.job.to_json())
            return None
        except DropscoreError as fault:
            targets = outputs_of(run, services)
            return conclude(entered, services, targets, failing(fault), started=started, tally=tally)
        if plan:
            return _send_out(plan, entered, services)
    services.receipts.announce(run)
    return score_run(entered, services, quiet, started=started, tally=tally)


def _send_out(plan: Plan, entered: Entered, services: Services) -> Receipt | None:
    """Send the messages of a run's splits, but once: a job is often delivered twice, and large files cost much.

    What is lost of them the sweeper sends again; so does the job of a run that was given up, when that comes again.
    """
    plans = Plans(services.blobs, services.settings.runs)
    if entered.found is None and plans.was_sent(plan.run.id):
        return finish_if_done(plan, services)
    receipt = go_on(plan, services)
    plans.note_sent(plan.run.id)
    return receipt


def is_large(run: Run, settings: Settings) -> bool:
    """Say whether a run's file is to be scored in splits, if it can be: as far as is known without reading it."""
    kind = format_of(run.job.input.name)
    if not run.input or not run.model or not kind:
        return False
    counts_rows = kind == "parquet" and settings.split_rows > 0
    return counts_rows or 0 < settings.split_bytes < run.input.size
