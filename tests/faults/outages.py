"""Storage that fails on the way: each fault at each request of a run, then all of them at random."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

from tests.faults.cases import PATIENT, Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import Lab, Site
from tests.faults.network import Fault, Network, Once, Storm, Weather, fair
from tests.faults.scenes import PLAIN, SPLIT, Scene
from tests.faults.watcher import Watcher
from tests.faults.worker import QUICK, Task

STORMS = 500  # for each scene
CHANCE = 0.1


@contextmanager
def through(site: Site, weather: Weather, retry_after: int = 1) -> Iterator[tuple[Network, Task]]:
    """Give a network of that weather, and a worker whose app has no other."""
    with Network(site.lab.connection_string, weather, retry_after=retry_after) as network:
        task = site.task(
            environment=site.environment | {"AzureWebJobsStorage": network.connection_string},
            direct={"AzureWebJobsStorage": site.lab.connection_string},
            sweep=True,
        )
        yield network, task


def count_requests(lab: Lab, scene: Scene) -> int:
    """Return how many requests an undisturbed run sends."""
    site = lab.open(scene)
    site.send(site.drop(scene.content)[1])
    with through(site, fair) as (network, task):
        assert site.run(task) == [0]
    return len(network.seen)


def disturbed(lab: Lab, scene: Scene, weather: Weather, retry_after: int) -> Outcome:
    """Run a worker in that weather, and another one in fair weather after it."""
    site = lab.open(scene)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        with through(site, weather, retry_after) as (network, task):
            site.run(task)
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    outcome = conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))
    outcome.violations.extend(network.impatient(QUICK.total + 1))
    if isinstance(weather, Once) and not any(seen.fault for seen in network.seen):
        outcome.violations.append("the fault did not happen")
    return outcome


def outages(scene: Scene, *, lasting: bool, tested: int = 0) -> Kind:
    """Return the kind: a case for each fault at each request, once, or as often as the client asks."""
    times = QUICK.total + 1 if lasting else 1

    def make(lab: Lab, _random: Random) -> list[Case]:
        return [
            Case(f"{fault} at request {number}", partial(disturbed, lab, scene, Once(number, fault, times), 1))
            for number in range(1, count_requests(lab, scene) + 1)
            for fault in Fault
        ]

    name = f"storage fault{', lasting' if lasting else ''}: {scene.name}"
    return Kind(name, make, at_once=PATIENT, tested=tested)


def storms(scene: Scene, tested: int = 0) -> Kind:
    """Return the kind: runs of which each request may fail, in any way."""

    def make(lab: Lab, random: Random) -> list[Case]:
        seeds = [random.randrange(2**32) for _ in range(STORMS)]
        return [Case(f"storm {seed}", partial(disturbed, lab, scene, Storm(seed, CHANCE), 0)) for seed in seeds]

    return Kind(f"storage faults, p = {CHANCE}: {scene.name}", make, at_once=PATIENT, tested=tested)


KINDS = [
    outages(PLAIN, lasting=False, tested=2),
    outages(PLAIN, lasting=True, tested=1),
    outages(SPLIT, lasting=False),
    outages(SPLIT, lasting=True),
    storms(PLAIN),
    storms(SPLIT, tested=1),
]
