"""The registry on both backends, a folder and Azure's SDK against Azurite: the same promises."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

import model_store.shelf
from errors import ModelNotFoundError, PackageInvalidError, RegistryConflictError
from model_store.archive import read_archive, write_archive
from model_store.cache import ModelCache
from model_store.packages import GRAPH, read_package
from model_store.registry import Registry
from model_store.verification import verify, verify_aliases
from settings import Connection, Settings
from storage import BlobPath, open_storage


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.azurite)])
def blobs(request, tmp_path):
    if request.param == "folder":
        return open_storage(Settings(folder=str(tmp_path / "store"))).blobs
    return open_storage(Settings(storage=Connection("Azurite", request.getfixturevalue("azurite")))).blobs


@pytest.fixture
def container():
    return f"models-{uuid4().hex}"


@pytest.fixture
def registry(blobs, container):
    return Registry(blobs, container)


@pytest.fixture
def two(registry, packages):
    """Give a registry with churn@1, its champion, and churn@2."""
    registry.add("churn", packages(-2.0))
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    return registry


def test_from_nothing_to_versions_and_aliases(registry, packages):
    """An empty container, versions, the same content again, aliases, all forms of reference."""
    assert (registry.names(), registry.versions("churn"), registry.aliases("churn")) == ([], [], {})
    with pytest.raises(ModelNotFoundError):
        registry.resolve("churn")
    first, second = (registry.add("churn", packages(bias)) for bias in (-2.0, -1.0))
    assert registry.add("churn", packages(-2.0)) == first
    assert registry.resolve("churn") == second
    registry.set_alias("churn", "champion", 1)
    assert registry.resolve("models:/churn@champion") == registry.resolve("churn@1") == first
    assert registry.describe(first) == read_package(packages(-2.0))
    known = registry.alias_table("churn")
    assert registry.alias_table("churn", known) is known


def test_large_files_travel_in_pieces(registry, packages, tmp_path, monkeypatch):
    """Staged and fetched piece by piece, they arrive the same."""
    monkeypatch.setattr(model_store.shelf, "PIECE_BYTES", 1000)
    (tmp_path / "fetched").mkdir()
    registry.fetch(registry.add("churn", packages()), tmp_path / "fetched")
    assert read_package(tmp_path / "fetched") == read_package(packages())


def test_writers_at_the_same_time_each_get_their_version(registry, packages):
    """Eight writers of four contents: four versions, and everybody is told the right one."""
    biases = [-2.0, -1.0, -1.5, -0.5]
    digests = {bias: read_package(packages(bias)).digest for bias in biases}
    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(lambda bias: registry.add("churn", packages(bias)), biases * 2))
    assert [version.digest for version in added] == [digests[bias] for bias in biases * 2]
    assert sorted(set(added)) == registry.versions("churn")
    assert len(set(added)) == 4


def test_two_who_move_one_alias_at_once(two):
    """Each move arrives, or its mover is told; in the end the alias is where one of the winners put it."""

    def move(version):
        try:
            two.set_alias("churn", "champion", version)
        except RegistryConflictError:
            return None
        return version

    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            moved = set(pool.map(move, (1, 2)))
        assert two.aliases("churn")["champion"] in moved - {None}


def test_deleting_and_pointing_at_the_same_version_at_once(two, packages):
    """Whoever wins, no alias points at a version that is gone, and the loser is told."""

    def attempt(work):
        try:
            work()
        except (RegistryConflictError, ModelNotFoundError):
            return False
        return True

    for _ in range(5):
        number = two.add("churn", packages(-1.0)).version
        works = [
            lambda number=number: two.delete("churn", number),
            lambda number=number: two.set_alias("churn", "shadow", number),
        ]
        with ThreadPoolExecutor(2) as pool:
            deleted, pointed = pool.map(attempt, works)
        assert deleted != pointed
        assert (number in two.numbers("churn")) == pointed
        assert verify_aliases(two, "churn") == []
        if pointed:
            two.remove_alias("churn", "shadow")
            two.delete("churn", number)


def test_a_deleted_version_is_gone_for_good(two, blobs, container, packages):
    """Its files too; the number is not used again, and what an alias points at stays."""
    with pytest.raises(RegistryConflictError, match="champion"):
        two.delete("churn", 1)
    two.delete("churn", 2)
    assert [blob.path.name for blob in blobs.list(container, "churn/2/") if blob.size] == []
    assert two.numbers("churn") == [1]
    assert two.add("churn", packages(-1.0)).version == 3
    two.set_alias("churn", "champion", 3)
    two.remove_alias("churn", "champion")
    assert two.aliases("churn") == {}


def test_from_one_registry_to_another_as_a_file(two, blobs, tmp_path):
    """Fetched, archived, unpacked, added: the same digest, and sound."""
    fetched, unpacked = tmp_path / "fetched", tmp_path / "unpacked"
    fetched.mkdir()
    unpacked.mkdir()
    two.fetch(two.resolve("churn@2"), fetched)
    write_archive(two.resolve("churn@2"), fetched, tmp_path / "churn.zip")
    origin = read_archive(tmp_path / "churn.zip", unpacked)
    other = Registry(blobs, f"models-{uuid4().hex}")
    version = other.add(origin.name, unpacked)
    assert (version.version, version.digest) == (1, two.resolve("churn@2").digest)
    assert verify(other, "churn", 1) == []


def test_loading_and_following_an_alias(two, blobs, container, tmp_path):
    """Served, moved, damaged: a moved alias is seen, a damaged version leaves the old one serving."""
    cache = ModelCache(two, tmp_path / "cache", alias_seconds=0)
    assert cache.current("churn").version.version == 1
    content = blobs.read(BlobPath(container, f"churn/2/{GRAPH}"))
    blobs.write(BlobPath(container, f"churn/2/{GRAPH}"), content[:-1] + bytes([content[-1] ^ 1]))
    two.set_alias("churn", "champion", 2)
    served = cache.current("churn")
    assert (served.version.version, served.refused.version.version) == (1, 2)
    assert [problem.file for problem in verify(two, "churn", 2)] == [GRAPH]
    with pytest.raises(PackageInvalidError):
        cache.load(two.resolve("churn@2"))
    blobs.write(BlobPath(container, f"churn/2/{GRAPH}"), content)
    assert cache.current("churn").version.version == 2
