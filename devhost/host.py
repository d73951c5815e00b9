"""The host: an app's functions, their triggers, and how it all begins and ends."""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from devhost.admin import Admin, Call
from devhost.azurite import Azurite, azurite_running, endpoints
from devhost.bindings import DEFAULT_CONNECTION, TRIGGERS, Function, is_disabled, read_function
from devhost.blob_triggers import BlobTrigger, BlobTriggers
from devhost.config import HostSettings, read_host_settings, read_local_settings
from devhost.connections import Connections
from devhost.console import Console
from devhost.errors import StartupError
from devhost.event_grid import EventGrid, EventOptions, webhook_path
from devhost.http_server import HttpServer, Request, Response
from devhost.http_triggers import HttpFunction, HttpTriggers, http_function
from devhost.invoker import Invoker
from devhost.outputs import Outputs
from devhost.queue_triggers import QueueTrigger
from devhost.rehearsal import Faults, KillTimer, Rehearsal
from devhost.timer_triggers import TimerTrigger
from devhost.webhooks import BlobWebhook
from devhost.worker import Worker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    app: Path
    port: int | None
    azurite: bool
    azurite_dir: Path | None
    """None keeps Azurite's data in memory."""
    queue_lease: float
    blob_scan: float
    drain: float
    """Seconds that running calls get to finish at the end."""
    faults: Faults
    """What goes wrong on purpose."""
    events: EventOptions | None
    """How uploads become events for functions with the source EventGrid; None polls for those too."""


def run(options: Options, console: Console) -> bool:
    """Run an app until a signal; False if calls still ran when their time was up.

    Raises StartupError if it cannot start, KeyboardInterrupt at a second signal.
    """
    directory = app_folder(options)
    local = read_local_settings(directory)
    local.apply()
    os.chdir(directory)  # as under `func start`
    settings = read_host_settings(
        directory, os.environ, queue_lease=options.queue_lease, blob_scan=options.blob_scan
    )
    console.set_levels(settings.log_levels)
    with ExitStack() as stack:
        server_port = local.port if options.port is None else options.port
        connections = Connections(os.environ)
        stack.callback(connections.close)
        azurite = launch_azurite(options, connections, console)
        if azurite is not None:
            stack.callback(azurite.stop)
        worker = Worker()
        stack.callback(worker.stop)
        metadata = worker.start(directory)
        for each in metadata:
            if each.retry_options is not None:
                _log.warning("Function %s: devhost does not carry out @app.retry", each.name)
        functions = [read_function(each, os.environ) for each in metadata if not is_disabled(each.name, os.environ)]
        if azurite is not None:
            azurite.wait()
        rehearsal = Rehearsal(options.faults, KillTimer(options.faults, console))
        outputs = Outputs(connections, encoding=settings.queues.encoding)
        invoker = Invoker(worker, outputs, console, rehearsal.kill_timer)
        host = Host(functions, settings, connections, invoker, rehearsal, port=server_port, events=options.events)
        console.print(host.describe())
        return asyncio.run(host.run(drain=options.drain))


def app_folder(options: Options) -> Path:
    """Return the app's folder; StartupError if there is none."""
    directory = options.app.resolve()
    if not directory.is_dir():
        raise StartupError(f"There is no folder {directory}")
    return directory


def launch_azurite(options: Options, connections: Connections, console: Console) -> Azurite | None:
    """Start Azurite if the app's storage is an emulator on this machine that is not up."""
    if not options.azurite or DEFAULT_CONNECTION not in os.environ:
        return None
    connection_string = connections.text(DEFAULT_CONNECTION)
    addresses = endpoints(connection_string)
    if not addresses or azurite_running(connection_string):
        return None
    azurite = Azurite(addresses["blob"][1], addresses["queue"][1], data=options.azurite_dir)
    azurite.launch()
    where = options.azurite_dir or "memory"
    console.print(f"Starting Azurite, process {azurite.pid}, on ports {azurite.ports} with its data in {where}")
    return azurite


