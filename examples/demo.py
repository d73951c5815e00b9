"""The main job, end to end, on real data: train, package, register, drop files, get them back scored, check it all.

Everything runs on this machine: storage is Azurite, function_app.py runs on Microsoft's Python worker in devhost.
"""

import json
import os
import shutil
import time
from pathlib import Path

import httpx2 as httpx
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline

from devhost.azurite import Azurite, free_ports
from examples import flights
from examples.app import ROOT, running_app
from model_store import package
from model_store.registry import Registry
from scoring.entering import begin
from scoring.job import Job
from scoring.local_files import download, upload
from scoring.receipt import Receipt
from scoring.services import Services
from settings import Settings
from storage import BlobPath

WORK = ROOT / ".demo"
console = Console(highlight=False, soft_wrap=True)
PREDICTION, PROBABILITY = "prediction", "probability_true"


def main() -> None:
    """Run the demo; end with code 1 if any check fails."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    step("Train a late-arrival classifier on January to September")
    history, later = flights.load(range(1, 10)), flights.load(range(10, 13))
    model = flights.train(history)
    done(f"{len(history):,} flights; scikit-learn pipeline of {len(model)} steps")
    step("Write October to December as CSV and as Parquet")
    files = write_files(later)
    done(", ".join(f"{file.name} {file.stat().st_size:,} bytes" for file in files))
    step("Start Azurite and the app (function_app.py on Microsoft's Python worker)")
    port, *_ = free_ports(1)
    with Azurite.on_free_ports(data=WORK / "azurite") as azurite:
        environment = os.environ | {
            "AzureWebJobsStorage": azurite.connection_string,
            "DROPSCORE_CACHE": str(WORK / "cache"),
        }
        with running_app([], environment, port, WORK / "app.log") as url:
            done(url)
            services = Services.open(Settings.load(environment))
            register(model, history, services)
            receipts = [drop(file, services) for file in files]
            checks = [check(file, receipt, later, model) for file, receipt in zip(files, receipts, strict=True)]
            checks.append(ask_for_one_row(url, later, model))
    if not all(checks):
        raise SystemExit("a check failed: see above")
    console.print("\n[bold green]Every check held.[/] The files are in .demo/: inputs, results, and the app's log.")


def write_files(later: pd.DataFrame) -> list[Path]:
    """Write the flights to score: the data file's own lines, and the same as a typed table."""
    text, table = WORK / "late-2013.csv", WORK / "late-2013.parquet"
    text.write_text("".join(flights.raw_lines(range(10, 13))), "utf-8", newline="")
    later.to_parquet(table)
    return [text, table]


def register(model: Pipeline, history: pd.DataFrame, services: Services) -> None:
    """Convert, verify and register the model, and make it the champion."""
    step("Convert to ONNX, compare with scikit-learn, register as flights@champion")
    info = package(model, flights.sample(history), WORK / "package")
    registry = Registry(services.blobs, services.settings.models)
    version = registry.add("flights", WORK / "package")
    registry.set_alias("flights", "champion", version.version)
    parity = info.parity
    done(
        f"{version}: parity on {parity.rows:,} rows: max |Δ| {parity.max_abs_difference:.1e}, "
        f"{parity.label_flips} label flips"
    )


def drop(file: Path, services: Services) -> Receipt:
    """Drop a file, wait for its receipt, fetch the result."""
    step(f"Drop {file.name} into incoming/flights/ and wait for its receipt")
    job = Job.for_dropped(BlobPath(services.settings.incoming, f"flights/{file.name}"))
    started = time.monotonic()
    upload(services.blobs, file, job.input)
    run = begin(job, services)
    while not (receipt := services.receipts.find(run.id)):
        if time.monotonic() - started > 300:
            raise SystemExit(f"no receipt within 5 minutes; see {WORK / 'app.log'}")
        time.sleep(0.1)
    waited = time.monotonic() - started
    if receipt.output is None:
        raise SystemExit(f"the run failed: {json.dumps(receipt.error)}")
    download(services.blobs, BlobPath.parse(receipt.output), result_of(file))
    done(f"{receipt.status}, {waited:.1f} s after the drop, of which the run took {receipt.seconds:.2f} s")
    return receipt


