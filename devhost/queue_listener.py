"""A queue's messages, delivered at least once: leases, retries, poison."""

import asyncio
import base64
import binascii
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage

from devhost.config import QueueSettings
from devhost.connections import Connections
from devhost.outputs import send

_log = logging.getLogger(__name__)
_MIN_POLLING_INTERVAL = 0.1  # seconds

Handler = Callable[[QueueMessage, bytes], Awaitable[bool]]
"""Work on a message and its decoded body; True if it is done with."""


class QueueListener:
    """Receive messages and hand them to a handler, many at once.

    A message is deleted when the handler is done with it, and hidden from others until then by a lease that is
    renewed. If this process dies, the lease ends and the message comes back. A failed one comes back after
    visibilityTimeout, and goes to the poison queue at its last failure. A queue that is not there is waited for,
    not made, as on the real host.
    """

    def __init__(
        self,
        queue: QueueClient,
        poison: QueueClient | None,
        handler: Handler,
        settings: QueueSettings,
        connections: Connections,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._handler = handler
        self._settings = settings
        self._call = connections.call
        self._running: set[asyncio.Task[None]] = set()
        self._delay = _MIN_POLLING_INTERVAL
        self._reachable = True
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for messages now: the caller has just sent one."""
        self._delay = _MIN_POLLING_INTERVAL
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver messages until `stopping`, then let the ones begun finish."""
        stop = asyncio.create_task(stopping.wait())
        stop.add_done_callback(lambda _: self._wake.set())
        while not stopping.is_set():
            if len(self._running) > self._settings.new_batch_threshold:
                await asyncio.wait({*self._running, stop}, return_when=asyncio.FIRST_COMPLETED)
                continue
            received = await self._receive()
            for message in received:
                if stopping.is_set():
                    await self._release(message, 0)
                    continue
                task = asyncio.create_task(self._deliver(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if received:
                self._delay = _MIN_POLLING_INTERVAL
            else:
                await self._idle()
        stop.cancel()
        await asyncio.gather(*self._running)

    async def _receive(self) -> list[QueueMessage]:
        settings = self._settings
        pages = self._queue.receive_messages(
            messages_per_page=settings.batch_size, visibility_timeout=round(settings.lease)
        ).by_page()
        try:
            messages = await self._call(lambda: list(next(pages, ())))  # one request, not one for every message
        except ResourceNotFoundError:
            messages = []
        except AzureError as error:
            if self._reachable:
                _log.warning("Queue %s cannot be read; trying on: %s", self._queue.queue_name, error)
            self._reachable = False
            return []
        self._reachable = True
        return messages

    async def _idle(self) -> None:
        """Wait before the next poll, twice as long (more or less) every time nothing came."""
        try:
            await asyncio.wait_for(self._wake.wait(), self._delay)
        except TimeoutError:
            jitter = random.uniform(0.8, 1.2)  # noqa: S311  # spreads pollers, guards nothing
            self._delay = min(self._delay * 2 * jitter, self._settings.max_polling_interval)
        self._wake.clear()

    async def _deliver(self, message: QueueMessage) -> None:
        try:
            if (message.dequeue_count or 0) > self._settings.max_dequeue_count:
                await self._bury(message)
                return
            try:
                body = self._decode(message.content)
            except (binascii.Error, ValueError):
                _log.error(
                    "Message %s on %s is not base64, as messageEncoding in host.json asks; it is poison",
                    message.id,
                    self._queue.queue_name,
                )
                await self._bury(message)
                return
            async with self._lease(message):
                succeeded = await self._handle(message, body)
            if succeeded:
                await self._call(self._queue.delete_message, message.id, message.pop_receipt)
            elif self._poison is None:
                pass  # stays hidden until its lease ends, as on the real host: no fast loop on a poison queue
            elif (message.dequeue_count or 0) >= self._settings.max_dequeue_count:
                await self._bury(message)
            else:
                await self._release(message, self._settings.visibility_timeout)
        except AzureError as error:  # its lease ends and it comes back: at least once
            _log.warning("Message %s on %s could not be settled: %s", message.id, self._queue.queue_name, error)

    async def _handle(self, message: QueueMessage, body: bytes) -> bool:
        try:
            return await self._handler(message, body)
        except Exception:  # a fault of this host fails the message, it must not end the listener
            _log.exception("Message %s on %s could not be handled", message.id, self._queue.queue_name)
            return False

    def _decode(self, text: str) -> bytes:
        return base64.b64decode(text, validate=True) if self._settings.encoding == "base64" else text.encode()

    @asynccontextmanager
    async def _lease(self, message: QueueMessage) -> AsyncIterator[None]:
        """Renew a message's lease until the block ends; each renewal changes its pop receipt."""
        done = asyncio.Event()

        async def renew() -> None:
            while True:
                try:
                    await asyncio.wait_for(done.wait(), self._settings.lease / 3)
                    return
                except TimeoutError:
                    await self._release(message, self._settings.lease)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            done.set()
            await renewing  # a renewal under way must end first, or its new pop receipt would be missed

    async def _release(self, message: QueueMessage, seconds: float) -> None:
        """Make a message visible again after `seconds`."""
        try:
            updated = await self._call(
                self._queue.update_message, message.id, message.pop_receipt, visibility_timeout=round(seconds)
            )
            message.pop_receipt = updated.pop_receipt
        except AzureError as error:
            _log.warning("The lease of message %s could not be changed: %s", message.id, error)

    async def _bury(self, message: QueueMessage) -> None:
        """Move a message to the poison queue, where there is one."""
        if self._poison is None:
            return
        _log.warning("Message %s failed for good; moving it to queue %s", message.id, self._poison.queue_name)
        await self._call(send, self._poison, message.content)
        await self._call(self._queue.delete_message, message.id, message.pop_receipt)
