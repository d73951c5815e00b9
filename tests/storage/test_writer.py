"""Writing blobs through staged blocks, on both backends."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import BlobNotFoundError, BlocksMissingError, ConditionFailedError
from storage import ANY_ETAG, BlobPath, BlobReader, StagedWriter, Storage, block_id

RUN = "0123456789abcdef"


@dataclass
class RecordingStore:
    """Keeps staged blocks, and becomes a blob."""

    staged: dict[str, bytes] = field(default_factory=dict)
    content: bytes | None = None

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        assert path == PATH
        self.staged[block_id] = bytes(data)

    def commit_blocks(self, path: BlobPath, block_ids: list[str], **_: object) -> str:
        assert path == PATH
        self.content = b"".join(self.staged[block_id] for block_id in block_ids)
        return "0x1"


PATH = BlobPath("scored", "churn/a.csv")


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=12), block_bytes=st.integers(1, 30))
def test_blocks_of_one_size(pieces: list[bytes], block_bytes: int) -> None:
    """However data arrives, it is staged in blocks of one size, the last one maybe shorter, and none empty."""
    store = RecordingStore()
    writer = StagedWriter(store, PATH, prefix=RUN, block_bytes=block_bytes)
    for piece in pieces:
        assert writer.write(piece) == len(piece)
    assert writer.tell() == len(b"".join(pieces))
    assert all(len(block) == block_bytes for block in store.staged.values())
    writer.commit()
    assert store.content == b"".join(pieces)
    assert all(store.staged.values())


def test_written_then_read(storage: Storage, path: BlobPath) -> None:
    """What was written is the blob, byte for byte, with its metadata, after the commit and not before."""
    with StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=1_000) as writer:
        for number in range(1_000):
            writer.write(b"%d," % number)
        with pytest.raises(BlobNotFoundError):
            storage.blobs.stat(path)
        etag = writer.commit(if_none_match=ANY_ETAG, metadata={"run": RUN})
    assert storage.blobs.read(path, if_match=etag) == b"".join(b"%d," % number for number in range(1_000))
    assert storage.blobs.stat(path).metadata == {"run": RUN}


def test_nothing_written(storage: Storage, path: BlobPath) -> None:
    """A commit of nothing makes an empty blob."""
    StagedWriter(storage.blobs, path, prefix=RUN).commit()
    assert storage.blobs.read(path) == b""


def test_close_without_commit(storage: Storage, path: BlobPath) -> None:
    """A writer that is closed or fails before its commit leaves nothing to see, and the old version as it was."""
    etag = storage.blobs.write(path, b"old")

    def fail() -> None:
        with StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=10) as writer:
            writer.write(b"x" * 25)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert storage.blobs.read(path, if_match=etag) == b"old"


def test_commit_after_close(storage: Storage, path: BlobPath) -> None:
    """A writer that somebody has closed can be committed, but not written to."""
    writer = StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=10)
    writer.write(b"x" * 25)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")
    writer.commit()
    assert storage.blobs.stat(path).size == 25


def test_one_commit_only(storage: Storage, path: BlobPath) -> None:
    """A committed writer takes no more bytes and no second commit."""
    writer = StagedWriter(storage.blobs, path, prefix=RUN)
    writer.commit()
    with pytest.raises(ValueError, match="committed"):
        writer.write(b"x")
    with pytest.raises(ValueError, match="committed"):
        writer.commit()


def test_commit_that_loses(storage: Storage, path: BlobPath) -> None:
    """A commit whose condition does not hold can be tried again under another one."""
    writer = StagedWriter(storage.blobs, path, prefix=RUN)
    writer.write(b"mine")
    etag = storage.blobs.write(path, b"theirs")
    with pytest.raises(ConditionFailedError):
        writer.commit(if_match="0x1")
    writer.commit(if_match=etag)
    assert storage.blobs.read(path) == b"mine"


def test_blocks_lost_to_another_commit(storage: Storage, path: BlobPath) -> None:
    """A writer whose blocks another commit has dropped says so."""
    first, second = (StagedWriter(storage.blobs, path, prefix=prefix) for prefix in ("a" * 16, "b" * 16))
    for writer in (first, second):
        writer.write(b"rows")
    first._flush_block()
    second.commit()
    with pytest.raises(BlocksMissingError):
        first.commit()


def test_writer_takes_any_buffer(storage: Storage, path: BlobPath) -> None:
    """Bytes, bytearrays and memoryviews of any item size are written as bytes, and the caller may reuse them."""
    writer = StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=8)
    buffer = bytearray(b"0123")
    assert writer.write(buffer) == 4
    buffer[:] = b"xxxx"
    assert writer.write(memoryview(bytes(24)).cast("I")) == 24
    assert writer.writable()
    writer.commit()
    assert storage.blobs.read(path) == b"0123" + bytes(24)


def test_parquet_through_a_writer(storage: Storage, path: BlobPath) -> None:
    """Parquet that pyarrow writes through a writer is read back through a reader."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": range(50_000), "score": [n / 7 for n in range(50_000)]})
    with StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=100_000) as writer:
        with pq.ParquetWriter(pa.PythonFile(writer, mode="w"), table.schema) as parquet:
            for batch in table.to_batches(max_chunksize=10_000):
                parquet.write_batch(batch)
        writer.commit()
    reader = BlobReader(storage.blobs, storage.blobs.stat(path))
    assert pq.read_table(pa.PythonFile(reader, mode="r")) == table


