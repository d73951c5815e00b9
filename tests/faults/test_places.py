"""What looks at cases sees what is there."""

from uuid import uuid4

import pytest

from errors import BlobNotFoundError
from settings import Settings
from storage import BlobPath
from tests.faults.places import OpenReader, forget, make
from tests.faults.worker import connect


@pytest.mark.azurite
def test_the_open_reader_sees_what_the_store_does(azurite: str) -> None:
    """ETags, bytes and listings are the store's own, and so is what it says of a blob that is not there."""
    storage, reader = connect(Settings.load({"AzureWebJobsStorage": azurite})), OpenReader(azurite)
    container, queue = f"open-{uuid4().hex[:12]}", f"q-{uuid4().hex[:12]}"
    make(storage, [container], [queue])
    paths = [BlobPath(container, name) for name in ("a.csv", "t/a & b.csv", "t/empty")]
    for path in paths:
        storage.blobs.write(path, b"" if path.name.endswith("empty") else path.name.encode())
        assert reader.poll(path) == storage.blobs.poll(path)
    assert list(reader.list(container)) == list(storage.blobs.list(container))
    assert [blob.path for blob in reader.list(container, "t/")] == paths[1:]
    with pytest.raises(BlobNotFoundError):
        reader.poll(BlobPath(container, "none.csv"))
    forget(storage, [container], [queue])
    with pytest.raises(BlobNotFoundError):
        list(storage.blobs.list(container))
    with pytest.raises(BlobNotFoundError):
        storage.queues.send(queue, "gone")
