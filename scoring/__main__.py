"""The command line: score a file here, or drop one where the app looks."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from model_store import ModelReference
from scoring.codec import Progress as OnProgress
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import begin, run_job
from scoring.receipt import Receipt
from scoring.services import Services
from scoring.tally import Tally
from settings import Settings
from storage import BlobPath, BlobStore
from storage.command_line import Store, errors_as_text
from storage.folder import FolderBlobStore
from storage.reader import stream
from storage.writer import StagedWriter

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(stderr=True)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A .csv or .parquet file.")]
Model = Annotated[str, typer.Option(help="The model: churn, churn@champion or churn@3.")]
Keep = Annotated[str, typer.Option(help='Input columns to keep: "all", "none", or names divided by commas.')]
Threshold = Annotated[
    float, typer.Option(help="Rejected rows allowed: a fraction below 1, a count from 1, or -1 for any number.")
]


@app.command()
def score(
    file: File,
    model: Model,
    keep: Keep = "all",
    error_threshold: Threshold = 0.1,
    delimiter: Annotated[str, typer.Option(help="What divides the columns of a CSV file; \\t for a tab.")] = ",",
    header: Annotated[bool, typer.Option(help="Whether a CSV file's first line names its columns.")] = True,
    output: Annotated[Path | None, typer.Option(help="Copy the result here.")] = None,
    store: Store = None,
) -> None:
    """Score FILE on this machine, with a model of STORE (the folder .dropscore unless told otherwise)."""
    with errors_as_text():
        services = Services.open(Settings.for_command(store))
        reference = ModelReference.parse(model)
        given = {
            "keep": keep if keep in ("all", "none") else [name.strip() for name in keep.split(",")],
            "error_threshold": error_threshold,
            "csv": {"delimiter": "\t" if delimiter == "\\t" else delimiter, "header": header},
        }
        path = BlobPath(services.settings.incoming, f"{reference}/{file.name}")
        job = Job(path, reference, Options.from_dict(given))
        place(services.blobs, file, job.input)
        with progress_bar(file) as progress:
            receipt = run_job(job, services, progress)
        show(receipt, services, output)
    raise typer.Exit(0 if receipt.status == "succeeded" else 1)


@app.command()
def drop(
    file: File,
    model: Model,
    name: Annotated[
        str | None, typer.Option(help="Its path below the model's folder; the file's name if left out.")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Wait for the receipt, at most so many seconds; 0 does not wait.")
    ] = 600,
    output: Annotated[Path | None, typer.Option(help="Copy the result here.")] = None,
    store: Store = "azure",
) -> None:
    """Drop FILE into the incoming container, where the running app finds it, and wait for its receipt."""
    with errors_as_text():
        services = Services.open(Settings.for_command(store))
        job = Job.for_dropped(BlobPath(services.settings.incoming, f"{model}/{name or file.name}"))
        upload(services.blobs, file, job.input)
        run = begin(job, services)
        console.print(
            f"dropped {escape(str(job.input))} ({file.stat().st_size:,} bytes); run {run.id}", highlight=False
        )
        if not wait:
            return
        deadline = time.monotonic() + wait
        with console.status("waiting for the receipt"):
            while not (receipt := services.receipts.find(run.id)):
                if time.monotonic() > deadline:
                    console.print(f"no receipt after {wait:g} s: is the app running? See `make start`.")
                    raise typer.Exit(2)
                time.sleep(0.2)
        show(receipt, services, output)
    raise typer.Exit(0 if receipt.status == "succeeded" else 1)


@app.command("receipt")
def print_receipt(run_id: str, store: Store = None) -> None:
    """Print a run's receipt, or its plan while it is running, as JSON."""
    with errors_as_text():
        Console().print_json(data=Services.open(Settings.for_command(store)).receipts.status(run_id))


def place(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Put a local file where a run reads it: without a copy if the store is a folder of this machine."""
    if isinstance(blobs, FolderBlobStore):
        with suppress(OSError):  # this file system, or this user, has no links: copied like anywhere else
            blobs.link(target, file)
            return
    upload(blobs, file, target)


def upload(blobs: BlobStore, file: Path, target: BlobPath) -> None:
    """Copy a local file of any size into a store."""
    with file.open("rb") as source, StagedWriter(blobs, target, prefix="upload") as writer:
        shutil.copyfileobj(source, writer, 4 * 1024 * 1024)
        writer.commit()


@contextmanager
def progress_bar(file: Path) -> Iterator[OnProgress]:
    """Show how far a file is read, how many rows were scored and how long it will take."""
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[rows]:,} rows"), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=console, transient=True) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size, rows=0)

        def update(read: int, tally: Tally) -> None:
            bar.update(task, completed=read, rows=tally.read)

        yield update


def show(receipt: Receipt, services: Services, output: Path | None) -> None:
    """Print a receipt for people, and copy the result to `output` if there is one."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    color = "green" if receipt.status == "succeeded" else "red"
    table.add_row("status", f"[{color}]{receipt.status}[/]")
    if receipt.error:
        table.add_row("error", escape(f"{receipt.error['code']}: {receipt.error['message']}"))
    for warning in receipt.warnings:
        table.add_row("warning", f"{warning['code']}: {warning['message']}")
    rows = receipt.rows
    table.add_row("rows", f"{rows['read']:,} read = {rows['scored']:,} scored + {rows['rejected']:,} rejected")
    for code, count in receipt.reject_codes.items():
        table.add_row("", f"{count:,} {code}")
    rate = f", {rows['read'] / receipt.seconds:,.0f} rows/s" if receipt.seconds else ""
    table.add_row("time", f"{receipt.seconds:.2f} s{rate}")
    table.add_row("model", " ".join(str(receipt.model[key]) for key in ("name", "version") if key in receipt.model))
    for label, place in (("result", receipt.output), ("rejects", receipt.rejects)):
        if place:
            folder = services.settings.folder
            table.add_row(label, escape(f"{folder}/{place}" if folder else place))
    table.add_row("run", receipt.run_id)
    console.print(table, highlight=False)
    if output and receipt.output:
        download(services.blobs, BlobPath.parse(receipt.output), output)
        console.print(f"copied to {escape(str(output))}", highlight=False)


def download(blobs: BlobStore, source: BlobPath, file: Path) -> None:
    """Copy a blob of any size to a local file."""
    with file.open("wb") as target:
        for chunk in stream(blobs, blobs.stat(source)):
            target.write(chunk)


if __name__ == "__main__":
    app()
