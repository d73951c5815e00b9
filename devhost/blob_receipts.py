"""Receipts of blobs: which version of which blob was handed over to which function.

Several hosts may look at one container. Whoever finds a blob first writes its receipt, as a claim; the others leave
that blob to it. Once the blob is handed over, the claim becomes a full receipt. A host that dies in between leaves
a claim behind, which any host takes over when it is old enough.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobClient, ContainerClient

from devhost.bindings import DEFAULT_CONNECTION, Function
from devhost.connections import Connections
from devhost.outputs import upload

HOSTS_CONTAINER = "azure-webjobs-hosts"
# Receipts that hosts of earlier versions wrote have no metadata, and were all full ones.
_CLAIM = {"state": "claimed"}


@dataclass(frozen=True, slots=True)
class BlobVersion:
    """A blob as it was found."""

    container: str
    name: str
    etag: str
    """Without quotes."""


class Claim(Enum):
    """Whose a found blob is."""

    OURS = "hand it over"
    THEIRS = "another host is handing it over"
    NOBODYS = "it was handed over"


class BlobReceipts:
    """The receipts of one host id; hosts that share it share them."""

    def __init__(self, connections: Connections, host_id: str, *, patience: float) -> None:
        """Describe them: a claim is another's for `patience` seconds."""
        self._container: ContainerClient = connections.blobs(DEFAULT_CONNECTION).get_container_client(
            HOSTS_CONTAINER
        )
        self._call = connections.call
        self._host_id = host_id
        self._patience = patience

    async def read(self, function: Function) -> set[BlobVersion]:
        """Return what was handed over to a function."""
        return await self._call(self._read, self._folder(function))

    async def claim(self, function: Function, version: BlobVersion) -> Claim:
        """Claim a blob for this host, if nobody has."""
        return await self._call(self._claim, self._name(function, version))

    async def complete(self, function: Function, version: BlobVersion) -> None:
        """Make a claim a full receipt."""
        await self._call(upload, self._container, self._name(function, version), b"")

    async def withdraw(self, function: Function, version: BlobVersion) -> None:
        """Give up a claim: the blob could not be handed over."""
        await self._call(self._container.delete_blob, self._name(function, version))

    def _folder(self, function: Function) -> str:
        return f"blobreceipts/{self._host_id}/{function.full_name}/"

    def _name(self, function: Function, version: BlobVersion) -> str:
        return f'{self._folder(function)}"{version.etag}"/{version.container}/{version.name}'

    def _read(self, folder: str) -> set[BlobVersion]:
        versions = set()
        try:
            for receipt in self._container.list_blobs(name_starts_with=folder, include=["metadata"]):
                if not receipt.metadata:
                    etag, container, name = receipt.name.removeprefix(folder).split("/", 2)
                    versions.add(BlobVersion(container, name, etag.strip('"')))
        except ResourceNotFoundError:
            pass  # no receipt was ever written
        return versions

    def _claim(self, name: str) -> Claim:
        blob = self._container.get_blob_client(name)
        try:
            upload(self._container, name, b"", overwrite=False, metadata=_CLAIM)
        except ResourceExistsError:
            return self._take_over(blob)
        return Claim.OURS

    def _take_over(self, blob: BlobClient) -> Claim:
        try:
            receipt = blob.get_blob_properties()
        except ResourceNotFoundError:  # it has just been withdrawn
            return Claim.THEIRS
        if not receipt.metadata:
            return Claim.NOBODYS
        if (datetime.now(UTC) - receipt.last_modified).total_seconds() < self._patience:
            return Claim.THEIRS
        try:
            blob.upload_blob(
                b"",
                overwrite=True,
                metadata=_CLAIM,
                etag=receipt.etag,
                match_condition=MatchConditions.IfNotModified,
            )
        except ResourceModifiedError:  # a third host was faster
            return Claim.THEIRS
        return Claim.OURS
