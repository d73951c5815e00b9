"""The threads that score: one pool for the whole process, whatever number of runs and requests it serves."""

import contextvars
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine:
    """A pool of scoring threads, and a bound on the blocks that are in memory at once over all runs.

    The Functions host may call us on a thousand threads: what they score goes through here, so that the process
    needs cores and threads x block of memory, not a thousand times that.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self.requests = BoundedSemaphore(threads)
        """Held while rows at hand are scored, on the thread that has them: they should not queue behind files."""
        # Twice the threads: one block being scored and one read ahead for each.
        self._slots = BoundedSemaphore(2 * threads)

    def close(self) -> None:
        """End the threads, once what they are doing is done."""
        self._pool.shutdown()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
        """Yield function(item) for each item, in order, computed on the pool.

        `items` is read on the caller's thread, and no further ahead than free slots allow. The first exception, of
        `function` or of `items`, is raised once nothing of this call is running any more.
        """
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                # Who waits for a slot must hold none, or two runs could wait for each other's.
                while not self._slots.acquire(blocking=not waiting):
                    yield self._take(waiting)
                waiting.append(self._submit(function, item))
            while waiting:
                yield self._take(waiting)
        finally:
            for future in waiting:
                future.cancel()
            for future in waiting:
                if not future.cancelled():
                    future.exception()  # waits; the first exception is already on its way up
                self._slots.release()

    def _take(self, waiting: deque[Future[Result]]) -> Result:
        """Return the oldest result, and free its slot: only now is nothing of its block held any more."""
        future = waiting.popleft()
        try:
            return future.result()
        finally:
            self._slots.release()

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        # The worker ties log lines to an invocation by a context variable: carry it into our thread.
        context = contextvars.copy_context()
        try:
            return self._pool.submit(context.run, function, item)
        except BaseException:
            self._slots.release()
            raise
