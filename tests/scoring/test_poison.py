"""Messages that failed at every try: they are ended, or kept until they can be."""

import json
from dataclasses import replace
from typing import Any

import pytest

import function_app
from errors import StorageDeniedError, StorageUnavailableError
from scoring.intake import accept_message
from scoring.job import Job
from scoring.poison import BLOBS_QUEUE, end_poisoned_blob, end_poisoned_job, end_poisoned_split
from scoring.receipt import Receipts
from scoring.runs import list_runs
from scoring.services import Services
from storage import QueueStore, Storage
from tests.scoring.test_csv import GOOD
from tests.scoring.test_pipeline import INPUT
from tests.scoring.test_split_delivery import FILE

JOB = Job.for_dropped(INPUT)


class Refusing:
    """Blobs that answer all calls with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_arguments: Any, **_more: Any) -> None:
            raise self._error

        return refuse


def without_blobs(services, error: Exception):
    """Return the same services in a time when no blob can be reached."""
    blobs = Refusing(error)
    return replace(services, blobs=blobs, receipts=Receipts(blobs, services.settings.runs))


def hidden(services, queue: str) -> list[str]:
    """Return what is on a queue, whether it may be received by now or not."""
    folder = services.queues._folder / queue
    return [file.read_text() for file in folder.iterdir()]


@pytest.mark.parametrize("error", [StorageUnavailableError("no answer"), StorageDeniedError("no role")])
@pytest.mark.parametrize(
    ("end", "queue", "body"),
    [
        (end_poisoned_job, "scoring-jobs-poison", JOB.to_json()),
        (end_poisoned_split, "scoring-splits-poison", '{"run_id": "00", "split": 0}'),
        (end_poisoned_blob, BLOBS_QUEUE, json.dumps({"ContainerName": INPUT.container, "BlobName": INPUT.name})),
    ],
)
def test_a_message_is_kept_while_there_is_no_storage(services, end, queue: str, body: str, error) -> None:
    """It is put back as a new one, hidden for a while, so that it outlives any number of tries."""
    services.queues.create_queue(queue)
    end(body.encode(), without_blobs(services, error))
    assert hidden(services, queue) == [body]
    assert services.queues.receive(queue) == []


def test_a_message_is_kept_with_the_line_ends_that_xml_can_hold(services) -> None:
    """Windows' line ends would be refused by our own queue, and the message be lost; it says the same without."""
    services.queues.create_queue("scoring-jobs-poison")
    body = json.dumps(json.loads(JOB.to_json()), indent=1).replace("\n", "\r\n")
    end_poisoned_job(body.encode(), without_blobs(services, StorageDeniedError("no role")))
    [kept] = hidden(services, "scoring-jobs-poison")
    assert "\r" not in kept
    assert Job.from_json(kept) == JOB


def test_a_process_that_begins_without_a_role_keeps_messages_too(services, monkeypatch) -> None:
    """What it may not make may be there all the same: nothing is refused before it is used."""
    services.queues.create_queue("scoring-jobs-poison")
    barred = Barred(services.queues, StorageDeniedError("no role"))
    refusing: Any = Storage(Refusing(StorageDeniedError("no role")), barred)  # type: ignore[arg-type]
    monkeypatch.setattr("scoring.services.open_storage", lambda _settings: refusing)
    end_poisoned_job(JOB.to_json(), Services.open(services.settings))
    assert hidden(services, "scoring-jobs-poison") == [JOB.to_json()]


class Barred:
    """Queues that may be used and not made."""

    def __init__(self, queues: QueueStore, error: Exception) -> None:
        self._error, self.send = error, queues.send

    def create_queue(self, _queue: str) -> None:
        raise self._error


def test_a_kept_message_ends_its_run_once_there_is_storage(services) -> None:
    """Nobody had come to write down that there was such a run: the message alone knows."""
    patient = replace(services, settings=replace(services.settings, sweep_seconds=0))
    services.queues.create_queue("scoring-jobs-poison")
    services.blobs.write(INPUT, GOOD)
    body = JOB.to_json()
    for _ in range(7):  # more often than the host would
        end_poisoned_job(body, without_blobs(patient, StorageDeniedError("no role")))
        [message] = services.queues.receive("scoring-jobs-poison")
        services.queues.delete("scoring-jobs-poison", message)
        body = message.body
    assert list_runs(services) == []
    end_poisoned_job(body, patient)
    assert [(run.status, run.error) for run in list_runs(services)] == [("failed", "retries_exhausted")]
    assert hidden(services, "scoring-jobs-poison") == []


def test_without_queues_the_host_keeps_the_message(services) -> None:
    """Where it cannot be put back either, that is raised: the host gives it once more."""
    none, queues = without_blobs(services, StorageDeniedError("no role")), Refusing(StorageUnavailableError("busy"))
    with pytest.raises(StorageUnavailableError):
        end_poisoned_job(JOB.to_json(), replace(none, queues=queues))


def test_what_can_be_ended_is(services, fleets) -> None:
    """A job, a split and a dropped file whose every try failed: two failed receipts and a job."""
    services.blobs.write(INPUT, GOOD)
    end_poisoned_job(JOB.to_json(), services)
    assert [run.error for run in list_runs(services)] == ["retries_exhausted"]
    end_poisoned_blob(json.dumps({"ContainerName": INPUT.container, "BlobName": INPUT.name}), services)
    [message] = services.queues.receive("scoring-jobs")
    assert Job.from_json(message.body).input == INPUT
    fleet = fleets(split_bytes=1000)
    assert accept_message(fleet.drop("a.csv", FILE).to_json(), fleet.services) is None
    end_poisoned_split(fleet.services.queues.sent("scoring-splits")[0], fleet.services)
    assert [run.error for run in list_runs(fleet.services)] == ["retries_exhausted"]


def test_messages_are_put_back_where_their_triggers_listen() -> None:
    """The queues' names are said in function_app.py and here: they are the same."""
    functions, settings = function_app.app.get_functions(), function_app.settings
    triggers = {function.get_function_name(): function.get_trigger().get_dict_repr() for function in functions}
    assert triggers["poisoned_blobs"]["queueName"] == BLOBS_QUEUE
    assert triggers["poisoned_jobs"]["queueName"] == f"{settings.jobs_queue}-poison"
    assert triggers["poisoned_splits"]["queueName"] == f"{settings.splits_queue}-poison"
