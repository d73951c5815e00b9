"""What every queue store promises, on both backends."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from errors import BlobNotFoundError, ConditionFailedError, MessageInvalidError
from storage import QueueMessage, Storage


def receive_when_visible(storage: Storage, queue: str, seconds: float = 10) -> list[QueueMessage]:
    """Receive one message, as soon as there is one; none if there is none for `seconds`."""
    deadline = time.monotonic() + seconds
    while not (received := storage.queues.receive(queue)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return received


def test_queue_made_twice(storage: Storage, queue: str) -> None:
    """Making a queue again leaves it, and what is in it, as it is."""
    storage.queues.send(queue, "job")
    storage.queues.create_queue(queue)
    assert [message.body for message in storage.queues.receive(queue)] == ["job"]


@pytest.mark.parametrize(
    "body", ['{"model": "churn"}', "Zürich 日本語 😀", "<a>&amp;</a>", " tab\t\nand lines\n ", "", "x" * 65_536]
)
def test_bodies_come_as_sent(storage: Storage, queue: str, body: str) -> None:
    """A message's text arrives exactly as it was sent, up to 64 KiB."""
    storage.queues.send(queue, body)
    [message] = storage.queues.receive(queue)
    assert message.body == body
    assert message.dequeue_count == 1


@pytest.mark.parametrize("body", ["\r\n", "\0", "\x1b[0m", "\ud800", "\uffff", "ü" * 32_769])
def test_bodies_that_queues_cannot_carry(storage: Storage, queue: str, body: str) -> None:
    """A text that would not arrive as it was sent is refused: XML carries it, up to 64 KiB."""
    with pytest.raises(MessageInvalidError):
        storage.queues.send(queue, body)
    assert storage.queues.receive(queue) == []


def test_empty_queue(storage: Storage, queue: str) -> None:
    """Nothing is received from an empty queue, and at once."""
    assert storage.queues.receive(queue, limit=32) == []


def test_received_messages_are_hidden(storage: Storage, queue: str) -> None:
    """A received message is nobody else's until its lease ends, and gone for good once deleted."""
    storage.queues.send(queue, "job")
    [message] = storage.queues.receive(queue, lease=60)
    assert storage.queues.receive(queue) == []
    storage.queues.delete(queue, message)
    with pytest.raises(ConditionFailedError):
        storage.queues.delete(queue, message)


def test_lease_ends(storage: Storage, queue: str) -> None:
    """A message that was not deleted comes back with a new receipt and a higher count; the old receipt is void."""
    storage.queues.send(queue, "job")
    [first] = storage.queues.receive(queue, lease=1)
    [second] = receive_when_visible(storage, queue)
    assert (second.id, second.body, second.dequeue_count) == (first.id, "job", 2)
    assert second.receipt != first.receipt
    with pytest.raises(ConditionFailedError):
        storage.queues.delete(queue, first)
    storage.queues.delete(queue, second)


def test_delay(storage: Storage, queue: str) -> None:
    """A delayed message is not there before its time, and there afterwards."""
    sent = time.monotonic()
    storage.queues.send(queue, "later", delay=1)
    assert storage.queues.receive(queue) == []
    [message] = receive_when_visible(storage, queue)
    assert message.body == "later"
    assert time.monotonic() - sent > 0.9  # Azurite's clock has milliseconds, its times whole seconds


def test_limit(storage: Storage, queue: str) -> None:
    """One receive takes as many messages as it asks for, at most 32, each once."""
    for number in range(40):
        storage.queues.send(queue, str(number))
    taken = [len(batch) for batch in (storage.queues.receive(queue, limit=limit) for limit in (1, 5, 32, 32))]
    assert taken == [1, 5, 32, 2]
    for limit in (0, 33):
        with pytest.raises(ValueError, match="1 to 32"):
            storage.queues.receive(queue, limit=limit)


def test_order(storage: Storage, queue: str) -> None:
    """Messages come first in, first out, as long as nobody competes."""
    for number in range(5):
        storage.queues.send(queue, str(number))
    assert [message.body for message in storage.queues.receive(queue, limit=5)] == list("01234")


def test_competing_receivers(storage: Storage, queue: str, race: Callable[..., Any]) -> None:
    """Eight receivers share a queue's messages: each message is received once while leases last."""
    for number in range(40):
        storage.queues.send(queue, str(number))

    def drain(_: int) -> list[str]:
        bodies = []
        while batch := storage.queues.receive(queue, limit=3, lease=60):
            for message in batch:
                storage.queues.delete(queue, message)
                bodies.append(message.body)
        return bodies

    outcomes = race(8, drain)
    assert outcomes.raised == []
    assert sorted(body for bodies in outcomes.returned for body in bodies) == sorted(
        str(number) for number in range(40)
    )


def test_missing_queue(storage: Storage) -> None:
    """A queue that was never made is not found."""
    message = QueueMessage("0" * 8, "", "AAAA", 1)
    for use in (
        lambda: storage.queues.send("no-such-queue", "job"),
        lambda: storage.queues.receive("no-such-queue"),
        lambda: storage.queues.delete("no-such-queue", message),
    ):
        with pytest.raises(BlobNotFoundError, match="no-such-queue"):
            use()
