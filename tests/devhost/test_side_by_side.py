"""Several hosts on one storage account."""

import asyncio
import signal

import pytest

from devhost.bindings import Binding, Function
from devhost.blob_receipts import HOSTS_CONTAINER, BlobReceipts, BlobVersion, Claim
from devhost.connections import Connections
from tests.devhost.conftest import wait_until

DROP = Function("1", "drop", Binding("client", "blobTrigger", {}), ())
VERSION = BlobVersion("drops", "a/ü 1.csv", "0x1")


@pytest.fixture
def receipts(storage):
    """Open the receipts of one host after the other, all of the same app."""
    opened = []

    def open_receipts(patience=60.0):
        opened.append(Connections({"AzureWebJobsStorage": storage.connection_string}))
        return BlobReceipts(opened[-1], storage.name, patience=patience)

    yield open_receipts
    for connections in opened:
        connections.close()


def test_two_hosts_share_the_work(storage, start):
    """Blobs and messages of one account fire once in all, however many hosts look for them."""
    hosts = [start().ready(), start().ready()]
    assert hosts[0].url != hosts[1].url
    names = [f"many/{number}.csv" for number in range(12)]
    for name in names:
        storage.put("drops", name, b"1")
        storage.work.send_message(name)
    wait_until(lambda: len(storage.told("drop")) >= 12 and len(storage.told("done")) >= 12, "all calls")
    for host in hosts:
        assert host.end() == 0, host.output
    assert sorted(each["name"] for each in storage.told("drop")) == sorted(names)
    assert sorted(each["body"] for each in storage.told("done")) == sorted(names)
    assert storage.messages(f"azure-webjobs-blobtrigger-{storage.name}") == []


def test_a_host_takes_over_from_a_killed_one(storage, start):
    """What a killed host had in work, another that runs beside it does when the lease ends."""
    hosts = [start().ready(), start().ready()]
    storage.work.send_message("sleep 3")
    calling = "Executing 'Functions.work'"
    busy = wait_until(lambda: next((each for each in hosts if calling in each.output), None), "call")
    wait_until(lambda: storage.told("begun"), "beginning")
    busy.end(signal.SIGKILL)
    (done,) = wait_until(lambda: storage.told("done"), "second try")
    assert done["dequeue_count"] == 2


def test_one_host_wins_a_blob(receipts):
    """Of hosts that find a blob at once, one may hand it over; when it has, nobody else will."""

    async def race():
        hosts = [receipts() for _ in range(8)]
        claims = await asyncio.gather(*(host.claim(DROP, VERSION) for host in hosts))
        assert await hosts[0].read(DROP) == set()
        await hosts[claims.index(Claim.OURS)].complete(DROP, VERSION)
        return (
            claims,
            await asyncio.gather(*(host.claim(DROP, VERSION) for host in hosts)),
            await hosts[0].read(DROP),
        )

    claims, later, read = asyncio.run(race())
    assert sorted(each.name for each in claims) == ["OURS"] + ["THEIRS"] * 7
    assert set(later) == {Claim.NOBODYS}
    assert read == {VERSION}


def test_a_claim_left_behind_is_taken_over(receipts):
    """The claim of a host that died before it handed the blob over is another's, when it is old enough."""

    async def race():
        assert await receipts().claim(DROP, VERSION) is Claim.OURS
        assert await receipts().claim(DROP, VERSION) is Claim.THEIRS
        hosts = [receipts(patience=-1) for _ in range(8)]  # for these, the claim is old
        return await asyncio.gather(*(host.claim(DROP, VERSION) for host in hosts))

    assert Claim.OURS in asyncio.run(race())


def test_a_claim_withdrawn_is_free(receipts):
    """A host that could not hand a blob over gives it back, to be handed over by any."""

    async def give_back():
        host = receipts()
        await host.claim(DROP, VERSION)
        await host.withdraw(DROP, VERSION)
        return await receipts().claim(DROP, VERSION)

    assert asyncio.run(give_back()) is Claim.OURS


def test_a_blob_claimed_by_a_dead_host_fires(storage, start):
    """A blob whose finder was killed before it queued the call fires when the claim is old enough."""
    etag = storage.put("drops", "a/b.csv", b"x")["etag"]
    container = storage.blobs.get_container_client(HOSTS_CONTAINER)
    if not container.exists():
        container.create_container()
    name = f"blobreceipts/{storage.name}/Host.Functions.drop/{etag}/drops-{storage.name}/a/b.csv"
    container.upload_blob(name, b"", metadata={"state": "claimed"})
    start().ready()
    wait_until(lambda: storage.told("drop"), "call")
    wait_until(lambda: not container.get_blob_client(name).get_blob_properties().metadata, "full receipt")
