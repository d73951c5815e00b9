"""What triggers call: a file was dropped, a message came, a message failed at every try."""

import hashlib
import logging
from datetime import UTC, datetime

from errors import BlobNotFoundError, DropscoreError, InputError, ModelError, RetriesExhaustedError
from scoring.job import Job
from scoring.log_lines import line
from scoring.pipeline import begin, run_job
from scoring.receipt import Receipt, write_up
from scoring.services import Services
from storage import BlobPath

log = logging.getLogger(__name__)


STARTS_OVER = 5
"""How often a job is begun anew whose input keeps changing under it."""


def accept_file(path: BlobPath, services: Services) -> Job | None:
    """Put a dropped file's job on the queue; for a file that can have none, write a failed receipt, return None."""
    try:
        job = Job.for_dropped(path, services.blobs.stat(path).etag)
    except BlobNotFoundError:
        log.warning(line("file_gone", input=str(path)))
        return None
    except (InputError, ModelError) as error:
        _refuse(str(path), error, services)
        return None
    services.queues.send(services.settings.jobs_queue, job.to_json())
    log.info(line("file_queued", input=str(path), model=str(job.model)))
    return job


def accept_message(body: str, services: Services) -> Receipt:
    """Run the job a message describes; one that cannot be understood gets a failed receipt and is not retried.

    A job that names no version of its input is for whichever is current: if that is replaced meanwhile, it is begun
    anew, since nothing else may bring the newer one here.
    """
    try:
        job = Job.from_json(body)
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
        run = begin(Job.from_json(body), services)
    except (InputError, ModelError) as fault:
        return _refuse(body, fault, services)
    return services.receipts.record(write_up(run, datetime.now(UTC), error=error))


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
