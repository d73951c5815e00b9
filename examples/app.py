"""Start the app on this machine, as `make start` and the demo do: devhost and, through it, Azurite."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def running_app(arguments: list[str], environment: Mapping[str, str], port: int, log: Path) -> Iterator[str]:
    """Run `python -m devhost` with its output in `log`, and yield its URL; it is stopped by SIGINT in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "devhost", "--port", str(port), *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/api/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)  # not up yet
    raise SystemExit(f"the app did not start; its log:\n{log.read_text('utf-8', 'replace')[-4000:]}")
