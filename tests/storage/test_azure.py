"""What is particular to Azure: credentials, settings, and how failures of the service become ours."""

import logging
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential

from errors import (
    BlobNotFoundError,
    ConditionFailedError,
    SettingsError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from settings import Connection, Settings
from storage import BlobPath, QueueMessage, StagedWriter, Storage, open_storage
from storage.azure import AzureBlobStore, AzureQueueStore
from storage.azure_client import RetryOptions, find_endpoint, translated

ROOT = Path(__file__).parents[2]
KEY = "c2VjcmV0LWtleQ=="  # base64 of "secret-key"
PATH = BlobPath("incoming", "churn/a.csv")
QUICK = RetryOptions(total=2, first_wait=0.01, base=0.01)

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, error: str = "", body: bytes = b"", **headers: str) -> Answer:
    """Answer with an HTTP status, an error code of the service's, and headers."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        if error:
            handler.send_header("x-ms-error-code", error)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def content(promised: int, sent: bytes) -> Answer:
    """Answer a download with a body of `promised` bytes of which only `sent` arrive."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Length", str(promised))
        handler.send_header("Content-Range", f"bytes 0-{promised - 1}/{promised}")
        handler.send_header("ETag", '"0x1"')
        handler.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
        handler.send_header("x-ms-blob-type", "BlockBlob")
        handler.end_headers()
        handler.wfile.write(sent)
        handler.wfile.flush()
        if len(sent) < promised:
            handler.close_connection = True

    return answer


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Answer with a TCP reset."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


@dataclass
class FaultyService:
    """A storage service on this machine that answers by a script; its last line is repeated."""

    script: list[Answer] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)
    """When each request came, by the monotonic clock."""
    connection: Connection = Connection("Faulty")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.requests.append(time.monotonic())
        self.script[min(len(self.requests), len(self.script)) - 1](handler)


@pytest.fixture
def faulty() -> Iterator[FaultyService]:
    """Run a service whose answers the test writes."""
    service = FaultyService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            service.answer(self)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_any  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def finish(self) -> None:
            if self.connection.fileno() >= 0:  # there is nothing to finish after a reset
                super().finish()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/faulty"
    service.connection = Connection(
        "Faulty", f"AccountName=faulty;AccountKey={KEY};BlobEndpoint={url};QueueEndpoint={url}"
    )
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


USES = [
    pytest.param(lambda blobs: blobs.stat(PATH), id="stat"),
    pytest.param(lambda blobs: blobs.read(PATH), id="read"),
    pytest.param(lambda blobs: blobs.poll(PATH), id="poll"),
    pytest.param(lambda blobs: blobs.poll(PATH, "0x1"), id="poll-known"),
    pytest.param(lambda blobs: blobs.write(PATH, b"rows"), id="write"),
    pytest.param(lambda blobs: blobs.stage_block(PATH, "0", b"rows"), id="stage"),
    pytest.param(lambda blobs: blobs.commit_blocks(PATH, ["0"]), id="commit"),
    pytest.param(lambda blobs: blobs.delete(PATH), id="delete"),
    pytest.param(lambda blobs: list(blobs.list("incoming")), id="list"),
    pytest.param(lambda blobs: blobs.create_container("incoming"), id="create"),
]
FAILURES = [
    pytest.param(status(500, "InternalError"), StorageUnavailableError, 3, id="500"),
    pytest.param(status(503, "ServerBusy"), StorageUnavailableError, 3, id="503"),
    pytest.param(status(408), StorageUnavailableError, 3, id="408"),
    pytest.param(status(429), StorageUnavailableError, 3, id="429"),
    pytest.param(status(403, "AuthorizationPermissionMismatch"), StorageDeniedError, 1, id="403"),
    pytest.param(status(401, "NoAuthenticationInformation"), StorageDeniedError, 1, id="401"),
    pytest.param(status(404, "ContainerNotFound"), BlobNotFoundError, 1, id="404"),
    pytest.param(status(412, "ConditionNotMet"), ConditionFailedError, 1, id="412"),
    pytest.param(status(412, "LeaseIdMissing"), StorageUnavailableError, 1, id="leased"),
    pytest.param(reset, StorageUnavailableError, 3, id="reset"),
    pytest.param(status(409, "BlockCountExceedsLimit"), StorageUnavailableError, 1, id="blocks"),
    pytest.param(status(409, "BlobArchived"), StorageDeniedError, 1, id="archived"),
    pytest.param(status(409, "SnapshotsPresent"), StorageDeniedError, 1, id="snapshots"),
    pytest.param(status(409, "BlobImmutableDueToPolicy"), StorageDeniedError, 1, id="immutable"),
    pytest.param(status(409, "PendingCopyOperation"), StorageUnavailableError, 1, id="copied"),
]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("answer", "error", "requests"), FAILURES)
def test_failures_become_ours(
    faulty: FaultyService,
    use: Callable[[AzureBlobStore], object],
    answer: Answer,
    error: type[StorageError],
    requests: int,
) -> None:
    """Every failure of the service, in every operation, is one of our errors, after the retries it deserves."""
    faulty.script = [answer]
    with pytest.raises(error) as caught:
        use(AzureBlobStore(faulty.connection, retries=QUICK))
    assert type(caught.value) is error
    assert "incoming" in str(caught.value)
    assert len(faulty.requests) == requests


