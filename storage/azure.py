"""Blobs and queues in Azure Storage, or in Azurite."""

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, cast
from weakref import finalize

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobProperties,
    BlobServiceClient,
    BlockState,
    ContentSettings,
)
from azure.storage.queue import QueueClient, QueueServiceClient

from errors import StorageUnavailableError
from settings import Connection
from storage.azure_client import RetryOptions, client_options, error_code, find_endpoint, translated
from storage.blobs import Blob, BlobPath
from storage.names import (
    check_block_id,
    check_body,
    check_container,
    check_limit,
    check_metadata,
    check_path,
    check_range,
)
from storage.queues import QueueMessage

_WHOLE = 2**40  # bytes: a read is one request whatever its length, so that it sees one version of the blob
_LARGEST_PUT = 2**30  # bytes: a write is one request too, never staged blocks
_PAGE = 500  # blobs with metadata in one answer, which may have kilobytes each
_BAD_RANGE = 416
_NOT_MODIFIED = 304


class _Staged(Enum):
    """What BlockState.UNCOMMITTED should be.

    azure-storage-blob 12.31 asks whether the state is "uncommitted", but its enum says "Uncommitted": with that, a
    commit would also take blocks of the blob's current version.
    """

    ONLY = "uncommitted"


class AzureBlobStore:
    """BlobStore over Azure Blob Storage; one instance serves any number of threads.

    Failed requests are sent again by the SDK. If the first answer to a conditional write was lost on the way, the
    second request finds the first one's work and ConditionFailedError (or BlocksMissingError, for a commit) is
    raised for a write that did happen. Azure may also answer a losing conditional commit with either. So look
    before you conclude: read the blob, its ETag or its metadata, and see whose work it is.
    """

    def __init__(self, connection: Connection, *, retries: RetryOptions | None = None) -> None:
        options = client_options(retries or RetryOptions())
        sizes = {"max_single_get_size": _WHOLE, "max_chunk_get_size": _WHOLE, "max_single_put_size": _LARGEST_PUT}
        self._service: BlobServiceClient = find_endpoint(connection, "blob").connect(
            BlobServiceClient, options | sizes
        )
        finalize(self, options["transport"].close)  # or its sockets would stay open until some garbage collection

    def check(self, path: BlobPath) -> None:
        """Raise NameInvalidError if there can be no blob at `path`."""
        check_path(path)

    def create_container(self, container: str) -> None:
        """Make a container; one that is there already is left as it is."""
        check_container(container)
        with translated(container):
            try:
                self._service.create_container(container)
            except HttpResponseError as exc:
                if error_code(exc) != "ContainerAlreadyExists":
                    raise

    def stat(self, path: BlobPath) -> Blob:
        """Return what is known of a blob's current version."""
        with translated(str(path)):
            return _blob(path, self._client(path).get_blob_properties())

    def read(
        self, path: BlobPath, *, offset: int = 0, length: int | None = None, if_match: str | None = None
    ) -> bytes:
        """Return `length` bytes from `offset` (all the rest by default); fewer, or none, past the end."""
        check_range(offset, length)
        client, conditions = self._client(path), _conditions(if_match)
        with translated(str(path)):
            if length == 0:  # HTTP has no empty ranges; the blob and its ETag are checked all the same
                client.get_blob_properties(**conditions)
                return b""
            try:
                download = client.download_blob(offset, length, max_concurrency=1, decompress=False, **conditions)
                data = b"".join(download.chunks())
            except HttpResponseError as exc:
                if exc.status_code != _BAD_RANGE:
                    raise
                client.get_blob_properties(**conditions)  # the range may have been judged before the condition
                return b""
        return _whole(path, data, download.size)

    def poll(self, path: BlobPath, etag: str | None = None) -> tuple[str, bytes] | None:
        """Return a small blob's ETag and bytes; None if it is still the version with this `etag`."""
        newer: dict[str, Any] = (
            {} if etag is None else {"etag": f'"{etag}"', "match_condition": MatchConditions.IfModified}
        )
        with translated(str(path)):
            try:
                # without an offset the SDK copes with a blob of no bytes, for which every range is wrong
                download = self._client(path).download_blob(max_concurrency=1, decompress=False, **newer)
                data = b"".join(download.chunks())
            except HttpResponseError as exc:
                if exc.status_code != _NOT_MODIFIED:
                    raise
                return None
        return _unquote(download.properties.etag), _whole(path, data, download.size)

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
        """Put a whole small blob and return its ETag; see the class on conditions."""
        with translated(str(path)):
            answer = self._client(path).upload_blob(
                data,
                length=len(data),
                overwrite=True,  # unless a condition forbids it
                max_concurrency=1,
                metadata=check_metadata(metadata),
                content_settings=_content_settings(content_type),
                **_conditions(if_match, if_none_match),
            )
        return _unquote(answer["etag"])

    def stage_block(self, path: BlobPath, block_id: str, data: bytes | memoryview) -> None:
        """Upload one block, invisible until committed; staging an id again replaces it."""
        check_block_id(block_id)
        with translated(str(path)):
            # the SDK base64-encodes the id; it can send bytes only (requests takes a memoryview for a stream)
            self._client(path).stage_block(block_id, bytes(data), length=len(data))

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
        """Make the blob exactly these staged blocks and return its ETag; see the class on conditions."""
        with translated(str(path)):
            answer = self._client(path).commit_block_list(
                [BlobBlock(block_id, cast("BlockState", _Staged.ONLY)) for block_id in block_ids],
                metadata=check_metadata(metadata),
                content_settings=_content_settings(content_type),
                **_conditions(if_match, if_none_match),
            )
        return _unquote(answer["etag"])

    def drop_blocks(self, path: BlobPath, prefix: str) -> None:
        """Do nothing: Azure has no request for it, and drops such blocks by itself after a week."""

    def delete(self, path: BlobPath, *, if_match: str | None = None) -> None:
        """Remove a blob."""
        with translated(str(path)):
            self._client(path).delete_blob(**_conditions(if_match))

    def list(self, container: str, prefix: str = "", *, metadata: bool = False) -> Iterator[Blob]:
        """Yield the committed blobs whose names start with `prefix`, by name, asking for a page at a time."""
        check_container(container)
        client = self._service.get_container_client(container)
        # Those that ask for metadata show a few to people; others want names, and all of them.
        asked: dict[str, Any] = {"include": ["metadata"], "results_per_page": _PAGE} if metadata else {}
        with translated(container):
            for properties in client.list_blobs(prefix or None, **asked):
                yield _blob(BlobPath(container, properties.name), properties)

    def _client(self, path: BlobPath) -> BlobClient:
        check_path(path)
        return self._service.get_blob_client(path.container, path.name)


