"""Requests go on with the version before until the one a moved alias means is open, whatever happens to that."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

import model_store.cache
from errors import ModelNotFoundError, PackageInvalidError, StorageUnavailableError
from model_store.cache import ModelCache
from model_store.packages import GRAPH
from model_store.reference import ModelReference
from model_store.registry import Registry
from storage import BlobPath

BIASES = (-2.0, -1.0, -1.5)


class WatchedRegistry(Registry):
    """A registry that counts what it is asked, can be out of reach, and can hold a download up."""

    def __init__(self, blobs) -> None:
        super().__init__(blobs)
        self.polled = self.fetched = 0
        self.reachable = True
        self.gate = threading.Event()
        self.gate.set()

    def alias_table(self, name, known=None):
        """Count, and answer if in reach."""
        self.polled += 1
        if not self.reachable:
            raise StorageUnavailableError("models: out of reach")
        return super().alias_table(name, known)

    def fetch(self, version, folder):
        """Count, wait for the gate, and fetch."""
        self.fetched += 1
        assert self.gate.wait(60)
        super().fetch(version, folder)


@pytest.fixture
def registry(blobs, packages):
    """Give a registry with three versions of churn; the champion is 1, the challenger 2."""
    registry = WatchedRegistry(blobs)
    for bias in BIASES:
        registry.add("churn", packages(bias))
    registry.set_alias("churn", "champion", 1)
    registry.set_alias("churn", "challenger", 2)
    registry.polled = 0
    return registry


@pytest.fixture
def cache(registry, tmp_path):
    """Give a cache that looks for a moved alias at every call."""
    return ModelCache(registry, tmp_path / "cache", alias_seconds=0)


def settled(cache):
    """Wait for every search that is under way."""
    wait([post.looking for post in cache._posts.values() if post.looking is not None])


def test_a_moved_alias_is_seen(cache, registry):
    """Version and model always belong together, and are the ones the alias means."""
    for number in (1, 2, 3, 1):
        registry.set_alias("churn", "champion", number)
        served = cache.current("churn@champion")
        assert served.version == registry.resolve(f"churn@{number}")
        assert served.model.digest == served.version.digest
        assert served.refused is None
    assert registry.fetched == 3


def test_all_forms_of_a_reference_are_served(cache):
    """A fixed version is what it says; the bare name is the champion."""
    references = ["churn", "churn@challenger", "churn@3", "models:/churn@champion", "models:/churn/2"]
    assert [cache.current(reference).version.version for reference in references] == [1, 2, 3, 1, 2]


def test_what_is_at_hand_is_what_is_current_and_takes_no_waiting(registry, tmp_path):
    """Nothing is until it was opened; then it answers without a question, until news are due."""
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    references = ["churn", "churn@challenger", "churn@3"]
    assert [cache.at_hand(reference) for reference in references] == [None] * 3
    current = [cache.current(reference) for reference in references]
    registry.reachable = False
    assert [cache.at_hand(reference) for reference in references] == current
    cache._posts[ModelReference.parse("churn")].until = 0
    assert cache.at_hand("churn") is None  # news of it are due


def test_what_is_being_opened_is_not_at_hand(registry, tmp_path):
    """A fixed version that a thread is bringing is nothing that an event loop could wait for."""
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    cache.resolve("churn@1")
    registry.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(cache.current, "churn@1")
        while not cache._models:
            pass
        at_hand = cache.at_hand("churn@1")
        registry.gate.set()
        assert at_hand is None
        assert cache.at_hand("churn@1") in (None, opening.result())
    assert cache.at_hand("churn@1") == opening.result()


def test_aliases_are_asked_for_once_a_name(registry, tmp_path):
    """One request in `alias_seconds`, however many threads, predictions and aliases of the name."""
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    with ThreadPoolExecutor(8) as pool:
        served = list(pool.map(cache.current, ["churn", "churn@challenger"] * 200))
    assert {one.version.version for one in served} == {1, 2}
    assert registry.polled == 1
    registry.set_alias("churn", "champion", 3)
    assert cache.current("churn").version.version == 1


def test_what_has_not_moved_is_not_sent_again(registry):
    """The table that is known comes back itself: the store answered by its ETag alone."""
    known = registry.alias_table("churn")
    assert registry.alias_table("churn", known) is known
    registry.set_alias("churn", "champion", 2)
    assert registry.alias_table("churn", known).versions == {"champion": 2, "challenger": 2}


def test_nobody_waits_for_a_version_that_is_being_opened(cache, registry, monkeypatch):
    """While one thread brings the new version, all requests get the old one; then all get the new."""
    first = cache.current("churn")
    registry.set_alias("churn", "champion", 2)
    registry.gate.clear()
    monkeypatch.setattr(model_store.cache, "PATIENCE", 0.0)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(cache.current, ["churn"] * 100)) == {first}
    registry.gate.set()
    settled(cache)
    assert cache.current("churn").version.version == 2
    assert registry.fetched == 2


def test_a_damaged_version_leaves_the_old_one_serving(cache, registry, blobs, caplog):
    """The failure is logged and shown beside the answers; a run of a file fails; once mended it takes over."""
    assert cache.current("churn").version.version == 1
    graph = BlobPath("models", f"churn/2/{GRAPH}")
    content = blobs.read(graph)
    blobs.write(graph, b"x" + content[1:])
    registry.set_alias("churn", "champion", 2)
    with caplog.at_level(logging.WARNING):
        served = cache.current("churn")
    assert served.version.version == 1
    assert served.model.digest == served.version.digest
    assert (served.refused.version.version, served.refused.error.code) == (2, "package_invalid")
    assert "churn@2 cannot be opened (try 1)" in caplog.text
    assert "churn@1 goes on serving, as churn@2 cannot be opened" in caplog.text
    assert cache.current("churn").refused.tries == 2
    assert cache.resolve("churn").version == 2
    with pytest.raises(PackageInvalidError):
        cache.load(cache.resolve("churn"))
    blobs.write(graph, content)
    assert cache.current("churn").version.version == 2
    assert cache.current("churn").refused is None


def test_a_version_that_cannot_be_opened_is_tried_less_and_less_often(registry, blobs, tmp_path):
    """Between two tries nothing is fetched, and the pauses double; another version is opened at once."""
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    blobs.write(BlobPath("models", f"churn/2/{GRAPH}"), b"x")
    served, bad = cache.current("churn"), registry.resolve("churn@2")
    once = cache._successor(bad, served)
    assert cache._successor(bad, once) == once
    assert registry.fetched == 2
    assert (once.version, once.refused.tries) == (served.version, 1)
    assert cache._successor(registry.resolve("churn@3"), once).version.version == 3


def test_a_damaged_champion_is_not_fetched_for_every_request(registry, blobs, tmp_path):
    """Where nothing serves yet, the error is remembered until the next try is due; what may pass is not."""
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    graph = BlobPath("models", f"churn/1/{GRAPH}")
    content = blobs.read(graph)
    blobs.delete(graph)
    for _ in range(3):
        with pytest.raises(ModelNotFoundError, match="not whole"):
            cache.current("churn")
    assert registry.fetched == 3
    blobs.write(graph, b"x")
    for _ in range(3):
        with pytest.raises(PackageInvalidError, match="not the file that was registered"):
            cache.current("churn")
    assert registry.fetched == 4
    blobs.write(graph, content)
    assert cache.load(cache.resolve("churn")).digest == cache.resolve("churn").digest


def test_a_registry_out_of_reach_is_no_outage(cache, registry, caplog):
    """What was resolved before goes on serving, for requests and for runs, with a warning; news follow later."""
    first = cache.current("churn")
    registry.set_alias("churn", "champion", 2)
    registry.reachable = False
    with caplog.at_level(logging.WARNING):
        assert cache.current("churn") == first
        assert cache.resolve("churn") == first.version
    assert "what churn means cannot be looked up, so it stays churn@1: models: out of reach" in caplog.text
    with pytest.raises(StorageUnavailableError):
        cache.current("churn@challenger")  # never resolved before
    registry.reachable = True
    assert cache.current("churn").version.version == 2


def test_an_alias_that_is_taken_away_is_served_no_more(cache, registry):
    """Its callers are told; the model's other names are served."""
    cache.current("churn@challenger")
    registry.remove_alias("churn", "challenger")
    with pytest.raises(ModelNotFoundError, match="no churn@challenger"):
        cache.current("churn@challenger")
    assert cache.current("churn").version.version == 1


