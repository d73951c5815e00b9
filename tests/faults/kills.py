"""SIGKILL at every storage call: before it, and after it was done but before anybody knew."""

from functools import partial
from random import Random

from tests.faults.cases import PATIENT, Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import BACKENDS, Backend, Lab
from tests.faults.recorder import Strike
from tests.faults.scenes import PLAIN, SPLIT, SUBMITTED, TABLE, Scene
from tests.faults.watcher import Watcher

ROUNDS = 3
DOOMS = 50


def killed(lab: Lab, scene: Scene, backend: Backend, strike: Strike, rivals: int = 0) -> Outcome:
    """Kill a worker, while `rivals` others have the same job, and let another finish what is left."""
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body, 1 + rivals)
    with Watcher(site) as watched:
        site.run(site.task(strike=strike), *(site.task() for _ in range(rivals)))
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    promise = Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content)
    return conclude(site, watched, promise, strike)


def lost(lab: Lab, scene: Scene, strike: Strike) -> Outcome:
    """Kill a worker and lose what it had in hand: one sweep finds the run, if it had begun."""
    site = lab.open(scene)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        site.run(site.task(strike=strike), lose=True)
        if not any(site.storage.blobs.list(site.settings.runs)):
            site.send(body)  # nobody knows of the job yet: a queue that loses messages is none
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    promise = Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content)
    return conclude(site, watched, promise, strike)


def doomed(lab: Lab, scene: Scene, backend: Backend, seed: int) -> Outcome:
    """Kill two workers again and again, whatever they are doing, with sweeps in between."""
    random = Random(seed)  # noqa: S311  # the same for the same seed
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        for _ in range(ROUNDS):
            site.run(*(site.task(doom=random.uniform(0.05, 0.8), sweep=True) for _ in range(2)))
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    return conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))


def dooms(scene: Scene, backend: Backend) -> Kind:
    """Return the kind: kills at random moments, and so in the middle of calls, too."""

    def make(lab: Lab, random: Random) -> list[Case]:
        seeds = [random.randrange(2**32) for _ in range(DOOMS)]
        return [Case(f"seed {seed}", partial(doomed, lab, scene, backend, seed)) for seed in seeds]

    return Kind(f"kill at random moments: {scene.name}, {backend}", make, at_once=PATIENT)


def losses(scene: Scene, tested: int = 0) -> Kind:
    """Return the kind: two cases for each of a run's calls."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        calls = lab.count_calls(scene)
        strikes = [Strike(number, after) for number in range(1, calls + 1) for after in (False, True)]
        return [Case(str(strike), partial(lost, lab, scene, strike)) for strike in strikes]

    return Kind(f"kill, message lost: {scene.name}", make, tested=tested)


def kills(scene: Scene, backend: Backend, rivals: int = 0, tested: int = 0) -> Kind:
    """Return the kind: two cases for each of a run's calls."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        calls = lab.count_calls(scene, backend)
        strikes = [Strike(number, after) for number in range(1, calls + 1) for after in (False, True)]
        return [Case(str(strike), partial(killed, lab, scene, backend, strike, rivals)) for strike in strikes]

    several = f", {1 + rivals} workers" if rivals else ""
    return Kind(f"kill: {scene.name}, {backend}{several}", make, tested=tested)


KINDS = [
    kills(PLAIN, "azurite", tested=2),
    kills(PLAIN, "folder", tested=1),
    kills(PLAIN, "azurite", rivals=1),
    losses(PLAIN),
    kills(SUBMITTED, "folder", tested=1),
    kills(SUBMITTED, "azurite", rivals=1),
    losses(SUBMITTED, tested=1),
    kills(SPLIT, "azurite", tested=2),
    kills(SPLIT, "folder"),
    kills(SPLIT, "azurite", rivals=1, tested=1),
    losses(SPLIT, tested=1),
    kills(TABLE, "azurite", tested=1),
    kills(TABLE, "azurite", rivals=1),
    losses(TABLE),
    *(dooms(scene, backend) for scene in (PLAIN, SPLIT, TABLE) for backend in BACKENDS),
]
