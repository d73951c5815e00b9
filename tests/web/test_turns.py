"""Who is scored when: small requests at once, large ones in turns, those whose client has gone never."""

import asyncio
import threading

import pytest
from starlette.requests import ClientDisconnect, Request

from web import memory
from web.turns import AT_ONCE, SMALL, Turns

LARGE = bytes(SMALL + 1)


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

    def score() -> str:
        full.release()
        assert go.wait(60)
        return "large"

    async def main() -> list[str]:
        turns = Turns()
        large = [asyncio.create_task(turns.take(request(), LARGE, score)) for _ in range(2 * AT_ONCE)]
        for _ in range(AT_ONCE):
            await asyncio.to_thread(full.acquire)
        small = await turns.take(request(), b"{}", lambda: "small")
        assert not full.acquire(blocking=False)  # the others wait for their turn
        go.set()
        return [small, *await asyncio.gather(*large)]

    assert asyncio.run(main()) == ["small", *["large"] * 2 * AT_ONCE]


def test_who_has_gone_is_not_scored() -> None:
    """A client that went away while its request waited costs nothing more."""
    gone = threading.Event()
    gone.set()
    with pytest.raises(ClientDisconnect):
        asyncio.run(Turns().take(request(gone=gone), LARGE, lambda: pytest.fail("it was scored")))


def test_errors_come_through_and_turns_go_on() -> None:
    """What scoring raises is the caller's; the turn is free again."""

    def fail() -> None:
        raise ValueError("no")

    async def main() -> int:
        turns = Turns()
        for _ in range(AT_ONCE + 1):
            with pytest.raises(ValueError, match="no"):
                await turns.take(request(), LARGE, fail)
        return await turns.take(request(), LARGE, lambda: 1)

    assert asyncio.run(main()) == 1


def test_memory_is_given_back_once_large_bodies_have_gone(monkeypatch) -> None:
    """After a moment, if they were many bytes together; never for a few."""
    given = threading.Event()
    monkeypatch.setattr(memory, "give_back", given.set)
    monkeypatch.setattr(memory, "PAUSE", 0.0)

    async def main(size: int, patience: float) -> bool:
        freed = memory.Freed()
        for _ in range(3):
            freed.add(size)
        return await asyncio.to_thread(given.wait, patience)

    assert not asyncio.run(main(memory.WORTH // 4, 0))
    assert asyncio.run(main(memory.WORTH // 2, 60))


def test_giving_back_is_harmless() -> None:
    """It can be called at any time, where the C library has it or not."""
    memory.give_back()
    assert bytes(10) == b"\0" * 10
