"""A deleted version is gone at once and for good, and no alias is ever left pointing at one."""

from collections.abc import Callable
from typing import Any

import pytest

from errors import ModelNotFoundError, ReferenceInvalidError, RegistryConflictError, StorageUnavailableError
from model_store.cache import ModelCache
from model_store.packages import GRAPH, MANIFEST
from model_store.registry import Registry
from storage import BlobPath

ALIASES = BlobPath("models", "churn/aliases.json")


class Interrupted:
    """A blob store that does something else just before one call of one method on one path."""

    def __init__(self, blobs: Any, method: str, path: BlobPath, before: Callable[[], object]) -> None:
        self._blobs, self._method, self._path = blobs, method, path
        self._before: Callable[[], object] | None = before

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._blobs, name)

        def call(path: BlobPath, *arguments: Any, **options: Any) -> Any:
            if path == self._path and name == self._method and (before := self._before):
                self._before = None
                before()
            return real(path, *arguments, **options)

        return call if name == self._method else real


def die() -> None:
    raise StorageUnavailableError("gone")


@pytest.fixture
def two(registry, packages):
    """Give a registry with churn@1 and churn@2, of which 1 is the champion."""
    registry.add("churn", packages(-2.0))
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    return registry


def files(blobs):
    return [str(blob.path) for blob in blobs.list("models", "churn/2/") if blob.size]


def test_a_deleted_version_is_gone_and_its_number_never_used_again(two, blobs, packages, tmp_path):
    """Nothing finds it any more, its files are removed, and the same package added again is a new version."""
    version = two.resolve("churn@2")
    two.delete("churn", 2)
    assert [known.version for known in two.versions("churn")] == [1]
    assert files(blobs) == []
    with pytest.raises(ModelNotFoundError, match=r"no churn@2: churn has the versions 1 "):
        two.resolve("churn@2")
    with pytest.raises(ModelNotFoundError, match="deleted"):
        two.fetch(version, tmp_path)
    with pytest.raises(ModelNotFoundError, match="deleted"):
        two.describe(version)
    assert two.add("churn", packages(-1.0)).version == 3
    assert two.aliases("churn") == {"champion": 1}


def test_a_name_whose_only_version_is_deleted_is_no_name(registry, packages):
    """It can be added again, as version 2."""
    registry.add("churn", packages())
    registry.delete("churn", 1)
    assert registry.names() == []
    assert registry.add("churn", packages()).version == 2


def test_what_an_alias_points_at_is_not_deleted(two, tmp_path):
    """The error names the aliases; with them moved away it goes."""
    two.set_alias("churn", "shadow", 1)
    with pytest.raises(RegistryConflictError, match=r"move churn@champion, churn@shadow first"):
        two.delete("churn", 1)
    assert ModelCache(two, tmp_path / "cache", 60).load(two.resolve("churn@1"))
    two.set_alias("churn", "champion", 2)
    two.remove_alias("churn", "shadow")
    two.delete("churn", 1)
    assert two.resolve("churn").version == 2


@pytest.mark.parametrize("version", [0, 3, 99])
def test_what_is_not_there_cannot_be_deleted(two, version):
    """The error names what is there; deleting twice is such an error too."""
    with pytest.raises(ModelNotFoundError, match="versions 1-2"):
        two.delete("churn", version)
    two.delete("churn", 2)
    with pytest.raises(ModelNotFoundError, match="versions 1 "):
        two.delete("churn", 2)
    with pytest.raises(ReferenceInvalidError):
        two.delete("../churn", 1)


def test_an_alias_set_while_its_version_is_deleted_is_refused(two, blobs):
    """Deleted between the look and the write: the alias stays where it was."""
    racing = Registry(Interrupted(blobs, "write", ALIASES, lambda: two.delete("churn", 2)))
    with pytest.raises(ModelNotFoundError, match="no churn@2"):
        racing.set_alias("churn", "champion", 2)
    assert two.aliases("churn") == {"champion": 1}


def test_a_version_that_gets_an_alias_while_it_is_deleted_stays(two, blobs):
    """Pointed at between the look and the mark: the deletion is refused, the version whole."""
    racing = Registry(Interrupted(blobs, "write", ALIASES, lambda: two.set_alias("churn", "shadow", 2)))
    with pytest.raises(RegistryConflictError, match="move churn@shadow first"):
        racing.delete("churn", 2)
    assert two.describe(two.resolve("churn@shadow"))
    two.set_alias("churn", "champion", 2)  # no mark is left that would forbid it


