"""Who is scored when: tiny requests at once, large ones in turns, those whose client has gone never."""

import asyncio
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import ClientDisconnect, Request

from model_store.cache import Served
from scoring.services import Services
from tests.scoring.test_rows import ROW
from web import memory, turns
from web.memory import Room
from web.models import Find, Models
from web.turns import AT_ONCE, SMALL, TINY, Turns

LARGE = bytes(SMALL + 1)


class NoModels(Models):
    """Models of which none is open, nor asked for."""

    def __init__(self) -> None:
        """Take nothing."""

    @contextmanager
    def seat_at_once(self, asked: str | None) -> Iterator[Served | None]:  # noqa: ARG002  # as that of Models
        """Give none."""
        yield None


def request(*, gone: threading.Event | None = None) -> Request:
    async def receive() -> dict:
        if gone is not None and gone.is_set():
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()  # nothing more comes
        return {}

    return Request({"type": "http"}, receive)


def test_a_small_request_overtakes_large_ones() -> None:
    """While as many large ones as may be are scored, and more wait, a small one is answered."""
    full, go = threading.Semaphore(0), threading.Event()

    def score(_find: Find) -> str:
        full.release()
        assert go.wait(60)
        return "large"

    async def main() -> list[str]:
        taken = Turns(NoModels(), Room(2 * AT_ONCE * len(LARGE)))
        large = [asyncio.create_task(taken.take(request(), LARGE, None, score)) for _ in range(2 * AT_ONCE)]
        for _ in range(AT_ONCE):
            await asyncio.to_thread(full.acquire)
        small = await taken.take(request(), b"{}", None, lambda _: "small")
        assert not full.acquire(blocking=False)  # the others wait for their turn
        go.set()
        return [small, *await asyncio.gather(*large)]

    assert asyncio.run(main()) == ["small", *["large"] * 2 * AT_ONCE]


def where(find: Find) -> threading.Thread:
    """Find the model, and say which thread it is that would score."""
    with find() as served:
        assert served.version.name == "churn"
        return threading.current_thread()


@pytest.mark.parametrize(
    ("body", "quick", "here"),
    [
        (bytes(TINY), math.inf, True),
        (bytes(TINY), -1, False),
        (bytes(TINY + 1), math.inf, False),
        (LARGE, 1, False),
    ],
)
def test_what_is_quick_is_scored_on_the_event_loop(services: Services, monkeypatch, body, quick, here) -> None:
    """A tiny body, of a model that is open and known to be quick; the first one never is."""
    monkeypatch.setattr(turns, "QUICK", quick)

    async def main() -> list[bool]:
        taken = Turns(Models(lambda: services, services.settings), Room(len(LARGE)))
        found = [await taken.take(request(), body, "churn", where) for _ in range(3)]
        return [thread is threading.current_thread() for thread in found]

    assert asyncio.run(main()) == [False, here, here]
    assert services.engine.requests._value == services.engine.threads, "a turn was not given back"


def test_the_event_loop_waits_for_nobodys_turn(services: Services, monkeypatch) -> None:
    """While others have all turns to score, a tiny request waits for one on a thread, and the loop goes on."""
    monkeypatch.setattr(turns, "QUICK", math.inf)

    async def main() -> bool:
        taken = Turns(Models(lambda: services, services.settings), Room(len(LARGE)))
        await taken.take(request(), b"{}", "churn", where)
        for _ in range(services.engine.threads):
            assert services.engine.requests.acquire(blocking=False)
        waiting = asyncio.create_task(taken.take(request(), b"{}", "churn", where))
        await asyncio.sleep(0)  # it has begun
        for _ in range(services.engine.threads):
            services.engine.requests.release()
        return await waiting is not threading.current_thread()

    assert asyncio.run(main())


def test_a_model_that_no_path_names_may_be_quick_too(services: Services, client, monkeypatch) -> None:
    """The only one there is; an empty name or a bad one is refused as ever, whatever is at hand."""
    monkeypatch.setattr(turns, "QUICK", math.inf)
    answers = [client.post("/invocations", json={"dataframe_records": [ROW]}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    assert client.post("/api/predict/", json=ROW).json()["error"]["code"] == "reference_invalid"
    assert client.post("/api/predict/ch urn", content=b"{").json()["error"]["code"] == "message_invalid"
    assert client.post("/api/predict/ch urn", json=ROW).json()["error"]["code"] == "reference_invalid"
    assert services.engine.requests._value == services.engine.threads, "a turn was not given back"


def test_who_has_gone_is_not_scored() -> None:
    """A client that went away while its request waited costs nothing more."""
    gone = threading.Event()
    gone.set()
    taken = Turns(NoModels(), Room(len(LARGE)))
    with pytest.raises(ClientDisconnect):
        asyncio.run(taken.take(request(gone=gone), LARGE, None, lambda _: pytest.fail("it was scored")))


def test_errors_come_through_and_turns_go_on() -> None:
    """What scoring raises is the caller's; the turn is free again."""

    def fail(_find: Find) -> None:
        raise ValueError("no")

    async def main() -> int:
        taken = Turns(NoModels(), Room(len(LARGE)))  # for one at a time: what has failed has left it
        for _ in range(AT_ONCE + 1):
            with pytest.raises(ValueError, match="no"):
                await taken.take(request(), LARGE, None, fail)
        return await taken.take(request(), LARGE, None, lambda _: 1)

    assert asyncio.run(main()) == 1


def test_memory_is_given_back_once_large_bodies_have_gone(monkeypatch) -> None:
    """After a moment, if they were many bytes together; never for a few."""
    given = threading.Event()
    monkeypatch.setattr(memory, "give_back", given.set)
    monkeypatch.setattr(memory, "PAUSE", 0.0)

    async def main(size: int, patience: float) -> bool:
        room = Room(0)
        for _ in range(3):
            room.let_go(size)
        return await asyncio.to_thread(given.wait, patience)

    assert not asyncio.run(main(memory.WORTH // 4, 0))
    assert asyncio.run(main(memory.WORTH // 2, 60))


def test_what_goes_while_memory_is_waited_for_is_given_back_too(monkeypatch) -> None:
    """It may still be held when the system gets what went before: so it is asked once more, and then no more."""
    given = threading.Semaphore(0)
    monkeypatch.setattr(memory, "give_back", given.release)
    monkeypatch.setattr(memory, "PAUSE", 0.0)

    async def main() -> list[bool]:
        room = Room(0)
        room.let_go(memory.WORTH)
        room.let_go(1)
        return [await asyncio.to_thread(given.acquire, timeout=60) for _ in range(2)]

    assert asyncio.run(main()) == [True, True]
    assert not given.acquire(blocking=False)


def test_giving_back_is_harmless() -> None:
    """It can be called at any time, where the C library has it or not."""
    memory.give_back()
    assert bytes(10) == b"\0" * 10
