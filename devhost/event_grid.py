"""Event Grid's part: what it says of an upload, posted to the app's webhook as it does in Azure."""

import http.client
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobClient

from devhost.azurite import HOST
from devhost.bindings import Function
from devhost.connections import Connections

BLOB_CREATED = "Microsoft.Storage.BlobCreated"
WEBHOOK = "/runtime/webhooks/blobs"


class UndeliveredError(Exception):
    """The webhook did not take an event; it is posted again."""


@dataclass(frozen=True, slots=True)
class EventOptions:
    """How uploads become events."""

    cloud_events: bool = False
    """The subscription's schema: CloudEvents 1.0, or else Event Grid's own."""
    data_lake: bool = False
    """Whether the account has a hierarchical namespace: it sends two events for an upload, the first of a file that
    is still empty."""


class EventGrid:
    """A subscription of a container, with the app's webhook as its endpoint.

    Unlike in Azure, it also tells of blobs that were there before it.
    """

    def __init__(self, options: EventOptions, port: int, connections: Connections) -> None:
        """Post to the webhook at `port` of this machine."""
        self._options = options
        self._port = port
        self._call = connections.call

    async def tell(self, function: Function, blob: BlobClient) -> None:
        """Post what an upload makes Azure post; UndeliveredError or AzureError, and it is to be told again."""
        for data, version in await self._call(self._describe, blob):
            event = _in_schema(blob, data, version, cloud_events=self._options.cloud_events)
            await self._call(self._post, function, event)

    def _describe(self, blob: BlobClient) -> list[tuple[dict[str, Any], str]]:
        """Return an upload's events: the data of each and its version."""
        properties = blob.get_blob_properties()
        request = uuid.uuid4()
        data = {
            "api": "FlushWithClose",
            "clientRequestId": str(uuid.uuid4()),
            "requestId": f"{str(request)[:-8]}00000000",
            "eTag": properties.etag.strip('"'),
            "contentType": properties.content_settings.content_type,
            "contentLength": properties.size,
            "blobType": str(properties.blob_type.value),
            "url": blob.url,
            "sequencer": f"{properties.last_modified.timestamp():048.0f}",
            "storageDiagnostics": {"batchId": str(uuid.uuid4())},
        }
        if self._options.data_lake:
            created = data | {"api": "CreateFile", "contentLength": 0, "eTag": f"0x{request.hex[:15].upper()}"}
            return [(created | {"contentOffset": 0}, "2"), (data | {"contentOffset": 0}, "2")]
        return [(data | {"api": _api(blob, copied=properties.copy.id is not None)}, "")]

    def _post(self, function: Function, event: dict[str, Any]) -> None:
        cloud_event = "specversion" in event
        body = json.dumps(event if cloud_event else [event]).encode()
        content_type = "application/cloudevents+json" if cloud_event else "application/json"
        headers = {"content-type": f"{content_type}; charset=utf-8", "aeg-event-type": "Notification"}
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        try:
            connection.request("POST", webhook_path(function), body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise UndeliveredError(f"the webhook cannot be reached: {error}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise UndeliveredError(f"the webhook answered {status}")


def webhook_path(function: Function) -> str:
    """Return where the events of a function go."""
    return f"{WEBHOOK}?{urlencode({'functionName': function.full_name})}"


def _in_schema(blob: BlobClient, data: dict[str, Any], version: str, *, cloud_events: bool) -> dict[str, Any]:
    account = (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/devhost"
        f"/providers/Microsoft.Storage/storageAccounts/{blob.account_name}"
    )
    subject = f"/blobServices/default/containers/{blob.container_name}/blobs/{blob.blob_name}"
    identity = f"{data['requestId'][:-8]}{uuid.uuid4().hex[:8]}"
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
    if cloud_events:
        return {
            "source": account,
            "subject": subject,
            "type": BLOB_CREATED,
            "time": time,
            "id": identity,
            "data": data,
            "specversion": "1.0",
        }
    return {
        "topic": account,
        "subject": subject,
        "eventType": BLOB_CREATED,
        "eventTime": time,
        "id": identity,
        "data": data,
        "dataVersion": version,
        "metadataVersion": "1",
    }


def _api(blob: BlobClient, *, copied: bool) -> str:
    """Return the operation that made a blob, as far as can be seen of it."""
    if copied:
        return "CopyBlob"
    try:
        committed, _ = blob.get_block_list("committed")
    except AzureError:  # an append or a page blob has no blocks
        return "PutBlob"
    return "PutBlockList" if committed else "PutBlob"
