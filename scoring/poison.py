"""Messages that failed at every try, as their poison queues give them: each is ended so that none vanishes.

The host calls the function of a poison queue five times, ten minutes apart, then skips the message until it
expires. So while storage cannot be written to, which is why most messages are here, they are put back as new ones.
"""

import logging
from collections.abc import Callable

from errors import StorageError
from scoring.intake import accept_poisoned_blob, give_up
from scoring.log_lines import line
from scoring.services import Services
from scoring.splits.worker import give_up_split

log = logging.getLogger(__name__)

BLOBS_QUEUE = "webjobs-blobtrigger-poison"
"""The host's own, of all its apps on a storage account."""


def end_poisoned_job(body: str | bytes, services: Services) -> None:
    """Write the failed receipts of a message on the queue of jobs."""
    _end(give_up, f"{services.settings.jobs_queue}-poison", body, services)


def end_poisoned_split(body: str | bytes, services: Services) -> None:
    """Write the failed receipt of the run of a message on the queue of splits."""
    _end(give_up_split, f"{services.settings.splits_queue}-poison", body, services)


def end_poisoned_blob(body: str | bytes, services: Services) -> None:
    """Queue the job of a dropped file whose blob trigger failed at every try."""
    _end(accept_poisoned_blob, BLOBS_QUEUE, body, services)


def _end(end: Callable[[str | bytes, Services], object], queue: str, body: str | bytes, services: Services) -> None:
    try:
        end(body, services)
    except StorageError as fault:
        delay = services.settings.sweep_seconds
        text = body if isinstance(body, str) else body.decode()  # no queue holds what is no text
        # A raw line end cannot be within what any message says; and of them all XML keeps this one alone.
        services.queues.send(queue, text.replace("\r\n", "\n").replace("\r", "\n"), delay=delay)
        log.warning(line("poison_kept", queue=queue, seconds=delay, error=fault.code, message=fault.message))
