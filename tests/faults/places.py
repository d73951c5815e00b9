"""A case's containers and queues in Azurite: made so that anybody may read, read like that, and deleted.

Looks are most of a case's requests, and our own client has five times the work with each.
"""

from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast
from urllib.parse import quote
from xml.etree import ElementTree as ET

from urllib3 import HTTPConnectionPool, HTTPHeaderDict
from urllib3.exceptions import HTTPError

from devhost.azurite import ACCOUNT, endpoints
from errors import BlobNotFoundError, StorageUnavailableError
from settings import Settings
from storage import Blob, BlobPath, Storage
from storage.azure import AzureBlobStore

TRIES = 3  # Azurite ends connections that were idle for some seconds
VERSION = "2021-12-02"  # of the protocol


class Reader(Protocol):
    """What of a BlobStore takes no more than reading."""

    def poll(self, path: BlobPath) -> tuple[str, bytes] | None: ...

    def list(self, container: str, prefix: str = "") -> Iterator[Blob]: ...


class OpenReader:
    """Reads Azurite's open containers, without a key; errors as in BlobStore. One instance serves many threads."""

    def __init__(self, connection_string: str) -> None:
        host, port = endpoints(connection_string)["blob"]
        self._pool = HTTPConnectionPool(host, port, maxsize=8, retries=TRIES, timeout=30)

    def poll(self, path: BlobPath) -> tuple[str, bytes]:
        """Return a blob's ETag and bytes."""
        headers, data = self._get(str(path), quote(str(path)))
        return _unquote(headers["ETag"]), data

    def list(self, container: str, prefix: str = "") -> Iterator[Blob]:
        """Yield the blobs whose names start with `prefix`; there are few."""
        _, data = self._get(container, f"{container}?restype=container&comp=list&prefix={quote(prefix, safe='')}")
        found = ET.fromstring(data)  # noqa: S314  # what our own Azurite says
        assert not found.findtext("NextMarker"), "a case has fewer blobs than a page"
        for blob in found.iter("Blob"):
            told = {each.tag: each.text or "" for each in blob.iter()}
            path, modified = BlobPath(container, told["Name"]), parsedate_to_datetime(told["Last-Modified"])
            yield Blob(path, int(told["Content-Length"]), _unquote(told["Etag"]), modified)

    def _get(self, subject: str, target: str) -> tuple[HTTPHeaderDict, bytes]:
        try:
            answer = self._pool.request("GET", f"/{ACCOUNT}/{target}", headers={"x-ms-version": VERSION})
        except HTTPError as error:
            raise StorageUnavailableError(f"{subject}: no answer from Azurite", file=subject) from error
        if answer.status == 404:
            raise BlobNotFoundError(f"{subject}: it does not exist", file=subject)
        if answer.status != 200:
            raise StorageUnavailableError(f"{subject}: Azurite says {answer.status}", file=subject)
        return answer.headers, answer.data


def find_reader(storage: Storage, settings: Settings) -> Reader:
    """Return what looks at results: in Azurite without any code of ours."""
    return storage.blobs if settings.folder else OpenReader(settings.storage.connection_string)


def make(storage: Storage, containers: Iterable[str], queues: Iterable[str]) -> None:
    """Make containers, which in Azurite are open to anybody, and queues."""
    for container in containers:
        if isinstance(storage.blobs, AzureBlobStore):
            storage.blobs._service.create_container(container, public_access="container")
        else:
            storage.blobs.create_container(container)
    for queue in queues:
        storage.queues.create_queue(queue)


def forget(storage: Storage, containers: Iterable[str], queues: Iterable[str]) -> None:
    """Delete containers and queues of Azurite: to list a container, it goes through all blobs of an account.

    Where there are 60,000 of them, that takes it 18 ms.
    """
    blobs, messages = cast("Any", storage.blobs), cast("Any", storage.queues)
    for container in containers:
        blobs._service.delete_container(container)
    for queue in queues:
        messages._client(queue).delete_queue()


def _unquote(etag: str) -> str:
    return etag.strip('"')
