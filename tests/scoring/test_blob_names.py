"""Odd names of files: each is scored under its very name or refused with a receipt, and nothing lands elsewhere."""

import json
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from errors import NameInvalidError
from model_store.registry import Registry
from scoring.blob_events import BLOB_CREATED
from scoring.intake import accept_file, accept_message
from scoring.receipt import Receipt
from scoring.services import Services
from scoring.splits.worker import accept_split
from settings import Connection, Settings
from storage import BlobPath
from tests.hand_model import make_sample
from tests.scoring.test_csv import GOOD

SCORED = [
    "churn/plain.csv",
    "churn/%2e%2e/a.csv",
    "churn/%2E%2e%2Fa.csv",
    "churn/a%2Fb.csv",
    "churn/%252e.csv",
    "churn/100%.csv",
    "churn/a#b.csv",
    "churn/a?sig=b.csv",
    "churn/a b.csv",
    "churn/ a.csv",
    "churn/a /b.csv",
    "churn/a+b.csv",
    "churn/a&b=<c>;'\".csv",
    "churn/a:b|c*[d]{e}^`~.csv",
    "churn/" + unicodedata.normalize("NFC", "é") + ".csv",
    "churn/" + unicodedata.normalize("NFD", "é") + ".csv",
    "churn/a./b...csv",
    "churn/a.../b..c.csv",
    "churn/💎 表.csv",
    "churn/\u202e\u200b\u00a0\u0085\u2028.csv",
    "churn/CON.csv",
    "churn/day=1/A.CSV",
    "churn@1/churn/scored/runs/a.csv",
    "churn/" + "/".join(["x" * 101] * 9) + "/" + "y" * 96 + ".csv",
]
REFUSED = [
    "loose.csv",
    "churn/../a.csv",
    "churn/../../runs/a.csv",
    "../a.csv",
    "churn/./a.csv",
    "churn//a.csv",
    "/churn/a.csv",
    "churn/a\\b.csv",
    "churn/..\\..\\runs\\a.csv",
    "churn/a\n.csv",
    "churn/a\0.csv",
    "churn/\x7f.csv",
    "churn/\ud800.csv",
    "churn/\ufffe.csv",
    "churn/" + "x/" * 253 + "a.csv",
    "churn/" + "x" * 1015 + ".csv",
    "no model/a.csv",
    "churn../a.csv",
    "%2e%2e/a.csv",
    "churn/a.csv.",
    "churn/a.csv ",
    "churn/a",
]
AZURITE = Connection("AzureWebJobsStorage", "UseDevelopmentStorage=true")


@pytest.fixture(scope="module", params=["folder", "azurite"])
def store(request, tmp_path_factory, azurite: str, hand_package: Path) -> Iterator[Services]:
    """Services on a folder, and on Azurite, with containers of their own."""
    folder = tmp_path_factory.mktemp("names")
    on_folder = request.param == "folder"
    mark = uuid4().hex[:12]
    names = {name: f"{name}-{mark}" for name in ("incoming", "scored", "rejected", "runs", "models")}
    opened = Services.open(
        Settings(
            folder=str(folder / "store") if on_folder else "",
            storage=AZURITE if on_folder else Connection("AzureWebJobsStorage", azurite),
            cache=str(folder / "cache"),
            jobs_queue=f"jobs-{mark}",
            events_queue=f"events-{mark}",
            threads=1,
            **names,
        )
    )
    Registry(opened.blobs, opened.settings.models).add("churn", hand_package)
    yield opened
    opened.engine.close()


