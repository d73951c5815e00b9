"""Hold the API against its document: `python -m tests.conformance --cases 20000`; ends with 1 for any finding."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tests.conformance.hunt import hunt
from tests.conformance.scene import opened

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def conform(
    cases: Annotated[int, typer.Option(help="How many requests are sent, at least.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Requests are the same for the same seed.")] = 1,
) -> None:
    """Send requests of every operation, good and bad, and print how each was answered and what was wrong."""
    with TemporaryDirectory() as folder, opened(Path(folder)) as scene:
        report = hunt(scene, cases, seed, say=lambda line: typer.echo(line, err=True))
    typer.echo(report.text())
    raise typer.Exit(1 if report.findings else 0)


if __name__ == "__main__":
    app()