@pytest.mark.parametrize(("answer", "error", "requests"), FAILURES)
def test_queue_failures_become_ours(
    faulty: FaultyService, answer: Answer, error: type[StorageError], requests: int
) -> None:
    """Queues fail as blobs do."""
    faulty.script = [answer]
    queues = AzureQueueStore(faulty.connection, retries=QUICK)
    for use in (
        lambda: queues.send("jobs", "job"),
        lambda: queues.receive("jobs"),
        lambda: queues.delete("jobs", QueueMessage("1", "", "r", 1)),
    ):
        faulty.requests.clear()
        with pytest.raises(error, match="jobs"):
            use()
        assert len(faulty.requests) == requests


def test_what_has_no_meaning_stays_visible(faulty: FaultyService) -> None:
    """A request the service does not understand is our mistake, and shown as it is."""
    faulty.script = [status(400, "InvalidHeaderValue")]
    with pytest.raises(HttpResponseError, match="InvalidHeaderValue"):
        AzureBlobStore(faulty.connection, retries=QUICK).read(PATH)


def test_a_passing_failure_is_not_seen(faulty: FaultyService) -> None:
    """A failure that passes within the retries is nobody's business."""
    faulty.script = [status(503, "ServerBusy"), reset, content(4, b"rows")]
    assert AzureBlobStore(faulty.connection, retries=QUICK).read(PATH) == b"rows"
    assert len(faulty.requests) == 3


def test_retry_after_is_honoured(faulty: FaultyService) -> None:
    """A service that asks for a pause gets it."""
    faulty.script = [status(503, "ServerBusy", Retry_After="1"), content(4, b"rows")]
    AzureBlobStore(faulty.connection, retries=QUICK).read(PATH)
    first, second = faulty.requests
    assert second - first >= 1


def test_retry_after_is_bounded(faulty: FaultyService) -> None:
    """A service that asks for an hour does not get it: the queue's own retries are for that."""
    faulty.script = [status(503, "ServerBusy", Retry_After="3600"), content(4, b"rows")]
    retries = RetryOptions(total=2, first_wait=0.01, base=0.01, longest_wait=0.1)
    assert AzureBlobStore(faulty.connection, retries=retries).read(PATH) == b"rows"


def test_a_truncated_body_is_no_data(faulty: FaultyService) -> None:
    """A body that always breaks off is an error, never short data."""
    faulty.script = [content(4, b"ro"), content(4, b""), content(4, b"row")]
    with pytest.raises(StorageUnavailableError):
        AzureBlobStore(faulty.connection, retries=QUICK).read(PATH)
    assert len(faulty.requests) == 3


def test_a_body_truncated_once_is_read_again(faulty: FaultyService) -> None:
    """A body that breaks off once is asked for again."""
    faulty.script = [content(4, b"ro"), content(4, b"rows")]
    assert AzureBlobStore(faulty.connection, retries=QUICK).read(PATH) == b"rows"


def test_an_answer_to_a_write_that_breaks_off_is_asked_for_again(faulty: FaultyService) -> None:
    """A small answer, too, may arrive in half; the request is sent again, as the SDK itself would."""
    faulty.script = [content(4, b"ro"), status(201)]
    AzureBlobStore(faulty.connection, retries=QUICK).create_container("incoming")
    assert len(faulty.requests) == 2