class AzureQueueStore:
    """QueueStore over Azure Queue Storage; one instance serves any number of threads.

    Texts travel as they are, without base64: host.json needs `"messageEncoding": "none"`. Messages never expire.
    Delays and leases are rounded up to whole seconds. A `send` whose first answer was lost may add the message
    twice.
    """

    def __init__(self, connection: Connection, *, retries: RetryOptions | None = None) -> None:
        options = client_options(retries or RetryOptions())
        self._service: QueueServiceClient = find_endpoint(connection, "queue").connect(QueueServiceClient, options)
        finalize(self, options["transport"].close)  # as above

    def create_queue(self, queue: str) -> None:
        """Make a queue; one that is there already is left as it is."""
        client = self._client(queue)
        with translated(queue):
            try:
                client.create_queue()
            except HttpResponseError as exc:
                if error_code(exc) != "QueueAlreadyExists":
                    raise

    def send(self, queue: str, body: str, *, delay: float = 0) -> None:
        """Add a message, visible after `delay` seconds."""
        check_body(body)
        with translated(queue):
            self._client(queue).send_message(body, visibility_timeout=math.ceil(delay), time_to_live=-1)

    def receive(self, queue: str, *, limit: int = 1, lease: float = 30) -> list[QueueMessage]:
        """Take up to `limit` (at most 32) messages, hidden from others for `lease` seconds."""
        check_limit(limit)
        with translated(queue):
            # one page is one request; going through the messages would ask again until the queue is empty
            pages = self._client(queue).receive_messages(
                messages_per_page=limit, visibility_timeout=max(1, math.ceil(lease))
            )
            return [
                QueueMessage(
                    message.id, message.content or "", message.pop_receipt or "", message.dequeue_count or 0
                )
                for message in next(pages.by_page(), ())
            ]

    def delete(self, queue: str, message: QueueMessage) -> None:
        """Remove a received message; ConditionFailedError if its lease was lost."""
        with translated(queue):
            self._client(queue).delete_message(message.id, message.receipt)

    def _client(self, queue: str) -> QueueClient:
        check_container(queue)
        return self._service.get_queue_client(queue)


def _conditions(if_match: str | None, if_none_match: str | None = None) -> dict[str, Any]:
    if if_none_match is not None:
        return {"match_condition": MatchConditions.IfMissing}
    if if_match is not None:
        return {"etag": f'"{if_match}"', "match_condition": MatchConditions.IfNotModified}
    return {}


def _content_settings(content_type: str | None) -> ContentSettings | None:
    return ContentSettings(content_type=content_type) if content_type else None


def _whole(path: BlobPath, data: bytes, size: int) -> bytes:
    """Return what arrived of a download, if all of it did."""
    if len(data) != size:
        raise StorageUnavailableError(f"{path}: {len(data)} of {size} bytes arrived: try again", file=str(path))
    return data


def _unquote(etag: object) -> str:
    return str(etag).strip('"')


def _blob(path: BlobPath, properties: BlobProperties) -> Blob:
    # listings have None for an empty value
    metadata = {key.lower(): value or "" for key, value in (properties.metadata or {}).items()}
    return Blob(path, properties.size, _unquote(properties.etag), properties.last_modified, metadata)
