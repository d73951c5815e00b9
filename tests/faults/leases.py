"""What a host does with messages beyond our own interface: count them, and give one back early."""

from contextlib import suppress
from typing import Any, cast

from azure.core.exceptions import AzureError

from storage import QueueMessage, Storage
from storage.folder_queues import FolderQueueStore, _name

LEASE = 60.0  # seconds: no case takes as long, so a message comes back only where it is given back


def waiting(storage: Storage, queue: str) -> int:
    """Return how many messages a queue holds, hidden ones included."""
    queues = storage.queues
    if isinstance(queues, FolderQueueStore):
        return sum(not file.name.startswith("new-") for file in queues._open(queue).iterdir())
    properties = cast("Any", queues)._client(queue).get_queue_properties()
    return int(properties.approximate_message_count)


def give_back(storage: Storage, queue: str, message: QueueMessage) -> None:
    """End a message's lease now; nothing happens if it is over, or the message gone."""
    queues = storage.queues
    if isinstance(queues, FolderQueueStore):
        folder = queues._open(queue)
        with suppress(FileNotFoundError):
            (folder / message.receipt).rename(folder / _name(0, message.dequeue_count, message.id))
        return
    with suppress(AzureError):
        cast("Any", queues)._client(queue).update_message(message.id, message.receipt, visibility_timeout=0)