class Host:
    """The triggers of an app, wired."""

    def __init__(
        self,
        functions: Sequence[Function],
        settings: HostSettings,
        connections: Connections,
        invoker: Invoker,
        rehearsal: Rehearsal,
        *,
        port: int,
        events: EventOptions | None,
    ) -> None:
        self._server = HttpServer(self._answer, port)
        by_type = {kind: [each for each in functions if each.trigger.type == kind] for kind in TRIGGERS}
        http: list[HttpFunction] = [http_function(each, settings.route_prefix) for each in by_type["httpTrigger"]]
        queues = {
            each.name: QueueTrigger(each, invoker, settings.queues, connections, rehearsal)
            for each in by_type["queueTrigger"]
        }
        timers = {each.name: TimerTrigger(each, invoker) for each in by_type["timerTrigger"]}
        self._blobs = [BlobTrigger(each, connections) for each in by_type["blobTrigger"]]
        if events and not any(each.event_grid for each in self._blobs):
            raise StartupError("No blob trigger has the source EventGrid: --event-grid has nobody to tell")
        self._functions = functions
        self._rehearsal = rehearsal
        self._events = events
        self._http = {each.function.name: each for each in http}
        self._runners: list[QueueTrigger | TimerTrigger | BlobTriggers] = [*queues.values(), *timers.values()]
        calls: dict[str, Call] = {name: trigger.call for name, trigger in (queues | timers).items()}
        event_grid = EventGrid(events, self._server.port, connections) if events else None
        self._webhook: BlobWebhook | None = None
        if self._blobs:
            blob_triggers = BlobTriggers(
                self._blobs, settings, connections, invoker, rehearsal, event_grid=event_grid
            )
            self._runners.append(blob_triggers)
            self._webhook = BlobWebhook(blob_triggers.hand_over)
            calls |= {each.function.name: partial(blob_triggers.call, each) for each in self._blobs}
        self._admin = Admin(settings.host_id, calls)
        self._triggers = HttpTriggers(http, invoker)

    def describe(self) -> str:
        """Return the list of functions as `func start` prints it."""
        lines = ["", "Functions:", ""]
        for function in sorted(self._functions, key=lambda each: (each.trigger.type != "httpTrigger", each.name)):
            http = self._http.get(function.name)
            url = f"http://localhost:{self._server.port}/{http.route.template}" if http else ""
            lines += [f"\t{function.name}: " + (f"{http.methods} {url}" if http else function.trigger.type), ""]
        for trigger in self._blobs:
            if trigger.event_grid:
                url = f"http://localhost:{self._server.port}{webhook_path(trigger.function)}"
                how = "uploads are posted there" if self._events else "its container is polled as well"
                lines += [f"\t{trigger.function.name} takes events at {url}; {how}", ""]
        if rehearsed := self._rehearsal.faults.describe():
            lines += [rehearsed, ""]
        return "\n".join(lines)

    async def run(self, *, drain: float) -> bool:
        """Serve until SIGINT or SIGTERM; then begin nothing new, and say whether all that ran was done in time."""
        stopping = asyncio.Event()
        _stop_on_signals(stopping)
        runners = [each.run for each in (*self._runners, self._server)]
        tasks = [asyncio.create_task(_guard(runner(stopping), stopping)) for runner in runners]
        if self._rehearsal.faults.life is not None:
            tasks.append(asyncio.create_task(_guard(_watch_parent(stopping), stopping)))
        await stopping.wait()
        self._rehearsal.kill_timer.disarm()
        _log.info("Stopping: waiting up to %g s for running functions; press Ctrl+C again to leave now", drain)
        tasks.append(asyncio.create_task(self._admin.drain()))
        done, late = await asyncio.wait(tasks, timeout=drain)
        for task in done:
            task.result()  # raises what went wrong
        if late:
            _log.warning("Functions were still running after %g s; their messages come back", drain)
        return not late

    async def _answer(self, request: Request) -> Response:
        if self._webhook and BlobWebhook.owns(request.path):
            return await self._webhook.handle(request)
        return await (self._admin if Admin.owns(request.path) else self._triggers).handle(request)


async def _guard(runner: Coroutine[Any, Any, None], stopping: asyncio.Event) -> None:
    """Stop everything if one part fails: half a host that looks alive helps nobody."""
    try:
        await runner
    finally:
        stopping.set()


async def _watch_parent(stopping: asyncio.Event) -> None:
    """Return when this process is to stop, or its supervisor is gone: nobody would pass signals on any more."""
    parent = os.getppid()
    while not stopping.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(stopping.wait(), 1)
        except TimeoutError:
            continue


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop(_number: int, _frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
