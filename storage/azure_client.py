"""How Dropscore talks to Azure Storage: who it is, how it retries, and what the answers mean in our words."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ExponentialRetry
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from errors import (
    BlobNotFoundError,
    BlocksMissingError,
    ConditionFailedError,
    NameInvalidError,
    SettingsError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from settings import Connection

_CONNECTIONS = 64  # kept open at most: scoring threads, their prefetching, the host's own invocations
_CHUNK = 1024 * 1024  # bytes the transport takes from a socket at a time
_THROTTLED = 429
_BUDGET = "dropscore_retries"

_MEANINGS: Mapping[str, tuple[type[StorageError | NameInvalidError], str]] = {
    "ContainerNotFound": (BlobNotFoundError, "its container does not exist: create it, or check the settings"),
    "QueueNotFound": (BlobNotFoundError, "there is no such queue: create it, or check the settings"),
    "BlobAlreadyExists": (ConditionFailedError, "it exists already"),
    "BlobOverwritten": (ConditionFailedError, "it was replaced while it was being read"),
    "MessageNotFound": (ConditionFailedError, "the message's lease was lost: another worker has received it"),
    "PopReceiptMismatch": (ConditionFailedError, "the message's lease was lost: another worker has received it"),
    "InvalidBlockList": (BlocksMissingError, "blocks to commit are not staged: stage them again"),
    "InvalidBlobOrBlock": (
        BlocksMissingError,
        "another writer's blocks, with ids of another length, are staged there: stage again when they are gone",
    ),
    "BlockCountExceedsLimit": (
        StorageUnavailableError,
        "100,000 staged blocks of others are there: write a blob of that name, and delete it, to be rid of them",
    ),
    "BlobArchived": (StorageDeniedError, "it is in the archive tier: rehydrate it first"),
    "BlobBeingRehydrated": (StorageDeniedError, "it is on its way out of the archive tier: wait until it is there"),
    "BlobUsesCustomerSpecifiedEncryption": (StorageDeniedError, "it is encrypted with a key that is not here"),
    "BlobImmutableDueToPolicy": (StorageDeniedError, "a policy of its container forbids to change it"),
    "BlobImmutableDueToLegalHold": (StorageDeniedError, "a legal hold forbids to change it"),
    "SnapshotsPresent": (StorageDeniedError, "it has snapshots, which would go with it: delete them first"),
    "InvalidBlobType": (StorageDeniedError, "it is an append blob or a page blob: delete it first"),
    "PendingCopyOperation": (StorageUnavailableError, "it is being copied: try again when that has ended"),
    "LeaseIdMissing": (StorageUnavailableError, "another client holds a lease on it: try again when it has ended"),
    "ContainerBeingDeleted": (StorageUnavailableError, "its container is being deleted: try again in a minute"),
    "QueueBeingDeleted": (StorageUnavailableError, "it is being deleted: try again in a minute"),
    "InvalidResourceName": (NameInvalidError, "it cannot be named so: use other characters"),
    "InvalidUri": (NameInvalidError, "it cannot be named so: use other characters"),
    "OutOfRangeInput": (NameInvalidError, "it cannot be named so: use a shorter name"),
}
"""Azure's error codes that say more than their HTTP status does."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How often and how patiently a failed request is sent again; times in seconds.

    Retry n waits about `first_wait` + `base`**n, or what Retry-After asks, but never more than `longest_wait`.
    """

    total: int = 4
    first_wait: float = 1
    base: float = 2
    longest_wait: float = 30
    answer_timeout: float = 60
    """Without a byte of an answer for so long, a request counts as failed."""


class _ExponentialRetry(ExponentialRetry):
    """The SDK's policy, which by itself neither looks at Retry-After nor sends again what is answered 429."""

    def __init__(self, options: RetryOptions) -> None:
        super().__init__(
            initial_backoff=options.first_wait,  # type: ignore[arg-type]  # any number works
            increment_base=options.base,  # type: ignore[arg-type]  # any number works
            random_jitter_range=options.first_wait,  # type: ignore[arg-type]  # any number works
            # one budget for all kinds of failure: the SDK's own would end some of them earlier
            retry_total=options.total,
            retry_connect=options.total,
            retry_read=options.total,
            retry_status=options.total,
        )
        self._longest_wait = options.longest_wait

    def send(self, request: PipelineRequest[Any]) -> Any:
        """Send a request, again and again as the SDK does, and after a 429 too; all of it within one budget."""
        budget = request.context[_BUDGET] = super().configure_retries(request)
        while True:
            answer = super().send(request)  # type: ignore[no-untyped-call]  # the SDK types all but this
            response = answer.http_response
            if response.status_code != _THROTTLED or not self.increment(budget, request.http_request, response):
                return answer
            self.sleep(budget, request.context.transport)

    def configure_retries(self, request: PipelineRequest[Any]) -> dict[str, Any]:
        """Return what is left of a request's budget: `send` may ask the SDK several times for one request."""
        budget: dict[str, Any] = request.context[_BUDGET]
        return budget

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        response = _last_answer(settings)
        asked = "" if response is None else response.headers.get("Retry-After", "")
        wait = super().get_backoff_time(settings)
        return min(max(wait, float(asked) if asked.isdecimal() else 0), self._longest_wait)

    def sleep(self, settings: dict[str, Any], transport: Any) -> None:
        response = _last_answer(settings)
        if response is not None:  # the SDK would leave the connection of a failed download open
            response.internal_response.close()
        super().sleep(settings, transport)  # type: ignore[no-untyped-call]  # the SDK types all but this


