"""What all commands share: the registry they work on, and the words of their arguments."""

from typing import Annotated

import typer
from rich.console import Console

from model_store.registry import Registry
from settings import Settings
from storage import open_storage

console = Console(highlight=False)

Name = Annotated[str, typer.Argument(help="The model's name.")]
Reference = Annotated[str, typer.Argument(help="churn, churn@champion or churn@3.")]


def open_registry(store: str | None) -> Registry:
    """Return the registry of the storage a command was told to use."""
    settings = Settings.for_command(store)
    return Registry(open_storage(settings).blobs, settings.models)
