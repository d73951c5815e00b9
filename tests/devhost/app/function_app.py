"""A small app with one trigger of each kind; what ran is told in the blobs of container %TOLD%."""

import asyncio
import json
import logging
import os
import time
import uuid
from datetime import UTC, datetime

import azure.functions as func
from azure.storage.blob import BlobServiceClient
from azurefunctions.extensions.bindings import blob


async def asgi(scope, receive, send):
    """Answer with what was asked."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = (await receive())["body"]
    answer = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "body": body.hex(),
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


app = func.AsgiFunctionApp(app=asgi, http_auth_level=func.AuthLevel.ANONYMOUS, function_name="web")
CONNECTION = "AzureWebJobsStorage"
log = logging.getLogger("app")


def tell(what, **facts):
    """Leave a record that tests can read."""
    service = BlobServiceClient.from_connection_string(os.environ[CONNECTION])
    name = f"{what}/{time.time_ns()}-{uuid.uuid4().hex[:6]}.json"
    with service:
        service.get_blob_client(os.environ["TOLD"], name).upload_blob(json.dumps(facts))


@app.route(route="echo/{name}/{number:int?}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def echo(req: func.HttpRequest) -> func.HttpResponse:
    """Give back what came."""
    log.info("echo was asked by %s", req.route_params["name"])
    facts = {
        "params": dict(req.params),
        "route": dict(req.route_params),
        "header": req.headers.get("x-thing"),
        "url": req.url,
        "length": len(req.get_body()),
    }
    response = func.HttpResponse(req.get_body(), status_code=201, mimetype="application/octet-stream")
    response.headers["x-facts"] = json.dumps(facts)
    response.headers.add("set-cookie", "a=1; Path=/; HttpOnly")
    response.headers.add("set-cookie", "b=2; Max-Age=60; SameSite=Lax")
    return response


@app.route(route="fail", methods=["GET"])
def fail(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001  # the binding's
    """Raise."""
    raise ValueError("the app's own fault")


@app.route(route="text")
def text(req: func.HttpRequest) -> str:  # noqa: ARG001  # the binding's
    """Return plain text."""
    return "plain"


@app.route(route="block", methods=["GET"])
async def block(req: func.HttpRequest) -> str:
    """Hold up the worker's event loop."""
    time.sleep(float(req.params["seconds"]))  # noqa: ASYNC251  # the fault under test
    return "done"


@app.route(route="zealous")
def zealous(req: func.HttpRequest) -> str:  # noqa: ARG001  # the binding's
    """Wait in vain: the function `web` takes every path, and comes first by its name."""
    return "called"


@app.queue_trigger(arg_name="message", queue_name="%WORK_QUEUE%", connection=CONNECTION)
@app.queue_output(arg_name="out", queue_name="%ANSWERS%", connection=CONNECTION)
@app.blob_output(arg_name="copy", path="%TOLD%/copies/{id}.txt", connection=CONNECTION)
def work(message: func.QueueMessage, out: func.Out[str], copy: func.Out[str]) -> None:
    """Do as the message says."""
    body = message.get_body().decode()
    begin = time.time()
    tell(
        "begun",
        body=body,
        dequeue_count=message.dequeue_count,
        inserted=(datetime.now(UTC) - message.insertion_time).total_seconds(),
        expires=message.expiration_time is not None and message.time_next_visible is not None,
    )
    if body.startswith("sleep "):
        time.sleep(float(body.split()[1]))
    elif body.startswith("fail"):
        raise ValueError("message refused")
    elif body.startswith("answer"):
        out.set(body.upper())
        copy.set(body)
    tell("done", body=body, dequeue_count=message.dequeue_count, seconds=time.time() - begin)


@app.queue_trigger(arg_name="message", queue_name="%WORK_QUEUE%-poison", connection=CONNECTION)
def poison(message: func.QueueMessage) -> None:
    """See what failed for good."""
    tell("poison", body=message.get_body().decode())


@app.blob_trigger(
    arg_name="client",
    path="%DROPS%/{folder}/{name}.csv",
    connection=CONNECTION,
    source=os.environ.get("DROPS_SOURCE", "LogsAndContainerScan"),
)
def drop(client: blob.BlobClient) -> None:
    """Read a blob through its client."""
    content = client.download_blob().readall().decode()
    tell("drop-begun", name=client.blob_name)
    if content.startswith("sleep "):
        time.sleep(float(content.split()[1]))
    if content == "fail":
        raise ValueError("blob refused")
    tell("drop", name=client.blob_name, content=content)


@app.blob_trigger(arg_name="stream", path="%STREAMS%/{name}", connection=CONNECTION)
@app.blob_output(arg_name="copy", path="%TOLD%/copies/of-{name}", connection=CONNECTION)
async def stream(stream: func.InputStream, copy: func.Out[bytes]) -> None:
    """Read a blob's content."""
    content = stream.read()
    await asyncio.sleep(0)
    log.info("stream saw %s", stream.name)
    tell("stream", name=stream.name, uri=stream.uri, length=stream.length, content=content.hex())
    copy.set(content)


@app.timer_trigger(arg_name="timer", schedule="%TICK%", run_on_startup=False)
def tick(timer: func.TimerRequest) -> None:
    """Tell the time."""
    tell("tick", past_due=timer.past_due, status=timer.schedule_status)
