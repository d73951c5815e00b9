"""What every blob store promises, on both backends."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError, NameInvalidError
from storage import ANY_ETAG, Blob, BlobPath, Storage

GONE = (
    BlobNotFoundError,
    ConditionFailedError,
)  # Azure says the former for a blob that is gone, Azurite the latter


def test_container_made_twice(storage: Storage, path: BlobPath) -> None:
    """Making a container again leaves it, and what is in it, as it is."""
    storage.blobs.write(path, b"rows")
    storage.blobs.create_container(path.container)
    assert storage.blobs.read(path) == b"rows"


def test_write_then_stat(storage: Storage, path: BlobPath) -> None:
    """A written blob has its size, the ETag that write returned, the time, and its metadata."""
    metadata = {"run_id": "0f3a", "model": "churn@3", "note": 'a "quoted" text, with = and ;', "empty": ""}
    etag = storage.blobs.write(path, b"id,age\n", metadata=metadata, content_type="text/csv")
    blob = storage.blobs.stat(path)
    assert blob == Blob(path, 7, etag, blob.modified, metadata)
    assert etag.strip('"') == etag != ""
    assert abs(blob.modified - datetime.now(UTC)) < timedelta(minutes=1)


def test_overwrite_replaces_everything(storage: Storage, path: BlobPath) -> None:
    """A second write replaces content, ETag and metadata, even where the content is the same."""
    first = storage.blobs.write(path, b"rows", metadata={"run": "1"})
    second = storage.blobs.write(path, b"rows")
    assert first != second
    assert storage.blobs.stat(path).etag == second
    assert storage.blobs.stat(path).metadata == {}


@pytest.mark.parametrize(
    "metadata", [{"Upper": "x"}, {"a-b": "x"}, {"ä": "x"}, {"k": "ü"}, {"k": " x"}, {"k": "a\nb"}]
)
def test_metadata_that_headers_cannot_carry(storage: Storage, path: BlobPath, metadata: dict[str, str]) -> None:
    """Metadata that would not come back unchanged is refused, and nothing is written."""
    with pytest.raises(ValueError, match="metadata"):
        storage.blobs.write(path, b"", metadata=metadata)
    with pytest.raises(ValueError, match="metadata"):
        storage.blobs.commit_blocks(path, [], metadata=metadata)
    with pytest.raises(BlobNotFoundError):
        storage.blobs.stat(path)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, b"0123456789"),
        (4, None, b"456789"),
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (9, 1, b"9"),
        (8, 100, b"89"),
        (10, None, b""),
        (10, 1, b""),
        (10_000, 5, b""),
        (10_000, None, b""),
        (3, 0, b""),
        (0, 0, b""),
    ],
)
def test_ranged_reads(storage: Storage, path: BlobPath, offset: int, length: int | None, expected: bytes) -> None:
    """A read gives the bytes of its range, fewer at the end, none past it."""
    etag = storage.blobs.write(path, b"0123456789")
    assert storage.blobs.read(path, offset=offset, length=length) == expected
    assert storage.blobs.read(path, offset=offset, length=length, if_match=etag) == expected
    with pytest.raises(ConditionFailedError):
        storage.blobs.read(path, offset=offset, length=length, if_match="0x1")


def test_empty_blob(storage: Storage, path: BlobPath) -> None:
    """An empty blob exists, has size 0, and reads as b"" wherever one reads."""
    storage.blobs.write(path, b"")
    assert storage.blobs.stat(path).size == 0
    assert storage.blobs.read(path) == b""
    assert storage.blobs.read(path, offset=7) == b""
    assert storage.blobs.read(path, offset=0, length=100) == b""


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1)])
def test_negative_ranges(storage: Storage, path: BlobPath, offset: int, length: int | None) -> None:
    """A negative offset or length is a mistake of the caller's."""
    storage.blobs.write(path, b"0123456789")
    with pytest.raises(ValueError, match="negative"):
        storage.blobs.read(path, offset=offset, length=length)


