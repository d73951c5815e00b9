"""Who is scored when: most requests at once on the event loop, others on threads, and large ones in turns.

A change of threads takes longer than a row does (measured: 0.1 ms on an idle machine, 0.5 on a busy one). So what
is known to be quick, and has to wait for nothing, is scored right where it was read.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from model_store.cache import Served
from model_store.model import Model
from web.memory import Room
from web.models import Find, Models

TINY = 4 * 1024
"""Bytes of a body that may be scored on the event loop: a few rows."""
QUICK = 0.0005
"""Seconds that its scoring may take there: as long, everybody else waits."""
SMALL = 16 * 1024
"""Bytes of a body that is scored in a millisecond or so."""
AT_ONCE = 4
"""Large bodies that have a thread at once: each also holds what its rows become."""

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """The turns of one process."""

    def __init__(self, models: Models, room: Room) -> None:
        """Let large bodies wait, of which no more have come than there is room for."""
        self._models = models
        self._room = room
        self._large = CapacityLimiter(AT_ONCE)
        self._seconds: WeakKeyDictionary[Model, float] = WeakKeyDictionary()
        """CPU time that each model took for tiny bodies: moving averages. Who has none yet is no quick one."""

    async def take(
        self,
        request: Request,
        body: bytes,
        asked: str | None,
        score: Callable[Concatenate[Find, P], T],
        *arguments: P.args,
        **more: P.kwargs,
    ) -> T:
        """Return what `score` gives; it is told how to find the model that is `asked` for (None: none is named).

        ClientDisconnect if the client has gone before its turn.
        """
        if len(body) <= TINY:
            with self._models.seat_at_once(asked) as served:
                if served is not None and self._seconds.get(served.model, math.inf) <= QUICK:
                    with self._timed(served):
                        return score(_found(served), *arguments, **more)
            return await run_in_threadpool(score, partial(self._timed_seat, asked), *arguments, **more)
        find = partial(self._models.seat, asked)
        if len(body) <= SMALL:
            return await run_in_threadpool(score, find, *arguments, **more)
        size = len(body)
        try:
            with self._room.hold(size):  # which it has left just now, when all of it was here
                async with self._large:
                    if await request.is_disconnected():
                        raise ClientDisconnect
                    return await run_in_threadpool(score, find, *arguments, **more)
        finally:
            self._room.let_go(size)

    @contextmanager
    def _timed_seat(self, asked: str | None) -> Iterator[Served]:
        with self._models.seat(asked) as served, self._timed(served):
            yield served

    @contextmanager
    def _timed(self, served: Served) -> Iterator[None]:
        """Remember how long the block takes, by the clock that stands still while others run."""
        began = time.thread_time()
        try:
            yield
        finally:
            taken = time.thread_time() - began
            before = self._seconds.get(served.model, taken)
            self._seconds[served.model] = before + (taken - before) / 4


def _found(served: Served) -> Find:
    """Return what gives a model that is found already, with its turn."""
    return lambda: nullcontext(served)