def test_a_version_being_deleted_gets_no_alias(two, blobs):
    """Between the mark and the end of the version an alias is refused."""
    refused = []

    def point() -> None:
        with pytest.raises(RegistryConflictError, match="is being deleted"):
            two.set_alias("churn", "champion", 2)
        refused.append(two.resolve("churn@2"))  # still whole for whoever is using it

    racing = Registry(Interrupted(blobs, "write", BlobPath("models", f"churn/2/{MANIFEST}"), point))
    racing.delete("churn", 2)
    assert len(refused) == 1
    assert two.aliases("churn") == {"champion": 1}


def test_two_who_delete_one_version_at_once(two, blobs):
    """One deletes it, the other is told; no mark stays behind."""
    path = BlobPath("models", f"churn/2/{MANIFEST}")
    with pytest.raises(RegistryConflictError, match="somebody else deleted churn@2"):
        Registry(Interrupted(blobs, "write", path, lambda: two.delete("churn", 2))).delete("churn", 2)
    assert two.alias_table("churn").deleting == frozenset()
    assert files(blobs) == []


@pytest.mark.parametrize(("method", "path"), [("write", MANIFEST), ("delete", GRAPH), ("delete", "MLmodel")])
def test_a_deletion_that_dies_is_finished_by_the_next(two, blobs, tmp_path, method, path):
    """Wherever it dies, the version is there whole or not at all, no alias can be set, and `delete` finishes."""
    with pytest.raises(StorageUnavailableError):
        Registry(Interrupted(blobs, method, BlobPath("models", f"churn/2/{path}"), die)).delete("churn", 2)
    with pytest.raises(RegistryConflictError, match="being deleted"):
        two.set_alias("churn", "champion", 2)
    for version in two.versions("churn"):
        assert ModelCache(two, tmp_path / "cache", 60).load(version)
    two.delete("churn", 2)
    assert files(blobs) == []
    with pytest.raises(ModelNotFoundError):
        two.set_alias("churn", "champion", 2)


def test_a_slow_twin_of_the_writer_does_not_bring_a_deleted_version_back(registry, blobs, packages):
    """Two writers finish one claim; the slower one, late by a whole deletion, makes a version of its own."""
    manifest = BlobPath("models", f"churn/1/{MANIFEST}")
    with pytest.raises(StorageUnavailableError):
        Registry(Interrupted(blobs, "write", manifest, die)).add("churn", packages())

    def add_and_delete() -> None:
        assert registry.add("churn", packages()).version == 1
        registry.delete("churn", 1)

    slow = Registry(Interrupted(blobs, "write", manifest, add_and_delete))
    assert slow.add("churn", packages()).version == 2
    assert [version.version for version in registry.versions("churn")] == [2]


def test_a_removed_alias_is_gone(two):
    """What it pointed at stays; an alias that is not there is told with those that are."""
    two.set_alias("churn", "shadow", 2)
    two.remove_alias("churn", "shadow")
    assert two.aliases("churn") == {"champion": 1}
    with pytest.raises(ModelNotFoundError, match="aliases champion -> 1"):
        two.remove_alias("churn", "shadow")


def test_an_alias_moved_while_it_is_removed_stays(two, blobs):
    """Somebody else gave it a new meaning just now: that is not taken away unseen."""
    racing = Registry(Interrupted(blobs, "write", ALIASES, lambda: two.set_alias("churn", "champion", 2)))
    with pytest.raises(RegistryConflictError, match="somebody else moved"):
        racing.remove_alias("churn", "champion")
    assert two.aliases("churn") == {"champion": 2}


def test_a_reader_that_meets_a_deletion_looks_again(two, blobs):
    """The alias moved and its old version was deleted between two reads: the new one is found."""

    def replace() -> None:
        two.set_alias("churn", "champion", 2)
        two.delete("churn", 1)

    racing = Registry(Interrupted(blobs, "read", BlobPath("models", f"churn/1/{MANIFEST}"), replace))
    assert racing.resolve("churn").version == 2


def test_an_alias_that_points_there_already_is_not_written_again(two, blobs):
    """Moving an alias to where it is changes nothing: nobody's ETag is outdated."""
    etag = blobs.stat(ALIASES).etag
    two.set_alias("churn", "champion", 1)
    assert blobs.stat(ALIASES).etag == etag
