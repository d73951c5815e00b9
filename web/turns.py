"""Threads for requests that bring rows: large ones wait for their turn, so that small ones need not wait."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from web.memory import freed

SMALL = 16 * 1024
"""Bytes of a body that is scored in a millisecond or so."""
AT_ONCE = 4
"""Large bodies that have a thread at once: each also holds what its rows become."""

T = TypeVar("T")


class Turns:
    """The turns of one process."""

    def __init__(self) -> None:
        self._large = CapacityLimiter(AT_ONCE)

    async def take(self, request: Request, body: bytes, score: Callable[..., T], *arguments: object) -> T:
        """Return what `score` gives, called on a thread; ClientDisconnect if the client has gone before."""
        if len(body) <= SMALL:
            return await run_in_threadpool(score, *arguments)
        try:
            async with self._large:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await run_in_threadpool(score, *arguments)
        finally:
            freed.add(len(body))
