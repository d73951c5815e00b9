"""The input replaced or deleted, or the model's alias moved, at every storage call of a run."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from model_store.registry import Registry
from storage import BlobPath, Storage
from tests.faults.cases import Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import Lab
from tests.faults.recorder import Strike, read_log
from tests.faults.scenes import PLAIN, SPLIT, TABLE, Scene
from tests.faults.watcher import Watcher

BIASES = (-2.0, 0.5)
"""Of two versions of the model: all their scores differ."""


@dataclass(frozen=True)
class Overwrite:
    """Replaces the input, and queues the job of what is there now, as its drop does."""

    scene: Scene
    path: BlobPath
    queue: str

    def __call__(self, storage: Storage) -> None:
        etag = storage.blobs.write(self.path, self.scene.newer)
        storage.queues.send(self.queue, self.scene.job(self.path.container, etag).to_json())


@dataclass(frozen=True)
class Delete:
    """Deletes the input."""

    path: BlobPath

    def __call__(self, storage: Storage) -> None:
        storage.blobs.delete(self.path)


@dataclass(frozen=True)
class MoveAlias:
    """Points an alias elsewhere."""

    container: str
    version: int

    def __call__(self, storage: Storage) -> None:
        Registry(storage.blobs, self.container).set_alias("churn", "champion", self.version)


def overwritten(lab: Lab, scene: Scene, number: int) -> Outcome:
    """Replace the input just before a worker's call."""
    site = lab.open(scene)
    older, newer = lab.whole(scene, scene.content), lab.whole(scene, scene.newer)
    etag, body = site.drop(scene.content)
    site.send(body)
    act = Overwrite(scene, site.input, site.settings.jobs_queue)
    with Watcher(site) as watched:
        strike = Strike(number, after=False, act=act)
        site.run(site.task(strike=strike, sweep=True))
        now = site.storage.blobs.stat(site.input).etag
        site.run(site.task(again=[(site.settings.jobs_queue, body)]))
    statuses: dict[str, Collection[str]] = {etag: {"succeeded", "superseded"}, now: {"succeeded"}}
    promise = Promise([older, newer], [newer], statuses, input=scene.newer)
    return conclude(site, watched, promise, strike)


def deleted(lab: Lab, scene: Scene, number: int) -> Outcome:
    """Delete the input just before a worker's call."""
    site = lab.open(scene)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        strike = Strike(number, after=False, act=Delete(site.input))
        site.run(site.task(strike=strike, sweep=True))
        site.run(site.task(again=[(site.settings.jobs_queue, body)]))
    # failed: it was gone before the run began
    ends: dict[str, Collection[str]] = {etag: {"succeeded", "superseded", "failed"}}
    promise = Promise([whole], [whole], ends, optional=ends, input=None, absent=True)
    return conclude(site, watched, promise, strike)


def alias_moved(lab: Lab, scene: Scene, strike: Strike, *, kill: bool) -> Outcome:
    """Move the model's alias at a worker's call; if `kill`, the worker dies of it and another takes over."""
    site = lab.open(scene, biases=BIASES)
    wholes = [lab.whole(scene, scene.content, bias) for bias in BIASES]
    etag, body = site.drop(scene.content)
    site.send(body)
    move = MoveAlias(site.settings.models, 2)
    with Watcher(site) as watched:
        if kill:
            site.run(site.task(strike=strike))
            move(site.storage)
        else:
            site.run(site.task(strike=replace(strike, act=move)))
        site.run(site.task(sweep=True))
    # Delivered once more when its run is over and closed, a job is a new one: somebody may have sent it again.
    over = any(
        line.get("done", "").startswith(f"delete {site.settings.runs}/_open/") for line in read_log(site.logs[0])
    )
    promise = Promise(
        wholes, wholes, {etag: {"succeeded"}}, input=scene.content, most_runs=2 if kill and over else 1
    )
    return conclude(site, watched, promise, strike)


def changes(scene: Scene, what: str, tested: int = 0) -> Kind:
    """Return the kind: a case for each of a run's calls."""
    change = {"overwritten": overwritten, "deleted": deleted}[what]

    def make(lab: Lab, _random: Random) -> list[Case]:
        numbers = range(1, lab.count_calls(scene) + 1)
        return [Case(f"before call {number}", partial(change, lab, scene, number)) for number in numbers]

    return Kind(f"input {what}: {scene.name}", make, tested=tested)


def moves(scene: Scene, *, kill: bool, tested: int = 0) -> Kind:
    """Return the kind: two cases for each of a run's calls."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        strikes = [
            Strike(number, after) for number in range(1, lab.count_calls(scene) + 1) for after in (False, True)
        ]
        return [Case(str(strike), partial(alias_moved, lab, scene, strike, kill=kill)) for strike in strikes]

    return Kind(f"alias moved{' and worker killed' if kill else ''}: {scene.name}", make, tested=tested)


KINDS = [
    changes(PLAIN, "overwritten", tested=1),
    changes(PLAIN, "deleted"),
    moves(PLAIN, kill=False),
    moves(PLAIN, kill=True, tested=1),
    changes(SPLIT, "overwritten", tested=1),
    changes(SPLIT, "deleted"),
    moves(SPLIT, kill=True),
    changes(TABLE, "overwritten"),
    changes(TABLE, "deleted"),
]
