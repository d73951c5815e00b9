"""One row through the Functions worker: what Microsoft's runtime, our trigger and the API take together.

python -m benchmarks.http.worker MODEL CALLS       # prints milliseconds, and the process's megabytes, as JSON

The runtime is given the messages that a host sends it, as plain objects; gRPC, which carries them in Azure, is not
in between. The time is that from the message of a call to its answer.
"""

import asyncio
import gc
import json
import os
import sys
import time

import azure_functions_runtime as runtime

from benchmarks.http.rows import rows
from benchmarks.http.servers import Numbers, peak
from benchmarks.processes import ROOT
from devhost import messages
from devhost.bindings import read_function
from devhost.http_server import Request
from devhost.http_triggers import HttpFunction, http_function, request_data
from devhost.messages import Message, ParameterBinding, TypedData

WARM = 300
"""Calls that are not measured."""


def request_of(**requests: Message) -> Message:
    """Return a message to the worker."""
    return Message(request=Message(**requests), properties={"host": "127.0.0.1", "protos": messages})


async def functions() -> list[HttpFunction]:
    """Import and index the app, as a host has it do; return its HTTP functions in the order of their names."""
    runtime.start_threadpool_executor()
    start = Message(capabilities={}, function_app_directory=str(ROOT))
    answer = await runtime.worker_init_request(request_of(worker_init_request=start))
    if answer.result.exception is not None:
        raise SystemExit(answer.result.exception.stack_trace)
    indexed = (await runtime.functions_metadata_request(request_of())).function_metadata_results
    for function in indexed:
        load = Message(function_id=function.function_id)
        await runtime.function_load_request(request_of(function_load_request=load))
    read = (read_function(function, os.environ) for function in indexed)
    found = [http_function(function, "") for function in read if function.trigger.type == "httpTrigger"]
    return sorted(found, key=lambda each: each.function.name.upper())


def call_of(candidates: list[HttpFunction], path: str, body: bytes) -> Message:
    """Return the message that calls what answers a path."""
    headers = [("content-type", "application/json"), ("host", "127.0.0.1"), ("content-length", str(len(body)))]
    for candidate in candidates:
        parameters = candidate.route.match(path)
        if parameters is not None and (not candidate.route.methods or "POST" in candidate.route.methods):
            http = TypedData(http=request_data(Request("POST", path, "", headers, body), parameters))
            return Message(
                function_id=candidate.function.id,
                input_data=[ParameterBinding(name=candidate.function.trigger.name, data=http)],
                trigger_metadata={},
                trace_context=Message(trace_parent="", trace_state="", attributes={}),
                retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
            )
    raise SystemExit(f"no function answers {path}")


async def measure(model: str, calls: int) -> Numbers:
    """Ask so many times for the first row, one call after the other."""
    call = call_of(await functions(), f"/api/predict/{model}", json.dumps(rows()[0]).encode())
    taken = []
    for place in range(WARM + calls):
        call.invocation_id = str(place)
        runtime.invocation_id_cv.set(call.invocation_id)
        if place == WARM:
            gc.collect()
        started = time.perf_counter()
        answer = await runtime.invocation_request(request_of(invocation_request=call))
        taken.append((time.perf_counter() - started) * 1e3)
        if answer.return_value is None or str(answer.return_value.http.status_code) != "200":
            raise SystemExit(f"a call failed: {answer}")
    taken = sorted(taken[WARM:])
    return {"p50": taken[calls // 2], "p99": taken[calls * 99 // 100], "peak": peak(os.getpid())}


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    print(json.dumps(loop.run_until_complete(measure(sys.argv[1], int(sys.argv[2])))), flush=True)
    os._exit(0)  # the app waits for a shutdown that a worker never sends, and would complain of its end
