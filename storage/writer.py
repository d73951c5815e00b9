"""Writing a blob of any length: staged block by block, visible only on commit."""

import hashlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from storage.blobs import BlobPath, BlobStore

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LONGEST_PREFIX = 32  # characters; with what follows, 64: all that Azure allows
_MOST_BLOCKS = 50_000  # of one blob, in Azure


def block_id(prefix: str, sequence: int, data: bytes | memoryview) -> str:
    """Name a block after its run, its place and its content.

    Ids have equal length if their prefixes (at most 32 ASCII characters) have. The content's hash is in the id
    because staging an id again replaces the block silently: two runs that differ can never mix. ValueError for a
    prefix too long or a sequence number outside 0 to 49,999.
    """
    if len(prefix) > _LONGEST_PREFIX or not prefix.isascii():
        raise ValueError(f"a block's prefix has at most {_LONGEST_PREFIX} ASCII characters, not {prefix!r}")
    if not 0 <= sequence < _MOST_BLOCKS:
        raise ValueError(
            f"a blob has at most {_MOST_BLOCKS} blocks, so none is number {sequence}: use larger blocks"
        )
    # SHA-256 because processors have instructions for it: twice as fast as BLAKE2b here.
    return f"{prefix}-{sequence:05d}-{hashlib.sha256(data).hexdigest()[:24]}"


class StagedWriter(io.RawIOBase):
    """A write-only file that becomes a blob on `commit`, and never existed without.

    Bytes are staged in blocks of `block_bytes` as they arrive; one block is held in memory. A writer serves one
    thread. It may be closed before it is committed, as some of pyarrow's writers do; nothing is visible until then.
    """

    def __init__(
        self, store: BlobStore, path: BlobPath, *, prefix: str, block_bytes: int = 8 * 1024 * 1024
    ) -> None:
        super().__init__()
        self._store = store
        self._path = path
        self._prefix = prefix
        self.block_bytes = block_bytes
        """Bytes that are staged at a time."""
        self._pending = bytearray()  # room for one block, from the first bytes on that are not a whole one
        self._filled = 0
        self._block_ids: list[str] = []
        self._written = 0
        self._committed = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    @property
    def room(self) -> int:
        """How many bytes complete a block; just as many, where that is a whole block, are staged without a copy."""
        return self.block_bytes - self._filled

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of `data`, stage every block it completes, and return its length in bytes."""
        if self.closed or self._committed:
            raise ValueError("the writer is closed or committed: no more can be written")
        with memoryview(data) as given, given.cast("B") as view:
            length, start = len(view), 0
            while start < length:
                end = min(length, start + self.room)
                if end - start == self.block_bytes:
                    self._stage(view[start:end])  # a whole block at once, not copied
                else:
                    self._keep(view[start:end])
                    if self._filled == self.block_bytes:
                        self._flush_block()
                start = end
        self._written += length
        return length

    def commit(
        self,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> str:
        """Make the blob what was written, at once, and return its ETag; errors as in BlobStore.commit_blocks."""
        etag = self._store.commit_blocks(
            self._path,
            self.finish(),
            if_match=if_match,
            if_none_match=if_none_match,
            metadata=metadata,
            content_type=content_type,
        )
        self._committed = True
        return etag

    def finish(self) -> list[str]:
        """Stage what is still held and return the ids of all blocks, for who commits them elsewhere."""
        if self._committed:
            raise ValueError("the writer has been committed")
        if self._filled:
            self._flush_block()
        self._pending = bytearray()
        return list(self._block_ids)

    def discard(self) -> None:
        """Let go of what was written, and close; nothing to do for what is committed."""
        if not self._committed and self._block_ids:
            self._store.drop_blocks(self._path, self._prefix)
        self.close()

    def _keep(self, data: memoryview) -> None:
        if not self._pending:
            self._pending = bytearray(self.block_bytes)
        end = self._filled + len(data)
        with memoryview(self._pending) as pending:
            pending[self._filled : end] = data
        self._filled = end

    def _flush_block(self) -> None:
        with memoryview(self._pending) as block:
            self._stage(block[: self._filled])
        self._filled = 0

    def _stage(self, data: bytes | memoryview) -> None:
        name = block_id(self._prefix, len(self._block_ids), data)
        self._store.stage_block(self._path, name, data)
        self._block_ids.append(name)
