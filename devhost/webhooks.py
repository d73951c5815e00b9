"""The blob extension's webhook: events of Event Grid become calls of blob triggers.

As on the real host, it puts every event on the host's own queue, without a look at the blob, at the trigger's path
or at what it was told before, and answers 202.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from devhost.blob_receipts import BlobVersion
from devhost.event_grid import WEBHOOK
from devhost.http_server import Request, Response

_log = logging.getLogger(__name__)
_ORIGIN = "eventgrid.azure.net"

HandOver = Callable[[str, BlobVersion], Awaitable[None]]
"""Queue the call of a function, by its full name, for a blob."""


class BlobWebhook:
    """Answer POST /runtime/webhooks/blobs?functionName=Host.Functions.<name>; every key is accepted."""

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over

    @staticmethod
    def owns(path: str) -> bool:
        """Say whether a path is the webhook's."""
        return path.lower().rstrip("/") == WEBHOOK

    async def handle(self, request: Request) -> Response:
        """Queue the events of a notification; shake hands where a subscription asks for it."""
        if request.method == "OPTIONS":  # CloudEvents' handshake
            return Response(200, headers=[("webhook-allowed-origin", _ORIGIN)])
        kind = next((value.lower() for name, value in request.headers if name == "aeg-event-type"), "")
        if kind == "unsubscribe":
            return Response(202)
        try:
            document = json.loads(request.body)
            events = document if isinstance(document, list) else [document]
            if kind == "subscriptionvalidation":
                answer = {"validationResponse": events[0]["data"]["validationCode"]}
                return Response(200, json.dumps(answer).encode(), [("content-type", "application/json")])
            versions = [_version(event) for event in events]
        except (ValueError, LookupError, TypeError) as error:
            _log.warning("An event that was posted cannot be read: %s", error)
            return Response(400)
        (function,) = parse_qs(request.query).get("functionName", [""])
        if kind != "notification" or not function:
            return Response(400)
        for version in versions:
            await self._hand_over(function, version)
        return Response(202)


def _version(event: dict[str, Any]) -> BlobVersion:
    """Return the blob of an event; LookupError, TypeError or ValueError if it names none."""
    url = urlsplit(event["data"]["url"])
    parts = url.path.lstrip("/").split("/")
    if ".blob." not in (url.hostname or "") and ".dfs." not in (url.hostname or ""):
        del parts[0]  # Azurite's URLs begin with the account
    container, *name = parts
    if not name:
        raise ValueError("its URL names no blob")
    return BlobVersion(container, unquote("/".join(name)), event["data"]["eTag"])
