"""Fuzz a reader: `python -m tests.fuzz parquet --minutes 10 --seed 1`; ends with 1 if anything was found."""

from pathlib import Path
from typing import Annotated

import typer

from tests.fuzz.hunt import TARGETS, hunt

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def fuzz(
    target: Annotated[str, typer.Argument(help=f"One of {', '.join(TARGETS)}.")],
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Cases are the same for the same seed.")] = 1,
    first: Annotated[int, typer.Option(help="The number of the first case.")] = 0,
    cases: Annotated[int | None, typer.Option(help="Stop after so many cases.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the bytes of findings are saved.")] = Path(".fuzz"),
) -> None:
    """Try cases of one reader until the time is over, then say what came of them."""
    if target not in TARGETS:
        raise typer.BadParameter(f"there is no target {target!r}: take one of {', '.join(TARGETS)}")
    typer.echo(f"fuzzing {target} with seed {seed}")
    report = hunt(target, seed=seed, minutes=minutes, cases=cases, first=first, folder=folder, say=typer.echo)
    typer.echo(report.text())
    raise typer.Exit(1 if report.findings else 0)


if __name__ == "__main__":
    app()
