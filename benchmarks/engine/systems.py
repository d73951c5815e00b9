"""The systems that are measured, each a command of its own process, and how they take turns."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.engine.cells import Run, Setting
from benchmarks.engine.data import WORK, source
from benchmarks.engine.models import BENCH_PYTHON, STORE
from benchmarks.processes import ROOT, measure

PEERS = Path(__file__).resolve().parent / "peers"
LOG = WORK / "log.txt"

OURS = "dropscore"
ONE_ROW = "dropscore-one-row"
"""Ours on a file of one row: what a run takes, whatever its rows."""

PANDAS = "pandas"
MLFLOW = ("mlflow-sklearn", "mlflow-onnx", "mlflow-package")
POLARS = "polars"
ALONE = "alone"
ALONE_PORTABLE = "alone-portable"

SYSTEMS = {
    OURS: "Dropscore",
    PANDAS: "pandas + joblib",
    "mlflow-sklearn": "mlflow.pyfunc, sklearn flavor",
    "mlflow-onnx": "mlflow.pyfunc, onnx flavor",
    "mlflow-package": "mlflow.pyfunc, our package",
    POLARS: "polars + onnxruntime",
    "polars-chunks": "polars + onnxruntime, in chunks",
    ALONE: "ONNX Runtime alone, fast.onnx",
    ALONE_PORTABLE: "ONNX Runtime alone, model.onnx",
}
"""Their names in tables."""


def chosen(setting: Setting, systems: Sequence[str]) -> list[str]:
    """Return which of the systems run in a setting: ONNX Runtime alone is no file's format, so it runs once."""
    left_out = set()
    if setting.format != "parquet":
        left_out |= {ALONE, ALONE_PORTABLE}
    if setting.keep != "id":
        left_out.add(ALONE_PORTABLE)
    return [name for name in SYSTEMS if name == OURS or (name in systems and name not in left_out)]


def target(setting: Setting, system: str) -> Path:
    """Return where a system writes its result."""
    if system == OURS:
        return STORE / "scored" / setting.model / source(setting.rows, setting.format).name
    return WORK / "results" / f"{system}.{setting.format}"


def command(setting: Setting, system: str) -> list[str]:
    """Return what runs a system."""
    file, name = str(source(setting.rows, setting.format)), setting.model
    package = WORK / f"{name}-package"
    if system == OURS:
        words = ["-m", "scoring", "score", file, "--model", name, "--keep", setting.keep, "--store", str(STORE)]
        return [sys.executable, *words]
    result = str(target(setting, system))
    if system in (ALONE, ALONE_PORTABLE):
        graph = "fast.onnx" if system == ALONE and (package / "fast.onnx").exists() else "model.onnx"
        words = [str(PEERS / "onnxruntime_alone.py"), file, result, str(package), graph, str(os.cpu_count())]
        return [str(BENCH_PYTHON), *words]
    script, model = {
        PANDAS: ("pandas_joblib.py", WORK / f"{name}.joblib"),
        "mlflow-sklearn": ("mlflow_pyfunc.py", WORK / f"{name}-mlflow-sklearn"),
        "mlflow-onnx": ("mlflow_pyfunc.py", WORK / f"{name}-mlflow-onnx"),
        "mlflow-package": ("mlflow_pyfunc.py", package),
        POLARS: ("polars_onnx.py", package / "model.onnx"),
        "polars-chunks": ("polars_chunks.py", package / "model.onnx"),
    }[system]
    return [str(BENCH_PYTHON), "-W", "ignore", str(PEERS / script), file, result, str(model), setting.keep]


def clear() -> None:
    """Delete results, and receipts, or a run would be known as done; let the disk finish what it was given."""
    for folder in (*(STORE / name for name in ("runs", "scored", "rejected", "incoming")), WORK / "results"):
        shutil.rmtree(folder, ignore_errors=True)
    (WORK / "results").mkdir()
    os.sync()


def run(setting: Setting, system: str) -> Run:
    """Run a system once and return what it took; SystemExit if it failed, or did not score all rows."""
    words = command(setting, system)
    clear()
    taken = measure(words, LOG)
    if system == OURS:
        return with_receipt(Run(taken.wall, taken.cpu, taken.peak), setting, STORE)
    if system in (ALONE, ALONE_PORTABLE):  # it measures itself: start-up and reading are not the limit's
        inside = json.loads(LOG.read_text("utf-8").splitlines()[-1])
        return Run(inside["wall"], inside["cpu"], taken.peak)
    return Run(taken.wall, taken.cpu, taken.peak)


def with_receipt(taken: Run, setting: Setting, store: Path) -> Run:
    """Add what the store's only receipt says; SystemExit unless it says that all rows were scored."""
    [file] = (store / "runs").glob("*/receipt.json")
    receipt = json.loads(file.read_text("utf-8"))
    if (receipt["status"], receipt["rows"]["scored"]) != ("succeeded", setting.rows):
        raise SystemExit(f"{setting} was not scored: {file.read_text('utf-8')}")
    stages = receipt["stages"]
    return Run(taken.wall, taken.cpu, taken.peak, receipt["seconds"], stages["cpu"], stages["wall"])


def check(setting: Setting, systems: Sequence[str]) -> dict[str, Run]:
    """Run each system once and compare its answers with ours; return what they took; SystemExit if one differs.

    It also warms the disk's cache up, so these runs count for nothing but a choice between systems of a kind.
    """
    ours = WORK / f"ours.{setting.format}"
    probes = {}
    for system in systems:
        probes[system] = run(setting, system)
        if system == OURS:
            target(setting, OURS).replace(ours)
            continue
        words = [sys.executable, "-m", "benchmarks.engine.answers", str(ours), str(target(setting, system))]
        if subprocess.run(words, cwd=ROOT, check=False).returncode:
            raise SystemExit(f"{SYSTEMS[system]} gave other answers than Dropscore: {setting}")
    ours.unlink()
    return probes


def without_slower(probes: Mapping[str, Run], kind: Sequence[str] = MLFLOW) -> list[str]:
    """Return the systems without those of a kind that are slower than its fastest."""
    of_kind = [name for name in kind if name in probes]
    fastest = min(of_kind, key=lambda name: probes[name].wall, default=None)
    return [name for name in probes if name not in kind or name == fastest]


def take_turns(turns: Sequence[tuple[Setting, str]], rounds: int) -> dict[tuple[Setting, str], tuple[Run, ...]]:
    """Run all, one after the other, and that so many times."""
    runs: dict[tuple[Setting, str], list[Run]] = {turn: [] for turn in turns}
    for _ in range(rounds):
        for turn in turns:
            runs[turn].append(run(*turn))
    return {turn: tuple(taken) for turn, taken in runs.items()}
