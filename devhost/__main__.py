"""The command line: `python -m devhost`."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from devhost.config import BlobSettings, QueueSettings
from devhost.console import Console
from devhost.errors import StartupError
from devhost.event_grid import EventOptions
from devhost.host import Options, run
from devhost.rehearsal import Faults
from devhost.supervisor import supervise

_REHEARSALS = "Rehearsals: faults of delivery that Azure makes rarely"
_EVENTS = "Event Grid"


def main(
    app: Annotated[Path, typer.Option(help="The folder with function_app.py and host.json.")] = Path(),
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="The HTTP port, 0 for a free one; else LocalHttpPort, else 7071."),
    ] = None,
    azurite: Annotated[
        bool, typer.Option(help="Start Azurite if AzureWebJobsStorage names one that is not up.")
    ] = True,
    azurite_dir: Annotated[Path, typer.Option(help="Where Azurite keeps its data and its log.")] = Path(".azurite"),
    azurite_in_memory: Annotated[bool, typer.Option("--azurite-in-memory", help="Keep nothing on disk.")] = False,
    queue_lease: Annotated[
        float, typer.Option(min=1, help="Seconds until the messages of a killed host come back; Azure takes 600.")
    ] = QueueSettings().lease,
    blob_scan: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks for new blobs.")
    ] = BlobSettings().scan_interval,
    drain: Annotated[float, typer.Option(min=0, help="Seconds that running functions get at the end.")] = 30,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and failures only.")] = False,
    duplicate: Annotated[
        int,
        typer.Option(
            min=0,
            rich_help_panel=_REHEARSALS,
            help="Deliver every queue message and blob so many more times, some of them at the same time.",
        ),
    ] = 0,
    reorder: Annotated[
        bool,
        typer.Option("--reorder", rich_help_panel=_REHEARSALS, help="Take a queue's messages in random order."),
    ] = False,
    kill_every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            rich_help_panel=_REHEARSALS,
            help="SIGKILL the host after so many seconds of work on average, always while functions run, and start "
            "it again. A message that meets maxDequeueCount kills is poison.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(rich_help_panel=_REHEARSALS, help="Draw what is random in these from another seed.")
    ] = 0,
    event_grid: Annotated[
        bool,
        typer.Option(
            "--event-grid",
            rich_help_panel=_EVENTS,
            help="Post BlobCreated events to blob triggers with the source EventGrid, instead of polling for them.",
        ),
    ] = False,
    cloud_events: Annotated[
        bool,
        typer.Option(
            "--cloud-events", rich_help_panel=_EVENTS, help="--event-grid, with events in the CloudEvents schema."
        ),
    ] = False,
    data_lake: Annotated[
        bool,
        typer.Option(
            "--data-lake",
            rich_help_panel=_EVENTS,
            help="--event-grid, with two events for an upload: those of an account with hierarchical namespace.",
        ),
    ] = False,
    life: Annotated[int | None, typer.Option(hidden=True)] = None,  # the supervisor's word to its hosts
) -> None:
    """Run an Azure Functions app (Python v2 model) with real triggers, as `func start` does.

    HTTP, queue, blob and timer triggers; queue, blob and HTTP outputs. functionTimeout is not enforced.
    """
    console = Console(quiet=quiet)
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # until the host takes over, both mean KeyboardInterrupt
    data = None if azurite_in_memory else azurite_dir
    events = EventOptions(cloud_events, data_lake) if event_grid or cloud_events or data_lake else None
    faults = Faults(duplicate, reorder, kill_every, seed, life)
    options = Options(app, port, azurite, data and data.absolute(), queue_lease, blob_scan, drain, faults, events)
    try:
        if kill_every is not None and life is None:
            raise typer.Exit(supervise(options, sys.argv[1:], console))
        drained = run(options, console)
    except StartupError as error:
        console.print(f"\n{error}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _leave(130)
    if not drained:
        _leave(0)


def _leave(code: int) -> NoReturn:
    """End without waiting for the threads of functions that still run, as the interpreter would."""
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    typer.run(main)
