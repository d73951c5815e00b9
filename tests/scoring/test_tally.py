"""Where a run's time went."""

from collections.abc import Iterator

import pytest

import scoring.tally
from scoring.tally import Tally


class Clock:
    """Time that passes only while somebody works; every second of work takes the processor for half of it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def work(self, seconds: float) -> None:
        self.seconds += seconds

    def perf_counter(self) -> float:
        return self.seconds

    def thread_time(self) -> float:
        return self.seconds / 2


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(scoring.tally, "time", clock)
    return clock


def test_a_stage_within_another_counts_once(clock: Clock) -> None:
    """Every second is in one stage: their sum is the whole; an outer stage holds what no inner one does."""
    tally = Tally()
    with tally.stage("rest"):
        clock.work(1)
        with tally.stage("parse"):
            clock.work(2)
            with tally.stage("read"):
                clock.work(4)
            clock.work(8)
        with tally.stage("score"):
            clock.work(16)
        with tally.stage("parse"):
            clock.work(32)
    assert tally.wall == {"rest": 1, "parse": 42, "read": 4, "score": 16}
    assert tally.cpu == {"rest": 0.5, "parse": 21, "read": 2, "score": 8}


def test_an_error_ends_its_stage(clock: Clock) -> None:
    """A stage that fails is timed, and the next one is not counted as being inside it."""
    tally = Tally()

    def fail() -> None:
        clock.work(1)
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"), tally.stage("parse"):
        fail()
    with tally.stage("commit"):
        clock.work(2)
    assert tally.wall == {"parse": 1, "commit": 2}


def test_what_the_caller_does_with_items_is_not_their_making(clock: Clock) -> None:
    """`timed` counts what making items takes, also the last look for one, and not what is done with them."""
    tally = Tally()

    def made() -> Iterator[int]:
        for item in range(2):
            clock.work(1)
            yield item
        clock.work(2)

    items = []
    for item in tally.timed("cut", made()):
        clock.work(100)
        items.append(item)
    assert items == [0, 1]
    assert tally.wall == {"cut": 4}
