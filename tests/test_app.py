"""The whole app: function_app.py on Microsoft's Python worker in devhost, with Azurite as storage."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from typer.testing import CliRunner

from devhost.azurite import Azurite, free_ports
from model_store import ModelReference
from model_store.registry import Registry
from scoring.__main__ import app as commands
from scoring.entering import begin
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.receipt import Receipt
from scoring.services import Services
from settings import Settings
from storage import BlobPath
from tests.hand_model import HandModel, make_sample
from tests.scoring.test_csv import GOOD

ROOT = Path(__file__).resolve().parent.parent
OPEN_PATHS = ("/ping", "/health", "/version", "/api/health", "/v2/health/live", "/v2/health/ready")


def wait_until(what: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {seconds} s")
        time.sleep(0.02)
    return found


@dataclass
class App:
    """A devhost that can be killed and started again, with a storage account that nobody else uses."""

    folder: Path
    azurite: Azurite
    environment: dict[str, str] = field(init=False)
    services: Services = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def __post_init__(self) -> None:
        own = {
            "AzureWebJobsStorage": self.azurite.connection_string,
            "DROPSCORE_CACHE": str(self.folder / "cache"),
            "DROPSCORE_SWEEP_SECONDS": "1",  # whenever the sweeper is called: by itself it comes every five minutes
            "AzureFunctionsJobHost__extensions__queues__visibilityTimeout": "00:00:00",
        }
        self.environment = os.environ | own
        self.services = Services.open(Settings.load(own))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def start(self, *flags: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "devhost", "--port", str(self.port), "--queue-lease", "3", *flags],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_up)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(60)

    def drop(self, name: str, data: bytes) -> str:
        path = BlobPath("incoming", name)
        self.services.blobs.write(path, data)
        return begin(Job.for_dropped(path), self.services).id

    def receipt(self, run_id: str, seconds: float = 180) -> Receipt:
        return wait_until(lambda: self.services.receipts.find(run_id), seconds)

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/api/health", timeout=30).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def started() -> Iterator[Azurite]:
    """Start an Azurite for these tests alone."""
    with Azurite.on_free_ports() as azurite:
        yield azurite


@pytest.fixture
def account(started: Azurite) -> Iterator[Azurite]:
    """Give an account with nothing in it, and leave nothing there."""
    yield started
    with BlobServiceClient.from_connection_string(started.connection_string) as blobs:
        for container in list(blobs.list_containers()):
            blobs.delete_container(container)
    with QueueServiceClient.from_connection_string(started.connection_string) as queues:
        for queue in list(queues.list_queues()):
            queues.delete_queue(queue)


@pytest.fixture
def app(tmp_path: Path, hand_package: Path, account: Azurite, request: pytest.FixtureRequest) -> Iterator[App]:
    """Start the app, with further settings if the test is parametrised with them."""
    made = App(tmp_path, account)
    made.environment |= getattr(request, "param", {})
    Registry(made.services.blobs).add("churn", hand_package)
    made.start()
    yield made
    if made.process and made.process.poll() is None:
        assert made.stop() == 0, made.log
    made.services.engine.close()


def test_files_rows_and_messages_are_scored(app: App, parquet: Callable[..., bytes]) -> None:
    """Drop a CSV and a Parquet file, send a message, post a row: each is answered, on the real worker."""
    sample = make_sample(5000)
    csv_run, parquet_run = app.drop("churn/a.csv", GOOD), app.drop("churn/b.parquet", parquet(sample))
    receipt = app.receipt(csv_run)
    assert (receipt.status, receipt.rows["scored"]) == ("succeeded", 3)
    receipt = app.receipt(parquet_run)
    scored = pq.read_table(BytesIO(app.services.blobs.read(BlobPath("scored", "churn/b.parquet"))))
    expected = HandModel().predict(sample)["probability_leave"].to_numpy()
    assert np.abs(scored["probability_leave"].to_numpy() - expected).max() < 1e-12
    app.services.queues.send(
        "scoring-jobs", '{"input": "incoming/churn/a.csv", "model": "churn@1", "keep": "none"}'
    )
    other = BlobPath("scored", "churn@1/_from/incoming/churn/a.csv")
    wait_until(lambda: any(b.path == other for b in app.services.blobs.list("scored")))
    row = {"age": 20, "visits": 3, "member": True, "plan": "basic"}
    answer = httpx.post(f"{app.url}/api/predict/churn", json=row).json()
    assert answer["predictions"][0]["prediction"] == "stay"
    status = httpx.get(f"{app.url}/api/runs/{csv_run}").json()
    assert (status["run_id"], status["status"]) == (csv_run, "succeeded")


def test_a_path_spelt_to_pass_the_host_gets_no_further(app: App) -> None:
    """Each path reaches the function of its level; one that the host takes for another, the app itself refuses."""
    assert [httpx.get(f"{app.url}{path}").status_code for path in OPEN_PATHS] == [200] * len(OPEN_PATHS)
    wait_until(lambda: "Executed 'Functions.anonymous_version' (Succeeded" in app.log)
    assert httpx.put(f"{app.url}/api/models/churn/aliases/champion").status_code != 401
    wait_until(lambda: "Executed 'Functions.admin_aliases' (Succeeded" in app.log)
    for path in ("churn%2Faliases%2Fchampion", "churn/aliases%2fchampion"):
        refused = httpx.put(f"{app.url}/api/models/{path}", json={"version": 1})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")


def test_messages_of_every_form_reach_the_app(app: App) -> None:
    """Rows, events, a path and garbage on the queue, and the host's message of a poisoned blob, end in events."""
    run_id = app.drop("churn/a #1.csv", GOOD)
    poisoned = {"FunctionId": "Host.Functions.dropped", "ContainerName": "incoming", "BlobName": "loose.csv"}
    app.services.blobs.write(BlobPath("incoming", "loose.csv"), GOOD)
    account = BlobServiceClient.from_connection_string(app.azurite.connection_string).url.rstrip("/")
    data = {"api": "PutBlob", "url": f"{account}/incoming/churn/a%20%231.csv"}
    created = {"eventType": "Microsoft.Storage.BlobCreated", "data": data}
    rows = {"model": "churn", "records": [{"age": 20, "visits": 3, "member": True, "plan": "basic"}], "id": "mine"}
    queues = app.services.queues
    for body in (json.dumps([created]), "incoming/churn/a #1.csv", in_base64(json.dumps(rows)), "no message"):
        queues.send("scoring-jobs", body)
    queues.create_queue("webjobs-blobtrigger-poison")
    queues.send("webjobs-blobtrigger-poison", in_base64(json.dumps(poisoned)))
    ended: dict[str, Any] = {}

    def all_told() -> bool:
        for message in queues.receive("scoring-events", limit=32, lease=300):
            event = json.loads(message.body)
            ended[event.get("subject", event["id"])] = event
        return len(ended) == 4

    wait_until(all_told)
    assert ended["incoming/churn/a #1.csv"]["id"] == run_id
    assert ended["mine"]["data"]["predictions"][0]["prediction"] == "stay"
    assert ended["incoming/loose.csv"]["data"]["error"]["code"] == "name_invalid"
    [garbage] = [event for event in ended.values() if "subject" not in event]
    assert garbage["data"]["error"]["code"] == "message_invalid"
    wait_until(lambda: app.log.count("Executed 'Functions.jobs' (Succeeded") == 5)
    wait_until(lambda: "Executed 'Functions.poisoned_blobs' (Succeeded" in app.log)
    assert "(Failed" not in app.log


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_killed_in_the_middle_of_a_run(app: App, parquet: Callable[..., bytes]) -> None:
    """SIGKILL during a run, then a restart, end in one receipt and one correct, complete result."""
    sample = make_sample(1_500_000)
    run_id = app.drop("churn/big.parquet", parquet(sample))
    plan, receipt = BlobPath("runs", f"{run_id}/plan.json"), f"{run_id}/receipt.json"
    wait_until(lambda: any(b.path == plan for b in app.services.blobs.list("runs", run_id)))
    assert app.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not any(b.path.name == receipt for b in app.services.blobs.list("runs")), "it ended before it was killed"
    assert not list(app.services.blobs.list("scored")), "a half-written result is visible"
    app.start()
    ended = app.receipt(run_id)
    assert (ended.status, ended.rows) == ("succeeded", {"read": 1_500_000, "scored": 1_500_000, "rejected": 0})
    assert [b.path.name for b in app.services.blobs.list("runs") if b.path.name.endswith("receipt.json")] == [
        receipt
    ]
    assert [str(b.path) for b in app.services.blobs.list("scored")] == [ended.output]
    scored = pq.read_table(BytesIO(app.services.blobs.read(BlobPath("scored", "churn/big.parquet"))))
    assert scored.select(sample.column_names).equals(sample)
    expected = HandModel().predict(sample)["probability_leave"].to_numpy()
    assert np.abs(scored["probability_leave"].to_numpy() - expected).max() < 1e-12


