"""Versions never change, aliases move atomically, and a writer may die at any point."""

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import model_store.shelf
from errors import (
    ModelNotFoundError,
    PackageInvalidError,
    ReferenceInvalidError,
    RegistryConflictError,
    StorageUnavailableError,
)
from model_store.packages import GRAPH, MANIFEST, read_package
from model_store.packaging import build_package
from model_store.registry import ModelVersion, Registry
from storage import BlobPath, BlobStore


class DyingBlobStore:
    """A blob store that fails after so many writes, as a writer that is killed would leave it."""

    def __init__(self, blobs: BlobStore, writes: int) -> None:
        self._blobs = blobs
        self._left = writes

    def write(self, path, data, **conditions):
        """Write, while there are writes left."""
        if self._left == 0:
            raise StorageUnavailableError("gone")
        self._left -= 1
        return self._blobs.write(path, data, **conditions)

    def __getattr__(self, name):
        return getattr(self._blobs, name)


def test_versions_count_from_one(registry, packages):
    """Each content is the next version; the first is found by the bare name."""
    digests = [read_package(packages(bias)).digest for bias in (-2.0, -1.0)]
    assert registry.add("churn", packages(-2.0)) == ModelVersion("churn", 1, digests[0])
    assert registry.add("churn", packages(-1.0)) == ModelVersion("churn", 2, digests[1])
    assert [str(version) for version in registry.versions("churn")] == ["churn@1", "churn@2"]
    assert registry.names() == ["churn"]


def test_the_same_content_is_registered_once(registry, packages, conversion, tmp_path):
    """Adding again, even built again, returns the version there is."""
    first = registry.add("churn", packages())
    registry.add("churn", packages(-1.0))
    again = tmp_path / "again"
    build_package(conversion, again)
    assert registry.add("churn", packages()) == registry.add("churn", again) == first
    assert registry.add("other", packages()).version == 1
    assert len(registry.versions("churn")) == 2


def test_an_empty_registry_has_no_names_and_says_what_to_do(registry):
    """Before the first add there is not even a container."""
    assert registry.names() == []
    assert registry.versions("churn") == []
    assert registry.aliases("churn") == {}
    with pytest.raises(ModelNotFoundError, match="python -m model_store add churn"):
        registry.resolve("churn")


def test_references_resolve_to_versions(registry, packages):
    """All five forms; the bare name is the newest version until there is a champion."""
    first, second = (registry.add("churn", packages(bias)) for bias in (-2.0, -1.0))
    assert registry.resolve("churn") == second
    registry.set_alias("churn", "champion", 1)
    registry.set_alias("churn", "challenger", 2)
    assert registry.resolve("churn") == registry.resolve("churn@champion") == first
    assert registry.resolve("models:/churn/1") == registry.resolve("models:/churn@champion") == first
    assert registry.resolve("churn@challenger") == registry.resolve("churn@2") == second


@pytest.mark.parametrize("reference", ["churn@3", "churn@nobody", "models:/churn/7"])
def test_what_is_not_there_is_told_with_what_is(registry, packages, reference):
    """The error names the versions and aliases to choose from."""
    registry.add("churn", packages(-2.0))
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 2)
    with pytest.raises(ModelNotFoundError, match=r"versions 1-2 and the aliases champion -> 2"):
        registry.resolve(reference)


def test_a_model_that_is_not_there_is_told_with_the_models_that_are(registry, packages):
    """A typing error in the name shows at once."""
    registry.add("churn", packages())
    with pytest.raises(ModelNotFoundError, match=r"registered: churn"):
        registry.resolve("chrun")


def test_names_cannot_leave_their_place(registry, packages):
    """A name is a folder in a container, and nothing else."""
    for name in ("../up", "a/b", "", ".hidden", "a" * 65):
        with pytest.raises(ReferenceInvalidError):
            registry.add(name, packages())
        with pytest.raises(ReferenceInvalidError):
            registry.aliases(name)


def test_a_damaged_package_is_not_registered(registry, copied):
    """Nothing is written for a package that does not verify."""
    (copied / GRAPH).write_bytes(b"")
    with pytest.raises(PackageInvalidError):
        registry.add("churn", copied)
    assert registry.names() == []


