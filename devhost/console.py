"""The console: log lines of the host and of the app, each tied to the invocation it belongs to."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from azure_functions_runtime import invocation_id_cv

# Levels of host.json's logging.logLevel, by Python's.
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


class Console:
    """Print log records as `func start` does; records of an invocation name its function and id."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._functions: dict[str, str] = {}
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_Formatter(self._functions))
        self._handler = handler
        logging.captureWarnings(capture=True)
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(logging.INFO)
        logging.getLogger("devhost").setLevel(logging.WARNING if quiet else logging.INFO)
        # At INFO these tell of every request they make.
        for noisy in ("azure.core", "azure.identity", "urllib3", "uvicorn", "asyncio"):
            logging.getLogger(noisy).setLevel(logging.WARNING)

    def set_levels(self, levels: Mapping[str, str]) -> None:
        """Apply host.json's logging.logLevel: "default" or "Function" is the app's level."""
        level = levels.get("Function", levels.get("default", "Information")).lower()
        logging.getLogger().setLevel(max(_LEVELS.get(level, logging.INFO), logging.WARNING if self._quiet else 0))

    @property
    def running(self) -> list[str]:
        """The invocations known now: function, and the eight characters of the id that the log shows."""
        return [f"{function} {invocation_id[:8]}" for invocation_id, function in self._functions.items()]

    @contextmanager
    def invocation(self, invocation_id: str, function: str) -> Iterator[None]:
        """Know an invocation by its function's name while it runs."""
        self._functions[invocation_id] = function
        try:
            yield
        finally:
            del self._functions[invocation_id]

    def print(self, text: str) -> None:
        """Print text as it is, in order with the log."""
        self._handler.flush()
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class _Formatter(logging.Formatter):
    """`[time] [function id] message`, in UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, functions: Mapping[str, str]) -> None:
        super().__init__("[%(asctime)s] %(owner)s%(message)s")
        self._functions = functions

    def format(self, record: logging.LogRecord) -> str:
        invocation_id = invocation_id_cv.get()
        name = self._functions.get(invocation_id or "")
        # Eight characters tell invocations apart; the Executing line has the whole id to search for.
        owner = f"[{name} {invocation_id[:8]}] " if invocation_id and name else ""
        level = f"{record.levelname.title()}: " if record.levelno >= logging.WARNING else ""
        record.owner = owner + level
        return super().format(record)
