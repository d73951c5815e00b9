"""Storage that breaks one promise each: what a wrong protocol would look like from outside."""

from collections.abc import Callable
from typing import Any

from errors import BlobNotFoundError
from storage import BlobPath, Storage


class _Broken:
    """A BlobStore that does some things in its own way, each named here as a method."""

    def __init__(self, blobs: Any) -> None:
        self.blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.blobs, name)


class _HalfWritten(_Broken):
    """Shows half of a result for a moment."""

    def commit_blocks(self, path: BlobPath, block_ids: Any, **options: Any) -> str:
        self.blobs.write(path, b"id,age,visits,member,plan,prediction\n0,20,")
        return str(self.blobs.commit_blocks(path, block_ids, **(options | {"if_none_match": None})))


class _Doubled(_Broken):
    """Commits a block twice, as a retry that appends would."""

    def commit_blocks(self, path: BlobPath, block_ids: Any, **options: Any) -> str:
        return str(self.blobs.commit_blocks(path, [*block_ids, block_ids[-1]], **options))


class _ReceiptFirst(_Broken):
    """Commits a result when its receipt has been written, and not before."""

    def __init__(self, blobs: Any) -> None:
        super().__init__(blobs)
        self._owed: list[Callable[[], object]] = []

    def commit_blocks(self, *arguments: Any, **options: Any) -> str:
        self._owed.append(lambda: self.blobs.commit_blocks(*arguments, **options))
        return "soon"

    def write(self, path: BlobPath, *arguments: Any, **options: Any) -> str:
        etag = self.blobs.write(path, *arguments, **options)
        if path.name.endswith("/receipt.json"):
            for commit in self._owed:
                commit()
        return str(etag)


class _Forgetful(_Broken):
    """Has no receipts when it is asked for them, and lets them be written again."""

    def read(self, path: BlobPath, **options: Any) -> bytes:
        self._forget(path)
        return bytes(self.blobs.read(path, **options))

    def poll(self, path: BlobPath, etag: str | None = None) -> tuple[str, bytes] | None:
        self._forget(path)
        found: tuple[str, bytes] | None = self.blobs.poll(path, etag)
        return found

    def _forget(self, path: BlobPath) -> None:
        if path.name.endswith("/receipt.json"):
            raise BlobNotFoundError("no such blob", file=str(path))

    def write(self, *arguments: Any, **options: Any) -> str:
        return str(self.blobs.write(*arguments, **(options | {"if_none_match": None})))


class _Careless(_Broken):
    """Reads whatever version is there, and finds every input current."""

    def __init__(self, blobs: Any) -> None:
        super().__init__(blobs)
        self._known: dict[BlobPath, Any] = {}

    def stat(self, path: BlobPath) -> Any:
        if path.container.startswith("incoming"):
            return self._known.setdefault(path, self.blobs.stat(path))
        return self.blobs.stat(path)

    def read(self, path: BlobPath, **options: Any) -> bytes:
        return bytes(self.blobs.read(path, **(options | {"if_match": None})))


class _Surprising(_Broken):
    """Fails once, at the first commit, as only a bug would."""

    def __init__(self, blobs: Any) -> None:
        super().__init__(blobs)
        self._failed = False

    def commit_blocks(self, *arguments: Any, **options: Any) -> str:
        if not self._failed:
            self._failed = True
            raise KeyError("commit")
        return str(self.blobs.commit_blocks(*arguments, **options))


def half_written(storage: Storage) -> Storage:
    """Break: a partial result can be seen."""
    return Storage(_HalfWritten(storage.blobs), storage.queues)


def doubled(storage: Storage) -> Storage:
    """Break: rows are in the result twice."""
    return Storage(_Doubled(storage.blobs), storage.queues)


def receipt_first(storage: Storage) -> Storage:
    """Break: the receipt is not written last."""
    return Storage(_ReceiptFirst(storage.blobs), storage.queues)


def forgetful(storage: Storage) -> Storage:
    """Break: a second delivery writes a second receipt."""
    return Storage(_Forgetful(storage.blobs), storage.queues)


def careless(storage: Storage) -> Storage:
    """Break: two versions of the input are mixed in one result."""
    return Storage(_Careless(storage.blobs), storage.queues)


def surprising(storage: Storage) -> Storage:
    """Break: an exception that is none of ours."""
    return Storage(_Surprising(storage.blobs), storage.queues)