@pytest.mark.parametrize("writes", [0, 1, 2, 4, 7])
def test_a_version_exists_when_it_is_whole_and_not_before(registry, blobs, packages, writes):
    """Whenever a writer dies, nobody sees its version, and others are not held up."""
    with pytest.raises(StorageUnavailableError):
        Registry(DyingBlobStore(blobs, writes)).add("churn", packages())
    assert registry.versions("churn") == []
    assert registry.names() == []
    other = registry.add("churn", packages(-1.0))
    assert other.version == (2 if writes else 1)
    assert registry.resolve("churn") == other


def test_the_same_package_finishes_what_its_writer_began(registry, blobs, packages):
    """A retry of the very same package takes up its own claim."""
    with pytest.raises(StorageUnavailableError):
        Registry(DyingBlobStore(blobs, 3)).add("churn", packages())
    version = registry.add("churn", packages())
    assert version.version == 1
    assert registry.versions("churn") == [version]


def test_a_package_built_again_leaves_a_dead_claim_alone(registry, blobs, packages, conversion, tmp_path):
    """Its files differ in their timestamps: mixed with what the dead writer left they would not verify."""
    with pytest.raises(StorageUnavailableError):
        Registry(DyingBlobStore(blobs, 3)).add("churn", packages())
    build_package(conversion, tmp_path / "again")
    version = registry.add("churn", tmp_path / "again")
    assert version.version == 2
    (tmp_path / "fetched").mkdir()
    registry.fetch(version, tmp_path / "fetched")
    read_package(tmp_path / "fetched")


def test_writers_at_the_same_time_each_get_their_version(registry, packages):
    """Sixteen writers of four contents: four versions, and everybody is told the right one."""
    biases = [-2.0, -1.0, -1.5, -0.5]
    digests = {bias: read_package(packages(bias)).digest for bias in biases}
    with ThreadPoolExecutor(16) as pool:
        added = list(pool.map(lambda bias: registry.add("churn", packages(bias)), biases * 4))
    assert [version.digest for version in added] == [digests[bias] for bias in biases * 4]
    assert len(set(added)) == 4
    assert set(registry.versions("churn")) == set(added)


def test_large_files_travel_in_pieces(registry, packages, tmp_path, monkeypatch):
    """Files above one piece are staged and fetched piece by piece, and arrive the same."""
    monkeypatch.setattr(model_store.shelf, "PIECE_BYTES", 100)
    version = registry.add("churn", packages())
    registry.fetch(version, tmp_path)
    for path in packages().iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_fetch_brings_what_the_manifest_lists_and_no_more(registry, blobs, packages, tmp_path):
    """Claims and strangers in the container stay there; what arrives verifies."""
    version = registry.add("churn", packages())
    blobs.write(BlobPath("models", "churn/1/stranger.txt"), b"hello")
    folder = tmp_path / "fetched"
    folder.mkdir()
    registry.fetch(version, folder)
    assert read_package(folder).digest == version.digest
    assert {path.name for path in folder.iterdir()} == {path.name for path in packages().iterdir()}


def test_fetch_refuses_what_is_not_what_was_registered(registry, blobs, packages, tmp_path):
    """A file changed in the container, cut short or gone does not arrive unnoticed."""
    version = registry.add("churn", packages())
    graph = BlobPath("models", f"churn/1/{GRAPH}")
    content = blobs.read(graph)
    for changed in (content[:-1], content + b"x", bytes([content[0] ^ 1]) + content[1:]):
        blobs.write(graph, changed)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        if changed.startswith(content):  # only what the manifest lists is read: the end is never fetched
            registry.fetch(version, folder)
            continue
        with pytest.raises(PackageInvalidError, match="is not the file that was registered"):
            registry.fetch(version, folder)
    blobs.delete(graph)
    (tmp_path / "last").mkdir()
    with pytest.raises(ModelNotFoundError, match="not whole"):
        registry.fetch(version, tmp_path / "last")


