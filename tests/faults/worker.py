"""A worker: one process that is host and app, and calls what function_app.py declares as a host does.

Messages are received under a lease, given to the trigger of their queue and deleted. One whose function raises
comes back at once, and goes to the poison queue at its last failure (host.json's maxDequeueCount). Those of a
killed worker are given back by who started it.
"""

import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import azure.functions as func

import scoring.services
from errors import ConditionFailedError, StorageUnavailableError
from settings import Settings
from storage import BlobPath, QueueMessage, Storage, open_storage
from storage.azure import AzureBlobStore, AzureQueueStore
from storage.azure_client import RetryOptions
from tests.faults.leases import LEASE, give_back, waiting
from tests.faults.places import find_reader
from tests.faults.recorder import Recorder, Strike, kill

MOST_DELIVERIES: int = json.loads((Path(__file__).parents[2] / "host.json").read_text("utf-8"))["extensions"][
    "queues"
]["maxDequeueCount"]
QUICK = RetryOptions(total=3, first_wait=0.01, base=0.01, longest_wait=2, answer_timeout=0.7)
"""Retries as in production, but for their patience: for a network that fails on purpose."""

PATIENT = RetryOptions(first_wait=0.1, answer_timeout=30)
IDLE = 0.02, 0.5  # seconds between two looks into empty queues: at first, and at most


@dataclass(frozen=True)
class Task:
    """What one worker process is started with."""

    environment: Mapping[str, str]
    log: Path
    looks: Sequence[BlobPath] = ()
    """Results to look at after each call that could change one."""
    strike: Strike | None = None
    doom: float | None = None
    """Seconds until it is killed, whatever it is doing."""
    again: Sequence[tuple[str, str]] = ()
    """Messages (queue, body) to send when everything is done: late deliveries, which must change nothing."""
    sweep: bool = False
    """Whether timers fire once the queues are empty."""
    threads: int = 1
    """How many messages are worked on at once."""
    times: int = 1
    """How often each message is given to its function before it is deleted."""
    only: Sequence[str] = ()
    """Queues to deliver from; all of them if none is named."""
    direct: Mapping[str, str] = field(default_factory=dict)
    """What of the environment is different for the host itself, and for looks: a way around a faulty network."""
    sabotage: Callable[[Storage], Storage] | None = None
    """Gives the app a storage that breaks a promise, to prove that it would be noticed."""


def work(task: Task) -> None:
    """Do all there is to do, then end; the entry of a worker's process."""
    os.environ.update(task.environment)  # this process is new, and the app reads it next
    logging.getLogger().addHandler(logging.NullHandler())  # what is logged is not what is tested
    settings = Settings.load({**os.environ, **task.direct})
    storage = connect(settings)
    ours = connect(Settings.load(), QUICK) if task.direct else storage
    reader = find_reader(storage, settings)
    recorder = Recorder(ours, storage, task.log, reader=reader, looks=task.looks, strike=task.strike)
    seen = task.sabotage(recorder.recorded) if task.sabotage else recorder.recorded
    scoring.services.open_storage = lambda _settings: seen
    if task.doom is not None:
        threading.Timer(task.doom, kill, [storage]).start()
    host = Host(storage, recorder, task)
    host.drain(task.threads)
    if task.sweep:
        host.fire_timers()
        host.drain(task.threads)
    for queue, body in task.again:
        storage.queues.send(queue, body)
    host.drain(task.threads)
    recorder.note(done=True)
    os._exit(0)  # the app's idle threads need no farewell


def connect(settings: Settings, retries: RetryOptions = PATIENT) -> Storage:
    """Return the storage that the settings name."""
    if settings.folder:
        return open_storage(settings)
    connection = settings.storage
    return Storage(AzureBlobStore(connection, retries=retries), AzureQueueStore(connection, retries=retries))


class Host:
    """Delivers what is in the queues to the functions that wait for it."""

    def __init__(self, storage: Storage, recorder: Recorder, task: Task) -> None:
        from function_app import app

        self._times = task.times
        self._storage = storage
        self._recorder = recorder
        self._queues: dict[str, Callable[[Any], None]] = {}
        self._timers: list[Callable[[Any], None]] = []
        for function in app.get_functions():
            trigger, called = function.get_trigger().get_dict_repr(), function.get_user_function()
            queue = trigger.get("queueName", "")
            if queue.startswith("webjobs-") or (task.only and queue not in task.only):
                continue  # those are the host's own
            if queue:
                self._queues[queue] = called
            elif trigger["type"] == "timerTrigger":
                self._timers.append(called)

    def drain(self, threads: int = 1) -> None:
        """Deliver until nothing is left, hidden messages included."""
        others = [threading.Thread(target=self._deliver_all) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        self._deliver_all()
        for thread in others:
            thread.join()

    def fire_timers(self) -> None:
        """Call every timer's function once."""
        for called in self._timers:
            self._recorder.note(timer=called.__name__)
            try:
                called(None)
            except Exception as error:
                self._failed(error)

    def _deliver_all(self) -> None:
        pause = IDLE[0]
        while True:
            counts = {queue: waiting(self._storage, queue) for queue in self._queues}
            delivered = 0
            for queue in (queue for queue, count in counts.items() if count):
                for message in self._storage.queues.receive(queue, lease=LEASE):
                    self._deliver(queue, self._queues[queue], message)
                    delivered += 1
            if delivered:
                pause = IDLE[0]
            elif any(counts.values()):  # others have them
                time.sleep(pause)
                pause = min(2 * pause, IDLE[1])
            else:
                return

    def _deliver(self, queue: str, called: Callable[[Any], None], message: QueueMessage) -> None:
        self._recorder.note(delivered=queue, message=[message.id, message.receipt, message.dequeue_count])
        last = message.dequeue_count >= MOST_DELIVERIES and not queue.endswith("-poison")
        try:
            for _ in range(self._times):
                called(func.QueueMessage(id=message.id, body=message.body.encode(), pop_receipt=message.receipt))
        except Exception as error:
            self._failed(error)
            if not last:
                give_back(self._storage, queue, message)
                return
            self._storage.queues.send(f"{queue}-poison", message.body)
        try:
            self._recorder.recorded.queues.delete(queue, message)
        except (ConditionFailedError, StorageUnavailableError) as error:
            self._recorder.note(kept=queue, error=type(error).__name__)
            give_back(self._storage, queue, message)

    def _failed(self, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        self._recorder.note(
            failed=type(error).__name__,
            retryable=bool(getattr(error, "retryable", False)),
            why=f"{error} ({Path(place.filename).name}:{place.lineno})",
            trace=traceback.format_exception(error),
        )
