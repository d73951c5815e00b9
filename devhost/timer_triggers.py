"""Timer triggers: a call at every time of a schedule, in UTC."""

import asyncio
import json
from datetime import UTC, datetime

from devhost.bindings import Function
from devhost.cron import parse_schedule
from devhost.invoker import Invoker
from devhost.messages import TypedData


class TimerTrigger:
    """Call a function on schedule; a call that outlasts the interval delays the next one, as on the real host.

    Unlike there, times are UTC whatever this machine's zone, as they will be in Azure, times missed while this host
    was down are not made up for, and of several hosts of an app each calls, where in Azure one of them does.
    """

    def __init__(self, function: Function, invoker: Invoker) -> None:
        self._function = function
        self._invoker = invoker
        self._schedule = parse_schedule(str(function.trigger.properties["schedule"]))
        self._run_on_startup = bool(function.trigger.properties.get("runOnStartup"))

    async def run(self, stopping: asyncio.Event) -> None:
        """Call at every time until `stopping`."""
        last = datetime.now(UTC)
        if self._run_on_startup:
            await self._call(last)
        while not stopping.is_set():
            due = self._schedule.next(max(last, datetime.now(UTC)))
            try:
                # Never more than a minute at once: a machine that slept must not sleep on.
                await asyncio.wait_for(stopping.wait(), min((due - datetime.now(UTC)).total_seconds(), 60))
            except TimeoutError:
                if datetime.now(UTC) >= due:
                    last = due
                    await self._call(due)

    async def call(self, _text: str = "") -> None:
        """Call the function now."""
        await self._call(datetime.now(UTC))

    async def _call(self, due: datetime) -> None:
        status = {"Last": due, "LastUpdated": due, "Next": self._schedule.next(due)}
        data = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {name: moment.isoformat() for name, moment in status.items()},
            "IsPastDue": False,
        }
        reason = f"Timer fired at {due.isoformat(timespec='seconds')}"
        await self._invoker.invoke(self._function, TypedData(json=json.dumps(data)), {}, reason=reason)
