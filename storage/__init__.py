"""Blobs and queues behind one small interface: Azure Storage (or Azurite), or a local folder."""

from dataclasses import dataclass
from pathlib import Path

from settings import Settings
from storage.blobs import ANY_ETAG, Blob, BlobPath, BlobStore
from storage.queues import QueueMessage, QueueStore
from storage.reader import BlobReader, stream
from storage.writer import StagedWriter, block_id

__all__ = [
    "ANY_ETAG",
    "Blob",
    "BlobPath",
    "BlobReader",
    "BlobStore",
    "QueueMessage",
    "QueueStore",
    "StagedWriter",
    "Storage",
    "block_id",
    "open_storage",
    "stream",
]


@dataclass(frozen=True, slots=True)
class Storage:
    """Where everything is kept: blobs and queues of one account, or of one folder."""

    blobs: BlobStore
    queues: QueueStore


def open_storage(settings: Settings) -> Storage:
    """Return the storage that `settings` name: the folder if one is set, otherwise the account.

    Nothing is read or written yet. SettingsError if neither is set. Each backend is imported when it is first asked
    for: a folder needs no Azure SDK, and importing storage costs a cold start nothing.
    """
    if settings.folder:
        from storage.folder import FolderBlobStore  # noqa: PLC0415  # see the docstring
        from storage.folder_queues import FolderQueueStore  # noqa: PLC0415  # see the docstring

        root = Path(settings.folder)
        return Storage(FolderBlobStore(root), FolderQueueStore(root))
    from storage.azure import AzureBlobStore, AzureQueueStore  # noqa: PLC0415  # see the docstring

    return Storage(AzureBlobStore(settings.storage), AzureQueueStore(settings.storage))
