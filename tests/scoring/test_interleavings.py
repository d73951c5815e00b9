"""Two at once on one job, one step of each between two of the other's: nothing that was asked for is lost."""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from model_store.cache import ModelCache
from model_store.registry import Registry
from scoring.entering import begin, enter
from scoring.intake import accept_message, give_up
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from scoring.receipt import Receipts
from scoring.services import Services
from scoring.sweeper import sweep
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT

NEWER = GOOD + b"4,2,2,true,pro\n"

Steps = Mapping[tuple[str, str, int], Callable[[], object]]
"""What happens just before a process's call of a method, on a blob or queue, the so many-th."""


class Stepped:
    """A store of one process, while others do something between two of its calls."""

    def __init__(self, store: Any, steps: Steps) -> None:
        self._store, self._steps, self._calls = store, steps, Counter[tuple[str, str]]()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)

        def call(place: Any, *arguments: Any, **options: Any) -> Any:
            self._calls[name, str(place)] += 1
            self._steps.get((name, str(place), self._calls[name, str(place)]), lambda: None)()
            return real(place, *arguments, **options)

        return call


def stepped(services: Services, steps: Steps) -> Services:
    blobs: Any = Stepped(services.blobs, steps)
    queues: Any = Stepped(services.queues, steps)
    return replace(services, blobs=blobs, queues=queues, receipts=Receipts(blobs, services.settings.runs))


@pytest.fixture
def aliased(services: Services, packages: Callable[..., Path]) -> tuple[Services, Registry]:
    """Services that see a moved alias at once; champion is version 1 of 2."""
    registry = Registry(services.blobs, services.settings.models)
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    return replace(services, models=ModelCache(registry, Path(services.settings.cache), alias_seconds=0)), registry


def pinned(services: Services) -> Job:
    """Return the job of the input's version that is there now, as the trigger of a dropped file queues it."""
    return Job.for_dropped(INPUT, services.blobs.stat(INPUT).etag)


def queued(services: Services) -> list[str]:
    return [message.body for message in services.queues.receive("scoring-jobs", limit=32)]


def left_open(services: Services) -> list[str]:
    return [blob.path.name for blob in services.open_runs.list()]


def test_a_job_of_any_version_that_finds_its_run_superseded_goes_on_with_the_newer(services) -> None:
    """Its input is replaced just after it looked, and the twin that said so knew of no such job: it is not lost."""
    services.blobs.write(INPUT, GOOD)
    twin = pinned(services)
    run_id = begin(twin, services).id

    def overtake() -> None:
        services.blobs.write(INPUT, NEWER)
        assert run_job(twin, services).status == "superseded"

    late = stepped(services, {("poll", f"runs/{run_id}/receipt.json", 1): overtake})
    receipt = run_job(Job.for_dropped(INPUT), late)
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 4)
    assert left_open(services) == []


def test_a_job_of_any_version_that_joins_a_run_just_as_it_ends(services) -> None:
    """Who ends the run looked whether there is such a job before it said so: it goes on by itself."""
    services.blobs.write(INPUT, GOOD)
    twin = pinned(services)
    run = enter(twin, services).run
    [entry] = left_open(services)
    is_ending, has_joined = Event(), Event()

    def wait() -> None:
        is_ending.set()
        assert has_joined.wait(60)

    with ThreadPoolExecutor(1) as other:

        def overtake() -> None:
            services.blobs.write(INPUT, NEWER)
            ending = stepped(services, {("send", "scoring-events", 1): wait})
            ended.append(other.submit(run_job, twin, ending))
            assert is_ending.wait(60)

        def let_it_end() -> None:
            has_joined.set()
            assert ended[0].result().status == "superseded"

        ended: list[Any] = []
        # It joins by its second write of the entry, and then looks at the receipt for the second time.
        steps = {
            ("write", f"runs/{entry}", 1): overtake,
            ("poll", f"runs/{run.id}/receipt.json", 2): let_it_end,
        }
        receipt = run_job(Job.for_dropped(INPUT), stepped(services, steps))
    assert (receipt.status, receipt.rows["read"]) == ("succeeded", 4)
    assert left_open(services) == []


