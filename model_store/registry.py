"""The registry: packages by name and version in a container, and aliases that point at versions.

    models/churn/1/claim.json       who writes version 1: {"digest", "manifest"}; made first, If-None-Match:*
    models/churn/1/model.onnx, …    the package's files
    models/churn/1/dropscore.json   its manifest, written last: the version exists from here on and never changes
    models/churn/aliases.json       {"champion": 1}; changed with If-Match only

A writer that dies leaves a claim without a manifest. It blocks nobody: others take the next number, and only the
very same package, byte for byte, may finish that version.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from errors import (
    BlobNotFoundError,
    BlocksMissingError,
    ConditionFailedError,
    ModelNotFoundError,
    PackageInvalidError,
    RegistryConflictError,
)
from model_store.packages import (
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
from storage import ANY_ETAG, BlobPath, BlobStore, StagedWriter

ALIASES = "aliases.json"
CLAIM = "claim.json"

PIECE_BYTES = 8 * 1024 * 1024
"""Larger files are sent and fetched in pieces of this size."""

_MOVES_TRIED = 10
_VERSION_FILE = re.compile(r"(?P<name>[^/]+)/(?P<version>[1-9][0-9]*)/(?P<file>[^/]+)")


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
            written = self._written(name)
            for known in self._versions(name, written):
                if known.digest == info.digest:
                    return known
            number = self._claimed(name, written, claim) or self._take(name, max(written, default=0) + 1, claim)
            if number is None:
                continue  # somebody took that number just now: look again
            version = ModelVersion(name, number, info.digest)
            try:
                for file in info.files:
                    self._upload(self._path(name, number, file), folder / file)
                self._write(self._path(name, number, MANIFEST), (folder / MANIFEST).read_bytes())
            except (BlocksMissingError, ConditionFailedError):
                continue  # another writer is finishing the same package, and was faster
            return version

    def resolve(self, reference: ModelReference | str) -> ModelVersion:
        """Return the version a reference means now: without suffix the champion, or the newest if none is named.

        ModelNotFoundError says what there is instead; ReferenceInvalidError if the reference cannot be read.
        """
        wanted = ModelReference.parse(reference) if isinstance(reference, str) else reference
        check_name(wanted.name)
        number = wanted.version or self._meant(wanted)
        if number is not None:
            with suppress(BlobNotFoundError):  # told below, with what there is instead
                return self._version(wanted.name, number)
        raise self._not_found(wanted)

    def versions(self, name: str) -> list[ModelVersion]:
        """Return the versions of `name`, oldest first; none for a name that is not registered."""
        check_name(name)
        return list(self._versions(name, self._written(name)))

    def names(self) -> list[str]:
        """Return the names that have at least one version, sorted."""
        return sorted({match["name"] for match in self._files("") if match["file"] == MANIFEST})

    def aliases(self, name: str) -> dict[str, int]:
        """Return the version each alias of `name` points at; none for a name that is not registered."""
        check_name(name)
        try:
            return _read_aliases(name, self._blobs.read(self._alias_path(name)))
        except BlobNotFoundError:
            return {}

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias of `name` at a version.

        ModelNotFoundError for a version that does not exist, ReferenceInvalidError for a bad alias, and
        RegistryConflictError if somebody else moves the same alias at the same moment.
        """
        check_alias(alias)
        self.resolve(ModelReference(check_name(name), version=version))
        etag, aliases = self._aliases_now(name)
        before = aliases.get(alias)
        for _ in range(_MOVES_TRIED):
            if aliases.get(alias) != before:
                break
            moved = json.dumps(aliases | {alias: version}, indent=2, sort_keys=True).encode()
            try:
                self._write(self._alias_path(name), moved, etag=etag)
            except ConditionFailedError:  # changed since it was read: a conflict only if it was this alias
                etag, aliases = self._aliases_now(name)
            else:
                return
        raise RegistryConflictError(
            f"somebody else moved {name}@{alias} at the same time: look where it points, then move it again"
        )

    def describe(self, version: ModelVersion) -> PackageInfo:
        """Return what a version's package says about itself, from its two descriptions alone."""
        manifest, mlmodel = (
            self._blobs.read(self._path(version.name, version.version, file)) for file in (MANIFEST, MLMODEL)
        )
        return PackageInfo.parse(manifest, mlmodel)

    def fetch(self, version: ModelVersion, folder: Path) -> None:
        """Download a version's files into the empty folder `folder`, verifying each.

        Only files that the manifest lists are fetched. ModelNotFoundError if the version is not there,
        PackageInvalidError if a file is not what was registered.
        """
        try:
            manifest = self._blobs.read(self._path(version.name, version.version, MANIFEST))
            entries = read_manifest(manifest)
            if entries["digest"] != version.digest:
                raise PackageInvalidError(f"{version} holds another package than it was resolved to")
            for name, entry in read_files(entries).items():
                path = self._path(version.name, version.version, name)
                with (folder / name).open("xb") as file:
                    for piece in self._download(path, entry):
                        file.write(piece)
                if FileEntry.of(folder / name) != entry:
                    raise PackageInvalidError(f"{path} is not the file that was registered")
            (folder / MANIFEST).write_bytes(manifest)
        except BlobNotFoundError as error:
            raise ModelNotFoundError(f"{version} is not whole in {self._container}: {error.message}") from error

    def _meant(self, reference: ModelReference) -> int | None:
        """Return the version that an alias, or the bare name, means now."""
        aliases = self.aliases(reference.name)
        if reference.alias is not None:
            return aliases.get(reference.alias)
        return aliases.get(DEFAULT_ALIAS) or max(self._registered(self._written(reference.name)), default=None)

    def _written(self, name: str) -> dict[int, set[str]]:
        """Return the files there are of each version of `name`, begun ones included."""
        written: dict[int, set[str]] = {}
        for match in self._files(f"{name}/"):
            written.setdefault(int(match["version"]), set()).add(match["file"])
        return written

    def _files(self, prefix: str) -> Iterator[re.Match[str]]:
        """Yield the files of versions; a container that is not there has none."""
        try:
            for blob in self._blobs.list(self._container, prefix):
                if match := _VERSION_FILE.fullmatch(blob.path.name):
                    yield match
        except BlobNotFoundError:
            return

    @staticmethod
    def _registered(written: Mapping[int, set[str]]) -> list[int]:
        """Return the versions that exist, oldest first."""
        return sorted(number for number, files in written.items() if MANIFEST in files)

    def _versions(self, name: str, written: Mapping[int, set[str]]) -> Iterator[ModelVersion]:
        return (self._version(name, number) for number in self._registered(written))

    def _version(self, name: str, number: int) -> ModelVersion:
        manifest = self._blobs.read(self._path(name, number, MANIFEST))
        return ModelVersion(name, number, read_digest(manifest))

    def _claimed(self, name: str, written: Mapping[int, set[str]], claim: _Claim) -> int | None:
        """Return the unfinished version that this very package has begun, if there is one."""
        for number, files in written.items():
            begun = MANIFEST not in files and CLAIM in files
            if begun and self._blobs.read(self._path(name, number, CLAIM)) == claim.to_json():
                return number
        return None

    def _take(self, name: str, number: int, claim: _Claim) -> int | None:
        """Claim a version number; None if somebody was faster."""
        try:
            self._write(self._path(name, number, CLAIM), claim.to_json())
        except ConditionFailedError:
            return None
        return number

    def _aliases_now(self, name: str) -> tuple[str | None, dict[str, int]]:
        """Return the aliases and the ETag they were read at; None before there are any."""
        while True:
            try:
                etag = self._blobs.stat(self._alias_path(name)).etag
                return etag, _read_aliases(name, self._blobs.read(self._alias_path(name), if_match=etag))
            except BlobNotFoundError:
                return None, {}
            except ConditionFailedError:
                continue  # changed between the two: read the newer

    def _write(self, path: BlobPath, data: bytes, *, etag: str | None = None) -> None:
        """Write a small JSON blob: a new one, or in place of the one with this ETag."""
        self._blobs.write(
            path,
            data,
            if_match=etag,
            if_none_match=ANY_ETAG if etag is None else None,
            content_type="application/json",
        )

    def _upload(self, path: BlobPath, file: Path) -> None:
        """Send a file; a large one a piece at a time."""
        with file.open("rb") as stream:
            if file.stat().st_size <= PIECE_BYTES:
                self._blobs.write(path, stream.read())
                return
            with StagedWriter(self._blobs, path, prefix="package", block_bytes=PIECE_BYTES) as writer:
                shutil.copyfileobj(stream, writer, PIECE_BYTES)
                writer.commit()

    def _download(self, path: BlobPath, entry: FileEntry) -> Iterator[bytes]:
        """Yield a file's bytes a piece at a time, never more than the manifest says there are."""
        for offset in range(0, entry.size, PIECE_BYTES):
            yield self._blobs.read(path, offset=offset, length=min(PIECE_BYTES, entry.size - offset))

    def _path(self, name: str, version: int, file: str) -> BlobPath:
        return BlobPath(self._container, f"{name}/{version}/{file}")

    def _alias_path(self, name: str) -> BlobPath:
        return BlobPath(self._container, f"{name}/{ALIASES}")

    def _not_found(self, reference: ModelReference) -> ModelNotFoundError:
        """Say what there is instead of `reference`, and what to do."""
        versions = self._registered(self._written(reference.name))
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


def _read_aliases(name: str, data: bytes) -> dict[str, int]:
    try:
        return {str(alias): int(number) for alias, number in json.loads(data).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise PackageInvalidError(f"{name}/{ALIASES} cannot be read: {error}") from error


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers as people write them: 1-4, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
