"""Runs in splits over blobs in memory: their messages are delivered in any order, any number of times."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from scoring.engine import Engine
from scoring.intake import accept_message
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.receipt import Receipt, Receipts
from scoring.services import Services
from scoring.splits.worker import accept_split
from settings import Settings
from storage import BlobPath
from tests.memory_store import MemoryBlobStore, MemoryQueueStore, OneModel


def memory_services(model: Any, engine: Engine, **settings: Any) -> Services:
    """Return services with nothing on disk, for one model."""
    blobs, chosen = MemoryBlobStore(), Settings(**{"threads": engine.threads, "block_bytes": 4096} | settings)
    return Services(
        chosen,
        blobs,
        MemoryQueueStore(),
        OneModel(model),  # type: ignore[arg-type]  # all that a run asks of a cache
        Receipts(blobs, chosen.runs),
        engine,
    )


@dataclass
class Fleet:
    """Machines that take messages from the queues until there are none."""

    services: Services
    delivered: dict[str, int] = field(default_factory=dict)
    """By queue: how many of its messages were."""

    def drop(self, name: str, data: bytes, **options: Any) -> Job:
        """Write a file and return its job."""
        path = BlobPath(self.services.settings.incoming, f"churn/{name}")
        etag = self.services.blobs.write(path, data)
        return replace(Job.for_dropped(path, etag), options=Options.from_dict(options))

    def score(self, name: str, data: bytes, **options: Any) -> Receipt:
        """Score a file as the queues' triggers do, from its job to its receipt."""
        job = self.drop(name, data, **options)
        receipt = accept_message(job.to_json(), self.services)
        return receipt or self.work()

    def work(self, times: int = 1, shuffle: random.Random | None = None) -> Receipt:
        """Deliver all messages there are, each so many times, and return the last receipt that came of one."""
        receipt = None
        while round_of := self.messages():
            messages = [message for message in round_of for _ in range(times)]
            if shuffle:
                shuffle.shuffle(messages)
            for accept, message in messages:
                receipt = accept(message, self.services) or receipt
        assert receipt is not None
        return receipt

    def result(self, receipt: Receipt) -> bytes:
        assert receipt.output, receipt.error
        return self.services.blobs.read(BlobPath.parse(receipt.output))

    def rejects(self, receipt: Receipt) -> bytes | None:
        return self.services.blobs.read(BlobPath.parse(receipt.rejects)) if receipt.rejects else None

    def messages(self) -> list[tuple[Callable[[str, Services], Receipt | None], str]]:
        """Take the messages that are there: each with what it is for."""
        found: list[tuple[Callable[[str, Services], Receipt | None], str]] = []
        settings = self.services.settings
        for queue, accept in ((settings.jobs_queue, accept_message), (settings.splits_queue, accept_split)):
            sent = self.services.queues.sent(queue)  # type: ignore[attr-defined]  # of those in memory
            found += [(accept, message) for message in sent[self.delivered.get(queue, 0) :]]
            self.delivered[queue] = len(sent)
        return found


def score_whole(services: Services, job: Job) -> tuple[Receipt, bytes | None, bytes | None]:
    """Score a job's file in one go, somewhere else; return the receipt, the result and the rejects."""
    blobs = MemoryBlobStore()
    blobs.write(job.input, services.blobs.read(job.input))
    alone = replace(
        services, blobs=blobs, queues=MemoryQueueStore(), receipts=Receipts(blobs, services.settings.runs)
    )
    receipt = run_job(replace(job, etag=None), alone)
    places = (receipt.output, receipt.rejects)
    result, rejects = (blobs.read(BlobPath.parse(place)) if place else None for place in places)
    return receipt, result, rejects
