"""One load per process however many threads ask; one download per machine; damage is mended once."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import model_store.cache
import model_store.resolver
from errors import ModelNotFoundError, PackageInvalidError
from model_store.cache import ModelCache
from model_store.disk_cache import DiskCache
from model_store.packages import GRAPH
from model_store.registry import Registry
from storage import BlobPath


class CountingRegistry(Registry):
    """A registry that counts what it is asked."""

    def __init__(self, blobs) -> None:
        super().__init__(blobs)
        self.resolved = 0
        self.fetched = 0

    def resolve(self, reference):
        """Count, and resolve."""
        self.resolved += 1
        return super().resolve(reference)

    def fetch(self, version, folder):
        """Count, and fetch."""
        self.fetched += 1
        super().fetch(version, folder)


class Clock:
    """The monotonic clock, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self):
        """Return the seconds it shows."""
        return self.now


@pytest.fixture
def registry(blobs, packages):
    registry = CountingRegistry(blobs)
    registry.add("churn", packages(-2.0))
    registry.add("churn", packages(-1.0))
    registry.set_alias("churn", "champion", 1)
    registry.resolved = 0
    return registry


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "deep"


def test_an_alias_is_remembered_for_a_while(registry, folder, monkeypatch):
    """Within `alias_seconds` nobody asks the registry again; after that a moved alias is seen."""
    clock = Clock()
    monkeypatch.setattr(model_store.resolver, "time", clock)
    cache = ModelCache(registry, folder, alias_seconds=60)
    assert cache.resolve("churn").version == 1
    registry.set_alias("churn", "champion", 2)
    asked = registry.resolved
    assert cache.resolve("churn").version == 1
    assert registry.resolved == asked
    clock.now += 61
    assert cache.resolve("churn").version == 2
    assert registry.resolved == asked + 1


def test_a_fixed_version_is_remembered_for_good(registry, folder):
    """Versions never change, so they are asked for once."""
    cache = ModelCache(registry, folder, alias_seconds=0)
    assert {cache.resolve(reference).version for reference in ["churn@2", "models:/churn/2"] * 5} == {2}
    assert registry.resolved == 1


def test_what_is_not_there_is_asked_again(registry, folder, packages):
    """An error is not remembered: the model may be added meanwhile."""
    cache = ModelCache(registry, folder, alias_seconds=60)
    with pytest.raises(ModelNotFoundError):
        cache.resolve("other")
    registry.add("other", packages())
    assert cache.resolve("other").version == 1


def test_thirty_two_threads_load_once(registry, folder):
    """All get the same model, from one download."""
    cache = ModelCache(registry, folder, alias_seconds=60)
    with ThreadPoolExecutor(32) as pool:
        models = set(pool.map(lambda _: cache.load(cache.resolve("churn")), range(32)))
    assert len(models) == 1
    assert registry.fetched == 1


def test_processes_share_the_disk(registry, folder):
    """A second cache on the same folder (another process) downloads nothing; the folder holds packages alone."""
    version = registry.resolve("churn")
    first = ModelCache(registry, folder, alias_seconds=60).load(version)
    second = ModelCache(registry, folder, alias_seconds=60).load(version)
    assert first is not second
    assert registry.fetched == 1
    assert [path.name for path in folder.iterdir()] == [version.digest]


def test_processes_that_fetch_at_once_do_not_disturb_each_other(registry, folder):
    """Whoever renames first wins; the others use what is there."""
    version = registry.resolve("churn")
    caches = [ModelCache(registry, folder, alias_seconds=60) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda cache: cache.load(version).digest, caches))
    assert digests == {version.digest}
    assert [path.name for path in folder.iterdir()] == [version.digest]


@pytest.mark.parametrize("damage", ["change", "remove", "swap", "empty"])
def test_a_damaged_copy_is_fetched_again(registry, folder, packages, damage):
    """What is wrong on this machine's disk is mended from the registry."""
    version = registry.resolve("churn")
    ModelCache(registry, folder, alias_seconds=60).load(version)
    place = folder / version.digest
    match damage:
        case "change":
            (place / GRAPH).write_bytes(b"x" + (place / GRAPH).read_bytes()[1:])
        case "remove":
            (place / GRAPH).unlink()
        case "swap":
            shutil.rmtree(place)
            shutil.copytree(packages(-1.0), place)
        case "empty":
            shutil.rmtree(place)
            place.mkdir()
    assert ModelCache(registry, folder, alias_seconds=60).load(version).digest == version.digest
    assert registry.fetched == 2
    assert [path.name for path in folder.iterdir()] == [version.digest]


def test_a_registry_that_is_damaged_itself_is_an_error_for_everyone_and_mends(registry, blobs, folder):
    """All waiting threads get the error; the next call tries again and finds it mended."""
    version = registry.resolve("churn")
    graph = BlobPath("models", f"churn/1/{GRAPH}")
    content = blobs.read(graph)
    blobs.write(graph, b"x" + content[1:])
    cache = ModelCache(registry, folder, alias_seconds=60)

    def fails(_):
        with pytest.raises(PackageInvalidError, match="not the file that was registered"):
            cache.load(version)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fails, range(8)))
    assert list(folder.iterdir()) == []
    blobs.write(graph, content)
    assert cache.load(version).digest == version.digest


def test_only_a_few_models_stay_open(registry, folder, monkeypatch):
    """The one used longest ago is let go, and loaded again from the disk when it is wanted."""
    monkeypatch.setattr(model_store.cache, "MODELS_OPEN", 1)
    cache = ModelCache(registry, folder, alias_seconds=60)
    one, two = cache.resolve("churn@1"), cache.resolve("churn@2")
    first = cache.load(one)
    assert cache.load(one) is first
    cache.load(two)
    assert cache.load(one) is not first
    assert registry.fetched == 2


def test_the_same_content_under_two_names_is_one_model(registry, folder, packages):
    """Models are kept by digest: a name costs no memory."""
    cache = ModelCache(registry, folder, alias_seconds=60)
    registry.add("twin", packages(-2.0))
    assert cache.load(cache.resolve("twin")) is cache.load(cache.resolve("churn@1"))
    assert registry.fetched == 1


def test_a_disk_that_cannot_be_trimmed_fails_no_load(registry, folder, monkeypatch, caplog):
    """The model is open by then: what went wrong with the disk is logged."""

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(DiskCache, "trim", refuse)
    models = ModelCache(registry, folder, 30)
    assert models.load(models.resolve("churn@1")).digest == registry.resolve("churn@1").digest
    assert "could not be trimmed" in caplog.text
