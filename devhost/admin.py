"""The host's own URLs: is it up, and call this function now."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from devhost.http_server import Request, Response

_log = logging.getLogger(__name__)
_JSON = [("content-type", "application/json")]

Call = Callable[[str], Awaitable[object]]
"""Call a function with the text of "input"."""


class Admin:
    """Answer admin/host/status, admin/host/ping and admin/functions/{name}."""

    def __init__(self, host_id: str, calls: Mapping[str, Call]) -> None:
        self._host_id = host_id
        self._calls = {name.lower(): call for name, call in calls.items()}
        self._begin = time.monotonic()
        self._tasks: set[asyncio.Task[object]] = set()

    @staticmethod
    def owns(path: str) -> bool:
        """Say whether a path is the host's."""
        return path.lower().startswith("/admin/")

    async def handle(self, request: Request) -> Response:
        """Answer a request; a function is called in the background, the answer is 202."""
        match request.method, request.path.strip("/").lower().split("/"):
            case "GET" | "POST", ["admin", "host", "ping"]:
                return Response(200)
            case "GET" | "POST", ["admin", "host", "status"]:
                uptime = round((time.monotonic() - self._begin) * 1000)
                status = {"id": self._host_id, "state": "Running", "version": "devhost", "processUptime": uptime}
                return Response(200, json.dumps(status).encode(), _JSON)
            case "POST", ["admin", "functions", name] if name in self._calls:
                return self._begin_call(self._calls[name], request.body)
        return Response(404)

    async def drain(self) -> None:
        """Wait for the calls that were begun."""
        await asyncio.gather(*self._tasks)

    def _begin_call(self, call: Call, body: bytes) -> Response:
        try:
            document = json.loads(body or b"{}")
            text = document.get("input", "")
        except (ValueError, AttributeError):
            return Response(400, b'Send a JSON object: {"input": "..."}')
        task = asyncio.ensure_future(call(text if isinstance(text, str) else json.dumps(text)))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return Response(202)

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("A call through admin/functions failed: %s", error)
