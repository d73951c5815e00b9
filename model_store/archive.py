"""One version as one file, to carry it from one registry to another: a zip of <name>/<version>/<file>.

The same version always makes the same bytes. An archive may come from anywhere: nothing is written before all of
its entries are known to be plain files of one package, within the limits of packages, and nothing but those is.
"""

import re
import shutil
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from errors import PackageInvalidError, ReferenceInvalidError
from model_store.packages import MANIFEST, MAX_MANIFEST_BYTES, FileEntry, read_files, read_manifest
from model_store.reference import check_name
from model_store.registry import ModelVersion

MAX_FILES = 100

_ENTRY = re.compile(r"(?P<name>[^/]{1,64})/(?P<version>[1-9][0-9]{0,8})/(?P<file>[A-Za-z0-9_][A-Za-z0-9._-]{0,99})")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: archives made today and tomorrow are the same
_PIECE = 1024 * 1024
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an archived version came from."""

    name: str
    version: int


def write_archive(version: ModelVersion, folder: Path, archive: Path) -> None:
    """Write the package in `folder` to the file `archive`, whole or not at all; an older one there is replaced."""
    names = [MANIFEST, *sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)]
    unfinished = archive.with_name(f".{archive.name}-{uuid4().hex}")
    try:
        with ZipFile(unfinished, "w", ZIP_DEFLATED) as file:
            for name in names:
                entry = ZipInfo(f"{version.name}/{version.version}/{name}", _LONG_AGO)
                entry.compress_type = ZIP_DEFLATED
                entry.create_system = 3  # Unix, also when written on Windows
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.file_size = (folder / name).stat().st_size  # so that files above 4 GiB get the room they need
                with (folder / name).open("rb") as source, file.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, _PIECE)
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)


def read_archive(archive: Path, folder: Path) -> Origin:
    """Unpack an archive into the empty folder `folder`, and say where it came from.

    The package is then as the archive had it, its manifest's seal and the files' sizes checked, but no more: see
    read_package. PackageInvalidError for a file that is no zip, was damaged, or holds anything but one package;
    nothing has been written then, or half a file if the damage is inside it.
    """
    try:
        with ZipFile(archive) as file:
            origin, entries = _check_entries(file.infolist())
            manifest = _read_manifest(file, entries)
            expected = read_files(read_manifest(manifest))
            _check_sizes(entries, expected)
            for name in expected:
                with file.open(entries[name]) as source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target, _PIECE)
            (folder / MANIFEST).write_bytes(manifest)
    except (BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error) as error:
        raise PackageInvalidError(f"{archive.name} is no archive, or it is damaged: {error}") from error
    except OSError as error:
        raise PackageInvalidError(f"{archive.name} cannot be read: {error.strerror}") from error
    return origin


def _check_entries(infos: list[ZipInfo]) -> tuple[Origin, dict[str, ZipInfo]]:
    """Return where an archive came from, and its entries by file; PackageInvalidError unless all are harmless."""
    if len(infos) > MAX_FILES:
        raise PackageInvalidError(f"the archive has {len(infos)} entries, and at most {MAX_FILES} are taken")
    origins, entries = set(), {}
    for info in infos:
        place = _ENTRY.fullmatch(info.orig_filename)
        if place is None or info.filename != info.orig_filename:
            raise PackageInvalidError(
                f"{info.orig_filename[:200]!r} in the archive is no <name>/<version>/<file>: nothing was unpacked"
            )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise PackageInvalidError(f"{info.filename!r} in the archive is no plain file: nothing was unpacked")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise PackageInvalidError(f"{info.filename!r} in the archive is encrypted, or packed in an unusual way")
        if place["file"] in entries:
            raise PackageInvalidError(f"{info.filename!r} is in the archive twice: nothing was unpacked")
        entries[place["file"]] = info
        origins.add((place["name"], int(place["version"])))
    if len(origins) != 1 or MANIFEST not in entries:
        raise PackageInvalidError(
            f"the archive does not hold one version with its {MANIFEST}: nothing was unpacked"
        )
    [(name, version)] = origins
    try:
        return Origin(check_name(name), version), entries
    except ReferenceInvalidError as error:
        raise PackageInvalidError(f"the archive names no model: {error.message}") from error


def _read_manifest(file: ZipFile, entries: Mapping[str, ZipInfo]) -> bytes:
    if entries[MANIFEST].file_size > MAX_MANIFEST_BYTES:
        raise PackageInvalidError(f"{MANIFEST} in the archive is larger than {MAX_MANIFEST_BYTES} bytes")
    with file.open(entries[MANIFEST]) as source:  # reads no more than the size that the entry admits to
        return source.read()


def _check_sizes(entries: Mapping[str, ZipInfo], expected: Mapping[str, FileEntry]) -> None:
    """Raise PackageInvalidError unless the entries are the manifest's files, of the sizes it says."""
    if missing := expected.keys() - entries.keys():
        raise PackageInvalidError(f"{min(missing)} is missing from the archive: nothing was unpacked")
    if unexpected := entries.keys() - expected.keys() - {MANIFEST}:
        raise PackageInvalidError(f"{min(unexpected)} does not belong to the package: nothing was unpacked")
    for name, entry in expected.items():
        if entries[name].file_size != entry.size:
            raise PackageInvalidError(
                f"{name} in the archive has {entries[name].file_size:,} bytes, and {entry.size:,} were packed: "
                "nothing was unpacked"
            )
