"""Taking away: an alias, or a version for good."""

from typing import Annotated

import typer

from model_store.commands.terminal import Name, console, open_registry
from storage.command_line import Store, errors_as_text


def delete(
    name: Name,
    version: Annotated[int, typer.Argument(min=1)],
    store: Store = None,
) -> None:
    """Delete VERSION of NAME for good; refused while an alias points at it. Its number is never used again.

    Apps that have it open and are asked for it by number go on with it until they restart.
    """
    with errors_as_text():
        open_registry(store).delete(name, version)
        console.print(f"{name}@{version} deleted", soft_wrap=True)


def unalias(
    name: Name,
    alias: Annotated[str, typer.Argument(help="Such as challenger.")],
    store: Store = None,
) -> None:
    """Take ALIAS of NAME away; the version it points at stays."""
    with errors_as_text():
        registry = open_registry(store)
        registry.remove_alias(name, alias)
        console.print(f"{name}@{alias} removed", soft_wrap=True)
