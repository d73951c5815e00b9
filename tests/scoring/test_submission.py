"""Runs that are given out before anybody takes their job: they wait, and then are what was promised."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from errors import (
    BlobNotFoundError,
    DropscoreError,
    FormatUnsupportedError,
    MessageInvalidError,
    ModelNotFoundError,
    RunEndedError,
    StorageUnavailableError,
)
from model_store import ModelReference
from model_store.registry import Registry
from scoring.__main__ import app
from scoring.intake import accept_message, give_up
from scoring.job import Job
from scoring.runs import cancel, describe_run, expect, list_runs, replay, submit
from scoring.sweeper import sweep
from storage import BlobPath
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT, interrupt
from tests.scoring.test_split_delivery import FILE

JOB = Job(INPUT, ModelReference("churn", alias="champion"))
OUTPUT = BlobPath("scored", "churn@champion/_from/incoming/churn/a.csv")
invoke = CliRunner().invoke


@pytest.fixture
def aliased(services, packages):
    """Services with two versions of the model, of which the first is the champion, and a file."""
    registry = Registry(services.blobs, services.settings.models)
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    services.blobs.write(INPUT, GOOD)
    return services, registry


def messages(services, queue: str = "scoring-jobs") -> list[str]:
    """Take all messages off a queue."""
    received = services.queues.receive(queue, limit=32)
    for message in received:
        services.queues.delete(queue, message)
    return [message.body for message in received]


def open_entries(services) -> list[str]:
    return [blob.path.name for blob in services.blobs.list("runs", "_open/")]


def test_a_queued_run_is_shown_and_then_is_the_run_that_it_said(aliased) -> None:
    """Asked for before anybody takes its job it is queued; then it runs, and ends under the very same id."""
    services, _ = aliased
    submitted = submit(JOB, services)
    run_id = submitted.run.id
    assert submitted.is_new
    record = describe_run(run_id, services)
    assert (record["status"], record["input"]["path"], record["model"]["version"]) == ("queued", str(INPUT), 1)
    assert [(run.run_id, run.status) for run in list_runs(services)] == [(run_id, "queued")]
    assert [run.run_id for run in list_runs(services, status="queued", model="churn")] == [run_id]
    assert list_runs(services, status="running") == []
    seen = []

    def look() -> None:
        seen.append((describe_run(run_id, services)["status"], [run.status for run in list_runs(services)]))

    [body] = messages(services)
    receipt = accept_message(body, interrupt(services, "commit_blocks", OUTPUT, look))
    assert receipt
    assert (receipt.run_id, receipt.status, seen) == (run_id, "succeeded", [("running", ["running"])])
    assert (open_entries(services), list_runs(services, status="queued")) == ([], [])


def test_a_queued_run_keeps_its_version_of_the_model(aliased) -> None:
    """An alias that moves while the job waits does not make another run of it."""
    services, registry = aliased
    run = submit(JOB, services).run
    registry.set_alias("churn", "champion", 2)
    [body] = messages(services)
    receipt = accept_message(body, services)
    assert receipt
    assert (receipt.run_id, receipt.model["version"], receipt.model["reference"]) == (run.id, 1, "churn@champion")
    assert accept_message(body, services) == receipt  # nor does it when the message comes once more


def test_a_queued_run_is_cancelled(aliased) -> None:
    """Its receipt is there at once, and its message finds that, whatever the alias means by then."""
    services, registry = aliased
    run = submit(JOB, services).run
    cancelled = cancel(run.id, services)
    assert (cancelled.status, cancelled.rows["read"]) == ("cancelled", 0)
    assert open_entries(services) == []
    registry.set_alias("churn", "champion", 2)
    [body] = messages(services)
    assert accept_message(body, services) == cancelled
    assert list(services.blobs.list("scored")) == []
    assert [json.loads(event)["id"] for event in messages(services, "scoring-events")] == [run.id]
    with pytest.raises(RunEndedError, match="cancelled"):
        cancel(run.id, services)
    again = replay(run.id, services)
    assert describe_run(again.id, services)["status"] == "queued"
    [body] = messages(services)
    assert accept_message(body, services).status == "succeeded"


def test_a_run_is_submitted_once(aliased) -> None:
    """Asked for again, it is the same run: while it waits, while it goes on, and when it has ended."""
    services, _ = aliased
    first = submit(JOB, services)
    again = submit(JOB, services)
    assert (again.run.id, first.is_new, again.is_new) == (first.run.id, True, False)
    seen = []
    [body] = messages(services)
    working = interrupt(services, "commit_blocks", OUTPUT, lambda: seen.append(submit(JOB, services)))
    accept_message(body, working)
    assert [(each.run.id, each.is_new) for each in [*seen, submit(JOB, services)]] == [(first.run.id, False)] * 2
    assert messages(services) == []


def test_a_run_that_was_given_up_is_submitted_once_more(aliased) -> None:
    """Its receipt is no end for good: the same run is queued again, and ends under its id."""
    services, _ = aliased
    run = submit(JOB, services).run
    [body] = messages(services)
    given_up = give_up(body, services)
    assert given_up
    assert (given_up.run_id, open_entries(services)) == (run.id, [])
    again = submit(JOB, services)
    assert (again.run.id, again.is_new) == (run.id, True)
    [body] = messages(services)
    assert accept_message(body, services).status == "succeeded"


def test_the_job_of_a_drop_is_the_run_that_was_submitted(aliased) -> None:
    """Both are of one file's version: whoever comes first takes the run, and the other finds it ended."""
    services, registry = aliased
    run = submit(JOB, services).run
    registry.set_alias("churn", "champion", 2)
    receipt = accept_message(JOB.to_json(), services)
    assert receipt
    assert (receipt.run_id, receipt.model["version"]) == (run.id, 1)
    [body] = messages(services)
    assert accept_message(body, services) == receipt


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_queued_run_is_not_lost(aliased, is_sent: bool) -> None:
    """Its message is gone, or whoever was to send it never did: the sweeper sends it."""
    services, _ = aliased
    if is_sent:
        submit(JOB, services)
        assert len(messages(services)) == 1
    else:
        expect(JOB, services)
    [run] = list_runs(services, status="queued")
    assert sweep(services, datetime.now(UTC) + timedelta(minutes=16)) == 1
    [body] = messages(services)
    receipt = accept_message(body, services)
    assert receipt
    assert (receipt.run_id, receipt.status) == (run.run_id, "succeeded")
    assert open_entries(services) == []


