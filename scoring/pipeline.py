"""Score a file: the job's input read in blocks, scored, written, committed, and a receipt put on top.

Running twice equals running once: a run is named after all that decides its result, nothing is seen until it is
committed, and the receipt is written last. Whoever finds the receipt has nothing to do.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from errors import (
    BlobNotFoundError,
    ConditionFailedError,
    DropscoreError,
    FormatUnsupportedError,
    InputError,
    ModelError,
    ModelNotFoundError,
    RunEndedError,
    StorageDeniedError,
    StorageError,
    SupersededError,
    ThresholdExceededError,
)
from model_store.registry import ModelVersion
from scoring.codec import Progress, Scored, Work
from scoring.csv.codec import CONTENT_TYPE as CSV
from scoring.csv.codec import score_csv
from scoring.ending import end_run, withdraw
from scoring.entering import Entered, begin, enter
from scoring.job import FORMATS, Job, Run, format_of
from scoring.log_lines import Pace, line
from scoring.output import Output, Target, check_current, result_paths, superseded
from scoring.parquet.codec import CONTENT_TYPE as PARQUET
from scoring.parquet.codec import score_parquet
from scoring.receipt import Receipt, write_up
from scoring.services import Services
from scoring.splits.table_folder import SingleTable
from scoring.tally import Tally
from scoring.watch import Watch
from storage import Blob

log = logging.getLogger(__name__)

CODECS = {"csv": score_csv, "parquet": score_parquet}
CONTENT_TYPES = {"csv": CSV, "parquet": PARQUET}
COMPRESSED_TYPES = {"gz": "application/gzip", "zst": "application/zstd"}
MAX_BLOCKS = 40_000  # a blob has at most 50,000; larger files get larger blocks


def quiet(_read: int, _tally: Tally) -> None:
    """Show no progress."""


def run_job(job: Job, services: Services, progress: Progress = quiet) -> Receipt:
    """Score every row of the job's input; safe to run again.

    Permanent faults end in a failed receipt and are not raised; what a retry can mend is raised.
    """
    started, tally = datetime.now(UTC), Tally()
    with tally.stage("begin"):
        entered = enter(job, services)
        if entered.ended:
            log.info(line("run_known", **names(entered.run), status=entered.ended.status))
            return entered.ended
        services.receipts.announce(entered.run)
    return score_run(entered, services, progress, started=started, tally=tally)


def run_here(job: Job, services: Services, progress: Progress = quiet) -> Receipt:
    """Score a file for somebody who waits: an interrupted run is closed, as its job is not delivered again.

    It is of the version that is there now: nobody would take a job that its end queued for a newer one.
    """
    run = begin(job, services)
    try:
        return run_job(run.job, services, progress)
    except (KeyboardInterrupt, DropscoreError):
        services.open_runs.close(run)
        raise


def score_run(
    entered: Entered,
    services: Services,
    progress: Progress = quiet,
    *,
    started: datetime | None = None,
    tally: Tally | None = None,
) -> Receipt:
    """Take a run that has begun to its end; `started` and `tally` are of what was done for it so far."""
    run, started, tally = entered.run, started or datetime.now(UTC), tally or Tally()
    log.info(line("run_began", **names(run), bytes=run.input.size if run.input else None))
    scored, rejected = outputs_of(run, services)
    watch = watch_of(entered, services)

    def score() -> Scored:
        work = open_work(run, services, scored, rejected, progress=watched(progress, run, watch), tally=tally)
        return score_work(work)

    return conclude(entered, services, (scored, rejected), score, started=started, tally=tally)


def conclude(
    entered: Entered,
    services: Services,
    targets: tuple[Target, Target],
    score: Callable[[], Scored],
    *,
    started: datetime,
    tally: Tally,
) -> Receipt:
    """End a run with what `score` returns, committed, or with its fault; what a retry can mend is raised.

    `targets` are those of the result and of the rejects; `tally` is of what was done for the run before `score`.
    """
    run, watch = entered.run, watch_of(entered, services)
    scored, rejected = targets
    dialect: Mapping[str, Any] | None = None
    error: DropscoreError | None = None
    try:
        with tally.stage("rest"):
            result = score()
        tally.add(result.tally)
        dialect = result.dialect
        _check_sum(tally)
        with tally.stage("commit"):
            _commit(result, scored, rejected, run, watch)
            # A newer version that came just now, and has nothing to put in the place of ours, would leave that be.
            check_current(services.blobs, run)
    except RunEndedError:
        receipt = services.receipts.get(run.id)
        # Where it was given up somebody may be trying it again: then what is up may be theirs.
        if receipt.is_final or services.open_runs.find(run) is None:
            withdraw(receipt, run, services)
        if receipt.is_final:
            _let_go(targets)
        log.info(line("run_known", **names(run), status=receipt.status))
        return receipt
    except DropscoreError as fault:
        error = ending_of(fault, run)
        if error is None:
            raise
    if error and not isinstance(error, SupersededError | StorageDeniedError):  # the last cannot see what is current
        _clear(error, scored, rejected)
    receipt = write_up(
        run,
        started,
        tally=tally,
        error=error,
        output=None if error else scored.path,
        rejects=rejected.path if tally.rejected and (error is None or error.code == "threshold_exceeded") else None,
        dialect=dialect,
    )
    receipt = end_run(receipt, run, services, watch.known)
    if error and receipt.is_final:
        _let_go(targets)
    log.log(logging.WARNING if receipt.status == "failed" else logging.INFO, _ended(run, receipt))
    return receipt


def ending_of(fault: DropscoreError, run: Run) -> DropscoreError | None:
    """Return the error that a run ends with because of `fault`; None for a fault that another try can mend."""
    if isinstance(fault, ConditionFailedError) and fault.file == str(run.job.input):
        return superseded(run)  # a read found another version of the input
    if isinstance(fault, BlobNotFoundError) and fault.file == str(run.job.input):
        return superseded(run) if run.input else fault
    if isinstance(fault, StorageDeniedError) and fault.file == str(run.job.input):
        return fault
    # Any other blob that is gone or denied is ours, or its container is: that is not the file's fault.
    return fault if isinstance(fault, InputError | ModelError) else None


def names(run: Run) -> dict[str, str]:
    """Return what a log line says of a run."""
    version = {"version": str(run.model)} if run.model else {}
    return {"run": run.id, "input": str(run.job.input), "model": str(run.job.model)} | version


def _ended(run: Run, receipt: Receipt) -> str:
    """Return the log line of a run that has ended; the message of an error holds no row's values."""
    error = receipt.error or {}
    return line(
        "run_ended",
        **names(run),
        status=receipt.status,
        error=error.get("code"),
        message=error.get("message"),
        rows_read=receipt.rows["read"],
        rows_scored=receipt.rows["scored"],
        rows_rejected=receipt.rows["rejected"],
        seconds=receipt.seconds,
        **receipt.rates,
        peak_memory_bytes=receipt.peak_memory_bytes,
        **{f"{stage}_cpu": seconds for stage, seconds in receipt.stages["cpu"].items()},
    )


