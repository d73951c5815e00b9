"""Faults on purpose: messages several times, out of order, and a host that is killed."""

import asyncio
import re
import signal

import httpx2 as httpx
import psutil
import pytest

from devhost.azurite import Azurite, azurite_running, free_ports
from devhost.config import QueueSettings
from devhost.connections import Connections
from devhost.console import Console
from devhost.queue_listener import QueueListener
from devhost.rehearsal import Faults, KillTimer, Rehearsal
from tests.devhost.conftest import Storage, wait_until

ONE_AT_A_TIME = QueueSettings(batch_size=1, new_batch_threshold=0, encoding="none", max_polling_interval=0.1)


class Deliveries:
    """A listener in this process, and what it hands over."""

    def __init__(self, storage, faults, settings=ONE_AT_A_TIME):
        self.storage = storage
        self.bodies = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.running = self.most_at_once = 0
        self.failing = 0
        self.stopping = asyncio.Event()
        self._connections = Connections({"S": storage.connection_string})
        poison = storage.queues.get_queue_client(f"{storage.work.queue_name}-poison")
        rehearsal = Rehearsal(faults, KillTimer(faults, Console.__new__(Console)))
        self._listener = QueueListener(
            storage.work, poison, self._handle, settings, self._connections, rehearsal=rehearsal
        )

    async def _handle(self, _message, body):
        self.bodies.append(body.decode())
        self.begun.set()
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        await asyncio.sleep(0)
        await self.go_on.wait()
        self.running -= 1
        if self.failing:
            self.failing -= 1
            return False
        return True

    async def __aenter__(self):
        self._running = asyncio.create_task(self._listener.run(self.stopping))
        return self

    async def __aexit__(self, *_):
        self.stopping.set()
        self.go_on.set()
        await self._running
        self._connections.close()

    async def count(self, number):
        """Wait for so many deliveries and for an empty queue."""
        async with asyncio.timeout(20):
            while len(self.bodies) < number or await asyncio.to_thread(self._left):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)

    def _left(self):
        return self.storage.work.get_queue_properties().approximate_message_count


def test_every_message_is_delivered_more_times(storage):
    """--duplicate 4 makes five deliveries of a message, some at the same time; it is deleted after the last."""

    async def deliver():
        async with Deliveries(storage, Faults(duplicate=4)) as deliveries:
            storage.work.send_message("m")
            await deliveries.count(5)
        return deliveries

    deliveries = asyncio.run(deliver())
    assert deliveries.bodies == ["m"] * 5
    assert 1 < deliveries.most_at_once < 5


def test_one_delivery_that_fails_fails_the_message(storage):
    """If one of a message's deliveries fails, the message comes back, and all of them with it."""

    async def deliver():
        async with Deliveries(storage, Faults(duplicate=2)) as deliveries:
            deliveries.failing = 1
            storage.work.send_message("m")
            await deliveries.count(6)
        return deliveries

    assert asyncio.run(deliver()).bodies == ["m"] * 6


def test_messages_are_taken_in_an_order_that_the_seed_draws(storage):
    """--reorder delivers each message once, in an order that is the seed's."""

    async def deliver(seed):
        for number in range(12):
            storage.work.send_message(f"{number:02}")
        async with Deliveries(storage, Faults(reorder=True, seed=seed)) as deliveries:
            await deliveries.count(12)
        assert deliveries.most_at_once == 1
        return deliveries.bodies

    first, again, other = (asyncio.run(deliver(seed)) for seed in (1, 1, 2))
    assert sorted(first) == [f"{number:02}" for number in range(12)]
    assert first == again
    assert len({tuple(first), tuple(other), tuple(sorted(first))}) == 3


