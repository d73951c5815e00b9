"""Checking what is in the registry."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from model_store.commands.terminal import console, open_registry
from model_store.reference import ModelReference
from model_store.registry import Registry
from model_store.verification import Problem, verify_aliases
from model_store.verification import verify as verify_version
from storage.command_line import Store, errors_as_text


def verify(
    reference: Annotated[
        str | None, typer.Argument(help="churn, churn@champion or churn@3; everything registered if left out.")
    ] = None,
    store: Store = None,
) -> None:
    """Check every file of a version, or of all: size, sha256, seal, graph, and what its golden rows get.

    Ends with code 1 if there is any problem.
    """
    with errors_as_text():
        registry = open_registry(store)
        problems: list[Problem] = []
        count = 0
        for found in _verified(registry, reference):
            problems += found
            count += 1
        table = Table("version", "file", "problem")
        for problem in problems:
            table.add_row(escape(problem.subject), escape(problem.file), escape(problem.message))
        checked = f"{count} version{'' if count == 1 else 's'} checked"
        if problems:
            console.print(table)
            console.print(f"{checked}: {len(problems)} problem{'' if len(problems) == 1 else 's'}")
            raise typer.Exit(1)
        console.print(f"{checked}: all sound")


def _verified(registry: Registry, reference: str | None) -> Iterator[list[Problem]]:
    """Yield the problems of one version after the other; those of a name's aliases with its first."""
    if reference is not None:
        wanted = ModelReference.parse(reference)
        yield verify_version(registry, wanted.name, registry.number(wanted))
        return
    for name in registry.names():
        aliases = verify_aliases(registry, name)
        for number in registry.numbers(name):
            yield aliases + verify_version(registry, name, number)
            aliases = []
