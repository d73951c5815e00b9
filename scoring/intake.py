"""What triggers call: a file was dropped, a message came, a message failed at every try."""

import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime

from errors import BlobNotFoundError, DropscoreError, InputError, ModelError, RetriesExhaustedError
from scoring.job import Job
from scoring.log_lines import line
from scoring.part_files import is_folder, is_hidden, list_parts
from scoring.pipeline import begin, run_job
from scoring.receipt import Receipt, write_up
from scoring.services import Services
from storage import BlobPath

log = logging.getLogger(__name__)


STARTS_OVER = 5
"""How often a job is begun anew whose input keeps changing under it."""


def accept_file(path: BlobPath, services: Services) -> Job | None:
    """Put a dropped file's job on the queue; for a file that can have none, write a failed receipt, return None.

    What Spark and others write beside their data, and blobs that stand for folders, are passed over.
    """
    try:
        if is_hidden(path.name) or is_folder(blob := services.blobs.stat(path)):
            log.info(line("file_passed_over", input=str(path)))
            return None
        job = Job.for_dropped(path, blob.etag)
    except BlobNotFoundError:
        log.warning(line("file_gone", input=str(path)))
        return None
    except (InputError, ModelError) as error:
        _refuse(str(path), error, services)
        return None
    services.queues.send(services.settings.jobs_queue, job.to_json())
    log.info(line("file_queued", input=str(path), model=str(job.model)))
    return job


def accept_message(body: str, services: Services) -> Receipt | None:
    """Run the job a message describes; one that cannot be understood gets a failed receipt and is not retried.

    Of a folder's job the jobs of its files are queued instead, and None is returned: each has a run of its own.
    A job that names no version of its input is for whichever is current: if that is replaced meanwhile, it is begun
    anew, since nothing else may bring the newer one here.
    """
    try:
        job = _as_folder(Job.from_json(body), services)
        if job.is_of_folder:
            return _queue_parts(job, body, services)
        for _ in range(STARTS_OVER):
            receipt = run_job(job, services)
            if job.etag or receipt.status != "superseded":
                break
    except (InputError, ModelError) as error:
        return _refuse(body, error, services)
    return receipt


def give_up(body: str, services: Services) -> Receipt:
    """Write the failed receipt of a message that failed at every try, unless its run has ended after all."""
    error = RetriesExhaustedError(
        "the job failed at every try; the log of its last run says why. Once that is mended, send the message again"
    )
    try:
        job = Job.from_json(body)
        if job.is_of_folder:
            return _refuse(body, error, services)
        run = begin(job, services)
    except (InputError, ModelError) as fault:
        return _refuse(body, fault, services)
    return services.receipts.record(write_up(run, datetime.now(UTC), error=error))


def _as_folder(job: Job, services: Services) -> Job:
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


def _queue_parts(job: Job, body: str, services: Services) -> Receipt | None:
    """Queue a job for each file of a folder. Told again of the same message, they are the same runs."""
    count = 0
    try:
        for blob in list_parts(services.blobs, job.input):
            part = replace(job, input=blob.path, etag=blob.etag)
            services.queues.send(services.settings.jobs_queue, part.to_json())
            count += 1
    except BlobNotFoundError as missing:  # the container
        return _refuse(body, missing, services)
    log.info(line("folder_queued", input=str(job.input), model=str(job.model), files=count))
    if count:
        return None
    error = BlobNotFoundError(
        "no CSV or Parquet file lies in the folder: name one that has some, or a single file", file=str(job.input)
    )
    return _refuse(body, error, services)


def _refuse(identity: str, error: DropscoreError, services: Services) -> Receipt:
    """Write the failed receipt of what never became a job: named after `identity`, a message or a path."""
    log.warning(line("job_refused", input=error.file, error=error.code, message=error.message))
    now = datetime.now(UTC).isoformat()
    receipt = Receipt(
        run_id=hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32],
        status="failed",
        input={"path": error.file},
        model={},
        options={},
        rows={"read": 0, "scored": 0, "rejected": 0},
        error=error.to_dict(),
        started=now,
        finished=now,
    )
    return services.receipts.record(receipt)