@pytest.mark.parametrize("reorder", [False, True])
def test_a_host_that_stops_releases_what_it_has_not_begun(storage, reorder):
    """When the host stops, the running call ends and its message goes; the others are free for others at once."""

    async def deliver():
        for number in range(5):
            storage.work.send_message(str(number))
        async with Deliveries(storage, Faults(reorder=reorder, duplicate=3)) as deliveries:
            deliveries.go_on.clear()
            async with asyncio.timeout(20):
                await deliveries.begun.wait()
            deliveries.stopping.set()
            await asyncio.sleep(0)  # the listener is told
        return deliveries

    deliveries = asyncio.run(deliver())
    (begun,) = set(deliveries.bodies)
    assert deliveries.running == 0
    left = storage.messages(storage.work.queue_name)
    assert sorted([begun, *left]) == [str(number) for number in range(5)]


def test_sigterm_begins_nothing_new(storage, start):
    """After SIGTERM the running call ends well and its message is deleted; waiting ones are left as they are."""
    devhost = start(
        AzureFunctionsJobHost__extensions__queues__batchSize="1",
        AzureFunctionsJobHost__extensions__queues__newBatchThreshold="0",
    ).ready()
    for body in ("sleep 1", "second", "third"):
        storage.work.send_message(body)
    wait_until(lambda: storage.told("begun"), "call")
    assert devhost.end(signal.SIGTERM) == 0, devhost.output
    assert [each["body"] for each in storage.told("done")] == ["sleep 1"]
    assert len(storage.told("begun")) == 1
    left = storage.work.receive_messages()
    assert [(each.content, each.dequeue_count) for each in left] == [("second", 1), ("third", 1)]


def test_a_killed_host_is_started_again(storage, start, tmp_path):
    """--kill-every kills the host in the middle of functions; the next has its port and Azurite and goes on."""
    connection_string = Azurite(*free_ports(2)).connection_string
    devhost = start(
        # The draws of this seed: after 0.4, 0.3 and 1.7 seconds of work.
        *("--kill-every", "1", "--seed", "112", "--queue-lease", "1", "--azurite-dir", str(tmp_path)),
        AzureWebJobsStorage=connection_string,
        AzureFunctionsJobHost__extensions__queues__batchSize="1",
        AzureFunctionsJobHost__extensions__queues__newBatchThreshold="0",
        AzureFunctionsJobHost__extensions__queues__maxDequeueCount="50",
    ).ready()
    made = Storage(connection_string, storage.name)  # on the Azurite that the supervisor has started
    made.work.send_message("sleep 0.5 a")
    made.work.send_message("sleep 0.5 b")
    wait_until(lambda: len({each["body"] for each in made.told("done")}) == 2, "end of the work", 180)
    made.close()
    kills = re.findall(r"Killing this host .* in the middle of (\w+) [0-9a-f]{8}\n", devhost.output)
    assert kills == ["work"] * len(kills)
    assert len(kills) >= 2
    wait_until(lambda: _answers(devhost.url), "answer at the same port")
    assert devhost.end(signal.SIGTERM) == 0, devhost.output
    assert f"The host was killed {devhost.output.count('Killing this host')} times" in devhost.lines[-1]
    assert not azurite_running(connection_string)


def _answers(url):
    try:
        return httpx.get(f"{url}/text").text == "plain"
    except httpx.TransportError:
        return False


def test_a_host_without_its_supervisor_ends(start):
    """If the supervisor itself is killed, its host drains and ends: no process is left behind."""
    devhost = start("--kill-every", "1000").ready()
    (host,) = psutil.Process(devhost.process.pid).children()
    devhost.process.send_signal(signal.SIGKILL)
    host.wait(20)
    assert not psutil.pid_exists(host.pid)
    assert devhost.wait() == -signal.SIGKILL


def test_a_host_that_cannot_start_ends_the_supervisor(start, tmp_path):
    """A start that fails is no kill: the error is shown once, and the exit code is its own."""
    (tmp_path / "function_app.py").write_text("import no_such_module_anywhere")
    devhost = start("--kill-every", "10", app=tmp_path)
    assert devhost.wait() == 1
    assert devhost.output.count("cannot be imported or indexed") == 1
    assert "killed" not in devhost.output


def test_what_is_rehearsed_is_said(start):
    """The faults that are switched on are listed with the functions."""
    devhost = start("--duplicate", "1", "--reorder", "--seed", "7").ready()
    assert "Rehearsing (seed 7): every message 2 times, messages in random order\n" in devhost.lines
