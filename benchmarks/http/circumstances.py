"""What has to be installed, and under which circumstances numbers are taken."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.engine.models import BENCH_PYTHON
from benchmarks.http.systems import MLSERVER, MLSERVERS
from benchmarks.processes import ROOT
from benchmarks.results import machine

OURS = ("onnxruntime", "starlette", "uvicorn", "uvloop", "httptools")
BENCH = (
    "fastapi",
    "pydantic",
    "pandas",
    "scikit-learn",
    "mlflow-skinny",
    "onnxruntime",
    "uvicorn",
    "uvloop",
    "httptools",
)
LOAD = "load average before "
THEIRS = ("mlserver", "mlserver-sklearn", "pandas", "scikit-learn", "uvicorn", "uvloop")


def wrk() -> str:
    """Return where wrk is; the program ends if it is not there."""
    return shutil.which("wrk") or sys.exit("wrk is not there; `make bench-http` installs it")


def check_tools(systems: Sequence[str]) -> None:
    """End the program if something is not installed."""
    wrk()
    for path in (BENCH_PYTHON, *([MLSERVER] if set(MLSERVERS) & set(systems) else [])):
        if not path.exists():
            sys.exit(f"{path.relative_to(ROOT)} is not there; `make bench-http` installs it")


def circumstances() -> str:
    """Say when, on what, with what and on how busy a machine is measured; each environment has its versions."""
    said = subprocess.run([wrk(), "--version"], check=False, capture_output=True, text=True).stdout
    places = {".venv-bench": (BENCH_PYTHON, BENCH), ".venv-mlserver": (MLSERVER.with_name("python"), THEIRS)}
    theirs = "; ".join(f"{name}: {versions(python, names)}" for name, (python, names) in places.items())
    load = f"{LOAD}{os.getloadavg()[0]:.2f}"
    return f"{machine(filter(installed, OURS))}, {' '.join(said.split()[:2])}; {theirs}; {load}"


def installed(name: str) -> bool:
    """Say whether a package is among our own: uvicorn does without some."""
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def versions(python: Path, names: Sequence[str]) -> str:
    """Return the versions of packages in another environment; nothing where it is not there."""
    if not python.exists():
        return ""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    answer = subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True)
    return ", ".join(" ".join(pair) for pair in zip(names, answer.stdout.split(), strict=True))
