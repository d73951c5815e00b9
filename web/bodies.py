"""Bodies of requests: as many bytes as are allowed, and what they are."""

import asyncio
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from errors import BodyTimeoutError, DropscoreError, FormatUnsupportedError, RecordTooLargeError
from settings import Settings
from web.memory import Room

CSV = "text/csv"
JSON = "application/json"

ROOM = 256 * 1024 * 1024
"""Bytes that bodies may have together while they come and wait to be scored; more only where each may be larger."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may bring, and where more can go."""

    bytes: int
    rows: int
    seconds: int
    """In which a body has to be here."""
    incoming: str
    """The container of dropped files."""
    room: Room
    """That all bodies share."""

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that are set."""
        return cls(
            settings.max_request_bytes,
            settings.max_request_rows,
            settings.max_request_seconds,
            settings.incoming,
            Room(max(ROOM, 8 * settings.max_request_bytes)),
        )

    def check_rows(self, count: int) -> None:
        """Raise RecordTooLargeError for more rows than one request may have."""
        if count > self.rows:
            raise RecordTooLargeError(
                f"{count:,} rows are more than the {self.rows:,} of one request: {self._instead}"
            )

    def too_large(self) -> RecordTooLargeError:
        """Return what to say of a body with more bytes than one request may have."""
        return RecordTooLargeError(f"the body is larger than {self.bytes:,} bytes: {self._instead}")

    @property
    def _instead(self) -> str:
        return (
            f"drop them as a CSV or Parquet file, as {self.incoming}/<model>/<any name>.csv in the storage account"
        )


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return a request's body, which is read no further than `limits` allow.

    RecordTooLargeError where its Content-Length is larger, before anything is read, or where more comes than that;
    BodyTimeoutError where it comes too slowly; FormatUnsupportedError for a compressed one; TooManyTransfersError
    where others fill the memory for bodies. This runs on the event loop and waits for the body alone.
    """
    headers = request.headers
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:19]) > limits.bytes:
        raise limits.too_large()
    if headers.get("content-encoding", "identity") != "identity":
        raise FormatUnsupportedError("the body is compressed: send it as it is")
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                if size + len(part) > limits.bytes:
                    raise limits.too_large()
                limits.room.take(len(part))
                size += len(part)
                parts.append(part)
    except TimeoutError:
        limits.room.let_go(size)
        raise BodyTimeoutError(f"the body was not here after {limits.seconds} s") from None
    except (DropscoreError, ClientDisconnect):
        limits.room.let_go(size)
        raise
    finally:
        limits.room.leave(size)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def content_type(request: Request) -> str:
    """Return the media type of a body in UTF-8, `application/json` where none is said.

    FormatUnsupportedError where another encoding, or anything else about it, is said.
    """
    said = request.headers.get("content-type", JSON)
    if said == JSON:
        return said
    kind, *parameters = (part.strip() for part in said.lower().split(";"))
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        if name != "charset":
            raise FormatUnsupportedError("the content type may have a charset, and no other parameters")
        if value.strip('"') not in ("utf-8", "utf8"):
            raise FormatUnsupportedError("the body must be in UTF-8: no other charset is read")
    return kind
