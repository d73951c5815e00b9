"""What a terminal shows of a run: how far it is, and what came of it."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from scoring.codec import Progress
from scoring.log_lines import EVERY, Pace
from scoring.receipt import Receipt
from scoring.tally import Tally

MEGA = 1_000_000


@contextmanager
def progress_of(name: str, size: int, every: float = EVERY) -> Iterator[Progress]:
    """Show on stderr how far a file of `size` bytes is read: a bar in a terminal, else a line every few seconds."""
    if sys.stderr.isatty():
        with _bar(name, size) as update:
            yield update
    else:
        pace = Pace(size, every)

        def say(read: int, tally: Tally) -> None:
            if pace.due():
                typer.echo(progress_line(name, pace, read, tally), err=True)

        yield say


def progress_line(name: str, pace: Pace, read: int, tally: Tally) -> str:
    """Return one line about a run that is under way."""
    figures = pace.figures(read, tally)
    rate, left = figures["rows_per_second"], figures["seconds_left"]
    return (
        f"{name}: {read / MEGA:,.1f} of {pace.total / MEGA:,.1f} MB, {tally.read:,} rows, "
        f"{'?' if rate is None else f'{rate:,}'} rows/s, {'?' if left is None else f'{left:,}'} s left"
    )


@contextmanager
def _bar(name: str, size: int) -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415  # a start without a terminal should not pay for it
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415  # the same
    from rich.progress import Progress as Bars  # noqa: PLC0415  # the same

    label = TextColumn("{task.description}", markup=False)
    rows = TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,} rows/s")
    pace = Pace(size)
    with Bars(
        label, BarColumn(), DownloadColumn(), rows, TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as bars:  # fmt: skip
        task = bars.add_task(name, total=size, rows=0, rate=0)

        def update(read: int, tally: Tally) -> None:
            rate = pace.figures(read, tally)["rows_per_second"] or 0
            bars.update(task, completed=read, rows=tally.read, rate=rate)

        yield update


def problem(error: Mapping[str, Any]) -> str:
    """Return what a receipt says went wrong, and in which row if it is one."""
    row = error.get("row")
    where = "" if row is None else f" (row {row:,})" if row else " (the header)"
    return f"{error['code']}: {error['message']}{where}"


def summary(receipt: Receipt, folder: str) -> str:
    """Return a receipt for people, line by line; `folder` is where containers are, empty if not on this machine."""
    color = typer.colors.GREEN if receipt.status == "succeeded" else typer.colors.RED
    lines = [("status", typer.style(receipt.status, fg=color))]
    if receipt.error:
        lines.append(("error", problem(receipt.error)))
    if message := receipt.input.get("message"):
        lines.append(("message", f"{message['bytes']:,} bytes, {message['form']}; SHA-256 {message['sha256']}"))
    lines += [("warning", f"{warning['code']}: {warning['message']}") for warning in receipt.warnings]
    rows = receipt.rows
    lines.append(("rows", f"{rows['read']:,} read = {rows['scored']:,} scored + {rows['rejected']:,} rejected"))
    lines += [("", f"{count:,} {code}") for code, count in receipt.reject_codes.items()]
    rates = receipt.rates.get("rows_per_second"), receipt.rates.get("bytes_per_second")
    speed = f", {rates[0]:,.0f} rows/s" if rates[0] is not None else ""
    speed += f", {rates[1] / MEGA:,.1f} MB/s" if rates[1] is not None else ""
    lines.append(("time", f"{receipt.seconds:.2f} s{speed}"))
    if stages := _stages(receipt):
        lines.append(("cpu", stages))
    if receipt.peak_memory_bytes:
        lines.append(("memory", f"{receipt.peak_memory_bytes / MEGA:,.0f} MB at most"))
    lines.append(
        ("model", " ".join(str(receipt.model[key]) for key in ("name", "version") if key in receipt.model))
    )
    if path := receipt.input.get("path"):
        lines.append(("input", path))
    for label, place in (("result", receipt.output), ("rejects", receipt.rejects)):
        if place:
            lines.append((label, f"{folder}/{place}" if folder else place))
    lines.append(("run", receipt.run_id))
    return "\n".join(f"{label:<9}{text}" for label, text in lines)


def _stages(receipt: Receipt) -> str:
    """Return the stages' CPU seconds, the longest first; those of a few milliseconds tell nobody anything."""
    seconds = sorted(receipt.stages.get("cpu", {}).items(), key=lambda stage: -stage[1])
    return ", ".join(f"{name} {value:.2f} s" for name, value in seconds if value >= 0.005)
