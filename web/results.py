"""What came of runs, over HTTP: results and rejected rows, whole, in ranges, or in parts."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, nullcontext
from email.utils import format_datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import CancelScope
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from errors import AnswerTooLargeError, ConditionFailedError, RangeInvalidError
from scoring.services import Services
from settings import Settings
from storage import Blob, BlobStore
from web.answers import answer
from web.bodies import ROOM
from web.memory import Room
from web.ranges import Span, asked_span, is_known, is_meant
from web.runs import run_path
from web.transfers import Transfers

if TYPE_CHECKING:  # what knows how files are scored is imported by the first request that needs it
    from scoring.results import Kind, Parts, ResultFile

_CHUNK = 1024 * 1024  # bytes that are read at a time: one such is sent while the next is read
_HOSTED = "azure_functions.invocation_id"  # what requests by the Functions host have
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._+@=,()-]")

_PATHS: Mapping[str, "Kind"] = {"result": "output", "rejected": "rejects"}
"""What the two are called in paths and in receipts."""


def result_routes(services: Callable[[], Services], settings: Settings) -> list[Route]:
    """Return the routes of what came of runs."""
    transfers, room = Transfers(), Room(max(ROOM, settings.max_answer_bytes))

    def fetch(request: Request, name: str) -> Response:
        from scoring.results import Parts, find_result  # noqa: PLC0415  # see above

        run_id = request.path_params["run_id"]
        found = find_result(run_id, _PATHS[name], services(), request.query_params.get("part", ""))
        if isinstance(found, Parts):
            return answer(_describe_parts(found, f"{run_path(request, run_id)}/{name}", run_id))
        hosted = _HOSTED in request.scope
        most = settings.max_answer_bytes if hosted else None
        called = f"{'' if name == 'result' else 'rejected-'}{found.blob.path.name.rpartition('/')[2]}"
        respond = partial(BlobResponse, services().blobs, transfers, room if hosted else None)
        return _answer_file(request, found, called, respond, most)

    def result(request: Request) -> Response:
        """Return a run's result; of one in parts a list of them, or one of them."""
        return fetch(request, "result")

    def rejected(request: Request) -> Response:
        """Return the rows that a run has rejected, as `result` does."""
        return fetch(request, "rejected")

    return [
        Route("/api/runs/{run_id}/result", result),
        Route("/api/runs/{run_id}/rejected", rejected),
    ]


class BlobResponse(StreamingResponse):
    """Some bytes of one version of a blob, read as they are sent.

    Once the blob is replaced, no more of it can be read: then the connection is closed, short of what was promised.
    """

    def __init__(
        self,
        blobs: BlobStore,
        transfers: Transfers,
        room: Room | None,
        blob: Blob,
        span: Span,
        *,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__((), status, headers)
        self._read = partial(blobs.read, blob.path, if_match=blob.etag)
        self._transfers = transfers
        self._room = room
        self._span = span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, if there is room for one more; `room` is given where the whole of it is held in memory."""
        with self._transfers.one_more(), self._room.hold(self._span.size) if self._room else nullcontext():
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the bytes."""
        async with aclosing(self._chunks()) as chunks:
            chunk = await anext(chunks, b"")  # before anything is said: it may be gone by now
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await anext(chunks, b"")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self) -> AsyncGenerator[bytes]:
        """Read a chunk while the one before is sent, and no further.

        A thread that reads cannot be stopped: what it takes counts until it has ended, whoever has gone meanwhile.
        """
        starts = range(self._span.start, self._span.stop, _CHUNK)
        upcoming = self._begin(starts[0]) if starts else None
        try:
            for start in chain(starts[1:], [None]):
                if upcoming is None:
                    return
                chunk = await asyncio.shield(upcoming)
                upcoming = None if start is None else self._begin(start)
                yield chunk
        finally:
            if upcoming:
                with CancelScope(shield=True):
                    await asyncio.wait([upcoming])
                if not upcoming.cancelled():
                    upcoming.exception()  # whoever may still be there has been told

    def _begin(self, start: int) -> "asyncio.Task[bytes]":
        length = min(_CHUNK, self._span.stop - start)
        return asyncio.create_task(self._transfers.on_thread(self._read, offset=start, length=length))


def _answer_file(
    request: Request, file: "ResultFile", called: str, respond: Callable[..., Response], most: int | None
) -> Response:
    blob, asks = file.blob, request.headers
    if not is_meant(asks, blob.etag, blob.modified):
        raise ConditionFailedError(
            f"{blob.path} is another version than the request's condition says", file=str(blob.path)
        )
    headers = {
        "etag": f'"{blob.etag}"',
        "last-modified": format_datetime(blob.modified, usegmt=True),
        "cache-control": "private, no-cache",
        "accept-ranges": "bytes",
    }
    if is_known(asks, blob.etag, blob.modified):
        return Response(None, 304, headers)
    headers |= {
        "content-type": file.content_type,
        "content-disposition": attached(called),
        "x-content-type-options": "nosniff",
    }
    if request.method == "HEAD":
        return Response(None, 200, headers | {"content-length": str(blob.size)})
    span = asked_span(asks, blob.etag, blob.size)
    if span is None:
        _check_size(blob, most)
        headers["content-length"] = str(blob.size)
        return respond(blob, Span(0, blob.size), status=200, headers=headers)
    if not span.size:
        error = RangeInvalidError(f"the file has {blob.size:,} bytes, and none of those", file=str(blob.path))
        return answer({"error": error.to_dict()}, error.status, {"content-range": f"bytes */{blob.size}"})
    if most is not None:  # what was sent is said, and the rest can be asked for
        span = Span(span.start, min(span.stop, span.start + most))
    headers["content-range"] = f"bytes {span.start}-{span.stop - 1}/{blob.size}"
    headers["content-length"] = str(span.size)
    return respond(blob, span, status=206, headers=headers)


def _check_size(blob: Blob, most: int | None) -> None:
    """Refuse a whole file that is too large for the Functions host, which holds answers whole in memory."""
    if most is not None and blob.size > most:
        raise AnswerTooLargeError(
            f"the file has {blob.size:,} bytes, more than the {most:,} of one answer here: ask for it in ranges, "
            f"the first with `Range: bytes=0-{most - 1}`, or read {blob.path} from the storage account",
            file=str(blob.path),
        )


def attached(name: str) -> str:
    """Return a Content-Disposition that calls a file `name`, and something plain for who cannot read that."""
    plain = _UNSAFE.sub("_", name)
    own = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{own}'


def _describe_parts(parts: "Parts", place: str, run_id: str) -> dict[str, Any]:
    names = [blob.path.name.rpartition("/")[2] for blob in parts.blobs]
    return {
        "run_id": run_id,
        "parts": [
            {"part": name, "bytes": blob.size, "etag": blob.etag, "href": f"{place}?part={name}"}
            for name, blob in zip(names, parts.blobs, strict=True)
        ],
    }
