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
from devhost.host import Options, run


def main(
    app: Annotated[Path, typer.Option(help="The folder with function_app.py and host.json.")] = Path(),
    port: Annotated[
        int | None, typer.Option(help="The HTTP port, 0 for a free one; else LocalHttpPort, else 7071.")
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
) -> None:
    """Run an Azure Functions app (Python v2 model) with real triggers, as `func start` does.

    HTTP, queue, blob and timer triggers; queue, blob and HTTP outputs. functionTimeout is not enforced.
    """
    console = Console(quiet=quiet)
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # until the host takes over, both mean KeyboardInterrupt
    data = None if azurite_in_memory else azurite_dir
    options = Options(app, port, azurite, data and data.absolute(), queue_lease, blob_scan, drain)
    try:
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
