"""Blob triggers: every version once, none lost."""

import base64
import json
import signal

import httpx2 as httpx

from tests.devhost.conftest import wait_until


def test_a_blob_becomes_a_call_with_its_client(shared):
    """A function with an SDK type gets a client of the blob; names that do not fit the path do not fire."""
    _, storage = shared
    storage.put("drops", "a/B.CSV", b"no")
    storage.put("drops", "a/b/c d+é.csv", b"content")
    told = wait_until(lambda: storage.told("drop"), "call")
    assert told == [{"name": "a/b/c d+é.csv", "content": "content"}]


def test_a_blob_becomes_a_call_with_its_content(shared):
    """A function with InputStream gets name, URI, length and bytes, and its blob output is written."""
    _, storage = shared
    storage.put("streams", "x/y.bin", b"\x00\xff")
    name = f"streams-{storage.name}/x/y.bin"
    (told,) = wait_until(lambda: [each for each in storage.told("stream") if each["name"] == name], "call")
    assert told["uri"].endswith(f"/streams-{storage.name}/x/y.bin")
    assert (told["length"], told["content"]) == (2, "00ff")
    copy = storage.blobs.get_blob_client(f"told-{storage.name}", "copies/of-x/y.bin")
    wait_until(copy.exists, "blob output")
    assert copy.download_blob().readall() == b"\x00\xff"


def test_a_blob_function_can_be_called_by_hand(shared):
    """POST admin/functions/<name> calls a blob function for container/blob again."""
    devhost, storage = shared
    storage.put("streams", "again", b"x")
    name = f"streams-{storage.name}/again"
    wait_until(lambda: [each for each in storage.told("stream") if each["name"] == name], "first call")
    response = httpx.post(f"{devhost.url}/admin/functions/stream", json={"input": name}, timeout=20)
    assert response.status_code == 202
    wait_until(lambda: len([each for each in storage.told("stream") if each["name"] == name]) == 2, "second call")


def test_five_failures_are_poison(shared):
    """A blob that fails five times goes to webjobs-blobtrigger-poison, in the host's words, and is left alone."""
    _, storage = shared
    etag = storage.put("drops", "bad/x.csv", b"fail")["etag"]

    def poison():
        texts = storage.messages("webjobs-blobtrigger-poison")
        documents = [json.loads(base64.b64decode(text)) for text in texts]
        return [each for each in documents if each["ContainerName"] == f"drops-{storage.name}"]

    assert wait_until(poison, "poison message") == [
        {
            "Type": "BlobTrigger",
            "FunctionId": "Host.Functions.drop",
            "BlobType": "BlockBlob",
            "ContainerName": f"drops-{storage.name}",
            "BlobName": "bad/x.csv",
            "ETag": etag,
        }
    ]
    assert len([each for each in storage.told("drop-begun") if each["name"] == "bad/x.csv"]) == 5


def test_what_a_host_of_the_same_id_found_is_not_lost(shared):
    """A message about a container that this host does not look at is not dropped: it is put back, and told of."""
    devhost, storage = shared
    elsewhere = storage.blobs.create_container(f"elsewhere-{storage.name}")
    etag = elsewhere.upload_blob("a/x.csv", b"1").get_blob_properties().etag
    message = {
        "Type": "BlobTrigger",
        "FunctionId": "Host.Functions.drop",
        "BlobType": "BlockBlob",
        "ContainerName": elsewhere.container_name,
        "BlobName": "a/x.csv",
        "ETag": etag,
    }
    text = base64.b64encode(json.dumps(message).encode()).decode()
    storage.put("drops", "first.csv", b"1")
    wait_until(lambda: storage.told("drop"), "call, so that the host's queue is there")
    storage.queues.get_queue_client(f"azure-webjobs-blobtrigger-{storage.name}").send_message(text)
    wait_until(lambda: text in storage.messages("webjobs-blobtrigger-poison"), "poison message")
    assert f"{elsewhere.container_name} came to function drop" in devhost.output
    assert not [each for each in storage.told("drop-begun") if each["name"] == "a/x.csv"]


def test_uploads_of_one_second_all_fire_and_a_restart_fires_none_again(storage, start):
    """Every version fires once: many of one second, an overwritten one, and after a restart only new ones."""
    first = start().ready()
    names = [f"many/{number}.csv" for number in range(12)]
    for name in names:
        storage.put("drops", name, b"1")
    wait_until(lambda: len(storage.told("drop")) == 12, "call for each of 12 blobs")
    storage.put("drops", names[0], b"2")
    wait_until(lambda: {"name": names[0], "content": "2"} in storage.told("drop"), "call for the new version")
    assert first.end() == 0, first.output
    storage.put("drops", "new/1.csv", b"while it was down")
    start().ready()
    storage.put("drops", "new/2.csv", b"after")
    wait_until(lambda: len(storage.told("drop")) >= 15, "calls for two new blobs")
    called = [each["name"] for each in storage.told("drop")]
    assert sorted(called) == sorted([*names, names[0], "new/1.csv", "new/2.csv"])


def test_a_killed_host_loses_no_blob(storage, start):
    """A blob in work when the host is killed fires again after a restart, although it has its receipt."""
    first = start().ready()
    storage.put("drops", "slow/x.csv", b"sleep 2")
    wait_until(lambda: storage.told("drop-begun"), "call")
    first.end(signal.SIGKILL)
    assert storage.told("drop") == []
    start().ready()
    wait_until(lambda: storage.told("drop"), "second try")


def test_a_container_may_appear_later(storage, start):
    """A trigger's container that is not there is no error."""
    devhost = start(DROPS=f"later-{storage.name}").ready()
    container = storage.blobs.create_container(f"later-{storage.name}")
    container.upload_blob("a/b.csv", b"x")
    wait_until(lambda: storage.told("drop"), "call")
    assert "Warning" not in devhost.output
