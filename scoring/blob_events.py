"""What storage says when a blob was written: BlobCreated events, in Event Grid's schema or as CloudEvents."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errors import MessageInvalidError
from settings import Settings
from storage import BlobPath
from storage.urls import path_of

BLOB_CREATED = "Microsoft.Storage.BlobCreated"

WRITES = {"PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"}
"""The operations that leave a whole blob. CreateFile and SftpCreate tell of one that is still empty."""

_SUBJECT = re.compile("/blobServices/default/containers/(?P<container>[^/]+)/blobs/(?P<name>.*)", re.DOTALL)
_LOST = "\ufffd"
"""What Event Grid puts for each half of an emoji in a subject."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that an event says was dropped."""

    path: BlobPath
    etag: str | None
    """The version that was written, unquoted; None if the event does not say."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An event that starts nothing."""

    reason: str
    path: BlobPath | None = None


def is_event(message: Mapping[str, Any]) -> bool:
    """Say whether a JSON object is an event of either schema."""
    return "eventType" in message or "specversion" in message


def read_event(event: Mapping[str, Any], settings: Settings) -> Dropped | PassedOver:
    """Return what an event says; MessageInvalidError or NameInvalidError where that cannot be told.

    Passed over is what does not tell of a whole blob in the container of dropped files: other events (our own, of
    runs that have ended, among them), operations that are not the last of an upload, and blobs of all other
    containers, since a subscription may be of a whole account, where our own results and receipts are written too.
    """
    kind = event.get("type") if "specversion" in event else event["eventType"]
    if not isinstance(kind, str):
        raise MessageInvalidError("the event does not say its type")
    if kind != BLOB_CREATED:
        return PassedOver(f"an event of type {ascii(kind)[:100]}")
    data = event.get("data")
    if not isinstance(data, Mapping):
        raise MessageInvalidError(f'the {BLOB_CREATED} event has no "data"')
    operation, url, etag = data.get("api"), data.get("url"), data.get("eTag")
    if not isinstance(operation, str) or not isinstance(url, str):
        raise MessageInvalidError(f'the {BLOB_CREATED} event has no "api" or no "url" in its data')
    if etag is not None and not isinstance(etag, str):
        raise MessageInvalidError(f'the "eTag" of the {BLOB_CREATED} event is no text')
    path = path_of(url, settings.storage)
    if path.container != settings.incoming:
        return PassedOver("it is not in the container of dropped files", path)
    if operation not in WRITES:
        return PassedOver(f"an upload's {ascii(operation)[:100]}", path)
    _check_subject(event.get("subject"), path)
    return Dropped(path, etag.strip('"') if etag else None)


def _check_subject(subject: Any, path: BlobPath) -> None:
    """Refuse an event whose subject, which is not percent-encoded, names another blob than its URL.

    Then one of them is not encoded as Azure does it, and which blob is meant could only be guessed.
    """
    found = _SUBJECT.fullmatch(subject) if isinstance(subject, str) else None
    if found and _LOST not in found["name"] and (found["container"], found["name"]) != (path.container, path.name):
        raise MessageInvalidError(
            "the event's subject and URL name different blobs: percent-encode the URL once, the subject not at all"
        )
