"""The pool that scores: order, bounds, failure."""

import contextvars
import threading
import time
from collections.abc import Iterator

import pytest

from scoring.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(3)
    yield made
    made.close()


def test_results_come_in_order(engine) -> None:
    """Results are in the items' order though later items are done first."""

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item

    assert list(engine.map(slow_first, range(30))) == list(range(30))


def test_no_more_is_read_than_there_are_slots(engine) -> None:
    """Items are read ahead of the results by twice the threads at most, whatever the consumer's pace."""
    read, ahead = 0, []

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(40):
            read += 1
            yield item

    for taken, _ in enumerate(engine.map(lambda item: item, items())):
        ahead.append(read - taken)
    assert max(ahead) <= 2 * engine.threads + 2


def test_runs_that_share_the_slots_all_end(engine) -> None:
    """Many runs at once on a few slots never wait for each other for ever."""
    sums = []

    def run() -> None:
        sums.append(sum(engine.map(lambda item: item, range(200))))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sums == [sum(range(200))] * 16


def test_the_first_failure_is_raised_when_nothing_runs_any_more(engine) -> None:
    """After a failure no thread still works for the call, and every slot is free again."""
    running = 0

    def fail_at_five(item: int) -> int:
        nonlocal running
        running += 1
        try:
            time.sleep(0.01)
            if item == 5:
                raise ValueError("five")
            return item
        finally:
            running -= 1

    for _ in range(5):
        with pytest.raises(ValueError, match="five"):
            list(engine.map(fail_at_five, range(50)))
        assert running == 0
    assert list(engine.map(lambda item: item, range(50))) == list(range(50))


def test_context_goes_along(engine) -> None:
    """Context variables, by which the worker ties logs to invocations, hold on the scoring threads too."""
    invocation: contextvars.ContextVar[str] = contextvars.ContextVar("invocation", default="none")
    invocation.set("abc")
    assert list(engine.map(lambda _: invocation.get(), range(5))) == ["abc"] * 5
