"""Event Grid: what is posted for an upload, and what the webhook makes of it."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2 as httpx
import pytest

from devhost.bindings import Binding, Function
from devhost.blob_receipts import BlobVersion
from devhost.connections import Connections
from devhost.event_grid import EventGrid, EventOptions, UndeliveredError
from devhost.http_server import Request
from devhost.webhooks import BlobWebhook
from tests.devhost.conftest import wait_until

DROP = Function("1", "drop", Binding("client", "blobTrigger", {}), ())
NAME = "a b/ü%2e#?.csv"


class Endpoint(HTTPServer):
    """Somewhere to post events to, which keeps them."""

    def __init__(self, status=202):
        super().__init__(("127.0.0.1", 0), Taker)
        self.status = status
        self.taken = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Taker(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, self.headers, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def tell(storage):
    """Tell of a blob of container drops and return what was posted."""

    def told(options=EventOptions(), *, name=NAME, status=202):  # noqa: B008  # frozen
        connections = Connections({"S": storage.connection_string})
        blob = connections.blobs("S").get_blob_client(f"drops-{storage.name}", name)
        with Endpoint(status) as endpoint:
            try:
                asyncio.run(EventGrid(options, endpoint.server_port, connections).tell(DROP, blob))
            finally:
                connections.close()
        return endpoint.taken

    return told


def test_an_upload_is_an_event_in_event_grids_schema(storage, tell):
    """The event is posted as Azure posts it: alone in a list, the ETag without quotes, the URL encoded."""
    etag = storage.put("drops", NAME, b"12345")["etag"].strip('"')
    [(path, headers, [event])] = tell()
    assert path == "/runtime/webhooks/blobs?functionName=Host.Functions.drop"
    assert (headers["aeg-event-type"], headers["content-type"]) == (
        "Notification",
        "application/json; charset=utf-8",
    )
    assert list(event) == [
        "topic", "subject", "eventType", "eventTime", "id", "data", "dataVersion", "metadataVersion",
    ]  # fmt: skip
    assert event["eventType"] == "Microsoft.Storage.BlobCreated"
    assert event["subject"] == f"/blobServices/default/containers/drops-{storage.name}/blobs/{NAME}"
    data = event["data"]
    assert list(data) == [
        "api", "clientRequestId", "requestId", "eTag", "contentType", "contentLength", "blobType", "url",
        "sequencer", "storageDiagnostics",
    ]  # fmt: skip
    assert (data["api"], data["eTag"], data["contentLength"], data["blobType"]) == ("PutBlob", etag, 5, "BlockBlob")
    assert data["url"].endswith(f"/drops-{storage.name}/a%20b/%C3%BC%252e%23%3F.csv")


def test_an_upload_is_an_event_in_cloud_events_schema(storage, tell):
    """With --cloud-events the event is a CloudEvent 1.0, and no list."""
    storage.put("drops", NAME, b"12345")
    [(_, headers, event)] = tell(EventOptions(cloud_events=True))
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert set(event) == {"source", "subject", "type", "time", "id", "data", "specversion"}
    assert (event["specversion"], event["type"]) == ("1.0", "Microsoft.Storage.BlobCreated")


def test_a_data_lake_sends_two_events(storage, tell):
    """With --data-lake the first event is of the empty file, the second of the written one, as in ADLS Gen2."""
    storage.put("drops", NAME, b"12345")
    events = [event for _, _, [event] in tell(EventOptions(data_lake=True))]
    told = [(event["data"]["api"], event["data"]["contentLength"], event["dataVersion"]) for event in events]
    assert told == [("CreateFile", 0, "2"), ("FlushWithClose", 5, "2")]
    assert len({event["data"]["eTag"] for event in events}) == len({event["id"] for event in events}) == 2


def test_the_operation_is_the_one_that_made_the_blob(storage, tell):
    """Blobs of committed blocks and copies are told as such."""
    blob = storage.blobs.get_blob_client(f"drops-{storage.name}", NAME)
    blob.stage_block("YQ==", b"12345")
    blob.commit_block_list(["YQ=="])
    copy = storage.blobs.get_blob_client(f"drops-{storage.name}", "copy")
    copy.start_copy_from_url(blob.url)
    told = [tell(name=name)[0][2][0]["data"]["api"] for name in (NAME, "copy")]
    assert told == ["PutBlockList", "CopyBlob"]


def test_an_event_that_is_refused_is_undelivered(storage, tell):
    """An answer that is no success is an error: the event is posted again later."""
    storage.put("drops", NAME, b"")
    with pytest.raises(UndeliveredError, match="answered 503"):
        tell(status=503)


def ask(body, kind="Notification", method="POST", query="functionName=Host.Functions.drop&code=x"):
    """Return the webhook's answer, and what it handed over."""
    handed_over = []

    async def hand_over(function, version):
        handed_over.append((function, version))

    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(method, "/runtime/webhooks/blobs", query, [("aeg-event-type", kind)], content)
    return asyncio.run(BlobWebhook(hand_over).handle(request)), handed_over