def messages_of(path: BlobPath, services: Services) -> Iterator[str]:
    """Yield each form of message that names a blob."""
    yield json.dumps({"input": str(path)})
    account = "http://127.0.0.1:10000/devstoreaccount1"
    for part in services.settings.storage.connection_string.split(";"):
        account = part.removeprefix("BlobEndpoint=") if part.startswith("BlobEndpoint=") else account
    url = f"{account}/{path.container}/{quote(path.name.encode('utf-8', 'surrogatepass'), safe='~/')}"
    yield json.dumps(
        {
            "eventType": BLOB_CREATED,
            "subject": f"/blobServices/default/containers/{path.container}/blobs/{path.name}",
            "data": {"api": "PutBlob", "url": url},
        }
    )
    yield url
    if path.name == path.name.strip():
        yield str(path)


def receipts(services: Services) -> set[BlobPath]:
    found = services.blobs.list(services.settings.runs)
    return {blob.path for blob in found if blob.path.name.endswith("/receipt.json")}


def drop_and_run(path: BlobPath, services: Services) -> Receipt | None:
    """Do what the triggers do with a dropped file."""
    if accept_file(path, services) is None:
        return None
    [message] = services.queues.receive(services.settings.jobs_queue)
    services.queues.delete(services.settings.jobs_queue, message)
    return accept_message(message.body, services)


@pytest.mark.parametrize("name", SCORED, ids=lambda name: ascii(name)[:40])
def test_a_file_is_scored_under_its_very_name(store: Services, name: str) -> None:
    """Whatever way a blob is named in, the same run scores it, and the result has its name and nothing else's."""
    path = BlobPath(store.settings.incoming, name)
    store.blobs.write(path, GOOD)
    before = {blob.path for blob in store.blobs.list(store.settings.scored)}
    receipt = drop_and_run(path, store)
    assert receipt is not None
    assert receipt.status == "succeeded", receipt.error
    assert receipt.output == f"{store.settings.scored}/{name}"
    after = {blob.path for blob in store.blobs.list(store.settings.scored)}
    assert after - before == {BlobPath(store.settings.scored, name)}
    assert store.blobs.read(BlobPath.parse(receipt.output)).count(b"\n") == GOOD.count(b"\n")
    for body in messages_of(path, store):
        assert accept_message(body, store) == receipt


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:40])
def test_other_names_are_refused_with_a_receipt(store: Services, name: str) -> None:
    """However it is told, the file has a failed receipt that names it, and nothing is written beside that."""
    path = BlobPath(store.settings.incoming, name)
    containers = (store.settings.incoming, store.settings.scored, store.settings.rejected)
    with suppress(NameInvalidError):  # no blob can have that name: whoever says it all the same is refused too
        store.blobs.write(path, GOOD)
    before = [blob.path for container in containers for blob in store.blobs.list(container)]
    known = receipts(store)
    drop_and_run(path, store)
    [new] = receipts(store) - known
    written = json.loads(store.blobs.read(new))
    assert (written["status"], written["input"]["path"]) == ("failed", str(path))
    for body in messages_of(path, store):
        receipt = accept_message(body, store)
        if receipt is None:  # an event: its receipt is that of the dropped file
            continue
        assert receipt.status == "failed"
        assert receipt.error is not None
        assert receipt.error["code"] in (
            "name_invalid",
            "message_invalid",
            "format_unsupported",
            "reference_invalid",
        )
    assert [blob.path for container in containers for blob in store.blobs.list(container)] == before


def test_a_result_that_can_have_no_name_is_refused(store: Services) -> None:
    """Where the model's name makes the result's longer than any blob's, nothing is begun; the receipt says why."""
    name = "churn/" + "/".join(["x" * 100] * 10) + "/a.csv"
    path = BlobPath(store.settings.incoming, name)
    store.blobs.write(path, GOOD)
    plain = drop_and_run(path, store)
    assert plain is not None
    assert plain.status == "succeeded"
    receipt = accept_message(json.dumps({"input": str(path), "model": "churn@1"}), store)
    assert receipt is not None
    assert receipt.error is not None
    assert receipt.error["code"] == "name_invalid"
    assert "result" in receipt.error["message"]
    assert list(store.blobs.list(store.settings.runs, "_open/")) == []


