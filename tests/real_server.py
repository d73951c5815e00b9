"""The API as uvicorn runs it, in a process of its own on a port of 127.0.0.1: what clients and loads talk to."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120
"""Seconds that it may take to start; machines are shared."""


@dataclass(frozen=True)
class RealServer:
    """A server that answers."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> float:
        """Return megabytes (1e6 bytes) of memory that are its own and resident now."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text("ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        return (sizes["Private_Dirty"] + sizes["Private_Clean"]) * 1024 / 1e6


@contextlib.contextmanager
def serve(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[RealServer]:
    """Serve the models of a folder store, `folder`/store, without keys; end the server behind the block."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    log = folder / "server.log"
    environment = os.environ | {
        "DROPSCORE_FOLDER": str(folder / "store"),
        "DROPSCORE_CACHE": str(folder / "cache"),
        "DROPSCORE_HTTP_AUTH": "anonymous",
        **(settings or {}),
    }
    words = ["-m", "uvicorn", "web.app:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    server = RealServer(port, process, log)
    try:
        _wait_for(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(server: RealServer) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    return
        if server.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the server does not answer:\n{server.log.read_text('utf-8', 'replace')}")
        time.sleep(0.1)
