"""Reading blobs as files and as streams, on both backends."""

import contextvars
import io
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import BlobNotFoundError, ConditionFailedError
from storage import Blob, BlobPath, BlobReader, Storage, stream
from storage.reader import read_ahead

GONE = (BlobNotFoundError, ConditionFailedError)
SIZE = 100_003
DATA = random.Random(7).randbytes(SIZE)  # noqa: S311  # no secret


@pytest.fixture(scope="module")
def blob(storage: Storage) -> Blob:
    """Give a blob that holds DATA."""
    container = f"test-{uuid4().hex}"
    storage.blobs.create_container(container)
    path = BlobPath(container, "data.bin")
    storage.blobs.write(path, DATA)
    return storage.blobs.stat(path)


@dataclass
class RecordingStore:
    """Serves DATA and keeps what it was asked for."""

    reads: list[tuple[int, int]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """The caller's context variable, at every read."""
    fail_from: int = SIZE + 1
    """Reads at this offset or after it fail."""
    finished: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    blob: Blob = Blob(BlobPath("incoming", "data.bin"), SIZE, "0x1", None)  # noqa: RUF009  # it is frozen

    def read(self, path: BlobPath, *, offset: int, length: int, if_match: str) -> bytes:
        assert (path, if_match) == (self.blob.path, "0x1")
        self.reads.append((offset, length))
        self.seen.append(INVOCATION.get(""))
        self.finished.release()
        if offset >= self.fail_from:
            raise ConditionFailedError("replaced")
        return DATA[offset : offset + length]


INVOCATION: contextvars.ContextVar[str] = contextvars.ContextVar("invocation")


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("storage-stream")]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 5_000)),
        st.tuples(st.just("readinto"), st.integers(0, 5_000)),
        st.tuples(st.just("seek"), st.integers(0, SIZE + 100), st.just(io.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-SIZE, 100), st.just(io.SEEK_END)),
        st.tuples(st.just("seek"), st.integers(0, 1_000), st.just(io.SEEK_CUR)),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(steps=STEPS, read_ahead=st.sampled_from([1, 100, 4_096, 1_000_000]))
def test_reader_is_a_file(storage: Storage, blob: Blob, steps: list[tuple[object, ...]], read_ahead: int) -> None:
    """Whatever one reads and wherever one seeks, a reader gives what a file would."""
    with BlobReader(storage.blobs, blob, read_ahead=read_ahead) as reader:
        model = io.BytesIO(DATA)
        for name, *arguments in steps:
            if name == "readinto":
                ours, theirs = bytearray(arguments[0]), bytearray(arguments[0])
                assert reader.readinto(ours) == model.readinto(theirs)
                assert ours == theirs
            else:
                assert getattr(reader, name)(*arguments) == getattr(model, name)(*arguments)
            assert reader.tell() == model.tell()


