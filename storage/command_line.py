"""What the command lines of the floors above share: which storage to use, errors as one line, a light start."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from errors import DropscoreError

Store = Annotated[
    str | None,
    typer.Option(
        help='A local folder, or "azure" for the connection in the environment or local.settings.json; '
        "DROPSCORE_FOLDER or .dropscore unless told otherwise."
    ),
]

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@contextmanager
def errors_as_text() -> Iterator[None]:
    """Print an expected error as `code: message`, or a file's name and what the system says; end with code 1."""
    try:
        yield
    except DropscoreError as error:
        typer.echo(f"{error.code}: {error.message}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.filename is None:  # not a file that somebody named: a bug, or a pipe whose reader has gone
            raise
        typer.echo(f"{error.filename}: {error.strerror}", err=True)
        raise typer.Exit(1) from None


class PlainCommand(TyperCommand):
    """A command that reads plain texts, numbers and paths as typer does, without what typer imports for it.

    That is pydantic: measured, a seventh of the CPU time of scoring a small file. What is not plainly right is left
    to typer, which says what is wrong with it.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, --help among them."""
        return _read_plainly(super().get_params(ctx))


class PlainCommands(TyperGroup):
    """Commands whose group does without pydantic too: it has --help to read."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, --help among them."""
        return _read_plainly(super().get_params(ctx))


def _read_plainly(parameters: Iterable[Any]) -> list[Any]:
    """Give parameters, where they have it not yet, a way of their own to read a value."""
    found = list(parameters)
    for parameter in found:
        if isinstance(parameter, TyperArgument | TyperOption) and "process_value" not in vars(parameter):
            # typer makes parameters of its own classes, whatever the command's is
            parameter.process_value = _reader(parameter)  # type: ignore[assignment]
    return found


def _reader(parameter: TyperArgument | TyperOption) -> Callable[[Any, Any], Any]:
    by_typer, plain = parameter.process_value, _is_plain(parameter)

    def process_value(ctx: Any, value: Any) -> Any:
        if not plain or (value is None and parameter.required):
            return by_typer(ctx, value)
        found = _plain_value(parameter, value)
        if found is None and value is not None:
            return by_typer(ctx, value)
        return parameter.callback(ctx, parameter, found) if parameter.callback else found

    return process_value


def _is_plain(parameter: TyperArgument | TyperOption) -> bool:
    """Say whether a parameter is one value, about which typer was told nothing special."""
    info = parameter.type_descriptor.parameter_info
    special = (info.parser, info.path_type, info.min, info.max)
    flags = info.allow_dash or info.resolve_path or info.writable
    one = parameter.nargs == 1 and not parameter.multiple
    return one and not flags and all(each is None for each in special)


def _plain_value(parameter: TyperArgument | TyperOption, value: object) -> object:
    """Return what a value is to the command; None where typer has to say."""
    kind = parameter.type_descriptor.annotation
    if kind is str and isinstance(value, str):
        return value
    if kind is float and (isinstance(value, float | int) or (isinstance(value, str) and _NUMBER.fullmatch(value))):
        return float(value)
    if kind is Path and isinstance(value, str) and _may_be(Path(value), parameter):
        return Path(value)
    return None


def _may_be(path: Path, parameter: TyperArgument | TyperOption) -> bool:
    """Say whether a path is what was asked for."""
    info = parameter.type_descriptor.parameter_info
    if path.is_file() or path.is_dir():
        fits = info.file_okay if path.is_file() else info.dir_okay
        return fits and (not info.readable or os.access(path, os.R_OK))
    return not (info.exists or path.exists())