def test_a_job_that_never_works_ends_in_a_receipt(app: App) -> None:
    """A job that fails at every try is poisoned by the host, and its run then has a failed receipt."""
    run_id = app.drop("broken/a.csv", GOOD)
    assert app.receipt(run_id).error["code"] == "model_not_found"  # type: ignore[index]  # it is checked right here
    # Now results cannot be written: a fault of the installation, not of the file.
    BlobServiceClient.from_connection_string(app.azurite.connection_string).delete_container("scored")
    run_id = app.drop("churn/a.csv", GOOD)
    error = app.receipt(run_id).error
    assert error is not None
    assert error["code"] == "retries_exhausted"
    wait_until(lambda: app.log.count("Executed 'Functions.jobs' (Failed") == 5)


def test_a_lost_message_is_made_good_by_the_sweeper(app: App) -> None:
    """A run that was begun, and whose message is gone, ends after a sweep like any other."""
    app.services.blobs.create_container("elsewhere")
    job = Job(BlobPath("elsewhere", "a.csv"), ModelReference("churn"))
    app.services.blobs.write(job.input, GOOD)
    run = app.services.open_runs.open(begin(job, app.services)).run

    def swept() -> Receipt | None:
        httpx.post(f"{app.url}/admin/functions/sweeper", json={"input": ""}, timeout=30).raise_for_status()
        return app.services.receipts.find(run.id)

    receipt = wait_until(swept)
    assert (receipt.status, receipt.output) == ("succeeded", "scored/churn/_from/elsewhere/a.csv")
    wait_until(lambda: not list(app.services.open_runs.list()))
    assert "run_swept" in app.log


