"""What the command lines of the floors above share: which storage to use, and errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from errors import DropscoreError

Store = Annotated[
    str | None,
    typer.Option(
        help='A local folder, or "azure" for the connection in the environment or local.settings.json; '
        "DROPSCORE_FOLDER or .dropscore unless told otherwise."
    ),
]


@contextmanager
def errors_as_text() -> Iterator[None]:
    """Print an expected error as `code: message` and end with code 1."""
    try:
        yield
    except DropscoreError as error:
        typer.echo(f"{error.code}: {error.message}", err=True)
        raise typer.Exit(1) from None
