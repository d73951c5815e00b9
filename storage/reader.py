"""Reading one version of a blob: as a seekable file, or as a stream of chunks."""

import io
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING

from storage.blobs import Blob, BlobStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class BlobReader(io.RawIOBase):
    """A seekable, read-only file over one version of a blob, for pyarrow and others that want a file.

    Every request is pinned to the version's ETag: ConditionFailedError once the blob is replaced, that or
    BlobNotFoundError once it is gone. Reads shorter than `read_ahead` bytes are served from one buffer of that
    size, longer ones by one request each; reads are short at the end only. A reader serves one thread at a time; a
    blob may have any number of readers.
    """

    def __init__(self, store: BlobStore, blob: Blob, *, read_ahead: int = 1024 * 1024) -> None:
        super().__init__()
        self._store = store
        self._blob = blob
        self._read_ahead = read_ahead
        self._position = 0
        self._buffer = b""
        self._buffer_start = 0

    @property
    def size(self) -> int:
        """The blob's length in bytes."""
        return self._blob.size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to `offset` from the start, the position or the end; positions past the end read nothing."""
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes (all the rest by default), fewer only at the end.

        A read that fails leaves the position where it was: it can be tried again.
        """
        self._check_open()
        rest = max(0, self.size - self._position)
        size = rest if size is None or size < 0 else min(size, rest)
        data = self._buffered(size)
        start, missing = self._position + len(data), size - len(data)
        if missing:
            # what is missing and no more if that is much, otherwise a whole buffer of it
            fetched = self._store.read(
                self._blob.path,
                offset=start,
                length=min(max(missing, self._read_ahead), self.size - start),
                if_match=self._blob.etag,
            )
            if missing < self._read_ahead:
                self._buffer, self._buffer_start = fetched, start
                fetched = fetched[:missing]
            data = data + fetched if data else fetched
        self._position += size
        return data

    def readall(self) -> bytes:
        """Return everything from the position on."""
        return self.read()

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill `buffer`, or as much of it as there are bytes left, and return how many."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let the buffer go; nothing else is held open."""
        self._buffer = b""
        super().close()

    def _buffered(self, size: int) -> bytes:
        """Return up to `size` bytes at the position that the buffer holds."""
        start = self._position - self._buffer_start
        return self._buffer[start : start + size] if 0 <= start < len(self._buffer) else b""

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the reader is closed")


def stream(
    store: BlobStore,
    blob: Blob,
    *,
    chunk: int = 4 * 1024 * 1024,
    offset: int = 0,
    stop: int | None = None,
    timer: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Generator[bytes]:
    """Yield one version of a blob from `offset` to `stop` in chunks of `chunk` bytes, the last one maybe shorter.

    While the caller works on a chunk, one background thread reads the next one, and no more. What that read raises
    (ConditionFailedError once the blob has been replaced) is raised here, after the chunks before it. The thread
    ends with the iteration, or when the generator is closed. Each read, on whichever thread, is inside a `timer()`.
    """

    def fetch(part: range) -> bytes:
        with timer():
            return store.read(blob.path, offset=part.start, length=len(part), if_match=blob.etag)

    end = blob.size if stop is None else min(stop, blob.size)
    yield from read_ahead(fetch, [range(start, min(start + chunk, end)) for start in range(offset, end, chunk)])


def read_ahead(read: Callable[[range], bytes], parts: Sequence[range]) -> Generator[bytes]:
    """Yield what `read` returns for each part, in order.

    While the caller works on one, one background thread reads the next, and no more. What that raises is raised
    here, after the parts before it. The thread ends with the iteration, or when the generator is closed.
    """
    if len(parts) <= 1:  # a single part needs no thread
        yield from map(read, parts)
        return
    with ThreadPoolExecutor(1, "storage-stream") as background:
        upcoming = background.submit(copy_context().run, read, parts[0])
        for part in parts[1:]:
            data = upcoming.result()
            # in a copy of the caller's context: the host ties logs to an invocation by a context variable
            upcoming = background.submit(copy_context().run, read, part)
            yield data
        yield upcoming.result()
