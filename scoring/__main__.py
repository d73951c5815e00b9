"""The command line: score a file here, or drop one where the app looks."""

import json
import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from model_store import ModelReference
from scoring.entering import begin
from scoring.folders import FolderScoring
from scoring.job import Job
from scoring.local_files import fetch, name_of, place, target_of, upload
from scoring.options import Options
from scoring.pipeline import quiet, run_here
from scoring.receipt import Receipt
from scoring.runs import with_result
from scoring.runs_commands import app as runs_app
from scoring.services import Services
from scoring.terminal import problem, progress_of, summary
from scoring.uploads import admit
from storage import BlobPath
from storage.command_line import PlainCommand, PlainCommands, Store, errors_as_text

app = typer.Typer(
    cls=PlainCommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

Source = Annotated[
    Path,
    typer.Argument(
        exists=True,
        readable=True,
        help="A .csv, .tsv or .parquet file (.csv.gz and .csv.zst too), or a folder of them.",
    ),
]
File = Annotated[
    Path,
    typer.Argument(
        exists=True, dir_okay=False, readable=True, help="A .csv, .tsv or .parquet file; .csv.gz and .csv.zst too."
    ),
]
Model = Annotated[str, typer.Option(help="The model: churn, churn@champion or churn@3.")]
Keep = Annotated[str, typer.Option(help='Input columns to keep: "all", "none", or names divided by commas.')]
Threshold = Annotated[
    float, typer.Option(help="Rejected rows allowed: a fraction below 1, a count from 1, or -1 for any number.")
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="<path>", help="Copy the result here: a file, or a folder; those of a folder's files below it."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the receipt on stdout, as JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")]

app.add_typer(runs_app, name="runs")

_NOWHERE = logging.NullHandler()
"""Keeps Python from showing log lines where nobody asked for any: what they say is in the receipt."""


@app.command(cls=PlainCommand)
def score(
    file: Source,
    model: Model,
    keep: Keep = "all",
    error_threshold: Threshold = 0.1,
    delimiter: Annotated[
        str | None,
        typer.Option(help="What divides the columns of a CSV file; \\t for a tab; found out if left out."),
    ] = None,
    quote: Annotated[
        str | None, typer.Option(help="A CSV file's quoting character; found out if left out.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="A CSV file's encoding, such as latin-1; UTF-8 or UTF-16 if left out.")
    ] = None,
    decimal: Annotated[str, typer.Option(help="What stands before a CSV file's decimals: . or ,")] = ".",
    header: Annotated[bool, typer.Option(help="Whether a CSV file's first line names its columns.")] = True,
    output: Output = None,
    output_format: Annotated[
        str | None, typer.Option(help="The result's format, csv or parquet; the file's own if left out.")
    ] = None,
    as_json: AsJson = False,
    be_quiet: Quiet = False,
    store: Store = None,
) -> None:
    """Score FILE on this machine, with a model of STORE (the folder .dropscore unless told otherwise).

    FILE may be a folder: all CSV and Parquet files below it are scored, each for itself.

    Ends with code 0 if the file was scored, 1 if not (the receipt says why; or, where an option's value is none,
    one line), 2 if the command was misused.
    """
    with errors_as_text():
        logging.getLogger("scoring").addHandler(_NOWHERE)
        services = Services.for_command(store)
        reference = ModelReference.parse(model)
        given = {
            "keep": keep if keep in ("all", "none") else [name.strip() for name in keep.split(",")],
            "output_format": output_format,
            "error_threshold": error_threshold,
            "csv": {
                "delimiter": "\t" if delimiter == "\\t" else delimiter,
                "quote": quote,
                "header": header,
                "encoding": encoding,
                "decimal": decimal,
            },
        }
        options = Options.from_dict(given)
        if file.is_dir():
            scoring = FolderScoring(reference, options, services, as_json=as_json, be_quiet=be_quiet)
            raise typer.Exit(0 if scoring.score(file, Path(output) if output else None) else 1)
        path = BlobPath(services.settings.incoming, f"{reference}/{name_of(file)}")
        job = Job(path, reference, options)
        target = target_of(output, job.scored_name(path.container), file) if output else None
        place(services.blobs, file, job.input)
        size = services.blobs.stat(job.input).size
        with nullcontext(quiet) if be_quiet else progress_of(file.name, size) as progress:
            receipt = run_here(with_result(job, services), services, progress)
        show(receipt, services, target, as_json=as_json, quiet=be_quiet)
    raise typer.Exit(0 if receipt.status == "succeeded" else 1)


@app.command(cls=PlainCommand)
def drop(
    file: File,
    model: Model,
    name: Annotated[
        str | None, typer.Option(help="Its path below the model's folder; the file's name if left out.")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Wait for the receipt, at most so many seconds; 0 does not wait.")
    ] = 600,
    output: Output = None,
    as_json: AsJson = False,
    be_quiet: Quiet = False,
    store: Store = "azure",
) -> None:
    """Drop FILE into the incoming container, where the running app finds it, and wait for its receipt.

    Refused at once is what would fail by its name: no model called so, or neither CSV nor Parquet.

    Ends with code 0 if the file was scored (or, without waiting, dropped), 1 if not, 2 if the command was misused
    or no receipt came in time.
    """
    with errors_as_text():
        logging.getLogger("scoring").addHandler(_NOWHERE)
        services = Services.for_command(store)
        reference = ModelReference.parse(model)
        job = admit(BlobPath(services.settings.incoming, f"{reference}/{name or file.name}"), services)
        target = target_of(output, job.scored_name(job.input.container), file) if output else None
        upload(services.blobs, file, job.input)
        run = begin(job, services)
        if not be_quiet:
            typer.echo(f"dropped {job.input} ({file.stat().st_size:,} bytes); run {run.id}", err=True)
        if not wait:
            return
        deadline = time.monotonic() + wait
        while not (receipt := services.receipts.find(run.id)):
            if time.monotonic() > deadline:
                typer.echo(f"no receipt after {wait:g} s: is the app running? See `make start`.", err=True)
                raise typer.Exit(2)
            time.sleep(0.2)
        show(receipt, services, target, as_json=as_json, quiet=be_quiet)
    raise typer.Exit(0 if receipt.status == "succeeded" else 1)


@app.command("receipt", cls=PlainCommand)
def print_receipt(run_id: str, store: Store = None) -> None:
    """Print a run's receipt, or its plan while it is running, as JSON."""
    with errors_as_text():
        record = Services.for_command(store).receipts.status(run_id)
        typer.echo(json.dumps(record, indent=2))


def show(receipt: Receipt, services: Services, target: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Print a receipt, for people or as JSON, and copy the result to `target` if there is one."""
    if as_json:
        typer.echo(receipt.to_json(), nl=False)
    elif quiet and receipt.error:
        typer.echo(problem(receipt.error), err=True)
    elif not quiet:
        typer.echo(summary(receipt, services.settings.folder), err=True)
    if target and receipt.output:
        fetch(receipt, services, target)
        if not (as_json or quiet):
            typer.echo(f"copied to {target}", err=True)


if __name__ == "__main__":
    app()
