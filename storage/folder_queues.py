"""Queues as folders of message files: the same promises as Azure's, without Azure."""

import re
import time
from pathlib import Path
from uuid import uuid4

from errors import BlobNotFoundError, ConditionFailedError
from storage.files import sync_folder, write_synced
from storage.folder import PRIVATE
from storage.names import check_body, check_container, check_limit
from storage.queues import QueueMessage

_NAME = re.compile(r"(?P<visible>\d{20})-(?P<count>\d{6})-(?P<id>[0-9a-f]{32})-[0-9a-f]{32}")
"""A message's file: when it is visible (nanoseconds since 1970), how often it was received, its id, its receipt."""


class FolderQueueStore:
    """QueueStore over a folder on a local disk, for any number of threads and processes of this machine.

    All that changes about a message is in its file's name, so receiving one is a rename: of several receivers one
    succeeds, and the others find no such file. Messages come in the order in which they became visible.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root.absolute() / PRIVATE / "queues"

    def create_queue(self, queue: str) -> None:
        """Make a queue; one that is there already is left as it is."""
        check_container(queue)
        (self._folder / queue).mkdir(parents=True, exist_ok=True)

    def send(self, queue: str, body: str, *, delay: float = 0) -> None:
        """Add a message, visible after `delay` seconds."""
        check_body(body)
        folder = self._open(queue)
        new = folder / f"new-{uuid4().hex}"
        write_synced(new, body.encode())
        new.rename(folder / _name(delay, 0, uuid4().hex))
        sync_folder(folder)

    def receive(self, queue: str, *, limit: int = 1, lease: float = 30) -> list[QueueMessage]:
        """Take up to `limit` (at most 32) messages, hidden from others for `lease` seconds."""
        check_limit(limit)
        folder, now = self._open(queue), time.time_ns()
        received: list[QueueMessage] = []
        for name in sorted(file.name for file in folder.iterdir()):
            found = _NAME.fullmatch(name)
            if not found or int(found["visible"]) > now:
                continue
            count = int(found["count"]) + 1
            receipt = _name(lease, count, found["id"])
            try:
                with (folder / name).open("rb") as file:
                    (folder / name).rename(folder / receipt)
                    body = file.read().decode()
            except FileNotFoundError:  # another receiver was faster
                continue
            received.append(QueueMessage(found["id"], body, receipt, count))
            if len(received) == limit:
                break
        return received

    def delete(self, queue: str, message: QueueMessage) -> None:
        """Remove a received message; ConditionFailedError if its lease was lost."""
        folder = self._open(queue)
        lost = ConditionFailedError(f"{queue}: the message's lease was lost: another worker has received it")
        if not _NAME.fullmatch(message.receipt):
            raise lost
        try:
            (folder / message.receipt).unlink()
        except FileNotFoundError:
            raise lost from None

    def _open(self, queue: str) -> Path:
        check_container(queue)
        folder = self._folder / queue
        if not folder.is_dir():
            raise BlobNotFoundError(f"{queue}: there is no such queue: create it")
        return folder


def _name(hidden: float, count: int, message_id: str) -> str:
    visible = time.time_ns() + int(hidden * 1e9)
    return f"{visible:020d}-{count:06d}-{message_id}-{uuid4().hex}"
