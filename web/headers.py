"""What every answer has, whatever made it: its request's id, and headers that make browsers wary of it."""

import logging
import re
from secrets import token_hex

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observing import here
from scoring.log_lines import line
from scoring.trail import Trail, read_traceparent, trail

log = logging.getLogger(__name__)

_REQUEST_ID = b"x-request-id"
_GOOD_ID = re.compile(rb"[\w.:/+=@-]{1,128}")
"""What may come back in a header and stand in a log line."""

_DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Where an answer says nothing else. HSTS is up to whoever speaks TLS."""

_CACHE = b"cache-control"


class Edge:
    """Give every request an id and every answer its headers (ASGI); the outermost layer of the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        followed = _trail_of(scope)
        marked = (_REQUEST_ID, (followed.request or "").encode("ascii"))
        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message["headers"], marked]
                said = {name for name, _ in headers}
                headers += [header for header in _DEFAULTS if header[0] not in said]
                if _CACHE not in said:
                    # What can be asked for again by its ETag may be kept, if it is asked for each time.
                    headers.append((_CACHE, b"private, no-cache" if b"etag" in said else b"no-store"))
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body", False)

        token = trail.set(followed)
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            if not answered:
                raise
            # Under the Functions host, raising it would replace the answer by one that says nothing.
            log.exception(line("request_failed", method=scope["method"], path=scope["path"]))
        finally:
            trail.reset(token)


def _trail_of(scope: Scope) -> Trail:
    request = trace = b""
    for name, value in scope["headers"]:
        if name == _REQUEST_ID:
            request = value
        elif name == b"traceparent":
            trace = value
    name = request.decode("ascii") if _GOOD_ID.fullmatch(request) else token_hex(16)
    return Trail(name, here() or (read_traceparent(trace.decode("latin-1")) if trace else None))