def _last_answer(settings: dict[str, Any]) -> Any:
    """Return the answer that calls for a retry; None if there was none, or half of one, which leaves no entry."""
    return settings["history"][-1].http_response if settings["history"] else None


def client_options(retries: RetryOptions) -> dict[str, Any]:
    """Return what every service client is constructed with: its retries, and connections for tens of threads."""
    session = requests.Session()
    adapter = HTTPAdapter(
        pool_maxsize=_CONNECTIONS,
        max_retries=Retry(total=False, redirect=False, raise_on_status=False),  # retrying is the SDK's business
    )
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    logger = logging.getLogger("azure")
    if logger.level == logging.NOTSET:  # the SDK logs every request at INFO, and Functions record INFO
        logger.setLevel(logging.WARNING)
    return {
        "transport": RequestsTransport(
            session=session,
            connection_timeout=20,
            read_timeout=retries.answer_timeout,
            connection_data_block_size=_CHUNK,
        ),
        "retry_policy": _ExponentialRetry(retries),
    }


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One service of an account: a connection string, or a URL with a credential."""

    connection_string: str = ""
    url: str = ""
    credential: Any = None

    def connect(self, client: Any, options: dict[str, Any]) -> Any:
        """Return a service client of class `client`; SettingsError if the SDK cannot make sense of the endpoint."""
        try:
            if self.connection_string:
                return client.from_connection_string(self.connection_string, **options)
            return client(self.url, credential=self.credential, **options)
        except ValueError as exc:
            # from None: what the SDK says of a malformed string may quote it, key and all
            reason = type(exc).__name__
        raise SettingsError(
            f"the storage connection cannot be read ({reason}): copy it again from the Azure portal"
        )


def find_endpoint(connection: Connection, service: Literal["blob", "queue"]) -> Endpoint:
    """Return where `connection` says `service` is; SettingsError naming what to set if it does not say."""
    if connection.connection_string:
        return Endpoint(connection_string=connection.connection_string)
    url = connection.blob_service_uri if service == "blob" else connection.queue_service_uri
    if not url and connection.account_name:
        url = f"https://{connection.account_name}.{service}.core.windows.net"
    if not url:
        name = connection.name
        raise SettingsError(
            f"no {service} storage: set {name} to a connection string (UseDevelopmentStorage=true for Azurite), or"
            f" {name}__{service}ServiceUri or {name}__accountName for managed identity, or DROPSCORE_FOLDER to a"
            " local folder"
        )
    if urlsplit(url).scheme != "https":
        raise SettingsError(f"{connection.name}__{service}ServiceUri must start with https:// for managed identity")
    return Endpoint(url=url, credential=_credential(connection))


def _credential(connection: Connection) -> Any:
    # imported here: it takes half a second that connection strings need not pay for
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415  # see above

    # managed identity in Azure, the developer's own sign-in on a laptop, where ManagedIdentityCredential would hang
    return DefaultAzureCredential(managed_identity_client_id=connection.client_id or None)


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise ours for what Azure's SDK raises about `subject`, "container/blob" or a queue; the one place for it.

    What has no meaning in our words (a malformed request, say) stays as it is. Ours hide the original (`from
    None`): its text may hold URLs with signatures; its code and request id are kept for Azure's support.
    """
    try:
        yield
    except AzureError as exc:
        error = _translate(exc, subject)
        if error is None:
            raise
        raise error from None


def error_code(exc: AzureError) -> str:
    """Return the service's own code for what went wrong, such as "BlobNotFound"; empty if there is none."""
    code = getattr(exc, "error_code", None) or ""
    return str(getattr(code, "value", code))


def _translate(exc: AzureError, subject: str) -> StorageError | NameInvalidError | None:
    code = error_code(exc)
    response: Any = getattr(exc, "response", None)
    status = None if response is None else int(response.status_code)
    kind, reason = _MEANINGS.get(code) or _by_status(exc, status)
    if kind is None:
        return None
    request = "" if response is None else response.headers.get("x-ms-request-id", "")
    known = (str(status or type(exc).__name__), code, request and f"request {request}")
    return kind(f"{subject}: {reason} ({', '.join(filter(None, known))})", file=subject)


def _by_status(exc: AzureError, status: int | None) -> tuple[type[StorageError | NameInvalidError] | None, str]:
    # The SDK's word for a key that is none; blobs and queues each have a private class for it.
    denied = status in {401, 403} or type(exc).__name__ == "AzureSigningError"
    tokenless = isinstance(exc, ClientAuthenticationError)  # and not denied: storage was not even asked
    unreached = isinstance(exc, ServiceRequestError)
    # an error without a status, or with a good one, is a body that broke off
    broken = status is None or 200 <= status < 300 or isinstance(exc, ServiceResponseError | IncompleteReadError)
    busy = status in {408, 429} or (status or 0) >= 500
    meanings: tuple[tuple[bool, type[StorageError], str], ...] = (
        (denied, StorageDeniedError, "access refused: check the key or SAS, or the identity's role assignments"),
        (status == 404, BlobNotFoundError, "it does not exist"),
        (status == 412, ConditionFailedError, "it has changed, or is not there any more"),
        (tokenless, StorageUnavailableError, "there was no token to be had: check the identity, or try again"),
        (unreached, StorageUnavailableError, "the storage service cannot be reached: check network and settings"),
        (broken, StorageUnavailableError, "the connection broke before the whole answer was there: try again"),
        (busy, StorageUnavailableError, "the storage service throttles or fails: try again later"),
    )
    return next(((kind, reason) for holds, kind, reason in meanings if holds), (None, ""))
