"""Blob triggers: containers are listed, and what is new in them becomes a call.

As on the real host, a found blob first becomes a message on a queue of the host's own and then gets a receipt; the
message becomes the call. So a receipt means "handed over", and the queue keeps what is not done yet, counts the
tries and knows what is poison. If this process dies in between, a blob may be handed over twice; none is lost.
Receipts are per function and ETag: a restart does not fire again, and blobs uploaded in the same second all fire,
which comparing times of modification would miss.

A function with the source EventGrid is told of blobs by its webhook (webhooks.py). Where this host plays Event
Grid, the listing says what to post there; elsewhere such a function is polled like any other.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobProperties, ContainerClient
from azure.storage.queue import QueueMessage

from devhost.bindings import DEFAULT_CONNECTION, Function
from devhost.blob_paths import BlobPattern, compile_pattern
from devhost.blob_receipts import BlobReceipts, BlobVersion, Claim
from devhost.config import HostSettings
from devhost.connections import Connections
from devhost.event_grid import EventGrid, UndeliveredError
from devhost.invoker import Invoker
from devhost.messages import ModelBindingData, TypedData
from devhost.outputs import encode, send
from devhost.queue_listener import QueueListener
from devhost.queue_triggers import message_metadata
from devhost.rehearsal import Rehearsal

POISON_QUEUE = "webjobs-blobtrigger-poison"

_log = logging.getLogger(__name__)


class BlobTrigger:
    """A function that a blob starts."""

    def __init__(self, function: Function, connections: Connections) -> None:
        self.function = function
        self.pattern: BlobPattern = compile_pattern(str(function.trigger.properties["path"]))
        self.container: ContainerClient = connections.blobs(function.trigger.connection).get_container_client(
            self.pattern.container
        )
        self.event_grid = str(function.trigger.properties.get("source")).lower() == "eventgrid"
        self.deferred = function.trigger.deferred
        if self.deferred and any(each.has_expression for each in function.outputs):
            self.deferred = False
            _log.warning(
                "Function %s has an output with a {token}: the host then sends the blob's content, "
                "which its SDK type cannot take",
                function.name,
            )


class BlobTriggers:
    """Look for new blobs every few seconds, hand them over, and call their functions."""

    def __init__(
        self,
        triggers: Sequence[BlobTrigger],
        settings: HostSettings,
        connections: Connections,
        invoker: Invoker,
        rehearsal: Rehearsal,
        *,
        event_grid: EventGrid | None,
    ) -> None:
        """Wire them; `event_grid` posts the events of functions with that source, None polls for those too."""
        self._triggers = triggers
        self._scan_interval = settings.blobs.scan_interval
        self._connections = connections
        self._call = connections.call
        self._invoker = invoker
        self._event_grid = event_grid
        self._seen: dict[str, set[BlobVersion]] = {}
        """By function: what has a receipt and is still there."""
        self._receipts = BlobReceipts(connections, settings.host_id, patience=settings.queues.lease)
        queues = connections.queues(DEFAULT_CONNECTION)
        self._queue = queues.get_queue_client(f"azure-webjobs-blobtrigger-{settings.host_id}")
        parallel = settings.blobs.max_degree_of_parallelism
        batch = min(32, parallel)
        self._listener = QueueListener(
            self._queue,
            queues.get_queue_client(POISON_QUEUE),
            self._handle,
            # extensions.queues of host.json is about the app's queues, not this one.
            replace(
                settings.queues,
                batch_size=batch,
                new_batch_threshold=max(0, parallel - batch),
                visibility_timeout=0.0,
                max_dequeue_count=settings.blobs.poison_blob_threshold,
                encoding="base64",
            ),
            connections,
            rehearsal=rehearsal,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Scan and deliver until `stopping`, then let the calls begun finish."""
        delivering = asyncio.create_task(self._listener.run(stopping))
        reachable = True
        while not stopping.is_set():
            try:
                for trigger in self._triggers:
                    await self._scan(trigger, stopping)
                reachable = True
            except (AzureError, UndeliveredError) as error:
                if reachable and not stopping.is_set():  # the webhook is the first to stop
                    _log.warning("Blobs cannot be listed or told of; trying on: %s", error)
                reachable = False
            try:
                await asyncio.wait_for(stopping.wait(), self._scan_interval)
            except TimeoutError:
                continue
        await delivering

    async def hand_over(self, function: str, version: BlobVersion) -> None:
        """Queue the call of a function, by its full name, for a blob."""
        await self._call(send, self._queue, encode(_message(function, version).encode(), "base64"))
        self._listener.wake()

    async def _scan(self, trigger: BlobTrigger, stopping: asyncio.Event) -> None:
        name = trigger.function.name
        if name not in self._seen:
            self._seen[name] = await self._receipts.read(trigger.function)
        found = await self._call(_list_matching, trigger)
        seen = self._seen[name] = self._seen[name] & found
        for version in sorted(found - seen, key=lambda each: each.name):
            if stopping.is_set():
                return
            claim = await self._receipts.claim(trigger.function, version)
            if claim is Claim.OURS:
                await self._tell(trigger, version)
            if claim is not Claim.THEIRS:
                seen.add(version)

    async def _tell(self, trigger: BlobTrigger, version: BlobVersion) -> None:
        """Bring a claimed blob to its function's queue, and make the claim a receipt."""
        try:
            if trigger.event_grid and self._event_grid:
                await self._event_grid.tell(trigger.function, trigger.container.get_blob_client(version.name))
            else:
                await self.hand_over(trigger.function.full_name, version)
        except (AzureError, UndeliveredError):
            await self._receipts.withdraw(trigger.function, version)
            raise
        await self._receipts.complete(trigger.function, version)

    async def call(self, trigger: BlobTrigger, path: str) -> None:
        """Call a function with the blob at `container/name`, new or not."""
        container, _, name = path.partition("/")
        if container != trigger.pattern.container or trigger.pattern.match(name) is None:
            raise LookupError(f"{path!r} is no blob that starts {trigger.function.name}")
        properties = await self._call(trigger.container.get_blob_client(name).get_blob_properties)
        await self._invoke(trigger, properties, {})

    async def _handle(self, message: QueueMessage, body: bytes) -> bool:
        """Call the function a message names; there is nothing to do if its blob has gone or changed since.

        The queue is that of all hosts of one id. What one of them found that looks elsewhere is not for this one,
        but not nobody's either: it fails, so that the other may take it, and is poison at worst.
        """
        document = json.loads(body)
        trigger = next((each for each in self._triggers if each.function.full_name == document["FunctionId"]), None)
        container = document["ContainerName"]
        if trigger is None or (trigger.event_grid and container != trigger.pattern.container):
            return True  # the function is no longer in the app, or somebody posts it events of other containers
        if container != trigger.pattern.container:
            _log.warning(
                "A blob of container %s came to function %s, whose container is %s: put back. Does another app on "
                "this storage have the same AzureFunctionsWebHost__hostid, or a folder of the same name?",
                container,
                trigger.function.name,
                trigger.pattern.container,
            )
            return False
        try:
            properties = await self._call(
                trigger.container.get_blob_client(document["BlobName"]).get_blob_properties
            )
        except ResourceNotFoundError:
            return True
        if properties.etag != document["ETag"] and not trigger.event_grid:
            return True  # the scan finds the new version by itself; events are not compared, as on the real host
        return await self._invoke(trigger, properties, message_metadata(message, body))

    async def _invoke(
        self, trigger: BlobTrigger, properties: BlobProperties, metadata: Mapping[str, TypedData]
    ) -> bool:
        blob = trigger.container.get_blob_client(properties.name)
        path = f"{blob.container_name}/{blob.blob_name}"
        tokens = trigger.pattern.match(blob.blob_name) or {}
        invocation = await self._invoker.invoke(
            trigger.function,
            await blob_data(trigger, blob, self._connections),
            {**metadata, **blob_metadata(blob, properties, tokens)},
            reason=f"New blob detected: {path}",
            tokens={**tokens, "blobTrigger": path},
        )
        return invocation.succeeded