def test_a_run_that_cannot_be_queued_is_none(aliased) -> None:
    """Who asks for it is told so, and may ask again: nothing was written down that says it waits."""
    services, _ = aliased
    with pytest.raises(StorageUnavailableError):
        submit(JOB, replace(services, queues=Dying()))
    assert list_runs(services) == []
    assert submit(JOB, services).is_new
    assert len(messages(services)) == 1


class Dying:
    """Queues that cannot be reached."""

    def send(self, *_arguments: object) -> None:
        raise StorageUnavailableError("killed here")


def test_a_submitted_file_may_be_scored_in_splits(fleets) -> None:
    """The run that was given out is planned, scored in parts and put together."""
    fleet = fleets(split_bytes=1000)
    run = submit(fleet.drop("a.csv", FILE), fleet.services).run
    receipt = fleet.work()
    assert (receipt.run_id, receipt.status, receipt.rows["read"]) == (run.id, "succeeded", 200)


@pytest.mark.parametrize(
    ("job", "error"),
    [
        (replace(JOB, input=BlobPath("incoming", "churn/b.csv")), BlobNotFoundError),
        (replace(JOB, input=BlobPath("nowhere", "churn/b.csv")), BlobNotFoundError),
        (replace(JOB, model=ModelReference("other")), ModelNotFoundError),
        (replace(JOB, version=9), ModelNotFoundError),
        (replace(JOB, input=BlobPath("incoming", "churn/a.txt")), FormatUnsupportedError),
        (replace(JOB, input=BlobPath("incoming", "churn/")), MessageInvalidError),
    ],
)
def test_what_cannot_be_a_run_is_refused_at_once(aliased, job: Job, error: type[DropscoreError]) -> None:
    """Whoever asks is told why, and nothing is left of it."""
    services, _ = aliased
    with pytest.raises(error):
        submit(job, services)
    assert list(services.blobs.list("runs")) == []
    assert messages(services) == []


def test_queued_runs_on_the_command_line(aliased, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are listed, shown and cancelled as those that are under way."""
    services, _ = aliased
    monkeypatch.setenv("DROPSCORE_CACHE", services.settings.cache)
    run_id, store = submit(JOB, services).run.id, services.settings.folder
    listed = invoke(app, ["runs", "list", "--status", "queued", "--store", store])
    assert listed.stdout.splitlines()[1].split()[:2] == [run_id, "queued"]
    shown = dict(
        line.split(maxsplit=1)
        for line in invoke(app, ["runs", "show", run_id, "--store", store]).stdout.splitlines()
    )
    assert (shown["status"], shown["run"], set(shown)) == (
        "queued", run_id, {"status", "input", "model", "queued", "run"},
    )  # fmt: skip
    done = invoke(app, ["runs", "cancel", run_id, "--store", store])
    assert (done.exit_code, describe_run(run_id, services)["status"]) == (0, "cancelled")
