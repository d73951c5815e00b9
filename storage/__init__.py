"""Blobs and queues behind one small interface: Azure Storage (or Azurite), or a local folder."""

from storage.blobs import ANY_ETAG, Blob, BlobPath, BlobStore
from storage.queues import QueueMessage, QueueStore

__all__ = ["ANY_ETAG", "Blob", "BlobPath", "BlobStore", "QueueMessage", "QueueStore"]
