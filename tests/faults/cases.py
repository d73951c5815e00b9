"""Cases of one kind: made, tried a few at a time, counted."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import batched
from random import Random

from tests.faults.invariants import Promise, violations
from tests.faults.lab import Lab, Site
from tests.faults.recorder import Strike, read_log
from tests.faults.watcher import Watcher

AT_ONCE = 4
"""Cases tried at the same time, where they keep the processors busy."""

PATIENT = 8
"""The same where most of a case is waiting: for storage to answer, or for a worker's end."""

BATCH = 100
"""Cases after which there may be another Azurite: they take four minutes at the most."""


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    violations: list[str]
    runs: int
    """How often a message was delivered to the app."""


@dataclass(frozen=True)
class Case:
    """One way to disturb one run."""

    name: str
    run: Callable[[], Outcome]


@dataclass(frozen=True)
class Kind:
    """Cases that are alike. `make` gets the lab, and the chance that random cases are made by."""

    name: str
    make: Callable[[Lab, Random], list[Case]]
    quick: int = 12
    """Cases that are tried if in a hurry; none for a kind that takes minutes."""
    at_once: int = AT_ONCE
    """Cases that are tried at the same time."""
    tested: int = 0
    """Cases that are tried by the tests."""


@dataclass
class Row:
    """A line of the table."""

    kind: str
    cases: int = 0
    runs: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0


def try_kind(
    kind: Kind, lab: Lab, *, most: int | None = None, part: tuple[int, int] = (1, 1), seed: int = 1
) -> Row:
    """Try all cases of a kind, or `most` of them, and return what came of them; the same for the same seed.

    Part (1, 2) is every other case, from the first on, and (2, 2) are those in between.
    """
    row, began, random = Row(kind.name), time.perf_counter(), Random(seed)  # noqa: S311  # as the docstring says
    cases = kind.make(lab, random)
    if most is not None and most < len(cases):
        cases = random.sample(cases, most)
    number, parts = part
    cases = cases[number - 1 :: parts]
    with ThreadPoolExecutor(kind.at_once) as threads:
        for some in batched(cases, BATCH):
            lab.renew()
            for case, outcome in threads.map(_tried, some):
                row.cases += 1
                row.runs += outcome.runs
                row.violations += [f"{case.name}: {violation}" for violation in outcome.violations]
    row.seconds = time.perf_counter() - began
    return row


def conclude(site: Site, watched: Watcher, promise: Promise, strike: Strike | None = None) -> Outcome:
    """Check a case that is over, and that its first worker was struck, and clear up after it."""
    found = violations(site, watched, promise) + (missed(site, strike) if strike else [])
    log = site.read_logs()
    site.close()
    return Outcome(found, sum("delivered" in line for line in log))


def missed(site: Site, strike: Strike) -> list[str]:
    """Return a violation if the first worker made the call and was not struck: it may make fewer than K."""
    log = read_log(site.logs[0])
    if not log:
        return ["the worker wrote nothing down: it hung, or died, before it was struck"]
    if any("struck" in line for line in log) or max(line.get("call", 0) for line in log) < strike.call:
        return []
    return [f"the worker was not struck {strike}"]


def _tried(case: Case) -> tuple[Case, Outcome]:
    try:
        return case, case.run()
    except Exception as error:  # of the harness: it counts, and the other cases are tried
        return case, Outcome([f"the case could not be tried: {type(error).__name__}: {error}"], 0)