def test_long_read(storage: Storage, path: BlobPath) -> None:
    """A read of many megabytes gives every byte in its place."""
    data = bytes(range(256)) * (9 * 1024 * 1024 // 256)
    storage.blobs.write(path, data)
    assert storage.blobs.read(path) == data
    assert (
        storage.blobs.read(path, offset=12_345, length=8 * 1024 * 1024) == data[12_345 : 12_345 + 8 * 1024 * 1024]
    )


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda blobs, path: blobs.stat(path), id="stat"),
        pytest.param(lambda blobs, path: blobs.read(path), id="read"),
        pytest.param(lambda blobs, path: blobs.read(path, offset=5), id="read-offset"),
        pytest.param(lambda blobs, path: blobs.read(path, length=0), id="read-nothing"),
        pytest.param(lambda blobs, path: blobs.poll(path), id="poll"),
        pytest.param(lambda blobs, path: blobs.poll(path, "0x1"), id="poll-known"),
        pytest.param(lambda blobs, path: blobs.delete(path), id="delete"),
    ],
)
def test_missing_blob(storage: Storage, path: BlobPath, use: Callable[..., object]) -> None:
    """Whatever needs a blob says BlobNotFoundError, naming it, if there is no such blob or container."""
    for missing in (path, BlobPath("no-such-container", "a.csv")):
        with pytest.raises(BlobNotFoundError, match=missing.container) as caught:
            use(storage.blobs, missing)
        assert caught.value.file in {str(missing), None}


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda blobs, path: blobs.write(path, b""), id="write"),
        pytest.param(lambda blobs, path: blobs.stage_block(path, "0", b"x"), id="stage"),
        pytest.param(lambda blobs, path: blobs.commit_blocks(path, []), id="commit"),
        pytest.param(lambda blobs, path: list(blobs.list(path.container)), id="list"),
    ],
)
def test_missing_container(storage: Storage, use: Callable[..., object]) -> None:
    """Writing to or listing a container that was never made says so."""
    with pytest.raises(BlobNotFoundError, match="container"):
        use(storage.blobs, BlobPath("no-such-container", "a.csv"))


@pytest.mark.parametrize("content", [b"{}", b""])
def test_poll(storage: Storage, path: BlobPath, content: bytes) -> None:
    """A poll brings content and ETag of a version that is not known yet, and nothing while it is."""
    first = storage.blobs.write(path, content)
    assert storage.blobs.poll(path) == storage.blobs.poll(path, "0x1") == (first, content)
    assert storage.blobs.poll(path, first) is None
    second = storage.blobs.write(path, content)
    assert storage.blobs.poll(path, first) == (second, content)
    storage.blobs.delete(path)
    with pytest.raises(BlobNotFoundError):
        storage.blobs.poll(path, second)


def test_if_none_match(storage: Storage, path: BlobPath) -> None:
    """If-None-Match lets the first write through and no other, and the first one's content stays."""
    storage.blobs.write(path, b"first", if_none_match=ANY_ETAG)
    with pytest.raises(ConditionFailedError, match=r"customers\.csv"):
        storage.blobs.write(path, b"second", if_none_match=ANY_ETAG)
    assert storage.blobs.read(path) == b"first"


def test_if_match(storage: Storage, path: BlobPath) -> None:
    """If-Match lets a write through that knows the current version, and no other."""
    old = storage.blobs.write(path, b"old")
    new = storage.blobs.write(path, b"new", if_match=old)
    with pytest.raises(ConditionFailedError):
        storage.blobs.write(path, b"late", if_match=old)
    assert storage.blobs.read(path, if_match=new) == b"new"
    with pytest.raises(ConditionFailedError):
        storage.blobs.read(path, if_match=old)