def test_reader_says_what_it_is(storage: Storage, blob: Blob) -> None:
    """A reader is readable, seekable and not writable, knows its size, and is of no use once closed."""
    reader = BlobReader(storage.blobs, blob)
    assert reader.readable()
    assert reader.seekable()
    assert not reader.writable()
    assert reader.size == SIZE
    with pytest.raises(ValueError, match="seek"):
        reader.seek(-1)
    assert reader.readall() == DATA
    reader.close()
    for use in (reader.read, reader.tell, lambda: reader.seek(0), lambda: reader.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_tiny_reads_share_a_request() -> None:
    """Many tiny reads in a row cost one request for each `read_ahead` bytes; a long read costs one."""
    store = RecordingStore()
    reader = BlobReader(store, store.blob, read_ahead=50_000)
    assert b"".join(reader.read(100) for _ in range(600)) == DATA[:60_000]
    assert store.reads == [(0, 50_000), (50_000, 50_000)]
    store.reads.clear()
    reader.seek(0)
    assert reader.read(80_000) == DATA[:80_000]
    assert store.reads == [(0, 80_000)]


def test_reader_asks_for_nothing_past_the_end() -> None:
    """Requests end where the blob ends, and there are none after it."""
    store = RecordingStore()
    reader = BlobReader(store, store.blob, read_ahead=50_000)
    reader.seek(-10, io.SEEK_END)
    assert reader.read(100) == DATA[-10:]
    assert reader.read(100) == b""
    assert store.reads == [(SIZE - 10, 10)]


def test_reader_keeps_to_its_version(storage: Storage, path: BlobPath) -> None:
    """A reader of a replaced blob serves what it holds, then fails; it never mixes versions."""
    storage.blobs.write(path, b"a" * 10_000)
    reader = BlobReader(storage.blobs, storage.blobs.stat(path), read_ahead=1_000)
    assert reader.read(10) == b"a" * 10
    storage.blobs.write(path, b"b" * 10_000)
    assert reader.read(900) == b"a" * 900
    with pytest.raises(ConditionFailedError):
        reader.read(900)
    storage.blobs.delete(path)
    with pytest.raises(GONE):
        reader.read(900)


def test_a_failed_read_loses_nothing() -> None:
    """After a read that failed, the position is where it was, and the next read gives the right bytes."""
    store = RecordingStore(fail_from=1_000)
    reader = BlobReader(store, store.blob, read_ahead=1_000)
    assert reader.read(900) == DATA[:900]
    for _ in range(2):
        with pytest.raises(ConditionFailedError):
            reader.read(200)
        assert reader.tell() == 900
    store.fail_from = SIZE + 1
    assert reader.read(200) == DATA[900:1_100]


def test_reader_under_a_buffered_reader(storage: Storage, blob: Blob) -> None:
    """The standard library's own readers work on top of a reader."""
    with io.BufferedReader(BlobReader(storage.blobs, blob), 4_096) as buffered:
        assert buffered.read() == DATA


def test_parquet_through_a_reader(storage: Storage, path: BlobPath) -> None:
    """Parquet is read by pyarrow through a reader, and our errors come out of it as they are."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": range(50_000), "name": [f"customer {n}" for n in range(50_000)]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=5_000)
    storage.blobs.write(path, sink.getvalue())
    reader = BlobReader(storage.blobs, storage.blobs.stat(path), read_ahead=10_000)
    file = pq.ParquetFile(pa.PythonFile(reader, mode="r"))
    assert file.read() == table
    assert file.read_row_group(3, columns=["name"]).num_rows == 5_000
    storage.blobs.write(path, sink.getvalue())
    with pytest.raises(ConditionFailedError):
        file.read_row_group(7)


@pytest.mark.parametrize("chunk", [1_000, 33_333, 50_001, SIZE - 1, SIZE, SIZE + 1])
@pytest.mark.parametrize("offset", [0, 1, 50_000, SIZE - 1, SIZE, SIZE + 5])
def test_stream_is_the_blob(offset: int, chunk: int) -> None:
    """A stream gives every byte from its offset on, once and in order, in chunks of the size asked for."""
    store = RecordingStore()
    chunks = list(stream(store, store.blob, chunk=chunk, offset=offset))
    assert b"".join(chunks) == DATA[offset:]
    assert all(len(data) == chunk for data in chunks[:-1])
    assert b"" not in chunks
    assert len(store.reads) == len(chunks)
    assert stream_threads() == []


def test_stream_on_both_backends(storage: Storage, blob: Blob) -> None:
    """A stream of a stored blob is byte-exact."""
    assert b"".join(stream(storage.blobs, blob, chunk=7_777, offset=3)) == DATA[3:]
    assert stream_threads() == []


def test_stream_of_an_empty_blob(storage: Storage, path: BlobPath) -> None:
    """An empty blob streams as no chunks at all."""
    storage.blobs.write(path, b"")
    assert list(stream(storage.blobs, storage.blobs.stat(path))) == []


def test_stream_is_one_chunk_ahead() -> None:
    """While one chunk is worked on, the next one is read, and no more."""
    store = RecordingStore()
    chunks = stream(store, store.blob, chunk=10_000)
    assert store.reads == []
    for taken in range(1, 6):
        next(chunks)
        while len(store.reads) < taken + 1:
            assert store.finished.acquire(timeout=10)
        assert len(store.reads) == taken + 1
    chunks.close()
    assert len(store.reads) == 6


def test_closing_a_stream_ends_its_thread(storage: Storage, blob: Blob) -> None:
    """A stream that is closed early leaves no thread behind."""
    chunks = stream(storage.blobs, blob, chunk=1_000)
    next(chunks)
    assert stream_threads() != []
    chunks.close()
    assert stream_threads() == []


def test_a_consumer_that_fails_ends_the_thread(storage: Storage, blob: Blob) -> None:
    """A loop over a stream that is left by an exception leaves no thread behind either."""

    def consume() -> None:
        for _ in stream(storage.blobs, blob, chunk=1_000):
            raise RuntimeError("the consumer's own")

    with pytest.raises(RuntimeError, match="own"):
        consume()
    assert stream_threads() == []


def test_a_failing_prefetch_is_raised_after_what_came_before() -> None:
    """A chunk that cannot be read raises where it was due, after the chunks before it."""
    store = RecordingStore(fail_from=30_000)
    chunks = stream(store, store.blob, chunk=10_000)
    received = [next(chunks) for _ in range(3)]
    with pytest.raises(ConditionFailedError, match="replaced"):
        next(chunks)
    assert b"".join(received) == DATA[:30_000]
    assert stream_threads() == []


def test_stream_keeps_to_its_version(storage: Storage, path: BlobPath) -> None:
    """A stream of a blob that is replaced meanwhile ends with an error; it never mixes versions."""
    storage.blobs.write(path, b"a" * 10_000)
    chunks = stream(storage.blobs, storage.blobs.stat(path), chunk=1_000)
    received = [next(chunks)]
    storage.blobs.write(path, b"b" * 10_000)
    with pytest.raises(ConditionFailedError):
        received.extend(chunks)
    assert set(b"".join(received)) == {ord("a")}
    assert stream_threads() == []


def test_prefetching_keeps_the_callers_context() -> None:
    """Reads on the background thread see the caller's context variables, as the host's logs need it."""
    store = RecordingStore()
    token = INVOCATION.set("invocation 7")
    try:
        list(stream(store, store.blob, chunk=10_000))
    finally:
        INVOCATION.reset(token)
    assert set(store.seen) == {"invocation 7"}


def test_many_readers_of_one_blob(storage: Storage, blob: Blob, race: Callable[..., object]) -> None:
    """Sixteen threads read one blob, each with a reader of its own."""

    def read(number: int) -> bool:
        reader = BlobReader(storage.blobs, blob, read_ahead=5_000)
        reader.seek(number * 1_000)
        return reader.read(7_000) == DATA[number * 1_000 : number * 1_000 + 7_000]

    outcomes = race(16, read)
    assert outcomes.returned == [True] * 16


def test_parts_are_read_ahead_in_order() -> None:
    """Any parts come in the order they were asked for; a single one, or none, needs no thread."""
    parts = [range(5, 9), range(3), range(100, 100), range(7, 12)]
    assert list(read_ahead(lambda part: DATA[part.start : part.stop], parts)) == [
        DATA[part.start : part.stop] for part in parts
    ]
    threads = []
    assert list(read_ahead(lambda _: threads.append(threading.current_thread()) or b"x", parts[:1])) == [b"x"]
    assert threads == [threading.current_thread()]
    assert list(read_ahead(lambda _: b"x", [])) == []