@pytest.mark.parametrize(
    ("url", "container", "name"),
    [
        ("https://acc.blob.core.windows.net/in/a%20b/%C3%BC%252e%23%3F.csv", "in", NAME),
        ("https://acc.dfs.core.windows.net/in/a.csv", "in", "a.csv"),
        ("http://127.0.0.1:10000/devstoreaccount1/in/a//b.csv", "in", "a//b.csv"),
    ],
)
def test_the_webhook_hands_events_over(url, container, name):
    """Events in either schema, in lists or alone, are each handed over, and the answer is 202."""
    event = {"data": {"url": url, "eTag": "0x1", "api": "PutBlob"}}
    version = BlobVersion(container, name, "0x1")
    for body, count in ((event, 1), ([event], 1), ([event, event], 2)):
        response, handed_over = ask(body)
        assert response.status == 202
        assert handed_over == [("Host.Functions.drop", version)] * count


def test_the_webhook_shakes_hands():
    """It answers the validation of a subscription in both schemas, and its end."""
    response, _ = ask([{"data": {"validationCode": "512d38b6"}}], "SubscriptionValidation")
    assert (response.status, json.loads(response.body)) == (200, {"validationResponse": "512d38b6"})
    response, _ = ask(b"", method="OPTIONS")
    assert (response.status, response.headers) == (200, [("webhook-allowed-origin", "eventgrid.azure.net")])
    assert ask(b"", "Unsubscribe")[0].status == 202


@pytest.mark.parametrize(
    "body", [b"", b"{", b"5", [5], {"data": {}}, {"data": {"url": "http://h/a/b", "eTag": ""}}]
)
def test_the_webhook_refuses_what_is_no_event(body):
    """What names no blob is answered 400, and nothing is handed over."""
    response, handed_over = ask(body)
    assert (response.status, handed_over) == (400, [])


def test_an_event_without_its_function_or_kind_is_refused():
    """A notification needs ?functionName= and the header that says it is one."""
    event = {"data": {"url": "https://acc.blob.core.windows.net/in/a.csv", "eTag": "0x1"}}
    assert ask(event, query="code=x")[0].status == 400
    assert ask(event, "")[0].status == 400


def test_uploads_reach_the_function_as_events(storage, start):
    """With --event-grid an upload is posted to the webhook, once also over a restart; others are polled."""
    first = start("--event-grid", DROPS_SOURCE="EventGrid").ready()
    storage.put("drops", f"x/{NAME}", b"1")
    storage.put("streams", "polled", b"2")
    wait_until(lambda: storage.told("drop"), "call by an event")
    wait_until(lambda: storage.told("stream"), "call by polling")
    assert first.end() == 0, first.output
    assert "drop takes events at" in first.output
    storage.put("drops", "x/new.csv", b"3")
    second = start("--cloud-events", "--data-lake", DROPS_SOURCE="EventGrid").ready()
    wait_until(lambda: len(storage.told("drop")) >= 3, "two calls for the events of one upload")
    event = {"data": {"url": f"{storage.blobs.url}drops-{storage.name}/x/new.csv", "eTag": "0xOLD"}}
    url = f"{second.url}/runtime/webhooks/blobs?functionName=Host.Functions.drop"
    assert httpx.post(url, json=[event], headers={"aeg-event-type": "Notification"}).status_code == 202
    wait_until(lambda: len(storage.told("drop")) >= 4, "call for an event by hand")
    assert second.end() == 0, second.output
    assert [each["name"] for each in storage.told("drop")] == [f"x/{NAME}", *["x/new.csv"] * 3]


def test_event_grid_needs_somebody_to_tell(start):
    """--event-grid without a blob trigger of that source is an error that says so."""
    devhost = start("--event-grid")
    assert devhost.wait() == 1
    assert "No blob trigger has the source EventGrid" in devhost.output
