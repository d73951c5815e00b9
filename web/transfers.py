"""Files on their way to clients and from them: so many at a time, and on threads of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from errors import TooManyTransfersError

MOST_TRANSFERS = 64
"""At a time, up and down each: every one holds some blocks in memory, for as long as its client takes."""

_THREADS = 16  # that wait for storage: others are left for rows
_T = TypeVar("_T")


class Transfers:
    """What files of one direction share in one process; used from one event loop."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(_THREADS)
        self._under_way = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a file while it is on its way; TooManyTransfersError (retryable) where there is no room for it."""
        if self._under_way >= MOST_TRANSFERS:
            raise TooManyTransfersError(f"{MOST_TRANSFERS} files are on their way already: try again in a moment")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def on_thread(self, work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Return what `work` returns, which may block."""
        return await to_thread.run_sync(partial(work, *arguments, **options), limiter=self._threads)
