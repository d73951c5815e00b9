"""Queues as the rest of Dropscore sees them."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message as received: invisible to others until its lease ends."""

    id: str
    body: str
    """Text exactly as sent; never base64 unless the sender made it so."""
    receipt: str
    """What `delete` needs; changes with every receive."""
    dequeue_count: int
    """How often it has been received, this time included."""


class QueueStore(Protocol):
    """Named queues with at-least-once delivery; errors as in BlobStore."""

    def create_queue(self, queue: str) -> None:
        """Make a queue; one that is there already is left as it is."""
        ...

    def send(self, queue: str, body: str, *, delay: float = 0) -> None:
        """Add a message, visible after `delay` seconds. BlobNotFoundError if there is no such queue."""
        ...

    def receive(self, queue: str, *, limit: int = 1, lease: float = 30) -> list[QueueMessage]:
        """Take up to `limit` (at most 32) messages, hidden from others for `lease` seconds."""
        ...

    def delete(self, queue: str, message: QueueMessage) -> None:
        """Remove a received message; ConditionFailedError if its lease was lost."""
        ...
