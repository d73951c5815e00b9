"""Runs on the command line: list them, show one, run one once more, stop one."""

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from errors import OptionsInvalidError
from scoring.ended_runs import Summary
from scoring.pipeline import run_here
from scoring.receipt import Receipt
from scoring.runs import STATUSES, UNDER_WAY, cancel, describe_run, list_page, next_attempt, replay
from scoring.services import Services
from scoring.terminal import MEGA, summary
from storage.command_line import PlainCommands, Store, errors_as_text

COLUMNS = ("run", "status", "model", "input", "rows", "rejected", "seconds", "ended")
NUMBERS = COLUMNS[4:7]

_NOWHERE = logging.NullHandler()
"""As for `score`: what log lines say is in the receipt."""

app = typer.Typer(
    cls=PlainCommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

RunId = Annotated[str, typer.Argument(help="The run's id: list shows it, and so does what started the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]


@app.command("list")
def show_list(
    status: Annotated[str | None, typer.Option(help=f"Only runs with this status: {', '.join(STATUSES)}.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Only runs of this model: churn, or one reference such as churn@3.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    after: Annotated[str, typer.Option(help="Go on behind a page: the last line of it says what to give.")] = "",
    as_json: AsJson = False,
    store: Store = None,
) -> None:
    """List runs, those under way first, then those that have ended, the newest first."""
    with errors_as_text():
        if status not in (None, *STATUSES):
            raise OptionsInvalidError(f"there is no status {status!r}; there are: {', '.join(STATUSES)}")
        page = list_page(Services.for_command(store), status=status, model=model, limit=limit, after=after)
        if as_json:
            typer.echo(json.dumps({"runs": [run.to_dict() for run in page.runs], "after": page.next}, indent=2))
            return
        _print_table(page.runs)
        if not page.runs:
            typer.echo("no such runs", err=True)
        elif page.next:
            typer.echo(f"there are more: --after {page.next}", err=True)


@app.command()
def show(run_id: RunId, as_json: AsJson = False, store: Store = None) -> None:
    """Show how a run ended, or how far it is."""
    with errors_as_text():
        services = Services.for_command(store)
        record = describe_run(run_id, services)
        if as_json:
            typer.echo(json.dumps(record, indent=2))
        elif record["status"] not in UNDER_WAY:
            typer.echo(summary(Receipt.from_json(json.dumps(record)), services.settings.folder))
        else:
            lines = [
                ("status", record["status"]),
                ("input", f"{record['input']['path']} ({record['input'].get('size', 0) / MEGA:,.1f} MB)"),
                ("model", record["model"]["reference"]),
                *_how_far(record),
                ("run", run_id),
            ]
            typer.echo("\n".join(f"{label:<9}{text}" for label, text in lines))


@app.command("replay")
def replay_run(run_id: RunId, as_json: AsJson = False, store: Store = None) -> None:
    """Run the job of a run once more that has failed, was superseded or cancelled, or whose result is gone.

    It becomes a run of its own, on the input's current version and the model that the reference means now. In a
    local folder it is run here and now; in a storage account its job is queued for the app.

    Ends with code 0 if it was queued or has succeeded, 1 if not, 2 if the command was misused.
    """
    with errors_as_text():
        services = Services.for_command(store)
        if not services.settings.folder:
            run = replay(run_id, services)
            typer.echo(json.dumps({"run_id": run.id, "status": "queued"}) if as_json else f"queued; run {run.id}")
            return
        logging.getLogger("scoring").addHandler(_NOWHERE)
        receipt = run_here(next_attempt(run_id, services).job, services)
        if as_json:
            typer.echo(receipt.to_json(), nl=False)
        else:
            typer.echo(summary(receipt, services.settings.folder))
    raise typer.Exit(0 if receipt.status == "succeeded" else 1)


@app.command("cancel")
def cancel_run(run_id: RunId, as_json: AsJson = False, store: Store = None) -> None:
    """Stop a run that is queued or under way: nothing of it is put up, and its receipt says so.

    Ends with code 0 if it was cancelled, 1 if it had ended or there is no such run, 2 if the command was misused.
    """
    with errors_as_text():
        receipt = cancel(run_id, Services.for_command(store))
        typer.echo(receipt.to_json() if as_json else f"cancelled {run_id}", nl=not as_json)


def _how_far(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "started" not in record:
        return [("queued", record["queued"])]
    started = ("started", record["started"])
    if splits := record.get("splits"):
        return [started, ("splits", f"{splits['done']:,} of {splits['all']:,} scored")]
    progress = record.get("progress")
    return [started, ("rows", f"{progress['rows_read']:,} read" if progress else "none reported yet")]


def _print_table(runs: Iterable[Summary]) -> None:
    from rich.console import Console  # noqa: PLC0415  # only this command needs it
    from rich.table import Table  # noqa: PLC0415  # the same
    from rich.text import Text  # noqa: PLC0415  # the same

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for run in runs:
        status = f"{run.status}: {run.error}" if run.error and run.status == "failed" else run.status
        model = f"{run.model or '-'}" + (f" ({run.version})" if run.version else "")
        rows = [f"{run.rows[key]:,}" if run.rows else "-" for key in ("read", "rejected")]
        ended = datetime.fromisoformat(run.finished).strftime("%Y-%m-%d %H:%M:%SZ") if run.finished else "-"
        cells = (run.run_id, status, model, run.input or "-", *rows, f"{run.seconds:,.1f}", ended)
        table.add_row(*map(Text, cells))
    if table.row_count:
        # As wide as it needs to be: a terminal wraps lines, and an id cut short to fit in one is of no use.
        Console(width=5000).print(table)
