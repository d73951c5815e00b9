"""Machines that are too small, and hosts that are told to stop."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from errors import BlobNotFoundError
from tests.bound_files import HEADER, MB, ROW, endless
from tests.devhost.conftest import Devhost
from tests.faults.cases import Case, Kind, Outcome, conclude
from tests.faults.invariants import Promise
from tests.faults.lab import Lab, Site
from tests.faults.scenes import PLAIN, Scene, rows
from tests.faults.watcher import Watcher
from tests.measured_runs import MeasuredRuns

LARGE = 5 * 1024**3  # bytes of CSV
MOST_MEMORY = 512 * MB
LONG = Scene("long", "long.csv", rows(1500), rows(50))
"""Takes a second or more, so that it can be interrupted: a hundred blocks."""

STOPS = 8
PATIENCE = 60  # seconds that a host has to drain


def cache_without_room(lab: Lab, scene: Scene, limit: Callable[[Site], Callable[[], None]]) -> Outcome:
    """Let the packages' cache be of no use until the job has failed at every try, and then of use again."""
    site = lab.open(scene)
    whole = lab.whole(scene, scene.content)
    etag, body = site.drop(scene.content)
    site.send(body)
    with Watcher(site) as watched:
        mend = limit(site)
        try:
            site.run(site.task())
        finally:
            mend()
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    return conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))


def full_disk(site: Site) -> Callable[[], None]:
    """Put the cache on a file system of 8 KiB, in memory; only root can."""
    folder = site.folder / "cache"
    folder.mkdir()
    mount(folder)
    return partial(unmount, folder)


def mount(folder: Path) -> None:
    """Make a folder a small disk of its own; CalledProcessError where that is not allowed."""
    command = [find("mount"), "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """Take it away."""
    subprocess.run([find("umount"), str(folder)], check=True, capture_output=True)


def find(command: str) -> str:
    """Return where a command is; FileNotFoundError if it is not there."""
    if found := shutil.which(command):
        return found
    raise FileNotFoundError(command)


def no_folder(site: Site) -> Callable[[], None]:
    """Have a file where the cache's folder should be."""
    place = site.folder / "cache"
    place.write_bytes(b"")
    return place.unlink


def can_mount(lab: Lab) -> bool:
    """Say whether this process may mount a file system."""
    folder = lab.folder / "mounted"
    folder.mkdir(exist_ok=True)
    try:
        mount(folder)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return False
    unmount(folder)
    return True


def stopped(lab: Lab, scene: Scene, delay: float | None) -> Outcome:
    """Send a devhost SIGTERM, so long after it is up, or once a run has begun: it ends what it has begun."""
    site = lab.open(scene)
    whole = lab.whole(scene, scene.content)
    found = []
    with Watcher(site) as watched:
        devhost = Devhost(".", site.environment, "--queue-lease", "30", "--blob-scan", "0.2").ready()
        try:
            etag, body = site.drop(scene.content)  # the blob trigger's, from here on
            if delay is None:
                wait_for_run(site)
            else:
                time.sleep(delay)
            code = devhost.end(signal.SIGTERM, PATIENCE)
        finally:
            devhost.close()
        if code:
            found.append(f"devhost ended with {code}: {devhost.output[-500:]}")
        if began(site) != ended(site):
            found.append(f"{began(site)} runs had begun and {ended(site)} had ended when devhost was gone")
        site.send(body)
        site.run(site.task(sweep=True, again=[(site.settings.jobs_queue, body)]))
    outcome = conclude(site, watched, Promise([whole], [whole], {etag: {"succeeded"}}, input=scene.content))
    return Outcome(found + outcome.violations, outcome.runs + 1)


def wait_for_run(site: Site) -> None:
    """Return as soon as a run has begun."""
    end = time.monotonic() + 60
    while not began(site):
        assert time.monotonic() < end, "no run has begun within a minute"
        time.sleep(0.02)


def began(site: Site) -> int:
    """Return how many runs have a plan."""
    return _records(site, "/plan.json")


def ended(site: Site) -> int:
    """Return how many runs have a receipt."""
    return _records(site, "/receipt.json")


def _records(site: Site, end: str) -> int:
    try:
        return sum(blob.path.name.endswith(end) for blob in site.storage.blobs.list(site.settings.runs))
    except BlobNotFoundError:
        return 0


def large_file() -> Outcome:
    """Score 5 GB of CSV, made up as it is read, in a process that never has more than 512 MB."""
    lines = (ROW + b"\n") * 10_000
    with MeasuredRuns(patience=3600) as runs:
        measured = runs.score("a.csv", endless(HEADER + b"\n", lines, LARGE - LARGE % len(ROW + b"\n")))
    found = []
    if measured.code:
        found.append(f"the run ended with {measured.code}: {measured.message}")
    if measured.peak > MOST_MEMORY:
        found.append(f"the process had {measured.peak / MB:,.0f} MB of memory")
    if measured.rows.get("read", 0) < LARGE // len(ROW + b"\n") - 2:
        found.append(f"it counts {measured.rows}")
    return Outcome(found, 1)


def small_caches(scene: Scene) -> Kind:
    """Return the kind: a disk that is full (where this process can make one), a place that is no folder."""

    def make(lab: Lab, _random: Random) -> list[Case]:
        cases = [Case("no folder", partial(cache_without_room, lab, scene, no_folder))]
        if can_mount(lab):
            cases.append(Case("full disk", partial(cache_without_room, lab, scene, full_disk)))
        return cases

    return Kind(f"model cache without room: {scene.name}", make, tested=1)


def stops(scene: Scene) -> Kind:
    """Return the kind: SIGTERM when a run has just begun, and at random moments."""

    def make(lab: Lab, random: Random) -> list[Case]:
        delays = [None, *(random.uniform(0, 4) for _ in range(STOPS - 1))]
        return [
            Case(f"SIGTERM {number}", partial(stopped, lab, scene, delay)) for number, delay in enumerate(delays)
        ]

    return Kind(f"SIGTERM drains: {scene.name}", make, quick=2)


def large() -> Kind:
    """Return the kind: one large file."""
    return Kind("5 GB of CSV in 512 MB", lambda _lab, _random: [Case("5 GB", large_file)], quick=0)


KINDS = [small_caches(PLAIN), stops(LONG), large()]
