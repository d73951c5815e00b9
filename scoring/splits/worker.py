"""Score one split: what a message on the queue of splits asks for.

Any number of machines may score the same split at once: they stage the same blocks under the same names, and the
first marker counts.
"""

import logging
import time
from dataclasses import replace

from errors import (
    DropscoreError,
    MessageInvalidError,
    RetriesExhaustedError,
    RunEndedError,
    RunNotFoundError,
)
from observing import SplitScored, tell
from scoring.codec import Progress, Scored
from scoring.ending import end_run, settle_if_open
from scoring.entering import Entered
from scoring.log_lines import Pace, line
from scoring.messages import describe
from scoring.output import check_current
from scoring.pipeline import ending_of, names, open_work, score_work, watch_of
from scoring.receipt import Receipt, write_up
from scoring.refusals import refuse, refuse_message
from scoring.services import Services
from scoring.splits.finish import end_with, failing, finish_if_done
from scoring.splits.layout import places_of
from scoring.splits.markers import Marker, Markers
from scoring.splits.plan import Plan, Plans, Pointer
from scoring.tally import Tally
from scoring.trail import follow
from scoring.watch import Watch

log = logging.getLogger(__name__)


def accept_split(body: str | bytes, services: Services) -> Receipt | None:
    """Score the split that a message names, and finish its run if it was the last; return the receipt, if any.

    Permanent faults end the run, whatever the other splits do; what a retry can mend is raised. A message that
    points at no split gets a failed receipt of its own.
    """
    found = _find(body, services)
    if isinstance(found, Receipt):
        return found
    pointer, plan = found
    with follow(plan.run.job.traceparent):
        return _accept(pointer, plan, services)


def _accept(pointer: Pointer, plan: Plan, services: Services) -> Receipt | None:
    run = plan.run
    receipt = services.receipts.look(run.id)
    if receipt and receipt.receipt.is_final:
        log.info(line("run_known", **names(run), status=receipt.receipt.status, split=pointer.split))
        settle_if_open(receipt.receipt, run, services)
        return receipt.receipt
    markers = Markers(services.blobs, services.settings.runs, run.id)
    if not markers.has(pointer):
        try:
            marker = _score(plan, pointer, Entered(run, receipt), services)
        except RunEndedError:
            return services.receipts.find(run.id)
        except DropscoreError as fault:
            if ending_of(fault, run) is None:
                raise
            return end_with(plan, failing(fault), services)
        markers.leave(pointer, marker)
    return finish_if_done(plan, services)


def give_up_split(body: str | bytes, services: Services) -> Receipt:
    """Write the failed receipt of a run one of whose splits failed at every try, unless it has ended after all."""
    found = _find(body, services)
    if isinstance(found, Receipt):
        return found
    pointer, plan = found
    error = RetriesExhaustedError(
        f"split {pointer.split} of {len(plan.splits)} failed at every try; the log of the last one says why. Once "
        "that is mended, replay the run",
        file=str(plan.run.job.input),
    )
    return end_run(write_up(plan.run, plan.started, error=error), plan.run, services)


def _find(body: str | bytes, services: Services) -> tuple[Pointer, Plan] | Receipt:
    """Return what a message points at; where that is nothing, the receipt that says so, or tells of the run's end.

    All messages that point at one run whose plan is gone get the same receipt: there may be thousands of them.
    """
    try:
        pointer = Pointer.from_json(body)
    except MessageInvalidError as error:
        return refuse_message(body, error, services)
    plan = Plans(services.blobs, services.settings.runs).find(pointer.run_id)
    if plan is None:
        if receipt := services.receipts.find(pointer.run_id):
            log.info(line("run_known", run=pointer.run_id, status=receipt.status, split=pointer.split))
            return receipt
        unknown = RunNotFoundError(
            f"a message asks for a split of run {pointer.run_id!r}, of which there is no plan (any more): send the "
            "job of its file again"
        )
        return refuse(f"splits of {pointer.run_id}", {"path": None, "message": describe(body)}, unknown, services)
    if pointer.split >= len(plan.splits):
        beyond = MessageInvalidError(
            f"run {pointer.run_id!r} has {len(plan.splits)} splits, and none with the number {pointer.split}"
        )
        return refuse_message(body, beyond, services)
    return pointer, plan


def _score(plan: Plan, pointer: Pointer, entered: Entered, services: Services) -> Marker:
    run, split = plan.run, plan.splits[pointer.split]
    log.info(line("split_began", **names(run), split=pointer.split, attempt=pointer.attempt))
    scored, rejected = places_of(run, pointer.split, services)
    tally, began = Tally(), time.monotonic()
    with tally.stage("rest"):
        check_current(services.blobs, run)
        progress = _shown(plan, pointer, watch_of(entered, services))
        work = open_work(run, services, scored.output, rejected.output, progress=progress, tally=tally)
        result: Scored = score_work(
            replace(work, split=split, block_bytes=plan.block_bytes, options=replace(run.job.options, csv=plan.csv))
        )
    tally.add(result.tally)
    if run.model:
        seconds, trace = time.monotonic() - began, run.job.traceparent
        tell(SplitScored(run.id, pointer.split, run.model.name, run.model.version, tally.read, seconds, trace))
    return Marker(scored.named(result.scored_blocks), rejected.named(result.rejected_blocks), tally)


def _shown(plan: Plan, pointer: Pointer, watch: Watch) -> Progress:
    """Return what is called after each block: it logs a line from time to time, and sees whether to go on."""
    pace = Pace(0)

    def update(read: int, tally: Tally) -> None:
        watch.update(read, tally)
        if pace.due():
            figures = pace.figures(read, tally)
            rows = {name: figures[name] for name in ("rows_read", "rows_rejected", "seconds", "rows_per_second")}
            log.info(line("split_progress", **names(plan.run), split=pointer.split, **rows))

    return update
