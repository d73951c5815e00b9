"""The parent of hosts that are killed: it starts the next one, and keeps what outlives them.

In Azure a lost machine is replaced by another, while storage and the app's address stay. Here Azurite and the port
belong to this process; each host is a child of it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from devhost.azurite import free_ports
from devhost.config import read_local_settings
from devhost.connections import Connections
from devhost.console import Console
from devhost.host import Options, app_folder, launch_azurite


def supervise(options: Options, arguments: Sequence[str], console: Console) -> int:
    """Run hosts with the command line's `arguments`, the next when one was killed; return the last one's exit code.

    A signal is passed on to the host, and no other is started. Raises StartupError if Azurite cannot be started.
    """
    local = read_local_settings(app_folder(options))
    local.apply()
    with ExitStack() as stack:
        connections = Connections(os.environ)
        stack.callback(connections.close)
        azurite = launch_azurite(options, connections, console)
        if azurite is not None:
            stack.callback(azurite.stop)
            azurite.wait()
        port = local.port if options.port is None else options.port or free_ports(1)[0]
        return _Lives([*arguments, "--no-azurite", "--port", str(port)], console).run()


class _Lives:
    """The hosts, one after the other."""

    def __init__(self, arguments: Sequence[str], console: Console) -> None:
        self._arguments = arguments
        self._console = console
        self._host: subprocess.Popen[bytes] | None = None
        self._stopping: int | None = None
        """The signal that asked for the end."""

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        life = 0
        while True:
            code = self._live(life)
            if code != -signal.SIGKILL or self._stopping is not None:
                break
            life += 1
            self._console.print(f"The host was killed, for the {_ordinal(life)} time; starting it again")
        if life or code == 0:
            self._console.print(f"The host was killed {life} time{'' if life == 1 else 's'}")
        return code if code >= 0 else 128 - code

    def _live(self, life: int) -> int:
        """Start a host and return its exit code when it has ended; negative for a signal."""
        # In a group of its own: Ctrl+C at the terminal is to reach it once, from here.
        self._host = subprocess.Popen(
            [sys.executable, "-m", "devhost", *self._arguments, "--life", str(life)], process_group=0
        )
        if self._stopping is not None:  # the signal came while there was no host
            self._host.send_signal(self._stopping)
        return self._host.wait()

    def _pass_on(self, number: int, _frame: object) -> None:
        self._stopping = number
        if self._host is not None:
            self._host.send_signal(number)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
