"""Break runs in every way we know, and count what did not hold: `python -m tests.faults --quick`."""

import signal
from typing import Annotated

import typer

from tests.faults import changes, deliveries, kills, limits, outages
from tests.faults.cases import Row, try_kind
from tests.faults.lab import Lab

KINDS = [*kills.KINDS, *changes.KINDS, *deliveries.KINDS, *outages.KINDS, *limits.KINDS]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def prove(
    quick: Annotated[bool, typer.Option("--quick", help="Some cases of each kind.")] = False,
    only: Annotated[str, typer.Option(help="The kinds whose name has this in it.")] = "",
    most: Annotated[int | None, typer.Option(min=1, help="So many cases of each kind at most.")] = None,
    part: Annotated[str, typer.Option(help="Which part of each kind's cases, of how many: 1/2 or 2/2.")] = "1/1",
    seed: Annotated[int, typer.Option(help="Random cases are the same for the same seed.")] = 1,
) -> None:
    """Try every case, print a table, and end with 1 if anything did not hold."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or Azurite would outlive this
    chosen = [kind for kind in KINDS if only in kind.name]
    if not chosen:
        raise typer.BadParameter(f"no kind has {only!r} in its name: there are {', '.join(k.name for k in KINDS)}")
    typer.echo(f"{'case kind':<44}{'cases':>7}{'runs':>8}{'violations':>12}{'seconds':>10}")
    total = Row("all")
    share = read_part(part)
    with Lab() as lab:
        for kind in chosen:
            if quick and not kind.quick:
                continue
            row = try_kind(kind, lab, most=kind.quick if quick else most, part=share, seed=seed)
            typer.echo(line(row))
            for violation in row.violations[:10]:
                typer.echo(f"    {violation}")
            total.cases += row.cases
            total.runs += row.runs
            total.violations += row.violations
            total.seconds += row.seconds
    typer.echo(line(total))
    raise typer.Exit(1 if total.violations else 0)


def read_part(text: str) -> tuple[int, int]:
    """Return the two numbers of a part such as "1/2"; typer.BadParameter if it is none."""
    number, _, parts = text.partition("/")
    if number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts):
        return int(number), int(parts)
    raise typer.BadParameter(f"a part is 1/2 or 2/2, say, and not {text!r}")


def line(row: Row) -> str:
    """Return a line of the table."""
    return f"{row.kind:<44}{row.cases:>7}{row.runs:>8,}{len(row.violations):>12}{row.seconds:>10.1f}"


if __name__ == "__main__":
    app()
