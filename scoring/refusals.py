"""What never becomes a run: it is refused with a receipt of its own, so that it does not vanish."""

import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from errors import DropscoreError
from scoring.events import send_ended
from scoring.log_lines import line
from scoring.messages import describe
from scoring.receipt import Receipt
from scoring.services import Services

log = logging.getLogger(__name__)


def refuse_message(body: str | bytes, error: DropscoreError, services: Services) -> Receipt:
    """End a message that asks for nothing that could be done; its receipt says what it looked like."""
    return refuse(body, {"path": error.file, "message": describe(body)}, error, services)


def refuse(identity: str | bytes, source: Mapping[str, Any], error: DropscoreError, services: Services) -> Receipt:
    """End what never became a job with a failed receipt, named after `identity`: a message, or a file's version."""
    log.warning(line("job_refused", input=source["path"], error=error.code, message=error.message))
    now = datetime.now(UTC).isoformat()
    key = identity if isinstance(identity, bytes) else identity.encode("utf-8", "surrogatepass")
    receipt = Receipt(
        run_id=hashlib.sha256(key).hexdigest()[:32],
        status="failed",
        input=source,
        model={},
        options={},
        rows={"read": 0, "scored": 0, "rejected": 0},
        error=error.to_dict(),
        started=now,
        finished=now,
    )
    receipt = services.receipts.record(receipt)
    send_ended(receipt, services)
    return receipt