def test_lost_answer_to_a_conditional_write(faulty: FaultyService) -> None:
    """When the answer to a conditional write is lost, its retry meets its own work: look before you conclude."""
    faulty.script = [reset, status(409, "BlobAlreadyExists")]
    with pytest.raises(ConditionFailedError):
        AzureBlobStore(faulty.connection, retries=QUICK).write(PATH, b"rows", if_none_match="*")


@pytest.mark.azurite
def test_wrong_key(azurite: str) -> None:
    """A wrong key is refused, and neither the key nor a signature is in the message or the traceback."""
    text = azurite.replace("Eby8vdM02", "Eby8vdM03")
    with pytest.raises(StorageDeniedError, match="check the key") as caught:
        AzureBlobStore(Connection("Wrong", text), retries=QUICK).stat(PATH)
    assert "Eby8" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_key_that_is_no_key() -> None:
    """A key that is not base64 is refused without asking the service."""
    connection = Connection("Odd", "AccountName=x;AccountKey=s3cr3t;BlobEndpoint=http://127.0.0.1:9/x")
    with pytest.raises(StorageDeniedError) as caught:
        AzureBlobStore(connection, retries=QUICK).stat(PATH)
    assert "s3cr3t" not in str(caught.value)


def test_nobody_listens() -> None:
    """A service that is not there is unavailable; the message says where to look and hides the URL's signature."""
    with socket.socket() as deaf:  # it has the port, so that nobody else gets it, and does not listen
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/x"
        text = f"BlobEndpoint={url};SharedAccessSignature=sv=2024-01-01&sig=s3cr3t"
        with pytest.raises(StorageUnavailableError, match="network and settings") as caught:
            AzureBlobStore(Connection("Sas", text), retries=QUICK).stat(PATH)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("text", ["nonsense", "AccountKey=s3cr3t", "AccountName=x;AccountKey=s3cr3t;nonsense"])
def test_connection_strings_that_cannot_be_read(text: str) -> None:
    """A malformed connection string is a SettingsError that does not repeat it."""
    for store in (AzureBlobStore, AzureQueueStore):
        with pytest.raises(SettingsError, match="Azure portal") as caught:
            store(Connection("Bad", text))
        assert "s3cr3t" not in str(caught.value)


def test_nothing_is_set() -> None:
    """Without any setting, the error names every way to set one."""
    with pytest.raises(SettingsError, match=r"Jobs__blobServiceUri or Jobs__accountName .* DROPSCORE_FOLDER"):
        AzureBlobStore(Connection("Jobs"))
    with pytest.raises(SettingsError, match="Jobs__queueServiceUri"):
        AzureQueueStore(Connection("Jobs", blob_service_uri="https://x.blob.core.windows.net"))


def test_development_storage() -> None:
    """UseDevelopmentStorage=true means Azurite on its usual ports."""
    connection = Connection("Dev", "UseDevelopmentStorage=true")
    assert AzureBlobStore(connection)._service.url == "http://127.0.0.1:10000/devstoreaccount1/"
    assert AzureQueueStore(connection)._service.url == "http://127.0.0.1:10001/devstoreaccount1/"


def test_managed_identity() -> None:
    """Service URIs, or an account's name, mean managed identity in Azure and one's own sign-in on a laptop."""
    uri = "https://x.blob.core.usgovcloudapi.net"
    endpoint = find_endpoint(Connection("Id", blob_service_uri=uri, account_name="y", client_id="1234"), "blob")
    assert endpoint.url == uri
    assert isinstance(endpoint.credential, DefaultAzureCredential)
    endpoint.credential.close()
    endpoint = find_endpoint(Connection("Id", account_name="y"), "queue")
    assert endpoint.url == "https://y.queue.core.windows.net"
    endpoint.credential.close()


@pytest.mark.parametrize("kind", [CredentialUnavailableError, ClientAuthenticationError])
def test_a_token_that_is_not_to_be_had_is_a_passing_fault(kind: type[Exception]) -> None:
    """Storage has refused nothing: a run must not end for good because the place of tokens was out of reach."""
    with pytest.raises(StorageUnavailableError, match="identity"), translated(str(PATH)):
        raise kind("ManagedIdentityCredential: no response from the IMDS endpoint")


def test_managed_identity_needs_https() -> None:
    """A token is never sent in the clear."""
    with pytest.raises(SettingsError, match="https://"):
        AzureBlobStore(Connection("Id", blob_service_uri="http://x.example.org"))


