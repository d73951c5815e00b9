"""SIGKILL at every storage call: before it, and after it was done but before anybody knew."""

from functools import partial
from random import Random

from tests.faults.cases import Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import Backend, Lab
from tests.faults.recorder import Strike
from tests.faults.scenes import PLAIN, Scene
from tests.faults.watcher import Watcher


def killed(lab: Lab, scene: Scene, backend: Backend, strike: Strike, rivals: int = 0) -> Outcome:
    """Kill a worker, while `rivals` others have the same job, and let another finish what is left."""
    site = lab.open(scene, backend)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body, 1 + rivals)
    with Watcher(site) as watched:
        codes = site.run(site.task(strike=strike), *(site.task() for _ in range(rivals)))
        codes += site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    outcome = conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))
    if not rivals and codes != [-9, 0]:  # a rival may leave nothing for the one to be killed
        outcome.violations.append(f"the worker was to be killed; workers ended with {codes}")
    return outcome


def kills(scene: Scene, backend: Backend, rivals: int = 0) -> Kind:
    """Return the kind: two cases for each of a run's calls."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        calls = lab.count_calls(scene, backend)
        strikes = [Strike(number, after) for number in range(1, calls + 1) for after in (False, True)]
        return [Case(str(strike), partial(killed, lab, scene, backend, strike, rivals)) for strike in strikes]

    several = f", {1 + rivals} workers" if rivals else ""
    return Kind(f"kill: {scene.name}, {backend}{several}", make)


KINDS = [
    kills(PLAIN, "azurite"),
    kills(PLAIN, "folder"),
    kills(PLAIN, "azurite", rivals=1),
]
