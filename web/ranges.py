"""Conditional and partial requests for a file that never changes under one ETag (RFC 9110, sections 13 and 14)."""

import re
from dataclasses import dataclass

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


def is_known(headers: Headers, etag: str) -> bool:
    """Say whether the client has this version already (If-None-Match)."""
    asked = headers.get("if-none-match")
    if asked is None:
        return False
    return asked.strip() == "*" or etag in {tag for _, tag in _TAG.findall(asked)}


def is_meant(headers: Headers, etag: str) -> bool:
    """Say whether the client means this version, or any (If-Match)."""
    asked = headers.get("if-match")
    if asked is None or asked.strip() == "*":
        return True
    return etag in {tag for weak, tag in _TAG.findall(asked) if not weak}


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
