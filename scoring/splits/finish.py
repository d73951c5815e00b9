"""The end of a run in splits: whoever finds that all are scored puts the result together and writes the receipt.

That may be several at once, and it may be done twice: see Output.commit and ending.py.
"""

import logging
from collections.abc import Callable, Iterable
from typing import NoReturn

from errors import BlocksMissingError, DropscoreError, RetriesExhaustedError
from scoring.codec import Scored
from scoring.ending import end_run
from scoring.entering import Entered
from scoring.log_lines import line
from scoring.pipeline import conclude, names
from scoring.receipt import Receipt, write_up
from scoring.services import Services
from scoring.splits.layout import targets_of
from scoring.splits.markers import Markers
from scoring.splits.plan import Plan, Plans, Pointer
from scoring.tally import Tally

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""How often all splits of a run are scored because its blocks were dropped, each time by another run's commit."""


def resume(run_id: str, services: Services) -> bool:
    """Go on with a run in splits that shows no sign of life; False if it is none, or not planned yet."""
    plan = Plans(services.blobs, services.settings.runs).find(run_id)
    if plan is None:
        return False
    go_on(plan, services)
    return True


def go_on(plan: Plan, services: Services) -> Receipt | None:
    """Send the messages of the splits that are not scored; if none is left, finish the run."""
    markers = Markers(services.blobs, services.settings.runs, plan.run.id)
    attempt, done = markers.latest()
    if missing := sorted(set(range(len(plan.splits))) - done):
        send_messages(plan, missing, attempt, services)
        return None
    return finish(plan, attempt, services)


def finish_if_done(plan: Plan, services: Services) -> Receipt | None:
    """Finish a run if all of its splits are scored; None if they are not, or have to be once more."""
    attempt, done = Markers(services.blobs, services.settings.runs, plan.run.id).latest()
    return finish(plan, attempt, services) if len(done) == len(plan.splits) else None


def finish(plan: Plan, attempt: int, services: Services) -> Receipt | None:
    """Commit what all splits have staged, and end the run; None if blocks are gone, and are to be staged again."""
    markers = Markers(services.blobs, services.settings.runs, plan.run.id)

    def put_together() -> Scored:
        parts = markers.read(attempt, range(len(plan.splits)))
        tally = Tally()
        for part in parts:
            tally.add(part.tally)
        scored = [block for part in parts for block in part.scored_blocks]
        # Each split that has rejects names the block they begin with.
        rejected = list(dict.fromkeys(block for part in parts for block in part.rejected_blocks))
        return Scored(tally, scored, rejected, plan.dialect)

    try:
        return end_with(plan, put_together, services)
    except BlocksMissingError:
        if attempt + 1 < MOST_ATTEMPTS:
            log.warning(line("blocks_missing", **names(plan.run), attempt=attempt))
            send_messages(plan, range(len(plan.splits)), attempt + 1, services)
            return None
    error = RetriesExhaustedError(
        "other runs have written to the same result each time this one was about to: replay it when they are done",
        file=str(plan.run.job.input),
    )
    return end_run(write_up(plan.run, plan.started, error=error), plan.run, services)


def end_with(plan: Plan, score: Callable[[], Scored], services: Services) -> Receipt:
    """End a run with what `score` returns, or with what it raises: see `conclude`."""
    run = plan.run
    entered = Entered(run, services.receipts.look(run.id))
    return conclude(entered, services, targets_of(run, services), score, started=plan.started, tally=Tally())


def failing(fault: DropscoreError) -> Callable[[], NoReturn]:
    """Return what raises `fault`, for `conclude`."""

    def fail() -> NoReturn:
        raise fault

    return fail


def send_messages(plan: Plan, splits: Iterable[int], attempt: int, services: Services) -> None:
    """Queue the scoring of these splits."""
    for split in splits:
        services.queues.send(services.settings.splits_queue, Pointer(plan.run.id, split, attempt).to_json())
