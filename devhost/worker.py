"""The Python worker, run in a thread of this process."""

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import azure_functions_runtime as runtime

from devhost import messages
from devhost.errors import StartupError
from devhost.messages import InvocationResponse, Message, ParameterBinding, RpcFunctionMetadata, TypedData

T = TypeVar("T")


class Worker:
    """Load an app and call its functions.

    The worker has an event loop and a thread of its own, as it has a process of its own in Azure: an async function
    that blocks holds up other async functions, but not the host's leases, pollers and HTTP server.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="worker", daemon=True)

    def start(self, directory: Path) -> Sequence[RpcFunctionMetadata]:
        """Import and index the app in `directory`; StartupError, with the app's traceback, if that fails."""
        script = directory / os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not script.is_file():
            raise StartupError(f"There is no {script.name} in {directory}: name the app's folder with --app")
        sys.path.insert(0, str(directory))
        runtime.start_threadpool_executor()
        self._thread.start()
        # The runtime logs import errors with the whole sys.path around them; we print the plain traceback instead.
        runtime_log = logging.getLogger("azure.functions")
        runtime_log.setLevel(logging.CRITICAL)
        request = _request(
            worker_init_request=Message(capabilities={}, function_app_directory=str(directory)),
        )
        init = self._await(runtime.worker_init_request(request))
        runtime_log.setLevel(logging.WARNING)  # at INFO it tells of every call what the host says already
        if init.result.exception is not None:
            raise StartupError(
                f"The app in {directory} cannot be imported or indexed:\n\n{init.result.exception.stack_trace}"
            )
        functions = self._await(runtime.functions_metadata_request(_request())).function_metadata_results
        if not functions:
            raise StartupError(f"{script} registers no function on its FunctionApp")
        for function in functions:
            load = Message(function_id=function.function_id)
            self._await(runtime.function_load_request(_request(function_load_request=load)))
        return list(functions)

    async def invoke(
        self,
        invocation_id: str,
        function_id: str,
        inputs: Sequence[ParameterBinding],
        trigger_metadata: Mapping[str, TypedData],
    ) -> InvocationResponse:
        """Call a function and wait for it; its exception, if any, is in the response."""
        call = Message(
            invocation_id=invocation_id,
            function_id=function_id,
            input_data=inputs,
            trigger_metadata=trigger_metadata,
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        future = asyncio.run_coroutine_threadsafe(_invoke(call), self._loop)
        return await asyncio.wrap_future(future)

    def stop(self, timeout: float = 5) -> None:
        """End the worker's loop and what runs on it; functions in threads, or that block it, are left behind."""
        logging.getLogger("azure.functions").setLevel(
            logging.CRITICAL + 1
        )  # of apps that are cancelled, not failing
        if not self._thread.is_alive():
            self._loop.close()
            return
        cancelling = asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop)
        with suppress(TimeoutError):
            cancelling.result(timeout)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _await(self, answer: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(answer, self._loop).result()


def _request(**requests: Message) -> Message:
    return Message(request=Message(**requests), properties={"host": "127.0.0.1", "protos": messages})


async def _invoke(call: Message) -> InvocationResponse:
    runtime.invocation_id_cv.set(call.invocation_id)  # the runtime itself sets it for sync functions only
    response: InvocationResponse = await runtime.invocation_request(_request(invocation_request=call))
    return response


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