def test_an_input_that_is_as_it_was_is_not_looked_for_again(services) -> None:
    """A superseded run whose input is the same for all that has ended, and is not begun anew for ever."""
    services.blobs.write(INPUT, GOOD)
    twin = pinned(services)
    blob = services.blobs.stat(INPUT)

    class Away:
        """A store in which the input is not there."""

        def __getattr__(self, name: str) -> Any:
            return getattr(services.blobs, name)

        def read(self, path: BlobPath, **options: Any) -> bytes:
            return services.blobs.read(path, **options | {"if_match": "another"} if path == INPUT else options)

    away: Any = Away()
    receipt = run_job(twin, replace(services, blobs=away))
    assert receipt.status == "superseded"
    assert run_job(Job.for_dropped(INPUT), services) == receipt
    assert services.blobs.stat(INPUT) == blob


def test_a_job_that_names_another_version_than_the_run_under_way_has(aliased) -> None:
    """It is a run of its own, is swept as one, and leaves the other's entry alone."""
    services, _ = aliased
    services.blobs.write(INPUT, GOOD)
    any_version = Job.for_dropped(INPUT)
    second = replace(any_version, version=2)
    first_run = enter(any_version, services).run
    second_run = enter(second, services).run
    assert [first_run.job.version, second_run.job.version] == [1, 2]
    assert enter(replace(any_version, version=1), services).run == first_run
    assert enter(second, services).run == begin(second, services) == second_run
    assert begin(any_version, services) == first_run
    assert len(left_open(services)) == 2
    assert sweep(replace(services, settings=replace(services.settings, sweep_seconds=0))) == 2
    bodies = queued(services)
    assert sorted(Job.from_json(body).version or 0 for body in bodies) == [1, 2]
    receipts = {Job.from_json(body).version: accept_message(body, services) for body in bodies}
    for version, run in enumerate([first_run, second_run], 1):
        receipt = receipts[version]
        assert receipt
        assert (receipt.run_id, receipt.status, receipt.model["version"]) == (run.id, "succeeded", version)
    assert left_open(services) == []


def test_a_run_that_came_to_have_two_entries_has_none_in_the_end(aliased) -> None:
    """The first was of another run when the second was made; whoever ends the run removes both."""
    services, registry = aliased
    services.blobs.write(INPUT, GOOD)
    any_version = Job.for_dropped(INPUT)
    enter(any_version, services)
    second = enter(replace(any_version, version=2), services).run
    assert run_job(any_version, services).model["version"] == 1
    registry.set_alias("churn", "champion", 2)
    assert enter(any_version, services).run.id == second.id
    assert len(left_open(services)) == 2
    assert run_job(any_version, services).run_id == second.id
    assert left_open(services) == []


def test_rejects_that_are_put_up_while_their_run_is_given_up(services) -> None:
    """Who gives it up has looked for such things already, and looks once more at the end."""
    services.blobs.write(INPUT, GOOD + b"4,x,1,true,pro\n")
    job = replace(pinned(services), options=Options(error_threshold=-1))
    is_given_up, has_stopped = Event(), Event()

    def wait() -> None:
        is_given_up.set()
        assert has_stopped.wait(60)

    with ThreadPoolExecutor(1) as other:

        def meanwhile() -> None:
            giving_up = stepped(services, {("send", "scoring-events", 1): wait})
            given_up.append(other.submit(give_up, job.to_json(), giving_up))
            assert is_given_up.wait(60)

        given_up: list[Any] = []
        receipt = run_job(job, stepped(services, {("commit_blocks", "rejected/churn/a.csv", 1): meanwhile}))
        has_stopped.set()
        assert given_up[0].result() == receipt
    assert receipt.error
    assert receipt.error["code"] == "retries_exhausted"
    assert [blob.path.name for blob in services.blobs.list("rejected")] == []
