"""Real parts for the tests: one Azurite for all, and devhosts as processes of their own on the app in `app/`."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import httpx2 as httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from devhost.azurite import Azurite

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
QUICK = ("--queue-lease", "2", "--blob-scan", "0.5")
PATIENCE = 60  # seconds that a test waits for what must come; machines are shared


def wait_until(condition, what, timeout=PATIENCE):
    """Return the condition's first true value; fail, saying what was waited for, if there is none in time."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in {timeout} s there was no {what}"
        time.sleep(0.05)
    return value


class Storage:
    """Containers and queues of one test, under names that are its own."""

    def __init__(self, connection_string, name):
        self.connection_string = connection_string
        self.name = name
        self.blobs = BlobServiceClient.from_connection_string(connection_string)
        self.queues = QueueServiceClient.from_connection_string(connection_string)
        for container in ("told", "drops", "streams"):
            self.blobs.create_container(f"{container}-{name}")
        self.work = self.queues.create_queue(f"work-{name}")

    @property
    def environment(self):
        return {
            "AzureWebJobsStorage": self.connection_string,
            "AzureFunctionsWebHost__hostid": self.name,
            "TOLD": f"told-{self.name}",
            "DROPS": f"drops-{self.name}",
            "STREAMS": f"streams-{self.name}",
            "WORK_QUEUE": f"work-{self.name}",
            "ANSWERS": f"answers-{self.name}",
        }

    def put(self, container, name, content):
        return self.blobs.get_blob_client(f"{container}-{self.name}", name).upload_blob(content, overwrite=True)

    def told(self, what):
        """Return what functions have told so far, in order."""
        container = self.blobs.get_container_client(f"told-{self.name}")
        return [
            json.loads(container.download_blob(name).readall())
            for name in container.list_blob_names(name_starts_with=f"{what}/")
        ]

    def messages(self, queue):
        """Return the texts on a queue, without taking them."""
        names = [each.name for each in self.queues.list_queues(queue)]
        return [each.content for each in self.queues.get_queue_client(queue).peek_messages(32)] if names else []

    def close(self):
        self.blobs.close()
        self.queues.close()


class Devhost:
    """A running `python -m devhost`."""

    def __init__(self, app, environment, *arguments):
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "devhost", "--app", str(app), "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def output(self):
        return "".join(self.lines)

    def ready(self):
        """Wait until it is up and return it."""
        found = wait_until(
            lambda: re.search(r"http://localhost:(\d+)/", self.output) or self.process.poll() is not None,
            f"list of functions in:\n{self.output}",
        )
        assert self.process.poll() is None, self.output
        self.url = f"http://127.0.0.1:{found[1]}"
        assert httpx.get(f"{self.url}/admin/host/status", timeout=PATIENCE).json()["state"] == "Running"
        return self

    def end(self, number=signal.SIGINT, timeout=PATIENCE):
        """Send it a signal and return its exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout=PATIENCE):
        """Return its exit code when it has ended by itself."""
        try:
            return self.process.wait(timeout)
        finally:
            self.close()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def azurite():
    with Azurite.on_free_ports() as running:
        yield running


@pytest.fixture
def storage(azurite):
    made = Storage(azurite.connection_string, uuid.uuid4().hex[:12])
    yield made
    made.close()


@pytest.fixture
def start(storage):
    """Start devhosts on the test app, with a short lease; they are ended after the test."""
    started = []

    def start_one(*arguments, app=HERE / "app", **environment):
        started.append(Devhost(app, {**storage.environment, **environment}, *QUICK, *arguments))
        return started[-1]

    yield start_one
    for devhost in started:
        devhost.close()


@pytest.fixture(scope="session")
def shared(azurite):
    """One devhost for the tests that do not end it, and its storage."""
    storage = Storage(azurite.connection_string, uuid.uuid4().hex[:12])
    devhost = Devhost(HERE / "app", {**storage.environment, "TICK": "* * * * * *"}, *QUICK)
    yield devhost.ready(), storage
    code = devhost.end()
    storage.close()
    assert code == 0, devhost.output
