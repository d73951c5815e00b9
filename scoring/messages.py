"""Every form a message on the queue of jobs may have, and what each asks for.

Our job's JSON; a BlobCreated event, or an array of events; a blob's URL or `container/name`, with nothing around
it; rows to score at once. Any of them may come in base64, as many senders' libraries do it unasked.
"""

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from errors import MessageInvalidError
from scoring.blob_events import Dropped, PassedOver, is_event, read_event
from scoring.job import Job
from scoring.log_lines import line
from scoring.records import Records, is_of_records
from scoring.strict_json import read_json
from settings import Settings
from storage import BlobPath
from storage.names import is_container
from storage.urls import is_url, path_of

log = logging.getLogger(__name__)

Order = Job | Dropped | Records
"""What one message, or one item of an array, asks for."""

FORMS = (
    'write {"input": "incoming/churn/rows.csv", "model": "churn"}, or the file\'s path or URL alone, or send a '
    'BlobCreated event, or rows: {"model": "churn", "records": [{"age": 20}]}'
)

_KNOWN = (
    "input",
    "model",
    "etag",
    "keep",
    "csv",
    "records",
    "id",
    "type",
    "specversion",
    "eventType",
    "subject",
    "data",
    "run_id",
    "split",
)
_DEEPEST = 32
"""Levels of JSON; our own messages and events have four."""

_AROUND = "\ufeff\r\n"
"""What editors and shells put around a text; a blank is none of it, since a blob's name may end with one."""


def read_message(body: str | bytes, settings: Settings) -> list[Order]:
    """Return what a message asks for: nothing, if it holds only events that start nothing.

    All of it is understood before any is returned. MessageInvalidError, or the error of the part that is wrong.
    """
    text = _decoded(body)
    parsed = _parse(text)
    items = parsed if isinstance(parsed, list) else [parsed]
    if not items:
        raise MessageInvalidError(f"the message is an empty array; {FORMS}")
    read = [_read(item, settings, alone=item is parsed) for item in items]
    for item in read:
        if isinstance(item, PassedOver):
            path = str(item.path) if item.path else None
            log.info(line("event_passed_over", input=path, message=item.reason))
    return [item for item in read if not isinstance(item, PassedOver)]


def read_poisoned_blob(body: str | bytes) -> BlobPath:
    """Return the blob of a message of the host's queue of poisoned blobs; MessageInvalidError if it names none."""
    message = _parse(_decoded(body))
    if isinstance(message, Mapping):
        container, name = message.get("ContainerName"), message.get("BlobName")
        if isinstance(container, str) and isinstance(name, str):
            return BlobPath(container, name)
    raise MessageInvalidError("the message of a poisoned blob has no ContainerName or no BlobName")


def describe(body: str | bytes) -> dict[str, Any]:
    """Say what a message that cannot be understood looks like, for its receipt, without a value that it holds.

    Its first bytes may be a row's, and so may be the keys of its JSON: only keys that we know are named.
    """
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    description: dict[str, Any] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    try:
        text = _decoded(body)
        encoded = {"base64": True} if text != _utf8(body).strip(_AROUND) else {}
        parsed = _parse(text)
    except MessageInvalidError as error:
        return description | {"form": error.message.partition(";")[0]}
    if isinstance(parsed, str):
        return description | encoded | {"form": "a URL" if is_url(parsed) else "a text"}
    if isinstance(parsed, list):
        return description | encoded | {"form": "a JSON array", "items": len(parsed)}
    if not isinstance(parsed, Mapping):
        return description | encoded | {"form": "a JSON value"}
    known = [key for key in _KNOWN if key in parsed]
    return description | encoded | {"form": "a JSON object", "keys": known, "other_keys": len(parsed) - len(known)}


def _utf8(body: str | bytes) -> str:
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise MessageInvalidError(f"the message is no UTF-8; {FORMS}") from None


def _decoded(body: str | bytes) -> str:
    """Return the message's text, out of base64 if it came in that.

    JSON, a URL and a path can be told from base64 by how they begin: the first two hold characters that it does not
    have, and a path begins with a container's name and a slash. So a path is never taken for base64, though its
    letters may happen to be some; and base64 of a message would need a "?" in the first bytes of a path to begin
    like a path.
    """
    text = _utf8(body).strip(_AROUND)
    if text.lstrip()[:1] in ("{", "[", '"') or is_url(text) or _is_path(text):
        return text
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return text
    return decoded.strip(_AROUND)


def _is_path(text: str) -> bool:
    container, slash, _ = text.partition("/")
    return bool(slash) and is_container(container)


def _parse(text: str) -> Any:
    """Return what the message's text is: JSON, or itself."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return text
    try:
        parsed = read_json(text, "the message")
    except MessageInvalidError as error:
        raise MessageInvalidError(f"{error.message}; {FORMS}") from error
    _check_depth(parsed)
    return parsed


def _check_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(_DEEPEST):
        level = [child for each in level for child in _children(each)]
    if level:  # what could just be read might be too deep to be written again
        raise MessageInvalidError(f"the message is nested more than {_DEEPEST} deep; {FORMS}")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _read(item: Any, settings: Settings, *, alone: bool) -> Order | PassedOver:
    if isinstance(item, str) and alone:
        return Job.for_path(_place(item, settings))
    if not isinstance(item, Mapping):
        raise MessageInvalidError(f"the message is none that we know; {FORMS}")
    if is_event(item):
        return read_event(item, settings)
    if not alone:
        raise MessageInvalidError("an array may hold nothing but events: send each job in a message of its own")
    if is_of_records(item):
        return Records.from_dict(item, settings.max_request_rows)
    return read_job(item, settings)


def read_job(item: Mapping[str, Any], settings: Settings) -> Job:
    """Return the job of a JSON object; errors as of Job.from_json, and for a URL that is none of our blobs'."""
    _check_depth(item)
    place = item.get("input")
    if isinstance(place, str) and is_url(place):
        item = {**item, "input": str(_place(place, settings))}
    return Job.from_json(json.dumps(item))


def _place(text: str, settings: Settings) -> BlobPath:
    """Return the blob, or folder, that a path or URL means."""
    if is_url(text):
        if re.search(r"[?#]", text):
            raise MessageInvalidError(
                'the URL has a "?" or "#": leave out what is behind it (the app reads with its own identity), or '
                "write %3F or %23 if it is a part of the file's name"
            )
        return path_of(text, settings.storage)
    if not _is_path(text):
        raise MessageInvalidError(f"the message is none that we know; {FORMS}")
    return BlobPath.parse(text)
