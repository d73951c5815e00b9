"""What triggers call: a file was dropped, a message came, a message failed at every try."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

from errors import (
    BlobNotFoundError,
    InputError,
    ModelError,
    RetriesExhaustedError,
)
from scoring.blob_events import Dropped
from scoring.ending import end_run
from scoring.entering import begin
from scoring.job import Job
from scoring.log_lines import line
from scoring.messages import Order, read_message, read_poisoned_blob
from scoring.part_files import is_folder, is_hidden, list_parts
from scoring.receipt import Receipt, write_up
from scoring.records import Records, give_up_records, score_records
from scoring.refusals import refuse, refuse_message
from scoring.services import Services
from scoring.splits.start import take_job
from storage import BlobPath
from storage.names import check_path

log = logging.getLogger(__name__)


def accept_file(path: BlobPath, services: Services) -> Job | None:
    """Put a dropped file's job on the queue; for a file that can have none, write a failed receipt, return None.

    What Spark and others write beside their data, and blobs that stand for folders, are passed over.
    """
    return _queue_file(Dropped(path, None), services)


def accept_message(body: str | bytes, services: Services) -> Receipt | None:
    """Do what a message asks for; one that cannot be understood gets a failed receipt and is not retried.

    Where it asks for several runs (a folder's job, an array of events) their jobs are queued instead, and None is
    returned: each has a run of its own. Told again of the same message, they are the same runs. None is returned,
    too, for a file that is scored in splits: whoever scores the last of them ends the run.
    """
    try:
        orders = read_message(body, services.settings)
        if len(orders) == 1:
            return _act(orders[0], body, services)
    except (InputError, ModelError) as error:
        return refuse_message(body, error, services)
    for order in orders:
        if isinstance(order, Dropped):  # nothing else comes in arrays
            _queue_file(order, services)
    return None


def give_up(body: str | bytes, services: Services) -> Receipt | None:
    """Write the failed receipts of a message that failed at every try, unless its runs have ended after all.

    The last of them is returned; None if the message asked for nothing.
    """
    error = RetriesExhaustedError(
        "the job failed at every try; the log of its last run says why. Once that is mended, send the message again"
    )
    receipt = None
    try:
        for order in read_message(body, services.settings):
            receipt = _give_up(order, body, error, services)
    except (InputError, ModelError) as fault:
        return refuse_message(body, fault, services)
    return receipt


def accept_poisoned_blob(body: str | bytes, services: Services) -> Job | None:
    """Queue the job of a dropped file whose blob trigger failed at every try: the host tells of it no more."""
    try:
        path = read_poisoned_blob(body)
    except InputError as error:
        refuse_message(body, error, services)
        return None
    if path.container != services.settings.incoming:  # the queue is that of all apps of the storage account
        log.warning(line("poisoned_blob_passed_over", input=str(path)))
        return None
    return accept_file(path, services)


def as_folder(job: Job, services: Services) -> Job:
    """Return the job with a "/" behind its input where that is a folder and no file: `incoming/churn/a.parquet`."""
    if job.is_of_folder or job.etag:
        return job
    try:
        if not is_folder(services.blobs.stat(job.input)):
            return job
    except BlobNotFoundError:
        pass  # in most stores there are no folders, only names that go on behind a slash
    folder = BlobPath(job.input.container, job.input.name + "/")
    try:
        found = next(services.blobs.list(folder.container, folder.name), None)
    except BlobNotFoundError:  # not even the container is there
        return job
    return replace(job, input=folder) if found else job


def queue_folder(job: Job, services: Services) -> None:
    """Queue the job of a folder, which becomes one for each file that lies in it by then.

    ModelNotFoundError, and BlobNotFoundError where no CSV and no Parquet file lies there.
    """
    services.models.resolve(job.model)
    if next(list_parts(services.blobs, job.input), None) is None:
        raise _no_parts(job)
    services.queues.send(services.settings.jobs_queue, job.to_json())


def _act(order: Order, body: str | bytes, services: Services) -> Receipt | None:
    if isinstance(order, Records):
        return score_records(order, services)
    if isinstance(order, Dropped):
        job = _job_of_file(order, services)
        return take_job(job, services) if job else None
    job = as_folder(order, services)
    return _queue_parts(job, body, services) if job.is_of_folder else take_job(job, services)


def _give_up(order: Order, body: str | bytes, error: RetriesExhaustedError, services: Services) -> Receipt | None:
    if isinstance(order, Records):
        return give_up_records(order, error, services)
    job = _job_of_file(order, services) if isinstance(order, Dropped) else order
    if job is None:
        return None
    if job.is_of_folder:
        return refuse_message(body, error, services)
    run = begin(job, services)
    services.open_runs.open(run)  # so that, if this dies half-way, whoever comes next tells of the run's end
    return end_run(write_up(run, datetime.now(UTC), error=error), run, services)


def _queue_file(file: Dropped, services: Services) -> Job | None:
    if job := _job_of_file(file, services):
        services.queues.send(services.settings.jobs_queue, job.to_json())
        log.info(line("file_queued", input=str(job.input), model=str(job.model)))
    return job


def _job_of_file(file: Dropped, services: Services) -> Job | None:
    """Return a dropped file's job; None if it can have none, or needs none."""
    path, etag = file.path, file.etag
    try:
        check_path(path)  # first, or ".." would pass for a hidden folder
        if is_hidden(path.name) or is_folder(blob := services.blobs.stat(path)):
            log.info(line("file_passed_over", input=str(path)))
            return None
        etag = etag or blob.etag
        return Job.for_dropped(path, etag)
    except BlobNotFoundError as missing:
        if "\ufffd" in path.name:  # what is put for characters that were lost on the way: there is such a file
            refuse(f"{path}\n{etag}", {"path": str(path)}, missing, services)
        log.warning(line("file_gone", input=str(path)))
    except (InputError, ModelError) as error:
        refuse(f"{path}\n{etag}", {"path": str(path)}, error, services)
    return None


def _queue_parts(job: Job, body: str | bytes, services: Services) -> Receipt | None:
    """Queue a job for each file of a folder."""
    count = 0
    try:
        for blob in list_parts(services.blobs, job.input):
            part = replace(job, input=blob.path, etag=blob.etag)
            services.queues.send(services.settings.jobs_queue, part.to_json())
            count += 1
    except BlobNotFoundError as missing:  # the container
        return refuse_message(body, missing, services)
    log.info(line("folder_queued", input=str(job.input), model=str(job.model), files=count))
    if count:
        return None
    return refuse_message(body, _no_parts(job), services)


def _no_parts(job: Job) -> BlobNotFoundError:
    return BlobNotFoundError(
        "no CSV or Parquet file lies in the folder: name one that has some, or a single file", file=str(job.input)
    )
