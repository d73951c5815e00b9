"""Messages that come more often than they were sent, in another order, or to many workers at once."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations
from random import Random

from tests.faults.cases import Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import BACKENDS, Backend, Lab
from tests.faults.scenes import PLAIN, SPLIT, TABLE, Scene, rows
from tests.faults.watcher import Watcher

PROCESSES, THREADS = 4, 8
"""Of a crowd: 32 workers."""

CROWDS = 10
SHUFFLES = 50


def repeated(lab: Lab, scene: Scene, backend: Backend, times: int, workers: int) -> Outcome:
    """Deliver every message, whoever sent it, so many times in a row."""
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        site.run(*(site.task(times=times) for _ in range(workers)))
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)] * times))
    return conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))


def crowded(lab: Lab, scene: Scene, backend: Backend) -> Outcome:
    """Deliver one job to 32 workers at once."""
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body, PROCESSES * THREADS)
    with Watcher(site) as watched:
        site.run(*(site.task(threads=THREADS) for _ in range(PROCESSES)))
        site.run(site.task(sweep=True))
    return conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))


def crowded_split(lab: Lab, scene: Scene, backend: Backend) -> Outcome:
    """Deliver the message of one split to 32 workers at once."""
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    queues, splits = site.storage.queues, site.settings.splits_queue
    with Watcher(site) as watched:
        site.run(site.task(only=[site.settings.jobs_queue]))
        first, *others = queues.receive(splits, limit=32)
        for message in (first, *others):
            queues.delete(splits, message)
        for _ in range(PROCESSES * THREADS):
            queues.send(splits, first.body)
        site.run(*(site.task(threads=THREADS) for _ in range(PROCESSES)))
        for message in others:
            queues.send(splits, message.body)
        site.run(site.task(sweep=True))
    return conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))


def reordered(lab: Lab, scene: Scene, order: Sequence[int]) -> Outcome:
    """Drop three versions of a file, then deliver their messages, some of them often, in that order."""
    site = lab.open(scene)
    versions = [scene.content, scene.newer, rows(40, first=2000)]
    wholes = [lab.whole(scene, content) for content in versions]
    drops = [site.drop(content) for content in versions]
    for number in order:
        site.send(drops[number][1])
    with Watcher(site) as watched:
        site.run(site.task(), site.task())
        site.run(site.task(sweep=True))
    statuses = {etag: {"succeeded" if number == 2 else "superseded"} for number, (etag, _) in enumerate(drops)}
    return conclude(site, watched, Promise(wholes, wholes[2:], statuses, input=versions[2]))


def repeats(scene: Scene, tested: int = 0) -> Kind:
    """Return the kind: each message twice and ten times, to one worker and to two."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        return [
            Case(
                f"{times} times, {workers} workers, {backend}",
                partial(repeated, lab, scene, backend, times, workers),
            )
            for backend in BACKENDS
            for times in (2, 10)
            for workers in (1, 2)
        ]

    return Kind(f"delivered 2 and 10 times: {scene.name}", make, tested=tested)


def orders(scene: Scene) -> Kind:
    """Return the kind: three versions' messages in every order, and in random ones with repetitions."""

    def make(lab: Lab, random: Random) -> list[Case]:
        chosen = [*permutations(range(3))]
        for _ in range(SHUFFLES):
            several = [number for number in range(3) for _ in range(random.randint(1, 4))]
            random.shuffle(several)
            chosen.append(tuple(several))
        return [Case(f"order {order}", partial(reordered, lab, scene, order)) for order in chosen]

    return Kind(f"reordered versions: {scene.name}", make)


def crowds(scene: Scene, crowd: Callable[[Lab, Scene, Backend], Outcome], what: str, tested: int = 0) -> Kind:
    """Return the kind: 32 workers, a few times."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        return [
            Case(f"crowd {number}, {backend}", partial(crowd, lab, scene, backend))
            for number in range(CROWDS // 2)
            for backend in BACKENDS
        ]

    return Kind(f"{PROCESSES * THREADS} workers on one {what}: {scene.name}", make, at_once=1, tested=tested)


KINDS = [
    repeats(PLAIN, tested=1),
    repeats(SPLIT),
    repeats(TABLE),
    orders(PLAIN),
    orders(SPLIT),
    crowds(PLAIN, crowded, "job"),
    crowds(SPLIT, crowded, "job"),
    crowds(SPLIT, crowded_split, "split", tested=1),
    crowds(TABLE, crowded_split, "split"),
]
