"""Queue triggers: from a message to a call."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from azure.storage.queue import QueueMessage

from devhost.bindings import Function
from devhost.config import QueueSettings
from devhost.connections import Connections
from devhost.invoker import Invoker
from devhost.messages import TypedData
from devhost.queue_listener import QueueListener
from devhost.rehearsal import Rehearsal

POISON_SUFFIX = "-poison"


class QueueTrigger:
    """Call a function for every message of its queue."""

    def __init__(
        self,
        function: Function,
        invoker: Invoker,
        settings: QueueSettings,
        connections: Connections,
        rehearsal: Rehearsal,
    ) -> None:
        self._function = function
        self._invoker = invoker
        self._name = str(function.trigger.properties["queueName"])
        queues = connections.queues(function.trigger.connection)
        poison = None if self._name.endswith(POISON_SUFFIX) else queues.get_queue_client(self._name + POISON_SUFFIX)
        queue = queues.get_queue_client(self._name)
        self._listener = QueueListener(queue, poison, self._handle, settings, connections, rehearsal=rehearsal)

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver messages until `stopping`, then let the calls begun finish."""
        await self._listener.run(stopping)

    async def call(self, text: str) -> None:
        """Call the function with a message that is on no queue."""
        now = datetime.now(UTC)
        message = QueueMessage(text, id=str(uuid.uuid4()), dequeue_count=1, pop_receipt="")
        message.inserted_on = message.next_visible_on = now
        message.expires_on = now + timedelta(days=7)
        await self._handle(message, text.encode())

    async def _handle(self, message: QueueMessage, body: bytes) -> bool:
        binary = self._function.trigger.binary
        invocation = await self._invoker.invoke(
            self._function,
            TypedData(bytes=body) if binary else TypedData(string=body.decode(errors="replace")),
            message_metadata(message, body),
            reason=f"New queue message detected on '{self._name}'.",
            tokens=_tokens(message, body),
        )
        return invocation.succeeded


def message_metadata(message: QueueMessage, body: bytes) -> Mapping[str, TypedData]:
    """Return the trigger metadata of a message, with the host's names and encodings."""
    return {
        "QueueTrigger": TypedData(string=body.decode(errors="replace")),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
    }


def _time(moment: datetime | None) -> TypedData:
    return TypedData(json=json.dumps(moment.isoformat() if moment else None))


def _tokens(message: QueueMessage, body: bytes) -> dict[str, str]:
    """Return what {token}s of outputs may name: the metadata, and the fields of a JSON message."""
    tokens = {"queueTrigger": body.decode(errors="replace"), "id": message.id or ""}
    try:
        document = json.loads(body)
    except ValueError:
        return tokens
    if isinstance(document, dict):
        tokens |= {key: str(value) for key, value in document.items() if isinstance(value, str | int | float)}
    return tokens