@pytest.mark.azurite
def test_content_type(azurite: str) -> None:
    """A content type is kept, for those who open the blob in a browser."""
    store = AzureBlobStore(Connection("Azurite", azurite))
    store.create_container("incoming")
    store.write(PATH, b"", content_type="text/csv")
    assert store._client(PATH).get_blob_properties().content_settings.content_type == "text/csv"
    writer = StagedWriter(store, PATH, prefix="run")
    writer.commit(content_type="application/vnd.apache.parquet")
    settings = store._client(PATH).get_blob_properties().content_settings
    assert settings.content_type == "application/vnd.apache.parquet"


@pytest.mark.azurite
def test_content_encoding_is_left_alone(azurite: str) -> None:
    """Bytes come as they are stored, also where somebody declared them gzip: ranges would make no sense."""
    store = AzureBlobStore(Connection("Azurite", azurite))
    store.create_container("incoming")
    from azure.storage.blob import ContentSettings

    store._client(PATH).upload_blob(
        b"not gzip", overwrite=True, content_settings=ContentSettings(content_encoding="gzip")
    )
    assert store.read(PATH) == b"not gzip"


@pytest.mark.azurite
def test_no_noise(azurite: str, caplog: pytest.LogCaptureFixture) -> None:
    """Requests leave nothing in the log, even for those who log INFO."""
    caplog.set_level(logging.INFO)
    store = AzureBlobStore(Connection("Azurite", azurite))
    store.create_container("incoming")
    store.write(PATH, b"")
    with pytest.raises(ConditionFailedError):
        store.write(PATH, b"", if_none_match="*")
    assert caplog.records == []


@pytest.mark.azurite
@pytest.mark.parametrize("length", [None, 8 * 1024 * 1024])
def test_a_read_is_one_request(azurite: str, length: int | None) -> None:
    """A read is a single request for 8 MiB as for a whole blob, so that it sees one version of it."""
    store = AzureBlobStore(Connection("Azurite", azurite))
    store.create_container("incoming")
    store.write(PATH, bytes(9 * 1024 * 1024))
    transport = CountingTransport(store._service._config.transport)
    store._service._pipeline._transport = transport
    assert len(store.read(PATH, length=length)) == (length or 9 * 1024 * 1024)
    assert transport.sent == 1


@pytest.mark.azurite
def test_a_poll_is_one_conditional_request(azurite: str) -> None:
    """What has not changed is answered by one 304, what has by one download."""
    store = AzureBlobStore(Connection("Azurite", azurite))
    store.create_container("incoming")
    etag = store.write(PATH, b"rows")
    transport = CountingTransport(store._service._config.transport)
    store._service._pipeline._transport = transport
    assert store.poll(PATH, etag) is None
    assert transport.sent == 1
    assert store.poll(PATH, "0x1") == (etag, b"rows")
    assert transport.sent == 2


class CountingTransport:
    """Passes requests on and counts them."""

    def __init__(self, transport: object) -> None:
        self._transport = transport
        self.sent = 0

    def send(self, *args: object, **kwargs: object) -> object:
        self.sent += 1
        return self._transport.send(*args, **kwargs)

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


def test_each_backend_is_imported_when_it_is_needed() -> None:
    """Importing storage imports no Azure SDK, a folder none either, and a connection string no azure.identity."""
    script = """
import sys
def loaded(name): return any(module == name or module.startswith(name + ".") for module in sys.modules)
from settings import Connection, Settings
import storage
assert not loaded("azure") and not loaded("requests")
storage.open_storage(Settings(folder=sys.argv[1]))
assert not loaded("azure") and not loaded("requests")
storage.open_storage(Settings(storage=Connection("Dev", "UseDevelopmentStorage=true")))
assert loaded("azure.storage.blob") and not loaded("azure.identity")
"""
    subprocess.run([sys.executable, "-c", script, "unused"], cwd=ROOT, check=True, timeout=60)


def test_open_storage_chooses(tmp_path: Path) -> None:
    """A folder is used where one is set, the account otherwise."""
    connection = Connection("Dev", "UseDevelopmentStorage=true")
    chosen = open_storage(Settings(folder=str(tmp_path), storage=connection))
    assert type(chosen.blobs).__name__ == "FolderBlobStore"
    assert type(chosen.queues).__name__ == "FolderQueueStore"
    assert isinstance(open_storage(Settings(storage=connection)), Storage)
    with pytest.raises(SettingsError):
        open_storage(Settings())
