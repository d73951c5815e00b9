"""What the server is pressed with, each as a coroutine that returns the statuses of what it asked."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.load.wire import chunk, connect, head, repeated, request

PREDICT = "/api/predict/churn"
ROW = {"age": 20.5, "visits": 3, "member": True, "plan": "basic"}
FORMS = {
    PREDICT: json.dumps([ROW] * 750).encode(),
    "/invocations": json.dumps({"dataframe_records": [ROW] * 750}).encode(),
}
"""Bodies of 50 kB, by path."""

MEGABYTE = bytes(1 << 20)
TOO_LARGE = 100 * (1 << 20) + 1

Statuses = Counter[int]
"""How often each status was answered; 0 where the server closed the connection instead."""


@dataclass(frozen=True)
class Case:
    """A way to press the server."""

    name: str
    connections: int
    press: Callable[[int, int], Awaitable[Statuses]]
    """Takes the server's port and the number of connections."""
    answers: frozenset[int]
    """What may be answered: anything else is a fault."""
    idle: bool = False
    """Whether the server has nothing to do meanwhile, so that others must be answered in time during it, too."""


async def crowd(port: int, connections: int) -> Statuses:
    """Let all connect, then all ask at once, twice each on the same connection, with 50 kB of rows."""
    connected = asyncio.Barrier(connections)
    asked = [request(path, body) for path, body in FORMS.items()]

    async def one(place: int) -> Statuses:
        async with connect(port) as wire:
            await connected.wait()
            return Counter([await wire.ask(asked[(place + again) % len(asked)]) for again in range(2)])

    return await together(connections, one)


async def slow_heads(port: int, connections: int) -> Statuses:
    """Let each send its headers a few bytes a second, and never end them."""

    async def one(_place: int) -> Statuses:
        async with connect(port) as wire:
            with contextlib.suppress(OSError):
                await wire.send(f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode())
                for number in range(10):
                    await wire.send(f"X-{number}: slow\r\n".encode())
                    await asyncio.sleep(1)
            return Counter()

    return await together(connections, one)


async def slow_bodies(port: int, connections: int) -> Statuses:
    """Let each promise 50 kB, send 5 kB a second of it, and break off."""
    body = FORMS[PREDICT]

    async def one(_place: int) -> Statuses:
        async with connect(port) as wire:
            with contextlib.suppress(OSError):
                await wire.send(head(PREDICT, {"Content-Length": len(body) + 1}))
                for number in range(10):
                    await wire.send(body[number * 5000 : (number + 1) * 5000])
                    await asyncio.sleep(1)
            return Counter()

    return await together(connections, one)


async def too_large(port: int, connections: int) -> Statuses:
    """Let each send 100 MB and a byte, and say so before."""

    async def one(place: int) -> Statuses:
        path = (*FORMS, "/v2/models/churn/infer")[place % 3]
        async with connect(port) as wire:
            said = head(path, {"Content-Type": "application/json", "Content-Length": TOO_LARGE})
            return Counter([await wire.ask(said, *repeated(MEGABYTE, 100), b"0")])

    return await together(connections, one)


async def without_length(port: int, connections: int) -> Statuses:
    """Let half send 50 kB in chunks, which are answered, and half 100 MB, which are not read to their end."""

    async def one(place: int) -> Statuses:
        path, body = list(FORMS.items())[place % 4 // 2]
        said = head(path, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        async with connect(port) as wire:
            if place % 2:
                return Counter([await wire.ask(said, *repeated(chunk(MEGABYTE), 100), chunk(b""))])
            parts = (chunk(body[at : at + 4096]) for at in range(0, len(body), 4096))
            return Counter([await wire.ask(said, *parts, chunk(b""))])

    return await together(connections, one)


async def wrong_types(port: int, connections: int) -> Statuses:
    """Let each send 50 kB as what it is not, in every way, on one connection."""
    body = FORMS["/invocations"]
    kinds = ("text/plain", "application/xml", "multipart/form-data; boundary=x", "text/csv; charset=utf-16", "/")
    headers: list[dict[str, object]] = [{"Content-Type": kind} for kind in kinds]
    headers.append({"Content-Encoding": "gzip"})
    asked = [request("/invocations", body, more) for more in headers]

    async def one(_place: int) -> Statuses:
        async with connect(port) as wire:
            return Counter([await wire.ask(each) for each in asked])

    return await together(connections, one)


async def gone_early(port: int, connections: int) -> Statuses:
    """Let each go: within its body, or after it and before the answer."""
    asked = request(PREDICT, FORMS[PREDICT])

    async def one(place: int) -> Statuses:
        async with connect(port) as wire:
            with contextlib.suppress(OSError):
                await wire.send(asked if place % 2 else asked[: len(asked) // 2])
            wire.abort()
        return Counter()

    return await together(connections, one)


async def together(connections: int, one: Callable[[int], Awaitable[Statuses]]) -> Statuses:
    """Run so many clients at once and add up what they were answered."""
    statuses: Statuses = Counter()
    for each in await asyncio.gather(*(one(place) for place in range(connections))):
        statuses += Counter({status: count for status, count in each.items() if count})
    return statuses


CASES = (
    Case("2 x 50 kB, kept alive", 2000, crowd, frozenset({200})),
    Case("headers that never end", 1000, slow_heads, frozenset(), idle=True),
    Case("bodies at 5 kB a second", 1000, slow_bodies, frozenset(), idle=True),
    Case("100 MB and 1 byte", 40, too_large, frozenset({413, 0})),
    Case("chunks, without a length", 100, without_length, frozenset({200, 413, 0})),
    Case("wrong content types", 200, wrong_types, frozenset({415})),
    Case("gone before the answer", 2000, gone_early, frozenset()),
)
