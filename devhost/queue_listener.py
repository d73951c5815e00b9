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
from devhost.rehearsal import Rehearsal, Turns

_log = logging.getLogger(__name__)
_MIN_POLLING_INTERVAL = 0.1  # seconds
_MAX_PAGE = 32  # messages; the most that storage gives at once

Handler = Callable[[QueueMessage, bytes], Awaitable[bool]]
"""Work on a message and its decoded body; True if it is done with."""


class QueueListener:
    """Receive messages and hand them to a handler, many at once.

    A message is deleted when the handler is done with it, and hidden from others until then by a lease that is
    renewed. If this process dies, the lease ends and the message comes back. A failed one comes back after
    visibilityTimeout, and goes to the poison queue at its last failure. A queue that is not there is waited for,
    not made, as on the real host.

    Rehearsed faults: a message that is to be delivered several times is done with when every delivery of it is;
    where the order is to be random, up to 32 messages are held, and whose turn it is is drawn among them.
    """

    def __init__(
        self,
        queue: QueueClient,
        poison: QueueClient | None,
        handler: Handler,
        settings: QueueSettings,
        connections: Connections,
        *,
        rehearsal: Rehearsal,
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._handler = handler
        self._settings = settings
        self._call = connections.call
        self._kill_timer = rehearsal.kill_timer
        self._duplicate = rehearsal.faults.duplicate
        self._random = rehearsal.faults.random("queue")
        self._turns: Turns | None = None
        if rehearsal.faults.reorder:
            self._turns = Turns(settings.batch_size + settings.new_batch_threshold, self._random)
        self._running: set[asyncio.Task[None]] = set()
        self._delay = _MIN_POLLING_INTERVAL
        self._reachable = True
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Look for messages now: the caller has just sent one."""
        self._delay = _MIN_POLLING_INTERVAL
        self._wake.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver messages until `stopping`, then let the ones begun finish and release the others."""
        stop = asyncio.create_task(stopping.wait())
        stop.add_done_callback(lambda _: self._stop())
        while not stopping.is_set():
            count = self._room()
            if not count:
                await asyncio.wait({*self._running, stop}, return_when=asyncio.FIRST_COMPLETED)
                continue
            received = await self._receive(count)
            if self._turns:
                self._random.shuffle(received)
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

    def _stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._turns:
            self._turns.close()

    def _room(self) -> int:
        """Return how many messages to ask for now."""
        if self._turns:
            return max(0, _MAX_PAGE - len(self._running))
        return self._settings.batch_size if len(self._running) <= self._settings.new_batch_threshold else 0

    async def _receive(self, count: int) -> list[QueueMessage]:
        pages = self._queue.receive_messages(
            messages_per_page=count, visibility_timeout=round(self._settings.lease)
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
                succeeded = await self._take_turn(message, body)
            with self._kill_timer.work():
                await self._settle(message, succeeded)
        except AzureError as error:  # its lease ends and it comes back: at least once
            _log.warning("Message %s on %s could not be settled: %s", message.id, self._queue.queue_name, error)

    async def _settle(self, message: QueueMessage, succeeded: bool | None) -> None:  # noqa: FBT001  # an outcome
        """Delete a message that is done with, release or bury another; None: it was not begun."""
        if succeeded:
            await self._call(self._queue.delete_message, message.id, message.pop_receipt)
        elif succeeded is None:
            await self._release(message, 0)
        elif self._poison is None:
            pass  # stays hidden until its lease ends, as on the real host: no fast loop on a poison queue
        elif (message.dequeue_count or 0) >= self._settings.max_dequeue_count:
            await self._bury(message)
        else:
            await self._release(message, self._settings.visibility_timeout)

    async def _take_turn(self, message: QueueMessage, body: bytes) -> bool | None:
        """Handle a message when its turn comes; None if this host stops before."""
        if self._turns is None:
            return await self._handle(message, body)
        if not await self._turns.wait():
            return None
        try:
            return await self._handle(message, body)
        finally:
            self._turns.end()

    async def _handle(self, message: QueueMessage, body: bytes) -> bool:
        """Hand a message over, and again as often as is rehearsed: at the same time or afterwards, as drawn."""
        together = 1 + sum(self._random.random() < 0.5 for _ in range(self._duplicate))
        outcomes = await asyncio.gather(*(self._try(message, body) for _ in range(together)))
        for _ in range(1 + self._duplicate - together):
            if not self._stopping:
                outcomes.append(await self._try(message, body))
        return all(outcomes)

    async def _try(self, message: QueueMessage, body: bytes) -> bool:
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
