"""The HTTP server: uvicorn around one handler of whole requests."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from devhost.errors import StartupError

MAX_BODY = 100 * 1024 * 1024  # bytes; the host's limit

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its body read."""

    method: str
    path: str
    """Percent-encoded, as sent."""
    query: str
    headers: Headers
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A response."""

    status: int
    body: bytes = b""
    headers: Headers = ()


Handler = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Answer HTTP on one port of 127.0.0.1."""

    def __init__(self, handler: Handler, port: int) -> None:
        self._handler = handler
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping`, then let the requests begun finish."""
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self._socket]))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        server.should_exit = True
        await serving

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await _read(receive)
        if body is None:
            response = Response(413)
        else:
            headers: list[tuple[str, str]] = [
                (n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in scope["headers"]
            ]
            path = scope["raw_path"].decode("latin-1").partition("?")[0]
            query = scope["query_string"].decode("latin-1")
            try:
                response = await self._handler(Request(scope["method"], path, query, headers, body))
            except asyncio.CancelledError:  # the host is leaving, and the call had its time to finish
                response = Response(503)
        sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        if not any(name.lower() == b"content-length" for name, _ in sent) and response.status not in (204, 304):
            sent.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": sent})
        await send({"type": "http.response.body", "body": response.body})


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off (40 ms on every response) only where the protocol is spelt out like this.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there, it would let two servers share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise StartupError(f"Port {port} cannot be used ({error.strerror}): choose another with --port") from None
    return listening


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the host decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def _read(receive: Any) -> bytes | None:
    """Return a request's body, None if it is longer than the limit; the rest is read and dropped."""
    body, length = bytearray(), 0
    while True:
        event = await receive()
        chunk = event.get("body", b"")
        length += len(chunk)
        if length <= MAX_BODY:
            body += chunk
        else:
            body.clear()
        if not event.get("more_body", False):
            return bytes(body) if length <= MAX_BODY else None
