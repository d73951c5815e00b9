"""Whether what lies in the registry is still what was registered: every problem, not only the first."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from errors import PackageInvalidError
from model_store.model import Model
from model_store.packages import MANIFEST, MAX_MANIFEST_BYTES, FileEntry, read_files, read_manifest
from model_store.registry import Registry


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a version, or with the aliases of its name."""

    subject: str
    """`churn@3`, or `churn@champion` for an alias."""
    file: str
    """The file that is at fault; empty where it is the whole."""
    message: str


def verify(registry: Registry, name: str, number: int) -> list[Problem]:
    """Return what is wrong with a version: files, seal, graph and golden rows; nothing if it can be served.

    Sizes and digests of all files are checked before the package is opened, which only sound files are. Errors of
    the storage are raised.
    """
    subject = f"{name}@{number}"
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        faults = _check_files(registry, name, number, folder)
        if not faults:
            try:
                Model.open(folder)
            except PackageInvalidError as error:
                faults = [("", error.message)]
    return [Problem(subject, file, message) for file, message in faults]


def verify_aliases(registry: Registry, name: str) -> list[Problem]:
    """Return a name's aliases that point at versions which are not there, and deletions that nobody finished."""
    table = registry.alias_table(name)
    known = registry.numbers(name)
    dangling = [
        Problem(f"{name}@{alias}", "", f"it points at version {number}, which is not there")
        for alias, number in sorted(table.versions.items())
        if number not in known
    ]
    finish = f"its deletion was not finished: run `python -m model_store delete {name} "
    return dangling + [Problem(f"{name}@{number}", "", f"{finish}{number}`") for number in sorted(table.deleting)]


def _check_files(registry: Registry, name: str, number: int, folder: Path) -> list[tuple[str, str]]:
    """Bring a version's files into the empty `folder`, and return what is wrong with each of them."""
    stored = registry.stored(name, number)
    if MANIFEST not in stored:
        return [(MANIFEST, "it is missing")]
    if stored[MANIFEST] > MAX_MANIFEST_BYTES:
        return [(MANIFEST, f"it is larger than {MAX_MANIFEST_BYTES} bytes")]
    registry.copy(name, number, MANIFEST, stored[MANIFEST], folder / MANIFEST)
    try:
        expected = read_files(read_manifest((folder / MANIFEST).read_bytes()))
    except PackageInvalidError as error:
        return [(MANIFEST, error.message)]
    problems = [
        (file, "it does not belong to the package") for file in stored.keys() - expected.keys() - {MANIFEST}
    ]
    for file, entry in expected.items():
        if file not in stored:
            problems.append((file, "it is missing"))
        elif stored[file] != entry.size:
            problems.append((file, f"it has {stored[file]:,} bytes, and {entry.size:,} were packed"))
        else:
            registry.copy(name, number, file, entry.size, folder / file)
            if FileEntry.of(folder / file) != entry:
                problems.append((file, "it was changed: its sha256 is another"))
    return sorted(problems)