def test_if_match_without_a_blob(storage: Storage, path: BlobPath) -> None:
    """If-Match never holds where there is no blob."""
    with pytest.raises(ConditionFailedError):
        storage.blobs.write(path, b"", if_match="0x1")
    with pytest.raises(ConditionFailedError):
        storage.blobs.commit_blocks(path, [], if_match="0x1")
    with pytest.raises(GONE):
        storage.blobs.read(path, if_match="0x1")
    with pytest.raises(GONE):
        storage.blobs.delete(path, if_match="0x1")


def test_delete(storage: Storage, path: BlobPath) -> None:
    """A deleted blob is gone, metadata and all; a delete with the ETag of another version does nothing."""
    old = storage.blobs.write(path, b"rows", metadata={"run": "1"})
    new = storage.blobs.write(path, b"rows", metadata={"run": "2"})
    with pytest.raises(ConditionFailedError):
        storage.blobs.delete(path, if_match=old)
    assert storage.blobs.stat(path).metadata == {"run": "2"}
    storage.blobs.delete(path, if_match=new)
    with pytest.raises(BlobNotFoundError):
        storage.blobs.stat(path)
    storage.blobs.write(path, b"again", if_none_match=ANY_ETAG)
    assert storage.blobs.stat(path).metadata == {}


def test_blocks_become_a_blob(storage: Storage, path: BlobPath) -> None:
    """Staged blocks are invisible until a commit makes them the blob, in the order of the commit."""
    storage.blobs.stage_block(path, "block-2", memoryview(b"--two--")[2:-2])
    storage.blobs.stage_block(path, "block-1", b"one,")
    with pytest.raises(BlobNotFoundError):
        storage.blobs.stat(path)
    assert list(storage.blobs.list(path.container)) == []
    etag = storage.blobs.commit_blocks(
        path, ["block-1", "block-2"], if_none_match=ANY_ETAG, metadata={"run": "1"}, content_type="text/csv"
    )
    assert storage.blobs.read(path, if_match=etag) == b"one,two"
    assert storage.blobs.stat(path).metadata == {"run": "1"}


def test_blob_stays_until_the_commit(storage: Storage, path: BlobPath) -> None:
    """Staging over a blob leaves the blob as it is, ETag and all, until the commit replaces it."""
    etag = storage.blobs.write(path, b"old", metadata={"run": "1"})
    storage.blobs.stage_block(path, "0", b"new")
    assert storage.blobs.read(path, if_match=etag) == b"old"
    storage.blobs.commit_blocks(path, ["0"], if_match=etag)
    assert storage.blobs.read(path) == b"new"
    assert storage.blobs.stat(path).metadata == {}


def test_block_staged_again(storage: Storage, path: BlobPath) -> None:
    """Staging an id again replaces the block."""
    storage.blobs.stage_block(path, "0", b"first")
    storage.blobs.stage_block(path, "0", b"second")
    storage.blobs.commit_blocks(path, ["0"])
    assert storage.blobs.read(path) == b"second"


def test_commit_drops_other_blocks(storage: Storage, path: BlobPath) -> None:
    """A commit uses up its blocks and drops all others: committing either kind again says BlocksMissingError."""
    storage.blobs.stage_block(path, "0", b"mine")
    storage.blobs.stage_block(path, "1", b"theirs")
    storage.blobs.commit_blocks(path, ["0"])
    for block_id in ("0", "1"):
        with pytest.raises(BlocksMissingError) as caught:
            storage.blobs.commit_blocks(path, [block_id])
        assert caught.value.retryable
    assert storage.blobs.read(path) == b"mine"


def test_commit_of_blocks_never_staged(storage: Storage, path: BlobPath) -> None:
    """A commit that lists a block nobody staged fails as a whole and keeps the staged ones."""
    storage.blobs.stage_block(path, "0", b"mine")
    with pytest.raises(BlocksMissingError):
        storage.blobs.commit_blocks(path, ["0", "1"])
    with pytest.raises(BlobNotFoundError):
        storage.blobs.stat(path)
    storage.blobs.commit_blocks(path, ["0"])
    assert storage.blobs.read(path) == b"mine"


