"""Servers as processes of their own: started, asked, measured and ended."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.http.circumstances import wrk
from benchmarks.http.rows import WORK, Row, rows
from benchmarks.http.systems import OURS, SYSTEMS, Answer, System, differs
from benchmarks.processes import ROOT

CONNECTIONS = 16
PATIENCE = 600
"""Seconds that a server may take to start."""
REFUSED = 30
"""Seconds that it may do so from when it first refuses a row."""
LOG = WORK / "log.txt"
SCRIPT = Path(__file__).with_name("wrk.lua")

Numbers = dict[str, float]


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    system: System
    model: str
    port: int
    process: psutil.Process

    def answer(self, row: Row) -> Answer:
        """Ask for a row; SystemExit if it is not scored."""
        status, content = post(self.port, self.path, self.system.body(row), dict(self.system.headers or {}))
        if status != 200:
            raise SystemExit(f"{self.system.title} answers {status}: {content[:500]!r}\n{log_end()}")
        return self.system.read(json.loads(content))

    @property
    def path(self) -> str:
        """Where it is asked."""
        return self.system.path.format(model=self.model)

    def load(self, seconds: int) -> Numbers:
        """Ask for the first row as fast as it is answered, by 16 connections; return what came of it.

        `rate` is requests a second, `p50` and `p99` milliseconds until an answer, `cpu` the server's milliseconds
        of CPU for a request. SystemExit if a request failed.
        """
        body = WORK / "body.json"
        body.write_text(json.dumps(self.system.body(rows()[0])), "utf-8")
        headers = [word for pair in (self.system.headers or {}).items() for word in pair]
        url = f"http://127.0.0.1:{self.port}{self.path}"
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", str(SCRIPT)]
        before = self.cpu()
        done = subprocess.run(
            [wrk(), *options, url, "--", str(body), *headers], check=True, capture_output=True, text=True
        )
        cpu = self.cpu() - before
        counted = json.loads(done.stdout.splitlines()[-1])
        if counted["errors"] or not counted["requests"]:
            raise SystemExit(f"requests to {self.system.title} failed:\n{done.stdout}\n{log_end()}")
        return {
            "rate": counted["requests"] / counted["microseconds"] * 1e6,
            "p50": counted["p50"] / 1e3,
            "p99": counted["p99"] / 1e3,
            "cpu": cpu / counted["requests"] * 1e3,
        }

    def cpu(self) -> float:
        """Return the CPU seconds of its processes."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def peak(self) -> float:
        """Return megabytes of resident memory at the most: the sum of its processes' own peaks."""
        return sum(peak(process.pid) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def peak(process_id: int) -> float:
    """Return megabytes (1e6 bytes) of resident memory that a process had at the most."""
    status = Path(f"/proc/{process_id}/status").read_text("utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


@contextlib.contextmanager
def serving(name: str, model: str) -> Iterator[Server]:
    """Start a server and wait until it answers; end it, and what it started, behind the block."""
    system, port = SYSTEMS[name], free_port()
    WORK.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            system.words(model, port),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=ROOT if name == OURS else WORK,
            env=system.environment(model),
            start_new_session=True,
        )
    try:
        server = Server(system, model, port, psutil.Process(process.pid))
        wait_for(server, process)
        yield server
    finally:
        end(process)


def wait_for(server: Server, process: "subprocess.Popen[bytes]") -> None:
    """Return when the server answers a row; SystemExit if it ends, goes on refusing it, or does not in time."""
    until = time.monotonic() + PATIENCE
    system, said = server.system, b""
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, said = post(server.port, server.path, system.body(rows()[0]), dict(system.headers or {}))
            if status == 200:
                return
            if status == 400:  # MLServer says so while it starts, too
                until = min(until, time.monotonic() + REFUSED)
        if process.poll() is not None or time.monotonic() > until:
            break
        time.sleep(0.1)
    raise SystemExit(f"{system.title} does not answer: {said[:500]!r}\n{log_end()}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those of its session; kill them if they are there after ten seconds."""
    for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def post(port: int, path: str, body: Any, headers: dict[str, str]) -> tuple[int, bytes]:
    """Return status and content of the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def free_port() -> int:
    """Return a port with two more behind it that nobody listens on now."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, OverflowError):
            first = held.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))).getsockname()[1]
            for port in (first + 1, first + 2):
                held.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", port))))
            return first


def log_end() -> str:
    """Return the end of what the server wrote."""
    return LOG.read_text("utf-8", "replace")[-3000:]


def check(name: str, model: str, seconds: int, ours: list[Answer] | None) -> tuple[list[Answer], Numbers]:
    """Compare a server's answers with ours, if these are given; return them, and what a short load came to.

    SystemExit if an answer differs.
    """
    with serving(name, model) as server:
        answers = [server.answer(row) for row in rows()]
        if ours and (different := sum(map(differs, ours, answers))):
            raise SystemExit(f"{SYSTEMS[name].title} gives other answers to {different} of {len(answers)} rows")
        return answers, server.load(seconds) | {"peak": server.peak()}


def measure(name: str, model: str, seconds: int) -> Numbers:
    """Start a server, warm it up, and measure it for so many seconds; see `Server.load`."""
    with serving(name, model) as server:
        server.load(max(1, seconds // 4))
        return server.load(seconds) | {"peak": server.peak()}