@pytest.mark.parametrize("size", [b"-1", b"3.0", b'"3"', b"null", b"true", b"9999999999"])
def test_fetch_refuses_sizes_that_are_none(registry, blobs, packages, tmp_path, size):
    """A manifest sealed over nonsense, or over more than a package may hold, brings nothing here."""
    version = registry.add("churn", packages())
    manifest = BlobPath("models", f"churn/1/{MANIFEST}")
    body, _, _ = blobs.read(manifest).rpartition(b',\n  "seal"')
    body = re.sub(rb'"size": \d+', b'"size": ' + size, body, count=1)
    blobs.write(manifest, body + b',\n  "seal": "%s"\n}\n' % hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(PackageInvalidError):
        registry.fetch(version, tmp_path / "fetched")


def test_fetch_holds_a_version_to_its_digest(registry, blobs, packages, tmp_path):
    """Another package put in a version's place is found, though it is sound in itself."""
    version = registry.add("churn", packages())
    blobs.write(BlobPath("models", f"churn/1/{MANIFEST}"), (packages(-1.0) / MANIFEST).read_bytes())
    with pytest.raises(PackageInvalidError, match="another package"):
        registry.fetch(version, tmp_path)


def test_describe_reads_no_more_than_the_descriptions(registry, packages):
    """What a package says of itself can be had without its graph."""
    version = registry.add("churn", packages())
    assert registry.describe(version) == read_package(packages())


def test_an_alias_points_at_versions_that_exist_only(registry, packages):
    """A bad version, a bad name and a number for an alias are refused; nothing moves."""
    registry.add("churn", packages())
    with pytest.raises(ModelNotFoundError, match="no churn@2"):
        registry.set_alias("churn", "champion", 2)
    with pytest.raises(ReferenceInvalidError, match="a number after @ means a version"):
        registry.set_alias("churn", "7", 1)
    with pytest.raises(ReferenceInvalidError):
        registry.set_alias("churn", "a/b", 1)
    assert registry.aliases("churn") == {}


def test_different_aliases_moved_at_once_all_arrive(registry, packages):
    """Writers of different aliases retry past each other: no move is lost."""
    registry.add("churn", packages())
    names = [f"alias{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda alias: registry.set_alias("churn", alias, 1), names))
    assert registry.aliases("churn") == dict.fromkeys(names, 1)


def test_a_lost_race_for_one_alias_is_a_conflict(registry, blobs, packages):
    """Somebody else moved the same alias between our look and our write: we are told, theirs stays."""
    for bias in (-2.0, -1.0, -1.5):
        registry.add("churn", packages(bias))
    aliases = BlobPath("models", "churn/aliases.json")
    blobs.write(aliases, json.dumps({"champion": 1}).encode())

    class RacingBlobStore(DyingBlobStore):
        def write(self, path, data, **conditions):
            self._blobs.write(aliases, json.dumps({"champion": 3}).encode())
            return self._blobs.write(path, data, **conditions)

    with pytest.raises(RegistryConflictError, match="champion"):
        Registry(RacingBlobStore(blobs, 1)).set_alias("churn", "champion", 2)
    assert registry.aliases("churn") == {"champion": 3}


def test_aliases_that_cannot_be_read_are_an_error_of_ours(registry, blobs, packages):
    """A damaged aliases.json is named."""
    registry.add("churn", packages())
    blobs.write(BlobPath("models", "churn/aliases.json"), b"[1, 2")
    with pytest.raises(PackageInvalidError, match=r"churn/aliases\.json"):
        registry.resolve("churn")


def test_a_name_that_begins_like_another_is_another(registry, packages):
    """The names churn and churn2 share no versions."""
    registry.add("churn", packages())
    registry.add("churn2", packages(-1.0))
    assert len(registry.versions("churn")) == 1
    assert registry.names() == ["churn", "churn2"]


def test_a_version_of_a_newer_format_holds_nobody_up(registry, blobs, packages, tmp_path):
    """An older Dropscore lists it, adds beside it, and says what to do only when it should serve it."""
    registry.add("churn", packages())
    manifest = BlobPath("models", f"churn/1/{MANIFEST}")
    info = registry.describe(registry.resolve("churn"))
    blobs.write(manifest, replace(info, format_version=99).to_manifest())
    assert registry.add("churn", packages(-1.0)).version == 2
    folder = tmp_path / "fetched"
    folder.mkdir()
    with pytest.raises(PackageInvalidError, match="update it"):
        registry.fetch(registry.resolve("churn@1"), folder)


def test_a_package_may_be_put_in_place_by_other_means(registry, packages, tmp_path):
    """Copied there as files (azcopy, git) it is a version like any other: claims are for writers only."""
    shutil.copytree(packages(), tmp_path / "store" / "models" / "churn" / "3")
    assert registry.resolve("churn").version == 3
    assert registry.add("churn", packages()).version == 3
    assert registry.add("churn", packages(-1.0)).version == 4