def result_of(file: Path) -> Path:
    """Return where the demo puts the result of a file."""
    return file.with_name(f"scored-{file.name}")


def check(file: Path, receipt: Receipt, later: pd.DataFrame, model: Pipeline) -> bool:
    """Print the proof for one file: the receipt's numbers, the first rows, the AUC, and what must hold."""
    result = result_of(file)
    scored = pd.read_csv(result) if file.suffix == ".csv" else pd.read_parquet(result)
    arrived = later["arr_delay"].notna()
    auc = roc_auc_score(flights.is_late(later[arrived]), scored.loc[arrived, PROBABILITY])
    features = later[flights.NUMBERS + flights.TEXTS]
    expected = model.predict_proba(features)[:, 1]
    flips = int((scored[PREDICTION] != model.predict(features)).sum())
    worst = float((scored[PROBABILITY] - expected).abs().max())
    rows = receipt.rows
    console.print(f"\n[bold]{file.name}[/]")
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
    facts.add_row("rows", f"{rows['read']:,} read = {rows['scored']:,} scored + {rows['rejected']:,} rejected")
    facts.add_row("time", f"{receipt.seconds:.2f} s, {rows['read'] / receipt.seconds:,.0f} rows/s")
    facts.add_row("result", f"{receipt.output}  (copied to {result.relative_to(ROOT)})")
    facts.add_row("receipt", f"runs/{receipt.run_id}/receipt.json")
    facts.add_row("AUC against the truth", f"{auc:.4f} on {int(arrived.sum()):,} flights that arrived")
    console.print(facts)
    shown = ["month", "day", "carrier", "flight", "dest", "dep_delay", "arr_delay", PREDICTION, PROBABILITY]
    console.print(scored[shown].head(5).to_string(index=False), style="dim")
    held = {
        "every row came back": rows["read"] == rows["scored"] + rows["rejected"] == len(later) == len(scored),
        f"labels equal scikit-learn's ({flips} flips)": flips == 0,
        f"probabilities equal scikit-learn's (max |Δ| {worst:.1e})": worst <= 1e-5,
        "the scores tell late from punctual (AUC over 0.8)": auc > 0.8,
    }
    if file.suffix == ".csv":
        held["the result is the input's text, byte for byte, with columns appended"] = is_appended(file, result)
    verdicts = [tick(ok, what) for what, ok in held.items()]
    return all(verdicts)


def is_appended(file: Path, result: Path) -> bool:
    """Say whether each line of the result is a line of the input with more columns behind it."""
    with file.open("rb") as before, result.open("rb") as after:
        return all(new.startswith(old.rstrip(b"\n") + b",") for old, new in zip(before, after, strict=True))


def ask_for_one_row(url: str, later: pd.DataFrame, model: Pipeline) -> bool:
    """Score one row by HTTP and compare it."""
    row = later[flights.NUMBERS + flights.TEXTS].head(1)
    console.print(f"\n[bold]POST {url}/api/predict/flights[/]")
    body = json.loads(row.to_json(orient="records"))[0]
    answer = httpx.post(f"{url}/api/predict/flights", json=body, timeout=60).json()
    console.print(f"  {json.dumps(body)}\n  -> {json.dumps(answer['predictions'][0])}", style="dim")
    difference = abs(answer["predictions"][0][PROBABILITY] - model.predict_proba(row)[0, 1])
    return tick(difference <= 1e-5, "the same row over HTTP gets the same score")


def step(text: str) -> None:
    """Say what comes next."""
    console.print(f"[bold cyan]>[/] {text} …")


def done(text: str) -> None:
    """Say what came of it."""
    console.print(f"  {text}", style="dim")


def tick(ok: bool, what: str) -> bool:  # noqa: FBT001  # the verdict comes first, as it is printed
    """Print a check's outcome and return it."""
    console.print(f"  [green]✓[/] {what}" if ok else f"  [red]✗ {what}[/]")
    return ok


if __name__ == "__main__":
    main()
