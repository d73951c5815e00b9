"""The failing network of the fault harness does what it says, and tells who did not wait."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from errors import BlobNotFoundError, StorageUnavailableError
from settings import Connection
from storage import BlobPath
from storage.azure import AzureBlobStore, AzureQueueStore
from storage.azure_client import RetryOptions
from tests.faults.network import ASKING, Fault, Network, Once, Seen, Storm

ONCE = RetryOptions(total=0)
"""Of a client that never asks again."""

pytestmark = pytest.mark.azurite


@pytest.fixture
def direct(azurite: str) -> AzureBlobStore:
    return AzureBlobStore(Connection("Direct", azurite))


@pytest.fixture
def path(direct: AzureBlobStore) -> Iterator[BlobPath]:
    container = f"network-{uuid4().hex[:8]}"
    direct.create_container(container)
    return BlobPath(container, "a.csv")


def client(network: Network, retries: RetryOptions) -> AzureBlobStore:
    return AzureBlobStore(Connection("Network", network.connection_string), retries=retries)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_is_seen_by_the_client_and_some_writes_are_applied(
    azurite: str, direct: AzureBlobStore, path: BlobPath, fault: Fault
) -> None:
    """The client gets an error in each case; whether its write was done depends on the fault."""
    retries = replace(ONCE, answer_timeout=2) if fault is Fault.TIMEOUT else ONCE
    with Network(azurite, Once(1, fault)) as network, pytest.raises(StorageUnavailableError):
        client(network, retries).write(path, b"rows")
    assert [seen.fault for seen in network.seen] == [fault]
    if fault in (Fault.RESET_AFTER, Fault.TIMEOUT, Fault.TRUNCATED):
        assert direct.read(path) == b"rows"
    else:
        with pytest.raises(BlobNotFoundError):
            direct.read(path)


def test_a_download_that_is_cut_is_asked_for_again(azurite: str, direct: AzureBlobStore, path: BlobPath) -> None:
    """Half of the body arrives; the client notices, and reads it again."""
    direct.write(path, b"rows" * 1000)
    with Network(azurite, Once(1, Fault.TRUNCATED)) as network:
        assert client(network, ONCE).read(path) == b"rows" * 1000
    assert [seen.fault for seen in network.seen] == [Fault.TRUNCATED, None]


def test_a_lasting_fault_ends(azurite: str, direct: AzureBlobStore, path: BlobPath) -> None:
    """What asks the same again gets the same fault so often, and then an answer."""
    direct.write(path, b"rows")
    with Network(azurite, Once(1, Fault.ERROR, times=2)) as network:
        assert client(network, replace(ONCE, total=2, first_wait=0.01, base=0.01)).read(path) == b"rows"
    assert [seen.fault for seen in network.seen] == [Fault.ERROR, Fault.ERROR, None]


@pytest.mark.parametrize("fault", ASKING)
def test_the_client_waits_as_long_as_a_busy_service_asks(
    azurite: str, direct: AzureBlobStore, path: BlobPath, fault: Fault
) -> None:
    """Between a 503 or 429 with Retry-After and the next try of the same there is at least that time."""
    direct.write(path, b"rows")
    with Network(azurite, Once(1, fault), retry_after=1) as network:
        assert client(network, replace(ONCE, total=1, first_wait=0.01, base=0.01)).read(path) == b"rows"
    first, second = network.seen
    assert first.operation == second.operation
    assert second.at - first.at >= 1
    assert network.impatient(2) == []


def test_a_throttled_queue_is_waited_for(azurite: str) -> None:
    """Queues are sent to by the same policy, though by another SDK: the message is there once."""
    queue, quick = f"network-{uuid4().hex[:8]}", replace(ONCE, total=1, first_wait=0.01, base=0.01)
    direct = AzureQueueStore(Connection("Direct", azurite))
    direct.create_queue(queue)
    with Network(azurite, Once(1, Fault.THROTTLED), retry_after=1) as network:
        AzureQueueStore(Connection("Network", network.connection_string), retries=quick).send(queue, "job")
    assert [seen.fault for seen in network.seen] == [Fault.THROTTLED, None]
    assert network.impatient(2) == []
    assert [message.body for message in direct.receive(queue, limit=32)] == ["job"]


def test_throttling_shares_the_budget_of_other_faults(azurite: str, path: BlobPath) -> None:
    """However faults and throttling alternate, a request is sent again so often and no more."""
    faults = itertools.cycle([Fault.THROTTLED, Fault.ERROR, Fault.RESET_BEFORE])
    with Network(azurite, lambda _seen: next(faults), retry_after=0) as network:
        impatient = client(network, replace(ONCE, total=3, first_wait=0.01, base=0.01))
        with pytest.raises(StorageUnavailableError, match="429, TooManyRequests"):
            impatient.write(path, b"rows")
    assert [seen.fault for seen in network.seen] == [
        Fault.THROTTLED, Fault.ERROR, Fault.RESET_BEFORE, Fault.THROTTLED,
    ]  # fmt: skip


def test_the_longest_wait_holds_for_throttling_too(azurite: str, direct: AzureBlobStore, path: BlobPath) -> None:
    """A service that asks for an hour does not get it: the queue's own retries are for that."""
    direct.write(path, b"rows")
    hasty = replace(ONCE, total=1, first_wait=0.01, base=0.01, longest_wait=0.05)
    with Network(azurite, Once(1, Fault.THROTTLED), retry_after=3600) as network:
        assert client(network, hasty).read(path) == b"rows"
    assert len(network.impatient(2)) == 1


def test_who_does_not_wait_is_told_of(azurite: str, direct: AzureBlobStore, path: BlobPath) -> None:
    """A client whose patience ends before the time it was asked for is a violation."""
    direct.write(path, b"rows")
    hasty = replace(ONCE, total=1, first_wait=0.01, base=0.01, longest_wait=0.05)
    with Network(azurite, Once(1, Fault.BUSY), retry_after=1) as network:
        client(network, hasty).read(path)
    assert len(network.impatient(2)) == 1
    assert network.impatient(1) == []


def test_a_storm_is_the_same_for_the_same_seed() -> None:
    """Every kind of fault comes, about as often as it should, and again in the same places."""
    seen = Seen(1, "", "GET /", 0)
    faults = [Storm(7, 0.1) for _ in range(2)]
    first, second = ([storm(seen) for _ in range(2000)] for storm in faults)
    assert first == second
    assert set(first) == {None, *Fault}
    assert 100 < sum(fault is not None for fault in first) < 300
