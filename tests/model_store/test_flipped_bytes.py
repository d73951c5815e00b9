"""One changed byte anywhere in a package is found, wherever the package is read from."""

import random
from pathlib import Path

import pytest

from errors import PackageInvalidError
from model_store.cache import ModelCache
from model_store.model import Model
from storage import BlobPath

POSITIONS = 200


def files(package):
    return sorted(path.name for path in package.iterdir())


def flips(content, count, name):
    """Yield copies of `content` with one byte changed, at positions and by values drawn from a seed of the name."""
    drawn = random.Random(name)  # noqa: S311  # a test's positions are no secret
    for _ in range(count):
        at = drawn.randrange(len(content))
        yield content[:at] + bytes([content[at] ^ drawn.randrange(1, 256)]) + content[at + 1 :]


def test_every_flipped_byte_of_every_file_is_refused(copied):
    """Two hundred random positions of each file, one at a time; the package with none of them opens."""
    refused = dict.fromkeys(files(copied), 0)
    for name in refused:
        path, content = copied / name, (copied / name).read_bytes()
        for damaged in flips(content, POSITIONS, name):
            path.write_bytes(damaged)
            with pytest.raises(PackageInvalidError):
                Model.open(copied)
            refused[name] += 1
        path.write_bytes(content)
    assert {"dropscore.json", "MLmodel", "model.onnx", "requirements.txt"} <= refused.keys()
    assert set(refused.values()) == {POSITIONS}
    Model.open(copied)


def test_every_file_cut_short_extended_or_gone_is_refused(copied):
    """By one byte, by half, by all, and by a byte too many; and a file nobody packed."""
    for name in files(copied):
        path, content = copied / name, (copied / name).read_bytes()
        for damaged in (content[:-1], content[: len(content) // 2], b"", content + b"\n", content + b"\0", None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            with pytest.raises(PackageInvalidError):
                Model.open(copied)
            path.write_bytes(content)
    (copied / "stranger.txt").write_bytes(b"")
    with pytest.raises(PackageInvalidError):
        Model.open(copied)


def test_damage_in_the_registry_never_reaches_a_model(registry, blobs, packages, tmp_path):
    """On a machine that has nothing cached: twenty positions of each file, refused, and nothing is kept of it."""
    version = registry.add("churn", packages())
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    for name in files(packages()):
        path = BlobPath("models", f"churn/1/{name}")
        content = blobs.read(path)
        for damaged in flips(content, 20, name):
            blobs.write(path, damaged)
            with pytest.raises(PackageInvalidError):
                cache.load(version)
        blobs.write(path, content)
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.load(version).digest == version.digest


def test_damage_on_this_machines_disk_is_mended(registry, packages, tmp_path):
    """Five positions of each file of the cached copy: a new process fetches the package again."""
    version = registry.add("churn", packages())
    place: Path = tmp_path / "cache" / version.digest
    ModelCache(registry, tmp_path / "cache", alias_seconds=60).load(version)
    for name in files(packages()):
        for damaged in flips((place / name).read_bytes(), 5, name):
            (place / name).write_bytes(damaged)
            model = ModelCache(registry, tmp_path / "cache", alias_seconds=60).load(version)
            assert model.digest == version.digest
            assert (place / name).read_bytes() == (packages() / name).read_bytes()
