"""What blob stores promise to writers that race each other, on both backends."""

from collections.abc import Callable
from typing import Any

import pytest

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError
from storage import ANY_ETAG, Blob, BlobPath, Storage

THREADS = 32


def test_first_write_wins(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """Of 32 writes with If-None-Match one wins, the others are told so, and the winner's content stays."""

    def write(number: int) -> tuple[str, bytes]:
        content = f"writer {number}".encode()
        return storage.blobs.write(path, content, if_none_match=ANY_ETAG), content

    outcomes = race(THREADS, write)
    [(etag, content)] = outcomes.returned
    assert storage.blobs.read(path, if_match=etag) == content
    assert {type(error) for error in outcomes.raised} == {ConditionFailedError}


def test_one_successor(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """Of 32 writes with If-Match on one version one wins."""
    etag = storage.blobs.write(path, b"")
    outcomes = race(THREADS, lambda number: storage.blobs.write(path, b"%d" % number, if_match=etag))
    assert outcomes.returned == [storage.blobs.stat(path).etag]
    assert {type(error) for error in outcomes.raised} == {ConditionFailedError}


def test_first_commit_wins(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """Of 8 conditional commits one wins with its own blocks; the others learn one way or another that they lost."""

    def commit(number: int) -> bytes:
        block_ids = [f"{number}-{part}" for part in range(3)]
        for block_id in block_ids:
            storage.blobs.stage_block(path, block_id, block_id.encode())
        storage.blobs.commit_blocks(path, block_ids, if_none_match=ANY_ETAG)
        return "".join(block_ids).encode()

    outcomes = race(8, commit)
    assert outcomes.returned == [storage.blobs.read(path)]
    assert {type(error) for error in outcomes.raised} <= {ConditionFailedError, BlocksMissingError}
    assert len(outcomes.raised) == 7


def test_writers_of_the_same_blocks(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """Two runs of one job stage the same blocks under the same ids: whoever commits, the blob is whole."""

    def run(_: int) -> None:
        for part in range(8):
            storage.blobs.stage_block(path, f"{part}", b"%d" % part)
        storage.blobs.commit_blocks(path, [f"{part}" for part in range(8)])

    outcomes = race(8, run)
    assert outcomes.returned
    assert {type(error) for error in outcomes.raised} <= {BlocksMissingError}
    assert storage.blobs.read(path) == b"01234567"


def test_readers_see_whole_versions(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """While a blob is being replaced, readers and stats see one version or another, never a mixture."""
    sizes = [10_000 + number for number in range(16)]
    storage.blobs.write(path, b"\0" * sizes[0], metadata={"size": str(sizes[0])})

    def work(number: int) -> Blob | None:
        if number % 2:
            size = sizes[number]
            storage.blobs.write(path, bytes([number]) * size, metadata={"size": str(size)})
            return None
        content = storage.blobs.read(path)
        assert len(content) == sizes[content[0]]
        assert len(set(content)) == 1
        return storage.blobs.stat(path)

    outcomes = race(16, work)
    assert outcomes.raised == []
    assert all(blob.metadata == {"size": str(blob.size)} for blob in outcomes.returned if blob)


def test_one_delete(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """Of 8 deletes of one blob one succeeds, and the others find nothing."""
    storage.blobs.write(path, b"")
    outcomes = race(8, lambda _: storage.blobs.delete(path))
    assert outcomes.returned == [None]
    assert {type(error) for error in outcomes.raised} == {BlobNotFoundError}


def test_many_blobs_at_once(storage: Storage, container: str, race: Callable[..., Any]) -> None:
    """32 threads that write blobs of their own do not disturb each other."""
    paths = [BlobPath(container, f"f{number % 4}/{number}.csv") for number in range(THREADS)]
    outcomes = race(THREADS, lambda number: storage.blobs.write(paths[number], b"%d" % number))
    assert outcomes.raised == []
    assert [blob.path for blob in storage.blobs.list(container)] == sorted(paths)
    assert [storage.blobs.read(path) for path in paths] == [b"%d" % number for number in range(THREADS)]


def test_exclusive_writes_need_no_luck(storage: Storage, path: BlobPath, race: Callable[..., Any]) -> None:
    """A counter kept by read, add and If-Match write loses no addition, as the registry needs it."""
    storage.blobs.write(path, b"0")

    def add(_: int) -> None:
        while True:
            blob = storage.blobs.stat(path)
            try:
                content = storage.blobs.read(path, if_match=blob.etag)
                storage.blobs.write(path, b"%d" % (int(content) + 1), if_match=blob.etag)
            except ConditionFailedError:
                continue
            return

    assert race(6, add).raised == []
    assert storage.blobs.read(path) == b"6"


@pytest.mark.parametrize("lost", ["write", "commit"])
def test_condition_after_a_lost_answer(storage: Storage, path: BlobPath, lost: str) -> None:
    """A conditional write sent twice fails the second time, and the blob shows that it was one's own work."""
    if lost == "commit":  # Azurite takes a blob of staged blocks alone for one that exists when it is written
        storage.blobs.stage_block(path, "0", b"mine")
    for _ in range(2):
        try:
            if lost == "write":
                storage.blobs.write(path, b"mine", if_none_match=ANY_ETAG, metadata={"run": "1"})
            else:
                storage.blobs.commit_blocks(path, ["0"], if_none_match=ANY_ETAG, metadata={"run": "1"})
        except (ConditionFailedError, BlocksMissingError):
            continue
    assert storage.blobs.stat(path).metadata == {"run": "1"}
