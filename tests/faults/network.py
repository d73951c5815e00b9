"""A network that fails: a proxy between the app and Azurite that answers some requests in its own way."""

import hashlib
import http.client
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Any, Self

LARGEST = 64 * 1024 * 1024  # bytes of a request; the cases' are a few hundred
AT_ONCE = 64  # connections
WITHHELD = 5.0  # seconds at most, if the client does not give up before
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


class Fault(StrEnum):
    """What may happen to a request."""

    ERROR = "500"
    BUSY = "503 + Retry-After"
    THROTTLED = "429"
    RESET_BEFORE = "reset before it was applied"
    RESET_AFTER = "reset after it was applied"
    TIMEOUT = "no answer after it was applied"
    TRUNCATED = "truncated answer"


ASKING = (Fault.BUSY, Fault.THROTTLED)
"""Those whose answer says how long to wait."""

STATUSES = {
    Fault.ERROR: (500, "InternalError"),
    Fault.BUSY: (503, "ServerBusy"),
    Fault.THROTTLED: (429, "TooManyRequests"),
}


@dataclass
class Seen:
    """A request as it came by."""

    number: int
    """From 1, over both services."""
    operation: str
    """What it asks for, all of it: the same when it is asked again."""
    what: str
    """Method and target."""
    at: float
    """By the monotonic clock, seconds."""
    fault: Fault | None = None


Weather = Callable[[Seen], Fault | None]
"""Says what happens to a request; called by one thread at a time."""


def fair(_seen: Seen) -> Fault | None:
    """Let every request pass."""
    return None


@dataclass
class Once:
    """One fault, at one request; or `times` of them, at that and whatever asks the same again."""

    number: int
    fault: Fault
    times: int = 1
    _what: str = ""

    def __call__(self, seen: Seen) -> Fault | None:
        if seen.number == self.number:
            self._what = seen.what
        if seen.what != self._what or not self.times:
            return None
        self.times -= 1
        return self.fault


@dataclass
class Storm:
    """Faults of all kinds, each request's with the same chance; the same for the same seed and order."""

    seed: int
    chance: float
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311  # the same for the same seed

    def __call__(self, _seen: Seen) -> Fault | None:
        return self._random.choice(list(Fault)) if self._random.random() < self.chance else None


class Network:
    """Stands before Azurite's blobs and queues on two ports of its own; a context manager."""

    def __init__(self, upstream: str, weather: Weather = fair, *, retry_after: int = 1) -> None:
        """Pass on to the services of a connection string; a busy one asks for `retry_after` seconds of patience."""
        self._upstream = upstream
        self._weather = weather
        self._lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(AT_ONCE)
        self._over = threading.Event()
        self.retry_after = retry_after
        self.seen: list[Seen] = []
        self._servers: list[ThreadingHTTPServer] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        fields = dict(part.split("=", 1) for part in self._upstream.split(";") if part)
        for service in ("BlobEndpoint", "QueueEndpoint"):
            base, _, account = fields[service].rpartition("/")
            server = _Server(self, int(base.rpartition(":")[2]))
            fields[service] = f"http://127.0.0.1:{server.server_port}/{account}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            self._servers.append(server)
            self._threads.append(thread)
        self.connection_string = ";".join(f"{name}={value}" for name, value in fields.items())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def impatient(self, tries: int) -> list[str]:
        """Return what was asked again sooner than a busy service had wanted.

        After so many `tries` of the same in a row, a client has given up, and who asks then is somebody else.
        """
        found = []
        refused: dict[str, list[Seen]] = defaultdict(list)
        for seen in self.seen:
            before = refused[seen.operation]
            if 0 < len(before) < tries and seen.at - before[-1].at < self.retry_after:
                found.append(
                    f"{seen.what} came again after {seen.at - before[-1].at:.2f} s, not {self.retry_after}"
                )
            if seen.fault not in ASKING or len(before) == tries:
                before.clear()
            if seen.fault in ASKING:
                before.append(seen)
        return found

    def note(self, what: str, operation: str) -> Fault | None:
        """Write down a request and say what is to happen to it."""
        with self._lock:
            seen = Seen(len(self.seen) + 1, operation, what, time.monotonic())
            self.seen.append(seen)
            seen.fault = self._weather(seen)
            return seen.fault

    def withhold(self, connection: socket.socket) -> None:
        """Wait until the client has hung up, or for some seconds."""
        connection.settimeout(0.05)
        end = time.monotonic() + WITHHELD
        while time.monotonic() < end and not self._over.is_set():
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return


class _Server(ThreadingHTTPServer):
    """One of the two ports, and the port it stands for."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, network: Network, upstream: int) -> None:
        self.network = network
        self.upstream = upstream
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: clients hang up on us, as we on them."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, and one of ours behind it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    upstream: http.client.HTTPConnection

    def setup(self) -> None:
        self.server.network.slots.acquire()
        self.upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)
        super().setup()

    def finish(self) -> None:
        self.upstream.close()
        self.server.network.slots.release()
        if self.connection.fileno() >= 0:  # there is nothing to finish after a reset
            with suppress(OSError):
                super().finish()

    def do_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST:
            raise ValueError(f"a request of {length} bytes is none of ours")
        body = self.rfile.read(length)
        what = f"{self.command} {self.path}"
        conditions = [self.headers.get(name, "") for name in ("x-ms-range", "If-Match", "If-None-Match")]
        operation = f"{what} {conditions} {hashlib.sha256(body).hexdigest()}"
        fault = self.server.network.note(what, operation)
        if fault in STATUSES:
            self._refuse(fault)
        elif fault is Fault.RESET_BEFORE:
            self._reset()
        else:
            self._pass_on(body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_any  # noqa: N815  # http.server's names

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        self.upstream.request(self.command, self.path, body, dict(self.headers.items()))
        answer = self.upstream.getresponse()
        content = answer.read()
        if fault is Fault.RESET_AFTER:
            self._reset()
        elif fault is Fault.TIMEOUT:
            self.close_connection = True
            self.server.network.withhold(self.connection)
        else:
            self._answer(answer, content, truncated=fault is Fault.TRUNCATED)

    def _answer(self, answer: http.client.HTTPResponse, content: bytes, *, truncated: bool) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        whole = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if whole and answer.status not in (204, 304):
            self.send_header("Content-Length", whole)
        if truncated and not content:
            self._reset()  # with the headers still unsent: there is no less of an answer without a body
            return
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if truncated else content)
        self.close_connection = self.close_connection or truncated

    def _refuse(self, fault: Fault) -> None:
        status, code = STATUSES[fault]
        self.send_response(status)
        self.send_header("x-ms-error-code", code)
        self.send_header("Content-Length", "0")
        if fault in ASKING:
            self.send_header("Retry-After", str(self.server.network.retry_after))
        self.end_headers()

    def _reset(self) -> None:
        self.close_connection = True
        self._headers_buffer: list[bytes] = []
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""