def test_conditional_commit(storage: Storage, path: BlobPath) -> None:
    """A commit whose condition does not hold changes nothing, and its blocks stay staged for a second look."""
    etag = storage.blobs.write(path, b"theirs")
    storage.blobs.stage_block(path, "0", b"mine")
    with pytest.raises(ConditionFailedError):
        storage.blobs.commit_blocks(path, ["0"], if_none_match=ANY_ETAG)
    with pytest.raises(ConditionFailedError):
        storage.blobs.commit_blocks(path, ["0"], if_match="0x1")
    assert storage.blobs.read(path, if_match=etag) == b"theirs"
    storage.blobs.commit_blocks(path, ["0"], if_match=etag)
    assert storage.blobs.read(path) == b"mine"


def test_commit_of_nothing(storage: Storage, path: BlobPath) -> None:
    """A commit of no blocks makes an empty blob."""
    storage.blobs.commit_blocks(path, [])
    assert storage.blobs.stat(path).size == 0


@pytest.mark.parametrize("block_id", ["", "a" * 65, "ü", "a b", "a\n"])
def test_block_ids_out_of_bounds(storage: Storage, path: BlobPath, block_id: str) -> None:
    """A block id is 1 to 64 printable ASCII characters."""
    with pytest.raises(ValueError, match="block id"):
        storage.blobs.stage_block(path, block_id, b"x")


def test_longest_block_id(storage: Storage, path: BlobPath) -> None:
    """A block id may have 64 characters, of any kind that can be printed."""
    block_id = "/+=%?#&<>\"'" + "x" * 53
    storage.blobs.stage_block(path, block_id, b"rows")
    storage.blobs.commit_blocks(path, [block_id])
    assert storage.blobs.read(path) == b"rows"


def test_list_is_sorted_by_whole_names(storage: Storage, container: str) -> None:
    """A listing is ordered by whole names, shows sizes and current ETags, and no metadata."""
    names = [
        "b/1.csv",
        "a/b/c.csv",
        "a-b.csv",
        "a.csv",
        "a/b.csv",
        "a0.csv",
        "B.csv",
        "ab/c.csv",
        "a/b-c/d.csv",
        "é.csv",
    ]
    etags = {}
    for size, name in enumerate(names):
        etags[name] = storage.blobs.write(BlobPath(container, name), b"x" * size, metadata={"k": "v"})
    listed = list(storage.blobs.list(container))
    assert [blob.path.name for blob in listed] == sorted(names)
    assert {blob.path.name: blob.etag for blob in listed} == etags
    assert {blob.path.name: blob.size for blob in listed} == {name: size for size, name in enumerate(names)}
    assert all(blob.metadata == {} and blob.modified.tzinfo is not None for blob in listed)


def test_list_with_metadata(storage: Storage, container: str) -> None:
    """A listing that is asked for metadata has what `stat` says of each blob, long texts and all."""
    notes = {
        "a.csv": {"note": json.dumps({"name": "Zürich, <b>&amp;", "long": "x" * 6000})},
        "a/b": {"k": ""},
        "b": {},
    }
    for name, metadata in notes.items():
        storage.blobs.write(BlobPath(container, name), b"rows", metadata=metadata)
    listed = list(storage.blobs.list(container, "a", metadata=True))
    assert [(blob.path.name, blob.metadata) for blob in listed] == [
        ("a.csv", notes["a.csv"]),
        ("a/b", notes["a/b"]),
    ]
    assert listed == [storage.blobs.stat(blob.path) for blob in listed]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["a/b/c", "a/bc", "ab", "b"]),
        ("a", ["a/b/c", "a/bc", "ab"]),
        ("a/", ["a/b/c", "a/bc"]),
        ("a/b", ["a/b/c", "a/bc"]),
        ("a/b/", ["a/b/c"]),
        ("a/b/c", ["a/b/c"]),
        ("a/b/c/", []),
        ("x", []),
        ("A", []),
        ("../", []),
    ],
)
def test_list_by_prefix(storage: Storage, container: str, prefix: str, expected: list[str]) -> None:
    """A prefix is one of names, not of folders: it may end within a folder's name, and matches case."""
    for name in ("b", "ab", "a/bc", "a/b/c"):
        storage.blobs.write(BlobPath(container, name), b"")
    assert [blob.path.name for blob in storage.blobs.list(container, prefix)] == expected


