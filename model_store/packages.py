"""What a package holds, and whether it is still what was packed.

A package is a folder of plain files that MLflow opens too. `dropscore.json`, its manifest, knows sha256 and size of
every other file and ends with a seal over itself, so that one changed byte anywhere is found. `digest` names what
serves (graphs, signature, labels): it is the same whenever the same estimator is packaged again.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from errors import PackageInvalidError
from model_store.graph_check import check_graph
from model_store.mlmodel import read_mlmodel
from model_store.signature import ColumnType, Signature

MANIFEST = "dropscore.json"
MLMODEL = "MLmodel"
EXAMPLE = "input_example.json"
"""A few rows of the sample, as MLflow's dataframe_split."""
GRAPH = "model.onnx"
FAST_GRAPH = "fast.onnx"
"""The same with codes for strings: it serves where a package has it (model_store.convert.codes)."""

LABELS_KEY = "dropscore_labels"
"""Metadata of a fast graph: for each output that gives places of labels, the labels; JSON."""

FORMAT_VERSION = 2
"""Goes up when an older Dropscore could no longer serve the package rightly. Packages of format 1 are read as ever:
they have neither fast graph nor categories."""

MAX_MANIFEST_BYTES = 16 * 1024**2
MAX_PACKAGE_BYTES = 4 * 1024**3

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")  # also the name of a folder in the cache
_SEAL = b',\n  "seal": "%s"\n}\n'


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a package as the manifest knows it."""

    sha256: str
    size: int
    """Bytes."""

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Measure the file at `path`."""
        with path.open("rb") as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)

    @classmethod
    def of_bytes(cls, data: bytes) -> "FileEntry":
        """Measure a small file at hand."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


FAST_EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How the packaged model's answers compare with the source framework's own."""

    rows: int
    """Rows compared: of the sample, and made from it, such as with nulls and unseen categories."""
    max_abs_difference: float
    """Over all numeric outputs."""
    mean_abs_difference: float
    label_flips: int
    flips_per_million: float
    worst_column: str | None
    """The output column of the largest difference; None where nothing differs."""
    tolerance: float
    """What the package was held to: absolute for classifiers, relative for regressors."""
    given: int | None = None
    """Rows of the user's sample among those compared; the others were made. None in older packages."""
    refused: tuple[str, ...] = ()
    """Made rows that the source itself refuses to answer, such as "unseen in 'plan'"."""
    fast: str | None = None
    """FAST_EQUAL if the fast graph gives the very bits that the portable one gives, or why it was left out; None
    where the model reads no strings that could be codes."""


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """Everything a package says about itself."""

    signature: Signature
    labels: tuple[object, ...]
    """A classifier's classes in order, as the user's own values; with several targets, a tuple of them for each.
    Empty for regressors and clusterers."""
    null_text: str
    """What a null cell of a string column is fed as."""
    framework: str
    versions: Mapping[str, str]
    """Of the converter and the frameworks it met."""
    created: str
    """UTC, ISO 8601."""
    parity: ParityReport
    golden: Mapping[str, Any]
    """Rows and the source's answers, as model_store.golden writes them."""
    training: Mapping[str, Any]
    """The training sample in numbers, as model_store.training writes them."""
    files: Mapping[str, FileEntry]
    """Every file but the manifest, by name."""
    format_version: int = FORMAT_VERSION

    @property
    def digest(self) -> str:
        """The sha256 of what serves; timestamps, measurements and framework versions are no part of it."""
        serves: dict[str, object] = {
            "graph": self.files[GRAPH].sha256,
            "inputs": [
                column.to_mlflow() | {"nullable": column.nullable} | column.refusals
                for column in self.signature.inputs
            ],
            "outputs": [column.to_mlflow() for column in self.signature.outputs],
            "labels": list(self.labels),
            "null_text": self.null_text,
        }
        if categories := _categories(self.signature):
            serves["categories"] = categories
        if FAST_GRAPH in self.files:
            serves["fast"] = self.files[FAST_GRAPH].sha256
        canonical = json.dumps(serves, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size for entry in self.files.values())

    def to_manifest(self) -> bytes:
        """Return the package's dropscore.json, sealed."""
        entries = {
            "format_version": self.format_version,
            "digest": self.digest,
            "created": self.created,
            "framework": self.framework,
            "versions": dict(self.versions),
            "nullable": {column.name: column.nullable for column in self.signature.inputs},
            "categories": _categories(self.signature),
            "labels": list(self.labels),
            "null_text": self.null_text,
            "refusals": {column.name: column.refusals for column in self.signature.inputs if column.refusals},
            "parity": asdict(self.parity),
            "golden": dict(self.golden),
            "training": dict(self.training),
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }
        body = json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False).encode().removesuffix(b"\n}")
        return body + _seal(body)

    @classmethod
    def parse(cls, manifest: bytes, mlmodel: bytes) -> "PackageInfo":
        """Read dropscore.json and MLmodel; PackageInvalidError if they are damaged, unsafe or too new."""
        entries = read_manifest(manifest)
        files = read_files(entries)
        if FileEntry.of_bytes(mlmodel) != files[MLMODEL]:
            raise PackageInvalidError(f"{MLMODEL} is not the file that was packed: fetch the package again")
        try:
            parity = entries["parity"]
            signature = Signature.from_mlflow(
                read_mlmodel(mlmodel), entries["nullable"], entries.get("refusals", {})
            )
            info = cls(
                signature=with_categories(signature, entries.get("categories", {})),
                labels=tuple(tuple(label) if isinstance(label, list) else label for label in entries["labels"]),
                null_text=entries["null_text"],
                framework=entries["framework"],
                versions=entries["versions"],
                created=entries["created"],
                parity=ParityReport(**parity | {"refused": tuple(parity["refused"])}),
                golden=entries["golden"],
                training=entries["training"],
                files=files,
                format_version=entries["format_version"],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PackageInvalidError(f"{MANIFEST} lacks something: {error!r}") from error
        if info.digest != entries["digest"]:
            raise PackageInvalidError(f"{MANIFEST} carries the digest of another package")
        return info


def with_categories(signature: Signature, categories: Mapping[str, Sequence[str]]) -> Signature:
    """Return a signature with these categories, by input column; PackageInvalidError if they cannot be its."""
    texts = {column.name for column in signature.inputs if column.type is ColumnType.STRING}
    for name, known in categories.items():
        if name not in texts or isinstance(known, str) or not all(isinstance(text, str) for text in known):
            raise PackageInvalidError(f"{name!r} is no string column that could have the categories given for it")
    return replace(
        signature,
        inputs=tuple(
            replace(column, categories=tuple(categories[column.name])) if column.name in categories else column
            for column in signature.inputs
        ),
    )


def _categories(signature: Signature) -> dict[str, list[str]]:
    return {column.name: list(column.categories) for column in signature.inputs if column.categories is not None}


def read_manifest(manifest: bytes) -> dict[str, Any]:
    """Return the entries of a dropscore.json; PackageInvalidError if its seal is broken or it is too new."""
    entries = _sealed_entries(manifest)
    version = entries["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise PackageInvalidError(
            f"the package has format {version}, and this Dropscore knows formats up to {FORMAT_VERSION}: update it"
        )
    return entries


def read_digest(manifest: bytes) -> str:
    """Return the digest in a dropscore.json, also of a newer format; PackageInvalidError if its seal is broken."""
    digest: str = _sealed_entries(manifest)["digest"]
    return digest


def _sealed_entries(manifest: bytes) -> dict[str, Any]:
    body, mark, _ = manifest.rpartition(_SEAL.partition(b"%")[0])
    if not mark or manifest != body + _seal(body):
        raise PackageInvalidError(f"{MANIFEST} was changed or cut short: fetch the package again")
    try:
        entries = json.loads(manifest)
        complete = "format_version" in entries and _DIGEST.fullmatch(entries["digest"])
    except (KeyError, TypeError, ValueError) as error:
        raise PackageInvalidError(f"{MANIFEST} cannot be read: {error!r}") from error
    if not complete:
        raise PackageInvalidError(f"{MANIFEST} cannot be read: it has no digest")
    return dict(entries)


def read_package(folder: Path) -> PackageInfo:
    """Verify the package in `folder`, every file of it, and return what it says about itself.

    PackageInvalidError for a file that is missing, changed, unexpected or no plain file, for a graph that reaches
    outside itself, and for a package that is too large or from a newer Dropscore.
    """
    try:
        found = _plain_files(folder)
        info = PackageInfo.parse(found[MANIFEST].read_bytes(), found[MLMODEL].read_bytes())
        names = {*info.files, MANIFEST}
        if missing := names - found.keys():
            raise PackageInvalidError(f"{min(missing)} is missing from the package")
        if unexpected := found.keys() - names:
            raise PackageInvalidError(f"{min(unexpected)} does not belong to the package")
        for name, entry in info.files.items():
            if found[name].stat().st_size != entry.size or FileEntry.of(found[name]) != entry:
                raise PackageInvalidError(f"{name} is not the file that was packed: fetch the package again")
        for name in {GRAPH, FAST_GRAPH} & info.files.keys():
            check_graph(found[name])
    except OSError as error:
        raise PackageInvalidError(f"the package in {folder} cannot be read: {error.strerror}") from error
    return info


def _plain_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by name; PackageInvalidError unless they could be a package's."""
    found = {path.name: path for path in folder.iterdir()}
    for path in found.values():
        if path.is_symlink() or not path.is_file():
            raise PackageInvalidError(f"{path.name} in the package is no plain file")
    for name in (MANIFEST, MLMODEL):
        if name not in found:
            raise PackageInvalidError(f"{folder} is no package: it has no {name}")
        if found[name].stat().st_size > MAX_MANIFEST_BYTES:
            raise PackageInvalidError(f"{name} is larger than {MAX_MANIFEST_BYTES} bytes")
    return found


def read_files(entries: Mapping[str, Any]) -> dict[str, FileEntry]:
    """Return the manifest's list of files; PackageInvalidError for names that could leave the folder."""
    try:
        files = {name: FileEntry(entry["sha256"], entry["size"]) for name, entry in entries["files"].items()}
        if odd := [name for name, entry in files.items() if type(entry.size) is not int or entry.size < 0]:
            raise PackageInvalidError(f"{MANIFEST} gives {odd[0]!r} no size in bytes")
        total = sum(entry.size for entry in files.values())
    except (AttributeError, KeyError, TypeError) as error:
        raise PackageInvalidError(f"{MANIFEST} lists its files wrongly: {error!r}") from error
    if bad := [name for name in files if not _FILE_NAME.fullmatch(name) or name == MANIFEST]:
        raise PackageInvalidError(f"{bad[0]!r} cannot be a file of a package")
    if missing := {GRAPH, MLMODEL} - files.keys():
        raise PackageInvalidError(f"{MANIFEST} lists no {min(missing)}")
    if total > MAX_PACKAGE_BYTES:
        raise PackageInvalidError(f"the package has {total} bytes, and at most {MAX_PACKAGE_BYTES} are taken")
    return files


def _seal(body: bytes) -> bytes:
    """Return the end of a manifest that begins with `body`: the seal over it."""
    return _SEAL % hashlib.sha256(body).hexdigest().encode()