def test_an_alias_left_pointing_at_nothing_by_other_means_changes_nothing(cache, blobs):
    """Written by hand to a version that is not there: the one before goes on serving."""
    cache.current("churn")
    blobs.write(BlobPath("models", "churn/aliases.json"), b'{"champion": 9}')
    assert cache.current("churn").version.version == 1
    blobs.write(BlobPath("models", "churn/aliases.json"), b"[")
    assert cache.current("churn").version.version == 1
    with pytest.raises(PackageInvalidError):
        cache.current("churn@challenger")


def test_few_references_are_remembered(registry, tmp_path, monkeypatch):
    """Beyond MODELS_OPEN the reference used longest ago is let go, and taken up anew when it is wanted."""
    monkeypatch.setattr(model_store.cache, "MODELS_OPEN", 1)
    cache = ModelCache(registry, tmp_path / "cache", alias_seconds=60)
    for reference in ("churn", "churn@challenger", "churn"):
        cache.current(reference)
        assert list(cache._posts) == [ModelReference.parse(reference)]


def test_every_answer_belongs_to_one_version_while_the_alias_moves(cache, registry, rows):
    """A thousand predictions on eight threads during a hundred moves: none fails, none is of two versions."""
    batch = rows(50)
    expected = {n: cache.load(registry.resolve(f"churn@{n}")).predict(batch) for n in (1, 2, 3)}
    assert len({str(answers) for answers in expected.values()}) == 3
    answered = threading.Semaphore(0)

    def move() -> None:
        for turn in range(100):
            registry.set_alias("churn", "champion", 1 + turn % 3)
            for _ in range(10):
                assert answered.acquire(timeout=60)

    def predict(_: int) -> int:
        try:
            served = cache.current("churn")
            assert served.model.predict(batch).equals(expected[served.version.version])
            return served.version.version
        finally:
            answered.release()

    with ThreadPoolExecutor(9) as pool:
        moving = pool.submit(move)
        seen = list(pool.map(predict, range(1000)))
        moving.result()
    assert set(seen) == {1, 2, 3}
    assert cache.current("churn").version.version == 1
