"""Invocations: one call of a function, from its trigger's data to its written outputs, told on the console."""

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from devhost.bindings import Function
from devhost.console import Console
from devhost.messages import InvocationResponse, ParameterBinding, TypedData
from devhost.outputs import Outputs
from devhost.rehearsal import KillTimer
from devhost.worker import Worker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a call ended."""

    succeeded: bool
    response: InvocationResponse


class Invoker:
    """Call functions; every call that begins is seen to end on the console."""

    def __init__(self, worker: Worker, outputs: Outputs, console: Console, kill_timer: KillTimer) -> None:
        self._worker = worker
        self._outputs = outputs
        self._console = console
        self._kill_timer = kill_timer

    async def invoke(
        self,
        function: Function,
        data: TypedData,
        metadata: Mapping[str, TypedData],
        *,
        reason: str,
        tokens: Mapping[str, str] | None = None,
    ) -> Invocation:
        """Call a function with its trigger's data; a failed output fails the call."""
        invocation_id = str(uuid.uuid4())
        name = f"Functions.{function.name}"
        inputs = [ParameterBinding(name=function.trigger.name, data=data)]
        begin = time.monotonic()
        with self._kill_timer.work(), self._console.invocation(invocation_id, function.name):
            _log.info("Executing '%s' (Reason='%s', Id=%s)", name, reason, invocation_id)
            response = await self._worker.invoke(invocation_id, function.id, inputs, metadata)
            failure = response.result.exception.stack_trace if response.result.exception else ""
            if not failure:
                failure = await self._write_outputs(function, response, tokens or {})
            duration = (time.monotonic() - begin) * 1000
            if failure:
                _log.error(
                    "Executed '%s' (Failed, Id=%s, Duration=%.0fms)\n%s",
                    name,
                    invocation_id,
                    duration,
                    failure.rstrip(),
                )
            else:
                _log.info("Executed '%s' (Succeeded, Id=%s, Duration=%.0fms)", name, invocation_id, duration)
        return Invocation(not failure, response)

    async def _write_outputs(
        self, function: Function, response: InvocationResponse, tokens: Mapping[str, str]
    ) -> str:
        try:
            await self._outputs.write(function, response, tokens)
        except Exception as error:  # whatever storage says fails the call, as on the real host
            return f"An output of {function.name} could not be written: {error}"
        return ""