def test_csv_through_a_writer(storage: Storage, path: BlobPath) -> None:
    """CSV is written by pyarrow into a writer that it is given as it is."""
    pa = pytest.importorskip("pyarrow")
    csv = pytest.importorskip("pyarrow.csv")
    table = pa.table({"id": range(1_000)})
    writer = StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=1_000)
    csv.write_csv(table, writer)
    writer.commit()
    assert storage.blobs.read(path).splitlines()[-1] == b"999"


def test_block_ids_name_run_place_and_content() -> None:
    """Block ids are the same for the same run, place and content, different for any other, and of one length."""
    ids = {
        block_id(prefix, sequence, data)
        for prefix in (RUN, RUN[::-1])
        for sequence in (0, 1, 49_999)
        for data in (b"rows", b"other", b"")
    }
    assert len(ids) == 18
    assert len({len(name) for name in ids}) == 1
    assert block_id(RUN, 1, b"rows") == block_id(RUN, 1, memoryview(b"rows"))
    assert all(name.isascii() and len(name) <= 64 for name in ids)
    assert len(block_id("r" * 32, 49_999, b"")) <= 64
    assert sorted(block_id(RUN, n, b"") for n in range(20)) == [block_id(RUN, n, b"") for n in range(20)]


@pytest.mark.parametrize(("prefix", "sequence"), [("r" * 33, 0), ("ü", 0), (RUN, -1), (RUN, 50_000)])
def test_block_ids_out_of_bounds(prefix: str, sequence: int) -> None:
    """A prefix too long, or a block more than Azure can hold, is a mistake of the caller's."""
    with pytest.raises(ValueError, match="block"):
        block_id(prefix, sequence, b"")


def test_a_writer_that_is_given_up_leaves_no_blob(storage: Storage, path: BlobPath) -> None:
    """Nor does it take away what there was before, or what it has committed itself."""
    given_up = StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=10)
    given_up.write(bytes(25))
    given_up.discard()
    assert given_up.closed
    with pytest.raises(BlobNotFoundError):
        storage.blobs.stat(path)
    with StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=10) as writer:
        writer.write(b"0123456789abc")
        writer.commit()
        writer.discard()
    again = StagedWriter(storage.blobs, path, prefix=RUN, block_bytes=10)
    again.write(bytes(25))
    again.discard()
    again.discard()
    assert storage.blobs.read(path) == b"0123456789abc"
