"""Blobs as the rest of Dropscore sees them: the words, and what every backend promises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from errors import NameInvalidError

ANY_ETAG = "*"


@dataclass(frozen=True, slots=True, order=True)
class BlobPath:
    """Where a blob is: its container and its name in it."""

    container: str
    name: str

    def __str__(self) -> str:
        return f"{self.container}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "BlobPath":
        """Read "container/name"; NameInvalidError if either is missing."""
        container, _, name = text.partition("/")
        if not container or not name:
            raise NameInvalidError(f"{text!r} is not a blob's path: write container/name")
        return cls(container, name)


@dataclass(frozen=True, slots=True)
class Blob:
    """What a store knows of one version of a blob."""

    path: BlobPath
    size: int
    """Bytes."""
    etag: str
    """Opaque, unquoted; changes with every write of content or metadata."""
    modified: datetime
    """UTC; stores keep whole seconds or better."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Keys are lower-case identifiers. Empty in listings that were not asked for it."""


class BlobStore(Protocol):
    """Blobs in containers, with ETags; Azure Blob Storage's promises, no more.

    Every method raises BlobNotFoundError for a blob or container that is not there, ConditionFailedError for a
    condition that does not hold, StorageDeniedError for refused credentials, and StorageUnavailableError
    (retryable) when the service throttles, fails or cannot be reached after the client's own retries. An If-Match
    on a blob that is gone may be either of the first two when it is read or deleted. Names are checked before
    anything is done (NameInvalidError), and so are block ids and metadata, which is printable ASCII (ValueError).
    """

    def check(self, path: BlobPath) -> None:
        """Raise NameInvalidError if there can be no blob at `path`; nothing is asked of the service."""
        ...

    def create_container(self, container: str) -> None:
        """Make a container; one that is there already is left as it is."""
        ...

    def stat(self, path: BlobPath) -> Blob:
        """Return what is known of a blob's current version."""
        ...

    def read(
        self, path: BlobPath, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> bytes:
        """Return `length` bytes from `offset` (all the rest by default); fewer, or none, past the end."""
        ...

    def poll(self, path: BlobPath, etag: str | None = None) -> tuple[str, bytes] | None:
        """Return a small blob's ETag and all its bytes, of one version and in one request.

        None, and no bytes on the way, if it is still the version with this `etag` (If-None-Match).
        """
        ...

    def write(
        self,
        path: BlobPath,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> str:
        """Put a whole small blob and return its ETag. `if_none_match` is ANY_ETAG or None."""
        ...

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        """Upload one block, invisible until committed.

        Ids are at most 64 ASCII characters and of equal length within a blob. Staging an id again replaces it.
        """
        ...

    def commit_blocks(
        self,
        path: BlobPath,
        block_ids: Sequence[str],
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> str:
        """Make the blob exactly these staged blocks, in this order, at once, and return its ETag.

        All other staged blocks of the blob are dropped. BlocksMissingError if one of the ids is not staged.
        """
        ...

    def drop_blocks(self, path: BlobPath, prefix: str) -> None:
        """Let go of staged blocks whose ids begin so and nobody is going to commit, as far as that can be told.

        What it cannot be told stays invisible, and goes with the blob's next commit.
        """
        ...

    def delete(self, path: BlobPath, *, if_match: str | None = None) -> None:
        """Remove a blob."""
        ...

    def list(self, container: str, prefix: str = "", *, metadata: bool = False) -> Iterator[Blob]:
        """Yield the committed blobs whose names start with `prefix`, by name, asking for a page at a time."""
        ...
