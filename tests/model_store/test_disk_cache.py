"""The disk keeps as many packages as it may; whoever misses one fetches it."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from errors import ModelNotFoundError, StorageUnavailableError
from model_store.cache import ModelCache
from model_store.disk_cache import DiskCache
from model_store.packages import GRAPH, read_package

BIASES = (-2.0, -1.0, -1.5)


@pytest.fixture
def versions(registry, packages):
    return [registry.add("churn", packages(bias)) for bias in BIASES]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def kept(folder):
    return {path.name for path in folder.iterdir()}


def size(folder):
    """Return the bytes of a package on the disk; those of the hand model differ by a few."""
    return sum(file.stat().st_size for file in folder.iterdir())


def test_the_package_opened_longest_ago_goes_first(registry, versions, folder, packages):
    """Opening a package, by any process, makes it the youngest; there is room for two."""
    one, two, three = versions
    disk = DiskCache(registry, folder, int(2.5 * size(packages())))
    for version in (one, two):
        disk.open(version)
        os.utime(folder / version.digest, (1e9 + version.version, 1e9 + version.version))
    DiskCache(registry, folder, 0).open(one)
    disk.open(three)
    disk.trim(keep=())
    assert kept(folder) == {one.digest, three.digest}


def test_what_is_open_here_stays(registry, versions, folder):
    """A limit too small for a single package trims everything but what this process has open."""
    cache = ModelCache(registry, folder, 60, max_bytes=1)
    for version in versions[:2]:
        cache.load(version)
    assert kept(folder) == {version.digest for version in versions[:2]}
    ModelCache(registry, folder, 60, max_bytes=1).load(versions[2])
    assert kept(folder) == {versions[2].digest}
    assert cache.load(versions[0]).digest == versions[0].digest


def test_processes_that_trim_each_others_packages_still_open_theirs(registry, versions, folder):
    """Three processes with room for nothing, each opening one version over and over: every open succeeds."""
    disks = [DiskCache(registry, folder, 0) for _ in versions]

    def open_often(number: int) -> list[str]:
        digests = []
        for _ in range(15):
            digests.append(disks[number].open(versions[number]).digest)
            disks[number].trim(keep=())
        return digests

    with ThreadPoolExecutor(len(versions)) as pool:
        opened = list(pool.map(open_often, range(len(versions))))
    assert opened == [[version.digest] * 15 for version in versions]
    assert kept(folder) == set()


def test_what_a_dead_process_left_is_cleared_away(registry, versions, folder):
    """Half a download is removed after an hour; one that has just begun is somebody's."""
    disk = DiskCache(registry, folder, 10**9)
    disk.open(versions[0])
    for name in (".old-1", ".new-2"):
        (folder / name).mkdir()
        (folder / name / GRAPH).write_bytes(b"half")
    os.utime(folder / ".old-1", (1e9, 1e9))
    disk.trim(keep=())
    assert kept(folder) == {versions[0].digest, ".new-2"}


def test_a_download_that_fails_leaves_nothing(registry, versions, folder):
    """What never opened is never in the cache."""
    registry.delete("churn", 2)
    with pytest.raises(ModelNotFoundError, match="deleted"):
        DiskCache(registry, folder, 10**9).open(versions[1])
    assert kept(folder) == set()


def test_a_package_of_the_cache_is_a_package(registry, versions, folder, packages):
    """It is what was registered, byte for byte."""
    DiskCache(registry, folder, 10**9).open(versions[0])
    assert read_package(folder / versions[0].digest) == read_package(packages())


def test_a_cache_that_cannot_be_written_is_a_passing_fault(registry, versions, tmp_path):
    """Where packages cannot be kept, a later try may find room; the message says what to do."""
    folder = tmp_path / "no-folder"
    folder.write_bytes(b"")
    with pytest.raises(StorageUnavailableError, match="make room there, or set DROPSCORE_CACHE") as caught:
        DiskCache(registry, folder, 2**30).open(versions[0])
    assert caught.value.retryable
