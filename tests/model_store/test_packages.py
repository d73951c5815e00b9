"""A package is whole, unchanged and safe, or it is refused."""

import hashlib
import json
import random
import re
from pathlib import Path

import pytest
import yaml

from errors import PackageInvalidError
from model_store.packages import FORMAT_VERSION, GRAPH, MANIFEST, PackageInfo, read_package, with_categories
from model_store.packaging import build_package
from model_store.signature import Signature

FILES = {
    "fast.onnx",
    "MLmodel",
    "conda.yaml",
    "dropscore.json",
    "dropscore_pyfunc.zip",
    "input_example.json",
    "model.onnx",
    "python_env.yaml",
    "requirements.txt",
}


def reseal(folder: Path, **changes: object) -> None:
    """Change entries of a package's manifest and seal it again, as somebody who knows the format could."""
    entries = json.loads((folder / MANIFEST).read_bytes())
    del entries["seal"]
    body = json.dumps(entries | changes, indent=2, ensure_ascii=False).encode().removesuffix(b"\n}")
    seal = hashlib.sha256(body).hexdigest().encode()
    (folder / MANIFEST).write_bytes(body + b',\n  "seal": "' + seal + b'"\n}\n')


def test_a_package_is_an_mlflow_model_folder(packages, conversion):
    """MLmodel has both flavors, the signature as JSON strings, and files that are there."""
    folder = packages()
    assert {path.name for path in folder.iterdir()} == FILES
    mlmodel = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
    assert mlmodel["flavors"]["onnx"]["data"] == GRAPH
    assert mlmodel["flavors"]["python_function"]["data"] == "."
    assert mlmodel["flavors"]["python_function"]["loader_module"] == "dropscore_pyfunc"
    assert mlmodel["flavors"]["python_function"]["env"] == {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    assert json.loads(mlmodel["signature"]["inputs"])[0] == {"type": "double", "name": "age", "required": True}
    assert re.fullmatch(r"[0-9a-f]{32}", mlmodel["model_uuid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", mlmodel["utc_time_created"])
    example = json.loads((folder / mlmodel["saved_input_example_info"]["artifact_path"]).read_text("utf-8"))
    assert example["columns"] == [column.name for column in conversion.signature.inputs]
    assert len(example["data"]) == 5
    nullable = {column.name: column.nullable for column in conversion.signature.inputs}
    assert Signature.from_mlflow(mlmodel["signature"], nullable) == conversion.signature


def test_what_is_written_is_read_back(packages, conversion):
    """Everything a package says about itself survives the round trip."""
    info = read_package(packages())
    assert info.signature == with_categories(conversion.signature, {"plan": ("basic", "plus", "pro")})
    assert info.labels == conversion.labels
    assert info.null_text == conversion.null_text
    assert info.versions == conversion.versions
    assert info.parity.rows > 300
    assert info.parity.label_flips == 0
    assert info.training["columns"]["plan"]["distinct"] == 3
    assert info.size == sum((packages() / name).stat().st_size for name in info.files)
    assert PackageInfo.parse((packages() / MANIFEST).read_bytes(), (packages() / "MLmodel").read_bytes()) == info


def test_the_same_model_has_the_same_digest(packages, conversion, tmp_path):
    """Packaging again changes timestamps, not the digest; another model has another."""
    again = build_package(conversion, tmp_path / "again")
    first = read_package(packages())
    assert again.digest == first.digest
    assert again.created != first.created
    assert read_package(packages(-1.0)).digest != first.digest


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_changed_byte_is_found_in_every_file(copied, name):
    """One flipped bit anywhere, in any file, and the package is refused."""
    content = bytearray((copied / name).read_bytes())
    for place in random.Random(name).choices(range(len(content)), k=60):  # noqa: S311  # a test's choice
        damaged = content.copy()
        damaged[place] ^= 1 << (place % 8)
        (copied / name).write_bytes(damaged)
        with pytest.raises(PackageInvalidError):
            read_package(copied)
    (copied / name).write_bytes(content)
    read_package(copied)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_short_file_is_named(copied, name):
    """A file cut short or gone is refused."""
    content = (copied / name).read_bytes()
    for short in (content[:-1], content[: len(content) // 2], b""):
        (copied / name).write_bytes(short)
        with pytest.raises(PackageInvalidError, match=re.escape(name)):
            read_package(copied)
    (copied / name).unlink()
    with pytest.raises(PackageInvalidError, match=re.escape(name)):
        read_package(copied)


def test_a_file_that_does_not_belong_is_refused(copied):
    """Nothing travels in a package that its manifest does not know."""
    (copied / "evil.so").write_bytes(b"")
    with pytest.raises(PackageInvalidError, match=r"evil\.so does not belong"):
        read_package(copied)


def test_links_and_folders_are_refused(copied, tmp_path):
    """A package holds plain files only, even if a link leads to the very same bytes."""
    outside = tmp_path / "outside.onnx"
    (copied / GRAPH).rename(outside)
    (copied / GRAPH).symlink_to(outside)
    with pytest.raises(PackageInvalidError, match="no plain file"):
        read_package(copied)
    (copied / GRAPH).unlink()
    (copied / GRAPH).mkdir()
    with pytest.raises(PackageInvalidError, match="no plain file"):
        read_package(copied)


def test_a_newer_format_is_refused_with_what_to_do(copied):
    """A package from a newer Dropscore says so, rather than being served wrongly."""
    reseal(copied, format_version=FORMAT_VERSION + 1)
    with pytest.raises(PackageInvalidError, match="update it"):
        read_package(copied)


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", "..", ".hidden", "", "a\\b", MANIFEST])
def test_a_listed_name_that_leaves_the_folder_is_refused(copied, name):
    """The manifest's names are checked before any of them becomes a path."""
    files = json.loads((copied / MANIFEST).read_bytes())["files"]
    reseal(copied, files=files | {name: files[GRAPH]})
    with pytest.raises(PackageInvalidError, match="cannot be a file of a package"):
        read_package(copied)


def test_a_package_that_is_too_large_is_refused_by_its_manifest(copied):
    """The size limit is checked before anything is read or fetched."""
    files = json.loads((copied / MANIFEST).read_bytes())["files"]
    reseal(copied, files=files | {GRAPH: files[GRAPH] | {"size": 10**12}})
    with pytest.raises(PackageInvalidError, match="at most"):
        read_package(copied)


@pytest.mark.parametrize("entry", ["files", "digest", "nullable", "parity", "labels"])
def test_a_manifest_that_lacks_an_entry_is_refused(copied, entry):
    """A sealed manifest of the wrong form is an error of ours, not of Python's."""
    reseal(copied, **{entry: None})
    with pytest.raises(PackageInvalidError):
        read_package(copied)


def test_another_digest_is_refused(copied):
    """The digest is worked out from the content, never believed."""
    reseal(copied, digest="0" * 64)
    with pytest.raises(PackageInvalidError, match="digest"):
        read_package(copied)


def test_a_folder_that_is_not_there_is_no_package(tmp_path):
    """A missing folder is the same kind of error."""
    with pytest.raises(PackageInvalidError, match="cannot be read"):
        read_package(tmp_path / "nowhere")


def test_building_again_replaces_a_package_and_nothing_else(conversion, hand_conversion, tmp_path):
    """A notebook may build into the same folder twice; a folder of something else is left alone."""
    folder = tmp_path / "package"
    build_package(conversion, folder)
    newer = build_package(hand_conversion(bias=-1.0), folder)
    assert read_package(folder).digest == newer.digest
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(PackageInvalidError, match="is no package"):
        build_package(conversion, other)
    assert {path.name for path in tmp_path.iterdir()} == {"package", "other"}
