"""HTTP/1.1 by hand: clients that send what they like, as slowly as they like, and go when they like."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

PATIENCE = 120.0
"""Seconds that a client waits for an answer; machines are shared."""


@dataclass
class Wire:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Send bytes and wait until the system has taken them."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> int:
        """Read an answer to its end; return its status, 0 where the server closed the connection instead."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(line for line in head.splitlines() if line.startswith("content-length:"))
                await self.reader.readexactly(int(length.partition(":")[2]))
                return int(head.split(" ", 2)[1])
        return 0

    async def ask(self, *parts: bytes) -> int:
        """Send a request whose answer may come before it is sent; return the answer's status."""
        sending = asyncio.create_task(self.send(*parts))
        try:
            return await self.answer()
        finally:
            sending.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await sending

    def abort(self) -> None:
        """Go at once, without a goodbye: the server is sent a reset."""
        taken = self.writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Wire]:
    """Open a connection; it is closed behind the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def head(path: str, headers: Mapping[str, object], method: str = "POST") -> bytes:
    """Return the first line and the headers of a request."""
    said = (f"{name}: {text}" for name, text in headers.items())
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *said, "", ""]).encode()


def request(path: str, body: bytes, headers: Mapping[str, object] | None = None) -> bytes:
    """Return a whole request."""
    return (
        head(path, {"Content-Type": "application/json", "Content-Length": len(body)} | dict(headers or {})) + body
    )


def chunk(content: bytes) -> bytes:
    """Return a chunk of a body without a length."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def repeated(part: bytes, count: int) -> Iterable[bytes]:
    """Yield the same part so many times."""
    return (part for _ in range(count))