def test_part_files_that_can_have_no_name_end_the_run(store: Services, parquet) -> None:
    """A Parquet file of the longest name is scored; in splits its parts would have longer ones: failed."""
    name = "churn/" + "/".join(["x" * 101] * 9) + "/" + "y" * 92 + ".parquet"
    assert len(name) == 1024
    path = BlobPath(store.settings.incoming, name)
    store.blobs.write(path, parquet(make_sample(20), row_group_size=10))
    whole = drop_and_run(path, store)
    assert whole is not None
    assert whole.output == f"{store.settings.scored}/{name}"
    splitting = replace(
        store, settings=replace(store.settings, split_rows=10, splits_queue=f"{store.settings.jobs_queue}-splits")
    )
    store.queues.create_queue(splitting.settings.splits_queue)
    store.blobs.write(path, parquet(make_sample(20), row_group_size=10))
    assert drop_and_run(path, splitting) is None
    messages = store.queues.receive(splitting.settings.splits_queue, limit=32)
    for ended in [accept_split(message.body, splitting) for message in messages]:
        assert ended is not None
        assert ended.error is not None
        assert (ended.status, ended.error["code"]) == ("failed", "name_invalid")
    assert BlobPath(store.settings.scored, name) not in {b.path for b in store.blobs.list(store.settings.scored)}


def tree(root: Path) -> set[str]:
    return {os.fsdecode(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


PARTS = st.sampled_from(
    [
        "..",
        ".",
        "",
        "churn",
        "churn@1",
        "a",
        "a.csv",
        "b.parquet",
        "scored",
        "%2e%2e",
        "%2F",
        "..\\",
        "~",
        "runs",
        "*",
        "é",
    ]
)
NAMES = st.one_of(
    st.lists(PARTS, min_size=1, max_size=5).map("/".join),
    st.lists(PARTS, max_size=3).map(lambda parts: "/".join(["churn", *parts, "x.csv"])),
    st.text(st.characters(), max_size=12).map(lambda text: f"churn/{text}.csv"),
    st.text(st.characters(), min_size=1, max_size=12),
)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory, hand_package: Path) -> Iterator[tuple[Path, Services]]:
    """Give a folder that holds a store and one file beside it, and the store's services."""
    root = tmp_path_factory.mktemp("lonely")
    (root / "beside.csv").write_bytes(GOOD)
    opened = Services.open(
        Settings(
            folder=str(root / "store"), cache=str(tmp_path_factory.mktemp("cache")), storage=AZURITE, threads=1
        )
    )
    Registry(opened.blobs, "models").add("churn", hand_package)
    yield root, opened
    opened.engine.close()


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
@example(name="churn/../../../beside.csv")
@example(name="churn/../../models/churn/aliases.json.csv")
def test_nothing_is_ever_written_outside_its_folder(lonely: tuple[Path, Services], name: str) -> None:
    """Whatever name is dropped or sent, what changes on the disk is its result, its rejects and runs' records."""
    root, services = lonely
    path = BlobPath("incoming", name)
    try:
        services.blobs.write(path, GOOD)
        stored = True
    except NameInvalidError:
        stored = False
    before = tree(root)
    results = [drop_and_run(path, services)]
    results += [accept_message(body, services) for body in messages_of(path, services)]
    for queue in ("scoring-jobs", "scoring-events"):
        while batch := services.queues.receive(queue, limit=32):
            for message in batch:
                services.queues.delete(queue, message)
    new = {file for file in tree(root) - before if not file.startswith(("store/runs/", "store/.dropscore/"))}
    outputs = {f"store/{result.output}" for result in results if result and result.output}
    assert new <= outputs | {f"store/{result.rejects}" for result in results if result and result.rejects}
    if outputs:
        assert stored
        assert f"store/scored/{name}" in outputs
    assert (root / "beside.csv").read_bytes() == GOOD
