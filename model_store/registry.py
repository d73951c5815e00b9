"""The registry: packages by name and version in a container, and aliases that point at versions.

    models/churn/1/claim.json       who writes version 1: {"digest", "manifest"}; made first, If-None-Match:*
    models/churn/1/model.onnx, …    the package's files
    models/churn/1/dropscore.json   its manifest, written last: the version exists from here on and never changes
    models/churn/aliases.json       {"champion": 1}; see model_store.aliases

A writer that dies leaves a claim without a manifest. It blocks nobody: others take the next number, and only the
very same package, byte for byte, may finish that version. A deleted version keeps its manifest, emptied by one
write with If-Match: it is gone at once, and its number is never used again.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from errors import (
    BlobNotFoundError,
    BlocksMissingError,
    ConditionFailedError,
    ModelNotFoundError,
    PackageInvalidError,
    RegistryConflictError,
)
from model_store.aliases import Aliases, AliasTable
from model_store.packages import (
    EXAMPLE,
    MANIFEST,
    MLMODEL,
    FileEntry,
    PackageInfo,
    read_digest,
    read_files,
    read_manifest,
    read_package,
)
from model_store.reference import DEFAULT_ALIAS, ModelReference, check_alias, check_name
from model_store.shelf import Files, Shelf, registered
from storage import BlobStore

CLAIM = "claim.json"


@dataclass(frozen=True, slots=True, order=True)
class ModelVersion:
    """One version of a registered model; immutable."""

    name: str
    version: int
    digest: str
    """Of its package: what serves."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class _Claim:
    """Whose version a claim without a manifest is."""

    digest: str
    manifest: str
    """The sha256 of the package's manifest, and so of every byte of the package."""

    @classmethod
    def of(cls, folder: Path, info: PackageInfo) -> "_Claim":
        return cls(info.digest, FileEntry.of(folder / MANIFEST).sha256)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class Registry:
    """Registered models in one container of any blob store.

    Every method may raise StorageUnavailableError (retryable) and StorageDeniedError.
    """

    def __init__(self, blobs: BlobStore, container: str = "models") -> None:
        self._blobs = blobs
        self._container = container
        self._aliases = Aliases(blobs, container)
        self._shelf = Shelf(blobs, container)

    def add(self, name: str, folder: Path) -> ModelVersion:
        """Register the package in `folder` as the next version of `name`.

        Where the same content is registered already, its version is returned and nothing is written. Safe to run
        again, and at the same time as others; only if two builds of one model are added in the very same moment can
        each become a version. PackageInvalidError if the package is damaged, ReferenceInvalidError for a bad name.
        """
        check_name(name)
        info = read_package(folder)
        claim = _Claim.of(folder, info)
        self._blobs.create_container(self._container)
        while True:
            written = self._shelf.files(name)
            for known in self._versions(name, written):
                if known.digest == info.digest:
                    return known
            number = self._claimed(name, written, claim) or self._take(name, max(written, default=0) + 1, claim)
            if number is None:
                continue  # somebody took that number just now: look again
            version = ModelVersion(name, number, info.digest)
            try:
                for file in info.files:
                    self._shelf.upload(self._shelf.path(name, number, file), folder / file)
                self._shelf.write_new(self._shelf.path(name, number, MANIFEST), (folder / MANIFEST).read_bytes())
            except (BlocksMissingError, ConditionFailedError):
                continue  # another writer is finishing the same package, and was faster
            return version

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        """Return the version a reference means now: without suffix the champion, or the newest if none is named.

        ModelNotFoundError says what there is instead; ReferenceInvalidError if the reference cannot be read.
        """
        wanted = ModelReference.parse(reference) if isinstance(reference, str) else reference
        check_name(wanted.name)
        seen: int | None = None
        while (number := wanted.version or self._meant(wanted)) not in (None, seen):
            with suppress(BlobNotFoundError):  # deleted just now, so the alias may have moved: look again
                return self._version(wanted.name, number)
            seen = number
        raise self._not_found(wanted)

    def number(self, reference: ModelReference | str) -> int:
        """Return the number of the version a reference means, though that be damaged; else as `resolve`."""
        wanted = ModelReference.parse(reference) if isinstance(reference, str) else reference
        number = wanted.version or self._meant(wanted)
        if number not in self.numbers(wanted.name):
            raise self._not_found(wanted)
        return number

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of the versions of `name`, oldest first, damaged ones included."""
        return registered(self._shelf.files(check_name(name)))

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of `name`, oldest first, but for those whose manifest is damaged."""
        check_name(name)
        return list(self._versions(name, self._shelf.files(name)))

    def names(self) -> list[str]:
        """Return the names that have at least one version, sorted."""
        return list(self.registered())

    def registered(self) -> dict[str, list[int]]:
        """Return the numbers of the versions of every name, oldest first, damaged ones included."""
        return self._shelf.registered()

    def aliases(self, name: str) -> dict[str, int]:
        """Return the version each alias of `name` points at; none for a name that is not registered."""
        return dict(self.alias_table(name).versions)

    def alias_table(self, name: str, known: AliasTable | None = None) -> AliasTable:
        """Return the aliases of `name` with their ETag; `known` itself, by one 304, while nothing has moved."""
        return self._aliases.read(check_name(name), known)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias of `name` at a version.

        ModelNotFoundError for a version that does not exist, ReferenceInvalidError for a bad alias, and
        RegistryConflictError if somebody else moves the same alias, or deletes the version, at the same moment.
        """
        check_alias(alias)
        check_name(name)
        before: list[int | None] = []

        def move(table: AliasTable) -> AliasTable:
            now = table.versions.get(alias)
            before.append(now)
            if now not in (before[0], version):
                raise _moved(name, alias)
            if version in table.deleting:
                raise RegistryConflictError(
                    f"{name}@{version} is being deleted: choose another version, or finish that with `delete`"
                )
            self.resolve(ModelReference(name, version=version))  # after the read, or it might be gone since
            return replace(table, versions={**table.versions, alias: version})

        self._aliases.change(name, move)

    def remove_alias(self, name: str, alias: str) -> None:
        """Take an alias of `name` away; the version it pointed at stays.

        ModelNotFoundError if there is no such alias, RegistryConflictError if somebody moves it at the same moment.
        """
        check_alias(alias)
        before: list[int] = []

        def remove(table: AliasTable) -> AliasTable:
            if alias not in table.versions:
                if before:  # our own write, whose answer was lost, or somebody else's: it is gone as asked
                    return table
                raise self._not_found(ModelReference(name, alias))
            before.append(table.versions[alias])
            if before[-1] != before[0]:
                raise _moved(name, alias)
            return replace(table, versions={a: number for a, number in table.versions.items() if a != alias})

        self._aliases.change(check_name(name), remove)

    def delete(self, name: str, version: int) -> None:
        """Delete a version for good: it is gone at once, its files are removed after that.

        Safe to run again where a deletion died half-way. ModelNotFoundError for a version that does not exist, and
        RegistryConflictError while an alias points at it, or if somebody else deletes it at the same moment.
        """
        check_name(name)
        manifest = self._shelf.path(name, version, MANIFEST)
        try:
            blob = self._blobs.stat(manifest)
        except BlobNotFoundError as error:
            raise self._not_found(ModelReference(name, version=version)) from error
        rest = sorted(self._shelf.files(name).get(version, {}).keys() - {MANIFEST})
        if not blob.size and not rest:
            raise self._not_found(ModelReference(name, version=version))
        if blob.size:
            self._aliases.change(name, lambda table: _marked(table, name, version))
            try:
                self._blobs.write(manifest, b"", if_match=blob.etag)
            except ConditionFailedError as error:
                self._aliases.change(name, lambda table: _unmarked(table, version))
                raise RegistryConflictError(f"somebody else deleted {name}@{version} at the same time") from error
        for file in rest:
            with suppress(BlobNotFoundError):  # somebody else is clearing up too
                self._blobs.delete(self._shelf.path(name, version, file))
        self._aliases.change(name, lambda table: _unmarked(table, version))

    def describe(self, version: ModelVersion) -> PackageInfo:
        """Return what a version's package says about itself, from its two descriptions alone."""
        try:
            manifest = self._shelf.manifest(version.name, version.version)
            mlmodel = self._shelf.small(self._shelf.path(version.name, version.version, MLMODEL))
        except BlobNotFoundError as error:
            raise self._not_whole(version, error) from error
        return PackageInfo.parse(manifest, mlmodel)

    def example(self, version: ModelVersion, info: PackageInfo) -> list[dict[str, Any]]:
        """Return the rows of a version's input example, as `describe`d; none where its package has no such thing.

        ModelNotFoundError if the version is not there, PackageInvalidError if that is not what was registered.
        """
        if (entry := info.files.get(EXAMPLE)) is None:
            return []
        try:
            data = self._shelf.small(path := self._shelf.path(version.name, version.version, EXAMPLE))
        except BlobNotFoundError as error:
            raise self._not_whole(version, error) from error
        if FileEntry.of_bytes(data) != entry:
            raise PackageInvalidError(f"{path} is not the file that was registered")
        table = json.loads(data)
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]

    def stored(self, name: str, number: int) -> dict[str, int]:
        """Return the bytes of each file that lies where a version is, its writer's claim left out."""
        files = self._shelf.files(name).get(number, {})
        return {file: size for file, size in files.items() if file != CLAIM}

    def copy(self, name: str, number: int, file: str, size: int, target: Path) -> None:
        """Download the first `size` bytes of one file of a version, unverified, into the new file `target`."""
        self._shelf.download(self._shelf.path(name, number, file), size, target)

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Download a version's files into the empty folder `folder`, verifying each.

        Only files that the manifest lists are fetched. ModelNotFoundError if the version is not there,
        PackageInvalidError if a file is not what was registered.
        """
        try:
            manifest = self._shelf.manifest(version.name, version.version)
            entries = read_manifest(manifest)
            if entries["digest"] != version.digest:
                raise PackageInvalidError(f"{version} holds another package than it was resolved to")
            for name, entry in read_files(entries).items():
                self.copy(version.name, version.version, name, entry.size, folder / name)
                if FileEntry.of(folder / name) != entry:
                    path = self._shelf.path(version.name, version.version, name)
                    raise PackageInvalidError(f"{path} is not the file that was registered")
            (folder / MANIFEST).write_bytes(manifest)
        except BlobNotFoundError as error:
            raise self._not_whole(version, error) from error

    def _meant(self, reference: ModelReference) -> int | None:
        """Return the version that an alias, or the bare name, means now."""
        aliases = self.aliases(reference.name)
        if reference.alias is not None:
            return aliases.get(reference.alias)
        return aliases.get(DEFAULT_ALIAS) or max(registered(self._shelf.files(reference.name)), default=None)

    def _versions(self, name: str, written: Files) -> Iterator[ModelVersion]:
        for number in registered(written):
            # deleted since it was listed; or damaged, which is `verify`'s to tell and holds nobody else up
            with suppress(BlobNotFoundError, PackageInvalidError):
                yield self._version(name, number)

    def _version(self, name: str, number: int) -> ModelVersion:
        return ModelVersion(name, number, read_digest(self._shelf.manifest(name, number)))

    def _claimed(self, name: str, written: Files, claim: _Claim) -> int | None:
        """Return the unfinished version that this very package has begun, if there is one."""
        for number, files in written.items():
            begun = MANIFEST not in files and CLAIM in files
            if begun and self._shelf.small(self._shelf.path(name, number, CLAIM)) == claim.to_json():
                return number
        return None

    def _take(self, name: str, number: int, claim: _Claim) -> int | None:
        """Claim a version number; None if somebody was faster."""
        try:
            self._shelf.write_new(self._shelf.path(name, number, CLAIM), claim.to_json())
        except ConditionFailedError:
            return None
        return number

    def _not_whole(self, version: ModelVersion, error: BlobNotFoundError) -> ModelNotFoundError:
        return ModelNotFoundError(f"{version} is not whole in {self._container}: {error.message}")

    def _not_found(self, reference: ModelReference) -> ModelNotFoundError:
        """Say what there is instead of `reference`, and what to do."""
        versions = registered(self._shelf.files(reference.name))
        if not versions:
            names = ", ".join(self.names()) or "none"
            return ModelNotFoundError(
                f"no model {reference.name!r} is registered (registered: {names}): add one with "
                f"`python -m model_store add {reference.name} …`"
            )
        aliases = ", ".join(
            f"{alias} -> {number}" for alias, number in sorted(self.aliases(reference.name).items())
        )
        return ModelNotFoundError(
            f"there is no {reference}: {reference.name} has the versions {_ranges(versions)} and "
            + (f"the aliases {aliases}" if aliases else "no aliases")
        )


def _marked(table: AliasTable, name: str, version: int) -> AliasTable:
    """Return the table with the mark that a version is being deleted; a conflict while an alias points there."""
    if holding := table.of(version):
        raise RegistryConflictError(
            f"{name}@{version} cannot be deleted while aliases point at it: "
            f"move {', '.join(f'{name}@{alias}' for alias in holding)} first"
        )
    return replace(table, deleting=table.deleting | {version})


def _unmarked(table: AliasTable, version: int) -> AliasTable:
    return replace(table, deleting=table.deleting - {version})


def _moved(name: str, alias: str) -> RegistryConflictError:
    return RegistryConflictError(
        f"somebody else moved {name}@{alias} at the same time: look where it points, then move it again"
    )


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers as people write them: 1-4, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
