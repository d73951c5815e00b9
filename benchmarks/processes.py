"""Measure what whole processes take: wall and CPU seconds, and memory at its peak."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Measurement:
    """What one process took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    peak: float
    """Megabytes of resident memory at the most."""


def measure(command: Sequence[str], log: Path) -> Measurement:
    """Run a command to its end and measure it; SystemExit, with its output, if it fails."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{log.read_text('utf-8', 'replace')}")
    return Measurement(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def environment() -> dict[str, str]:
    """Return this process's environment variables for a process to measure.

    Users' Pythons keep what they have compiled: where that is switched off, each start would do it all again.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def in_turns(
    commands: Mapping[str, Sequence[str]], rounds: int, log: Path, before: Callable[[], None] = lambda: None
) -> dict[str, Measurement]:
    """Run the commands in turns and return the medians of each; `before` is called before every run."""
    results: dict[str, list[Measurement]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            before()
            results[name].append(measure(command, log))
    return {name: median(measured) for name, measured in results.items()}


def median(measured: Sequence[Measurement]) -> Measurement:
    """Return the median of each number."""
    fields = ("wall", "cpu", "peak")
    return Measurement(*(statistics.median(getattr(each, field) for each in measured) for field in fields))