async def blob_data(trigger: BlobTrigger, blob: BlobClient, connections: Connections) -> TypedData:
    """Wrap a blob as the worker wants it: where it is for an SDK type, else its content."""
    if not trigger.deferred:
        downloader = await connections.call(blob.download_blob)
        return TypedData(bytes=await connections.call(downloader.readall))
    where = {
        "Connection": trigger.function.trigger.connection,
        "ContainerName": blob.container_name,
        "BlobName": blob.blob_name,
    }
    return TypedData(
        model_binding_data=ModelBindingData(
            version="1.0",
            source="AzureStorageBlobs",
            content_type="application/json",
            content=json.dumps(where).encode(),
        )
    )


def blob_metadata(blob: BlobClient, properties: BlobProperties, tokens: Mapping[str, str]) -> dict[str, TypedData]:
    """Return the trigger metadata of a blob, with the host's names and encodings."""
    described = {
        "BlobType": 2,  # Azure.Storage.Blobs' enumeration: block blob
        "ContentLength": properties.size,
        "ContentType": properties.content_settings.content_type,
        "CreatedOn": properties.creation_time.isoformat(),
        "ETag": properties.etag,
        "LastModified": properties.last_modified.isoformat(),
    }
    return {token: TypedData(string=value) for token, value in tokens.items()} | {
        "BlobTrigger": TypedData(string=f"{blob.container_name}/{blob.blob_name}"),
        "Uri": TypedData(json=json.dumps(blob.url)),
        "Properties": TypedData(json=json.dumps(described)),
        "Metadata": TypedData(json=json.dumps(properties.metadata)),
    }


def _list_matching(trigger: BlobTrigger) -> set[BlobVersion]:
    """List the blobs that a trigger's path fits; a container that is not there has none."""
    pattern = trigger.pattern
    try:
        return {
            BlobVersion(pattern.container, blob.name, str(blob.etag).strip('"'))
            for blob in trigger.container.list_blobs(name_starts_with=pattern.prefix or None)
            if pattern.match(blob.name) is not None
        }
    except ResourceNotFoundError:
        return set()


def _message(function: str, version: BlobVersion) -> str:
    """Return the host's message for a function and a blob; on the poison queue, the app reads the same."""
    return json.dumps(
        {
            "Type": "BlobTrigger",
            "FunctionId": function,
            "BlobType": "BlockBlob",
            "ContainerName": version.container,
            "BlobName": version.name,
            "ETag": f'"{version.etag}"',
        },
        separators=(",", ":"),
    )
