"""Whether what lies in the registry is still what was registered: every problem, not only the first."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from errors import BlobNotFoundError, PackageInvalidError
from model_store.model import Model
from model_store.packages import MANIFEST, MAX_MANIFEST_BYTES, FileEntry, read_files, read_manifest
from model_store.registry import ModelVersion, Registry


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a version, or with the aliases of its name."""

    subject: str
    """`churn@3`, or `churn@champion` for an alias."""
    file: str
    """The file that is at fault; empty where it is the whole."""
    message: str


def verify(registry: Registry, version: ModelVersion) -> list[Problem]:
    """Return what is wrong with a version: files, seal, graph and golden rows; nothing if it can be served.

    Sizes and digests of all files are checked before the package is opened, which only sound files are. Errors of
    the storage are raised.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        problems = [
            Problem(str(version), file, message) for file, message in _check_files(registry, version, folder)
        ]
        if not problems:
            try:
                Model.open(folder)
            except PackageInvalidError as error:
                problems.append(Problem(str(version), "", error.message))
    return problems


def verify_aliases(registry: Registry, name: str) -> list[Problem]:
    """Return a name's aliases that point at versions which are not there, and deletions that nobody finished."""
    table = registry.alias_table(name)
    known = {version.version for version in registry.versions(name)}
    return [
        Problem(f"{name}@{alias}", "", f"it points at version {number}, which is not there")
        for alias, number in sorted(table.versions.items())
        if number not in known
    ] + [
        Problem(
            f"{name}@{number}", "", f"its deletion was not finished: `python -m model_store delete {name} {number}`"
        )
        for number in sorted(table.deleting)
    ]


def _check_files(registry: Registry, version: ModelVersion, folder: Path) -> list[tuple[str, str]]:
    """Bring a version's files into the empty `folder`, and return what is wrong with each of them."""
    stored = registry.stored(version)
    if stored.get(MANIFEST, 0) > MAX_MANIFEST_BYTES:
        return [(MANIFEST, f"it is larger than {MAX_MANIFEST_BYTES} bytes")]
    try:
        registry.copy(version, MANIFEST, stored.get(MANIFEST, 0), folder / MANIFEST)
        entries = read_manifest((folder / MANIFEST).read_bytes())
        expected = read_files(entries)
    except BlobNotFoundError:
        return [(MANIFEST, "it is missing")]
    except PackageInvalidError as error:
        return [(MANIFEST, error.message)]
    problems = []
    if entries["digest"] != version.digest:
        problems.append((MANIFEST, "it is another package's than a moment ago"))
    for name, entry in expected.items():
        if fault := _check_file(registry, version, folder / name, entry, stored.get(name)):
            problems.append((name, fault))
    problems += [
        (name, "it does not belong to the package") for name in stored.keys() - expected.keys() - {MANIFEST}
    ]
    return sorted(problems)


def _check_file(
    registry: Registry, version: ModelVersion, target: Path, entry: FileEntry, size: int | None
) -> str | None:
    """Bring one file to `target`, and return what is wrong with it."""
    if size is None:
        return "it is missing"
    if size != entry.size:
        return f"it has {size:,} bytes, and {entry.size:,} were packed"
    try:
        registry.copy(version, target.name, size, target)
    except BlobNotFoundError:
        return "it is missing"
    return None if FileEntry.of(target) == entry else "it was changed: its sha256 is another"
