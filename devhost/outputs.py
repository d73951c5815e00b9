"""Output bindings: what a function returned or set, written where its bindings say."""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from devhost.bindings import Binding, Function, fill
from devhost.connections import Connections
from devhost.messages import InvocationResponse, TypedData


class Outputs:
    """Write a function's queue and blob outputs; its HTTP output is the HTTP trigger's affair."""

    def __init__(self, connections: Connections, *, encoding: str) -> None:
        self._connections = connections
        self._encoding = encoding

    async def write(self, function: Function, response: InvocationResponse, tokens: Mapping[str, str]) -> None:
        """Write every output that was set; `tokens` fill the {token}s of queue names and blob paths."""
        for binding in function.outputs:
            value = output_value(binding, response)
            if value is None or binding.type == "http":
                continue
            if binding.type == "queue":
                queue = fill(binding.properties["queueName"], tokens, function.name)
                client = self._connections.queues(binding.connection).get_queue_client(queue)
                for content in _messages(value):
                    await self._connections.call(send, client, encode(content, self._encoding))
            else:
                container, _, name = fill(binding.properties["path"], tokens, function.name).partition("/")
                blobs = self._connections.blobs(binding.connection).get_container_client(container)
                await self._connections.call(upload, blobs, name, value.content)


def output_value(binding: Binding, response: InvocationResponse) -> TypedData | None:
    """Return what the function gave an output binding, None if nothing."""
    if binding.name == "$return":
        return response.return_value
    return next((output.data for output in response.output_data if output.name == binding.name), None)


def encode(content: bytes, encoding: str) -> str:
    """Make a queue message's text, as messageEncoding of host.json asks."""
    return base64.b64encode(content).decode() if encoding == "base64" else content.decode()


def send(queue: QueueClient, text: str) -> None:
    """Put a message on a queue, which is made if it is not there."""
    try:
        queue.send_message(text)
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):  # somebody else has just made it
            queue.create_queue()
        queue.send_message(text)


def upload(
    container: ContainerClient,
    name: str,
    content: bytes,
    *,
    overwrite: bool = True,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a blob, in a container which is made if it is not there.

    ResourceExistsError if there is such a blob and it is not to be overwritten.
    """
    try:
        container.upload_blob(name, content, overwrite=overwrite, metadata=metadata)
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):  # somebody else has just made it
            container.create_container()
        container.upload_blob(name, content, overwrite=overwrite, metadata=metadata)


def _messages(value: TypedData) -> list[bytes]:
    """Return the messages in a queue output: JSON lists hold several, all else is one."""
    if value.WhichOneof("data") != "json":
        return [value.content]
    document = json.loads(value.json)
    items = document if isinstance(document, list) else [document]
    return [(item if isinstance(item, str) else json.dumps(item)).encode() for item in items]