def test_runs_of_the_app_from_the_command_line(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """List the app's runs, and have one replayed by it, on a storage account."""
    for name, value in app.environment.items():
        monkeypatch.setenv(name, value)
    failed = app.receipt(app.drop("churn/a.csv", b"id\n1\n"))
    assert failed.error
    assert failed.error["code"] == "column_missing"
    replayed = CliRunner().invoke(commands, ["runs", "replay", failed.run_id, "--json", "--store", "azure"])
    receipt = app.receipt(json.loads(replayed.stdout)["run_id"])
    assert (receipt.status, receipt.attempt) == ("failed", 1)
    listed = CliRunner().invoke(commands, ["runs", "list", "--json", "--model", "churn", "--store", "azure"])
    runs = [run["run_id"] for run in json.loads(listed.stdout)["runs"]]
    assert runs == [receipt.run_id, failed.run_id]
    ended = CliRunner().invoke(commands, ["runs", "cancel", failed.run_id, "--store", "azure"])
    assert (ended.exit_code, ended.stderr.split(":")[0]) == (1, "run_ended")


def test_function_list_is_printed(app: App) -> None:
    """The log begins with the functions and URLs that func start would list."""
    for line in (
        "dropped: blobTrigger",
        "jobs: queueTrigger",
        "poisoned_jobs: queueTrigger",
        "sweeper: timerTrigger",
    ):
        wait_until(lambda line=line: line in app.log)


def test_a_blob_that_is_no_table_ends_the_same_way(app: App) -> None:
    """Loose files and files of other kinds get receipts through the real triggers, and nothing is retried."""
    run_id = app.drop("churn/a.xlsx", b"PK")
    assert app.receipt(run_id).error["code"] == "format_unsupported"  # type: ignore[index]  # it is checked right here
    app.services.blobs.write(BlobPath("incoming", "loose.csv"), b"a,b\n")
    wait_until(lambda: "name_invalid" in app.log)
    assert "(Failed" not in app.log


def test_uploads_that_come_as_events_are_scored_once(app: App) -> None:
    """Two events for an upload, as data lakes send, each delivered three times and in any order, are one run."""
    assert app.stop() == 0
    app.environment["DROPSCORE_BLOB_SOURCE"] = "eventgrid"
    app.start("--event-grid", "--data-lake", "--duplicate", "2", "--reorder")
    runs = [app.drop(f"churn/{number}.csv", GOOD) for number in range(3)]
    assert [app.receipt(run_id).rows["scored"] for run_id in runs] == [3, 3, 3]
    assert app.stop() == 0, app.log
    assert "dropped takes events at" in app.log
    assert "(Failed" not in app.log
    receipts = [b.path.name for b in app.services.blobs.list("runs") if b.path.name.endswith("receipt.json")]
    assert sorted(receipts) == sorted(f"{run_id}/receipt.json" for run_id in runs)


@pytest.mark.parametrize("app", [{"DROPSCORE_SPLIT_BYTES": "20000"}], indirect=True)
def test_a_large_file_is_scored_in_splits(app: App, parquet: Callable[..., bytes]) -> None:
    """CSV and Parquet beyond the limit go through the queue of splits, and come back as they do in one go."""
    rows = b"".join(b'%d,20,%s,true,"ba\nsic"\n' % (i, b"x" if i % 50 == 7 else b"3") for i in range(5000))
    sample = make_sample(5000).append_column("row", pa.array(range(5000)))
    runs = {
        "a.csv": app.drop("churn/a.csv", b"id,age,visits,member,plan\n" + rows),
        "b.parquet": app.drop("churn/b.parquet", parquet(sample, row_group_size=500)),
    }
    other = "churn@1/_from/incoming/churn"
    for name, run_id in runs.items():
        receipt = app.receipt(run_id)
        assert (receipt.status, receipt.rows["read"]) == ("succeeded", 5000), receipt.error
        assert app.log.count(f"split_began run={run_id}") > 3
        whole = run_job(
            Job(BlobPath("incoming", f"churn/{name}"), ModelReference("churn", version=1)), app.services
        )
        assert whole.output == f"scored/{other}/{name}"
        assert whole.rows == receipt.rows
    blobs = app.services.blobs
    for container in ("scored", "rejected"):
        in_splits, in_one = (blobs.read(BlobPath(container, name)) for name in ("churn/a.csv", f"{other}/a.csv"))
        assert in_splits == in_one
    parts = [blob.path for blob in blobs.list("scored", "churn/b.parquet/part-")]
    scored = pa.concat_tables([pq.read_table(BytesIO(blobs.read(part))) for part in parts])
    assert scored.equals(pq.read_table(BytesIO(blobs.read(BlobPath("scored", f"{other}/b.parquet")))))
    assert blobs.stat(BlobPath("scored", "churn/b.parquet/_SUCCESS")).metadata["dropscore_run"] == runs["b.parquet"]


def test_a_file_goes_up_and_its_result_comes_down_over_http(app: App) -> None:
    """Through the real worker: dropped by an upload, found by the blob trigger, polled, and fetched in ranges."""
    with httpx.Client(base_url=app.url, timeout=60) as client:
        sent = client.post("/api/files/churn/2026/%C3%A9t%C3%A9%20100%25.csv", content=GOOD)
        assert (sent.status_code, sent.json()["path"]) == (201, "incoming/churn/2026/été 100%.csv")
        run = sent.headers["location"]
        assert client.get(run).json()["status"] in ("queued", "running", "succeeded")
        wait_until(lambda: client.get(run).json()["status"] == "succeeded")
        result = app.services.blobs.read(BlobPath("scored", "churn/2026/été 100%.csv"))
        assert client.get(f"{run}/result").content == result
        some = client.get(f"{run}/result", headers={"Range": "bytes=3-9"})
        assert (some.status_code, some.content) == (206, result[3:10])
        head = client.head(f"{run}/result")
        assert (head.status_code, head.content) == (200, b"")
        empty = client.post("/api/files/churn/b.csv")
        assert (empty.status_code, empty.json()["error"]["code"]) == (400, "file_empty")
        started = client.post("/api/runs", json={"input": sent.json()["path"], "keep": "none"})
        again = started.headers["location"]
        assert (started.status_code, again != run) == (202, True)
        wait_until(lambda: client.get(again).json()["status"] == "succeeded")
        page = client.get("/api/runs", params={"status": "succeeded", "model": "", "limit": 1}).json()
        rest = client.get("/api/runs", params={"after": page["next"]}).json()
        assert [f"/api/runs/{each['run_id']}" for each in page["runs"] + rest["runs"]] == [again, run]