NAMES = [
    "with blank.csv",
    "  blanks .csv  x",
    "hash#tag.csv",
    "what?.csv",
    "100%.csv",
    "100%25 %2F %2e%2e.csv",
    "a+b&c=d;e,f.csv",
    "quote'\"<>|*:.csv",
    "(round) [square] {curly} ~!@$^`.csv",
    ".hidden/.csv",
    "...",
    "UPPER/lower.CSV",
    "Zürich/日本語/😀.csv",
    "cafe\u0301/nfd.csv",
    "caf\u00e9/nfc.csv",
    "/".join(["d" * 200] * 5) + ".csv",
    "ü" * 120 + ".csv",
    "n" * 255,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names(storage: Storage, container: str, name: str) -> None:
    """Any name people give their files works everywhere, and means that blob alone."""
    path = BlobPath(container, name)
    etag = storage.blobs.write(path, b"rows")
    assert storage.blobs.read(path, if_match=etag) == b"rows"
    assert [blob.path for blob in storage.blobs.list(container)] == [path]
    assert [blob.path for blob in storage.blobs.list(container, name)] == [path]
    storage.blobs.stage_block(path, "0", b"more")
    assert storage.blobs.stat(path).etag != storage.blobs.commit_blocks(path, ["0"])
    storage.blobs.delete(path)
    assert list(storage.blobs.list(container)) == []


def test_unicode_is_not_normalised(storage: Storage, container: str) -> None:
    """Composed and decomposed letters make two names: Azure's rule, and Linux's for folders."""
    names = ["cafe\u0301.csv", "caf\u00e9.csv"]
    for name in names:
        storage.blobs.write(BlobPath(container, name), name.encode())
    assert [blob.path.name for blob in storage.blobs.list(container)] == names
    assert [storage.blobs.read(BlobPath(container, name)).decode() for name in names] == names


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        ".",
        "../x",
        "a/../b",
        "a/./b",
        "a/..",
        "./a",
        "nul\0.csv",
        "line\n.csv",
        "\x7f",
        "\ud800.csv",
        "x" * 1025,
    ],
)
def test_names_refused_everywhere(storage: Storage, container: str, name: str) -> None:
    """A name that HTTP clients would take for another, or that Azure cannot hold, is refused before anything."""
    path = BlobPath(container, name)
    for use in (
        lambda: storage.blobs.write(path, b"x"),
        lambda: storage.blobs.read(path),
        lambda: storage.blobs.stat(path),
        lambda: storage.blobs.delete(path),
        lambda: storage.blobs.stage_block(path, "0", b"x"),
        lambda: storage.blobs.commit_blocks(path, []),
    ):
        with pytest.raises(NameInvalidError) as caught:
            use()
        assert str(caught.value).isprintable()
    assert list(storage.blobs.list(container)) == []


@pytest.mark.parametrize(
    "container", ["", "ab", "Upper", "a_b", "-ab", "ab-", "a--b", "..", "a/b", ".dropscore", "a" * 64]
)
def test_containers_refused_everywhere(storage: Storage, container: str) -> None:
    """A container is named by Azure's rules on both backends."""
    with pytest.raises(NameInvalidError):
        storage.blobs.create_container(container)
    with pytest.raises(NameInvalidError):
        storage.blobs.write(BlobPath(container, "a.csv"), b"")
    with pytest.raises(NameInvalidError):
        list(storage.blobs.list(container))
    with pytest.raises(NameInvalidError):
        storage.queues.create_queue(container)
