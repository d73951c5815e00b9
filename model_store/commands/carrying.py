"""Carrying a version from one registry to another, as one file."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from model_store.archive import read_archive, write_archive
from model_store.commands.terminal import Reference, console, open_registry
from model_store.model import Model
from model_store.reference import check_name
from storage.command_line import Store, errors_as_text


def export(
    reference: Reference,
    archive: Annotated[
        Path | None, typer.Argument(dir_okay=False, help="The file to write; NAME-VERSION.zip here if left out.")
    ] = None,
    store: Store = None,
) -> None:
    """Write one version to ARCHIVE, a zip file: the same version always makes the same bytes."""
    with errors_as_text(), TemporaryDirectory() as temporary:
        registry = open_registry(store)
        version = registry.resolve(reference)
        folder = Path(temporary)
        registry.fetch(version, folder)
        Model.open(folder)
        target = archive or Path(f"{version.name}-{version.version}.zip")
        write_archive(version, folder, target)
        console.print(f"{version} -> {target} ({target.stat().st_size:,} bytes)", soft_wrap=True, markup=False)


def import_archive(
    archive: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `export` wrote.")],
    name: Annotated[str | None, typer.Option(help="Register it under another name than the archived one.")] = None,
    store: Store = None,
) -> None:
    """Register the version in ARCHIVE as the next one of its name, after all checks of a package; no alias moves.

    Nothing is registered if anything is wrong with it, nor where the very same content is registered already.
    """
    with errors_as_text(), TemporaryDirectory() as temporary:
        if name is not None:
            check_name(name)
        registry = open_registry(store)
        folder = Path(temporary)
        origin = read_archive(archive, folder)
        Model.open(folder)
        before = registry.versions(name or origin.name)
        version = registry.add(name or origin.name, folder)
        how = "was registered already: nothing new" if version in before else "registered"
        console.print(f"{version} {how} (archived as {origin.name}@{origin.version})", soft_wrap=True)