def open_work(
    run: Run, services: Services, scored: Output, rejected: Output, *, progress: Progress, tally: Tally
) -> Work:
    """Open a run's model, and return what a codec needs to score its file."""
    source, version = check_run(run, services)
    if source.size == 0:  # it is refused without the read that would find another version
        check_current(services.blobs, run)
    settings = services.settings
    with tally.stage("open"):
        model = services.models.load(version)
    return Work(
        services.blobs,
        source,
        model,
        run.job.options,
        scored,
        rejected,
        services.engine,
        max(settings.block_bytes, source.size // MAX_BLOCKS),
        settings.max_record_bytes,
        settings.max_expansion,
        progress,
        tally,
    )


def check_run(run: Run, services: Services) -> tuple[Blob, ModelVersion]:
    """Return what a run scores and by what; the error that it would end with, if there is one or the other not."""
    check_format(run.job)
    if run.input is None:
        raise _absent(run, services)
    return run.input, run.model or _missing(run, services)


def score_work(work: Work) -> Scored:
    """Score a file, or a split of it, as its format has it."""
    return CODECS[format_of(work.input.path.name) or "csv"](work)


def _absent(run: Run, services: Services) -> StorageError:
    """Return why there is no input; also where there is one by now, as the run was begun without."""
    try:
        services.blobs.stat(run.job.input)
    except StorageDeniedError as denied:
        return denied
    except BlobNotFoundError:
        what = "is not there to be scored: it was deleted, or the job names another"
    else:
        what = "was not there when the run began, and is now: replay the run"
    return BlobNotFoundError(f"the file {what}", file=str(run.job.input))


def _missing(run: Run, services: Services) -> NoReturn:
    """Raise why there is no model; also where there is one by now, as the run was begun without."""
    services.models.resolve(run.job.model_meant)
    raise ModelNotFoundError(f"{run.job.model} was not there when the run began, and is now: replay the run")


def watch_of(entered: Entered, services: Services) -> Watch:
    """Return the watch of a run that has begun: it looks for a receipt other than the one that was found."""
    return Watch(entered.run, services, entered.found.etag if entered.found else None)


def watched(progress: Progress, run: Run, watch: Watch) -> Progress:
    """Return `progress` that is also watched, and logs a line from time to time."""
    pace = Pace(run.input.size if run.input else 0)

    def update(read: int, tally: Tally) -> None:
        progress(read, tally)
        watch.update(read, tally)
        if pace.due():
            log.info(line("run_progress", **names(run), **pace.figures(read, tally)))

    return update


def _commit(result: Scored, scored: Target, rejected: Target, run: Run, watch: Watch) -> None:
    tally = result.tally
    if result.rejected_blocks:
        rejected.commit(result.rejected_blocks, watch.look)
    else:
        rejected.remove(watch.look)
    if not run.job.options.allows(tally.rejected, tally.read):
        # By name where there are as many of two: which comes first is not to depend on how the file was cut.
        counts = sorted(tally.codes.items(), key=lambda each: (-each[1], each[0]))
        worst = ", ".join(f"{code}: {count:,}" for code, count in counts)
        raise ThresholdExceededError(
            f"{tally.rejected:,} of {tally.read:,} rows were rejected ({worst}), more than error_threshold "
            f"{run.job.options.error_threshold} allows; see the rejects file",
            file=str(run.job.input),
        )
    scored.commit(result.scored_blocks, watch.look)


def _clear(error: DropscoreError, scored: Target, rejected: Target) -> None:
    """Take away what an older version of the input left: the paths belong to the newest, and that one failed."""
    try:
        scored.remove()
        if error.code != ThresholdExceededError.code:
            rejected.remove()
    except SupersededError:
        return  # there is a newer version yet: it is that one's run now


def _let_go(targets: tuple[Target, Target]) -> None:
    for target in targets:
        target.let_go()


def outputs_of(run: Run, services: Services) -> tuple[Output, Output]:
    """Return what a run writes: its result and its rejects, each a single file."""
    scored, rejected = (
        SingleTable(services.blobs, path, run, kind)
        if (kind := content_type_of(path.name)) == PARQUET
        else Output(services.blobs, path, run, kind)
        for path in result_paths(run.job, services.settings)
    )
    return scored, rejected


def content_type_of(name: str) -> str:
    """Return the media type of a result or of rejects, by the name."""
    return COMPRESSED_TYPES.get(name.rpartition(".")[2].lower()) or CONTENT_TYPES[format_of(name) or "csv"]


def check_format(job: Job) -> None:
    """Raise FormatUnsupportedError for a file that is neither CSV nor Parquet by its name."""
    if format_of(job.input.name) is None:
        raise FormatUnsupportedError(
            f"only {', '.join(FORMATS)} files are scored: convert or rename this one", file=str(job.input)
        )


def _check_sum(tally: Tally) -> None:
    if tally.read != tally.scored + tally.rejected:
        raise AssertionError(f"{tally.read} rows read are not {tally.scored} scored + {tally.rejected} rejected")
