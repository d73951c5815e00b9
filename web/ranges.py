"""Conditional and partial requests for a file that never changes under one ETag (RFC 9110, sections 13 and 14)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers

_TAG = re.compile(r'(W/)?"([^"]*)"')
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """Which bytes of a file are asked for; `stop` is behind the last."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.stop - self.start


def is_known(headers: Headers, etag: str, modified: datetime | None = None) -> bool:
    """Say whether the client has this version already (If-None-Match; where it says nothing, If-Modified-Since)."""
    asked = _all_of(headers, "if-none-match")
    if asked is None:
        since = _date(headers, "if-modified-since")
        return modified is not None and since is not None and modified.replace(microsecond=0) <= since
    return asked.strip() == "*" or etag in {tag for _, tag in _TAG.findall(asked)}


def is_meant(headers: Headers, etag: str, modified: datetime | None = None) -> bool:
    """Say whether the client means this version, or any (If-Match; where it says nothing, If-Unmodified-Since)."""
    asked = _all_of(headers, "if-match")
    if asked is None:
        since = _date(headers, "if-unmodified-since")
        return modified is None or since is None or modified.replace(microsecond=0) <= since
    return asked.strip() == "*" or etag in {tag for weak, tag in _TAG.findall(asked) if not weak}


def _all_of(headers: Headers, name: str) -> str | None:
    """Return a header that is a list, which may come in several lines."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def _date(headers: Headers, name: str) -> datetime | None:
    """Return the time that a header says; None where it says none, as what is no date is to be passed over."""
    try:
        found = parsedate_to_datetime(headers.get(name, ""))
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def asked_span(headers: Headers, etag: str, size: int) -> Span | None:
    """Return the one range that is asked for, empty where the file has none of it; None for the whole file.

    What is no range of bytes, and several ranges at once, may be ignored, and is; so is a range that is for another
    version (If-Range), of which a date says too little.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    whole = headers.get("if-range", f'"{etag}"') != f'"{etag}"'
    if found is None or whole or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return Span(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return Span(min(int(first), size), min(int(last) + 1, size) if last else size)
