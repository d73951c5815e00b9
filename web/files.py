"""Files over HTTP: POST /api/files/{model}/{path} drops one into the container of dropped files."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from anyio import CancelScope
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from errors import BodyTimeoutError, FormatUnsupportedError, MessageInvalidError, RecordTooLargeError
from scoring.services import Services
from settings import Settings
from storage import BlobPath
from web.answers import answer
from web.runs import run_path
from web.transfers import Transfers

if TYPE_CHECKING:  # what knows how files are scored is imported by the first request that needs it
    from scoring.uploads import Condition, Upload, Uploaded

STALLED_SECONDS = 60
"""Without a byte of the body for so long, an upload is given up."""

_HANDED = 1024 * 1024  # bytes that are handed to a thread at a time
_TAG = re.compile(r'"([^"]+)"')


def file_routes(services: Callable[[], Services], settings: Settings) -> list[Route]:
    """Return the route of uploads."""
    uploads = Uploads(services, settings)

    async def upload(request: Request) -> Response:
        """Drop the body as a file: it is scored as any file is that is dropped."""
        return _answer(request, await uploads.take(request))

    return [Route("/api/files/{model}/{path:path}", upload, methods=["POST"])]


class Uploads:
    """The uploads of one process.

    Bodies are read on the event loop, and no further while a thread stages what came before: the client waits then,
    as its connection takes no more.
    """

    def __init__(self, services: Callable[[], Services], settings: Settings) -> None:
        self._services = services
        self._settings = settings
        self._transfers = Transfers()

    async def take(self, request: Request) -> "Uploaded":
        """Take a body whole, or leave nothing of it."""
        self._check_headers(request)
        with self._transfers.one_more():
            upload = await self._transfers.on_thread(self._open, request)
            try:
                await self._receive(request, upload)
                return await self._transfers.on_thread(upload.commit)
            except BaseException:  # a client that goes away too
                with CancelScope(shield=True):
                    await self._transfers.on_thread(upload.discard)
                raise

    async def _receive(self, request: Request, upload: "Upload") -> None:
        parts: list[bytes] = []
        size = held = 0
        async with aclosing(request.stream()) as body:
            while (part := await _next(body)) is not None:
                size, held = size + len(part), held + len(part)
                if size > self._settings.max_upload_bytes:
                    raise self._too_large()
                parts.append(part)
                if held >= _HANDED:
                    await self._transfers.on_thread(upload.write, parts)
                    parts, held = [], 0
        await self._transfers.on_thread(upload.write, parts)
        promised = request.headers.get("content-length", "")
        if promised.isdecimal() and int(promised[:19]) != size:
            raise MessageInvalidError(f"{size:,} bytes arrived of {int(promised[:19]):,}: send the file again")

    def _open(self, request: Request) -> "Upload":
        from scoring.uploads import Upload  # noqa: PLC0415  # see above

        model, path = request.path_params["model"], request.path_params["path"]
        place = BlobPath(self._settings.incoming, f"{model}/{path}")
        return Upload(place, self._services(), _condition(request))

    def _check_headers(self, request: Request) -> None:
        headers = request.headers
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:19]) > self._settings.max_upload_bytes:
            raise self._too_large()
        if headers.get("content-encoding", "identity") != "identity":
            raise FormatUnsupportedError(
                "the body is compressed on its way: send it as it is, or a .csv.gz or .csv.zst file as that"
            )
        if headers.get("content-type", "").lower().startswith("multipart/"):
            raise FormatUnsupportedError(
                "the body is a form: send the file's bytes alone, as `curl --data-binary @rows.csv` does"
            )

    def _too_large(self) -> RecordTooLargeError:
        settings = self._settings
        return RecordTooLargeError(
            f"the file is larger than {settings.max_upload_bytes:,} bytes: put it into the container "
            f"{settings.incoming} of the storage account by other means"
        )


async def _next(body: AsyncGenerator[bytes]) -> bytes | None:
    """Return the next part of a body, None at its end; BodyTimeoutError where neither comes for too long."""
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            return await anext(body, None)
    except TimeoutError:
        raise BodyTimeoutError(f"no byte of the body came for {STALLED_SECONDS} seconds") from None


def _condition(request: Request) -> "Condition":
    from scoring.uploads import Condition  # noqa: PLC0415  # see above

    new, same = request.headers.get("if-none-match"), request.headers.get("if-match")
    tag = _TAG.fullmatch(same) if same is not None else None
    if (new is not None and new != "*") or (same is not None and tag is None):
        raise MessageInvalidError('of a file that is uploaded, If-None-Match may be *, and If-Match one "ETag"')
    return Condition(tag[1] if tag else None, is_new=new is not None)


def _answer(request: Request, uploaded: "Uploaded") -> Response:
    place = run_path(request, uploaded.run.id)
    content = {
        "path": str(uploaded.path),
        "etag": uploaded.etag,
        "bytes": uploaded.size,
        "run_id": uploaded.run.id,
        "run": place,
    }
    return answer(content, 201, {"location": place, "etag": f'"{uploaded.etag}"'})
