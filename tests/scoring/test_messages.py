"""Every form of message, and what it asks for."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import DropscoreError, InputError, MessageInvalidError, ModelError
from model_store import ModelReference
from scoring.blob_events import BLOB_CREATED, Dropped
from scoring.job import Job
from scoring.messages import describe, read_message
from scoring.records import Records
from settings import Connection, Settings
from storage import BlobPath

SETTINGS = Settings(storage=Connection("x", "AccountName=acme;AccountKey=a2V5"))
INPUT = BlobPath("incoming", "churn/a.csv")
URL = f"https://acme.blob.core.windows.net/{INPUT}"
DATA = {
    "api": "PutBlockList",
    "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
    "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
    "eTag": "0x8D4BCC2E4835CD0",
    "contentType": "text/csv",
    "contentLength": 524288,
    "blobType": "BlockBlob",
    "url": URL,
    "sequencer": "00000000000004420000000000028963",
    "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
}
SUBJECT = "/blobServices/default/containers/incoming/blobs/churn/a.csv"
EVENT = {
    "topic": "/subscriptions/0/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acme",
    "subject": SUBJECT,
    "eventType": BLOB_CREATED,
    "eventTime": "2026-11-20T12:00:00.000Z",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": DATA,
    "dataVersion": "",
    "metadataVersion": "1",
}
CLOUD_EVENT = {
    "source": EVENT["topic"],
    "subject": SUBJECT,
    "type": BLOB_CREATED,
    "time": EVENT["eventTime"],
    "id": EVENT["id"],
    "data": DATA,
    "specversion": "1.0",
}
DROPPED = Dropped(INPUT, "0x8D4BCC2E4835CD0")
JOB = Job(INPUT, ModelReference("churn"))


def event(**data: Any) -> dict[str, Any]:
    """Return an event without a subject, with other data."""
    return {**EVENT, "subject": None, "data": DATA | data}


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "encode", [str, in_base64, lambda text: f"\ufeff{text}\r\n"], ids=["plain", "base64", "edges"]
)
@pytest.mark.parametrize(
    ("message", "order"),
    [
        ('{"input": "incoming/churn/a.csv"}', JOB),
        ('{"input": "incoming/churn/a.csv", "etag": "\\"0x1\\""}', Job(INPUT, ModelReference("churn"), etag="0x1")),
        (json.dumps({"input": URL, "model": "churn@3"}), Job(INPUT, ModelReference("churn", version=3))),
        (json.dumps(EVENT), DROPPED),
        (json.dumps(CLOUD_EVENT), DROPPED),
        (json.dumps([CLOUD_EVENT]), DROPPED),
        (json.dumps([EVENT], indent=2), DROPPED),
        ("incoming/churn/a.csv", JOB),
        ('"incoming/churn/a.csv"', JOB),
        ("incoming/churn/2026/", Job(BlobPath("incoming", "churn/2026/"), ModelReference("churn"))),
        (URL, JOB),
        (URL.replace("a.csv", "a%20b.csv"), Job(BlobPath("incoming", "churn/a b.csv"), ModelReference("churn"))),
        (
            '{"model": "churn@3", "records": [{"age": 1}]}',
            Records(ModelReference("churn", version=3), ({"age": 1},)),
        ),
        ('{"model": "churn", "records": [], "id": "x"}', Records(ModelReference("churn"), (), "x")),
    ],
)
def test_every_form_is_understood(message: str, order: object, encode: Any) -> None:
    """Jobs, events of both schemas, paths, URLs and rows, in base64 or not, with what editors put around a text."""
    assert read_message(encode(message), SETTINGS) == [order]
    assert read_message(encode(message).encode(), SETTINGS) == [order]


def test_lines_of_base64_are_understood() -> None:
    """Base64 that was folded into lines, as MIME and `base64` do, is the same message."""
    text = base64.encodebytes(json.dumps(EVENT).encode()).decode()
    assert text.count("\n") > 2
    assert read_message(text, SETTINGS) == [DROPPED]


@pytest.mark.parametrize(
    "path", ["incoming/churn/abcde", "incoming/churn/a+b12", "abcd/churn/a1234", "aaaa/bbbb/cccccc"]
)
def test_a_path_that_could_be_base64_is_a_path(path: str) -> None:
    """Letters, digits, + and / may be both: what begins with a container's name and a slash is a path."""
    base64.b64decode(path, validate=True)
    [job] = read_message(path, SETTINGS)
    assert isinstance(job, Job)
    assert str(job.input) == path


def test_base64_that_begins_like_a_path_is_a_path() -> None:
    """The one doubtful case: a container of letters whose base64 is lower-case, and a "?" right behind it."""
    text = in_base64("jgak/?/churn.csv")
    assert text.startswith("amdhay8/")
    with pytest.raises(InputError):
        read_message(text, SETTINGS)


@given(
    st.from_regex(r"[a-z0-9]{3,20}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="?\\"), min_size=1, max_size=50),
)
def test_a_path_in_base64_is_never_taken_for_a_path(container: str, name: str) -> None:
    """Encoded paths are decoded, whatever the container and the name (but for a "?" among their first bytes)."""
    path = f"{container}/churn/{name}.csv"
    try:
        expected = read_message(path, SETTINGS)
    except DropscoreError as error:
        expected = type(error)  # type: ignore[assignment]  # it is compared, no more
    try:
        found = read_message(in_base64(path), SETTINGS)
    except DropscoreError as error:
        found = type(error)  # type: ignore[assignment]  # it is compared, no more
    assert found == expected


@pytest.mark.parametrize(
    ("data", "etag"), [({"eTag": '"0x1"'}, "0x1"), ({"eTag": "0x1"}, "0x1"), ({"eTag": None}, None)]
)
def test_etags_come_quoted_or_not(data: dict[str, Any], etag: str | None) -> None:
    """Both spellings of an ETag mean the same version; none at all means whichever is there."""
    assert read_message(json.dumps(event(**data)), SETTINGS) == [Dropped(INPUT, etag)]


@pytest.mark.parametrize("api", ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"])
def test_operations_that_leave_a_whole_blob_act(api: str) -> None:
    """The last operation of an upload starts a run, also one of Data Lake Storage, by its own address."""
    url = URL.replace(".blob.", ".dfs.") if api == "FlushWithClose" else URL
    assert read_message(json.dumps(event(api=api, url=url)), SETTINGS) == [DROPPED]


@pytest.mark.parametrize(
    "message",
    [
        event(api="CreateFile", contentLength=0),
        event(api="SftpCreate", contentLength=0),
        event(api="PutBlock"),
        event(api=""),
        EVENT | {"eventType": "Microsoft.Storage.BlobDeleted"},
        EVENT | {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {}},
        CLOUD_EVENT | {"type": "dropscore.run.succeeded", "data": {"run_id": "0"}},
        *(
            event(url=f"https://acme.blob.core.windows.net/{container}/churn/a.csv")
            for container in ("scored", "rejected", "runs", "models", "azure-webjobs-hosts", "landing", "$logs")
        ),
    ],
)
def test_other_events_start_nothing(message: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Events of a file that is still empty, of deletions, of other containers, and our own are passed over.

    A receipt for each would be a blob in this very account, and make the next event.
    """
    with caplog.at_level("INFO"):
        assert read_message(json.dumps(message), SETTINGS) == []
    assert "event_passed_over" in caplog.text


def test_each_event_of_an_array_is_an_order() -> None:
    """An array asks for as many runs as it has events that start one."""
    second = event(url=URL.replace("a.csv", "b.csv"), eTag="0x2")
    created = event(api="CreateFile")
    assert read_message(json.dumps([EVENT, created, second, CLOUD_EVENT]), SETTINGS) == [
        DROPPED,
        Dropped(BlobPath("incoming", "churn/b.csv"), "0x2"),
        DROPPED,
    ]


BAD = [
    "",
    " ",
    "churn",
    "not json",
    "Incoming/churn/a.csv",
    "a,b\n1,2\n",
    "null",
    "true",
    "12",
    "[]",
    "[[]]",
    "[1]",
    '["incoming/churn/a.csv"]',
    '[{"input": "incoming/churn/a.csv"}]',
    json.dumps([EVENT, {"input": "incoming/churn/b.csv"}]),
    json.dumps([EVENT, EVENT | {"data": None}]),
    json.dumps(EVENT | {"data": [DATA]}),
    json.dumps(EVENT | {"eventType": 5}),
    json.dumps(CLOUD_EVENT | {"type": None}),
    json.dumps({key: value for key, value in CLOUD_EVENT.items() if key != "type"}),
    json.dumps(event(api=None)),
    json.dumps(event(url=None)),
    json.dumps(event(url=5)),
    json.dumps(event(url="incoming/churn/a.csv")),
    json.dumps(event(eTag=5)),
    json.dumps(event(url=URL.replace("acme", "other"))),
    json.dumps(EVENT | {"data": DATA | {"url": URL.replace("a.csv", "b.csv")}}),
    json.dumps(EVENT | {"data": DATA | {"url": URL.replace("a.csv", "%61%2ecsv%20")}}),
    URL + "?sv=2026-01-01&sig=secret",
    URL + "#top",
    URL.replace("acme", "other"),
    "https://acme.blob.core.windows.net",
    "incoming/",
    "incoming/a.csv",
    "incoming//a.csv",
    "incoming/churn/../a.csv",
    '{"input": "incoming/churn/a.csv", "error_threshold": NaN}',
    '{"model": "churn", "records": [{"age": 1e999}]}',
    '{"model": "churn", "records": {"age": 1}}',
    '{"model": "churn", "records": [1]}',
    '{"model": 1, "records": []}',
    '{"records": [{"age": 1}]}',
    '{"model": "churn", "records": [], "id": 5}',
    '{"model": "churn", "records": [], "id": ""}',
    '{"model": "churn", "records": [], "keep": "all"}',
    '{"model": "churn@", "records": []}',
    "[" * 60_000,
    *('{"model": "churn", "records": [{"age": ' + "[" * deep + "]" * deep + "}]}" for deep in (40, 1000, 9995)),
    '{"input": "https://other.blob.core.windows.net/incoming/churn/a.csv"}',
    '{"a":' * 10_000,
    "9" * 5000,
    '{"input": ' + "9" * 5000 + "}",
    b"\xff\xfe{\x00}\x00",
    base64.b64encode(b"\xff\x00\xff").decode(),
    in_base64(in_base64(json.dumps(EVENT))),
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: ascii(body)[:60])
def test_what_cannot_be_understood_is_refused(body: str | bytes) -> None:
    """Nothing is guessed: each is an error of ours that a retry cannot help, and its receipt can describe it."""
    with pytest.raises((InputError, ModelError)) as caught:
        read_message(body, SETTINGS)
    assert not caught.value.retryable
    json.dumps(caught.value.to_dict())
    assert describe(body)["bytes"] == len(body if isinstance(body, bytes) else body.encode())


def test_records_are_bounded() -> None:
    """No more rows than a request over HTTP may have."""
    with pytest.raises(InputError) as caught:
        read_message('{"model": "churn", "records": [{}, {}, {}]}', Settings(max_request_rows=2))
    assert caught.value.code == "record_too_large"


def test_a_subject_that_lost_its_emoji_is_no_contradiction() -> None:
    """Event Grid puts U+FFFD for an emoji in the subject: then the URL alone says which blob it is."""
    message = event(url=URL.replace("a.csv", "%F0%9F%92%8E.csv")) | {
        "subject": SUBJECT.replace("a.csv", "\ufffd\ufffd.csv")
    }
    assert read_message(json.dumps(message), SETTINGS) == [
        Dropped(BlobPath("incoming", "churn/💎.csv"), DROPPED.etag)
    ]


@pytest.mark.parametrize(
    ("body", "described"),
    [
        ('{"age": 41, "input": 5}', {"form": "a JSON object", "keys": ["input"], "other_keys": 1}),
        (in_base64('{"Jane Doe": 41}'), {"base64": True, "form": "a JSON object", "keys": [], "other_keys": 1}),
        ('[{"name": "Jane Doe"}]', {"form": "a JSON array", "items": 1}),
        ('"Jane Doe"', {"form": "a text"}),
        ("Jane Doe,41", {"form": "a text"}),
        ("https://other.example/Jane?sig=secret", {"form": "a URL"}),
        ('{"name": "Jane Doe"', {"form": "the message is not JSON: Expecting ',' delimiter at line 1, column 20"}),
        (b"Jane Doe \xff", {"form": "the message is no UTF-8"}),
    ],
)
def test_a_description_holds_no_value_of_the_message(body: str | bytes, described: dict[str, Any]) -> None:
    """A receipt tells a message by its form, size and hash: its first bytes or its keys may be somebody's name."""
    found = describe(body)
    assert {key: value for key, value in found.items() if key not in ("bytes", "sha256")} == described
    assert "Jane" not in json.dumps(found)


def test_errors_quote_no_message() -> None:
    """Neither rows nor signatures of a message get into the error that its receipt shows."""
    for body in (URL + "?sig=secret", "secret", '{"secret": 1}', '[{"secret": 1}]', '{"records": "secret"}'):
        with pytest.raises(MessageInvalidError) as caught:
            read_message(body, SETTINGS)
        assert "secret" not in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["input", "model", "records", "id", "api", "url", "data"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from([EVENT, CLOUD_EVENT, {"model": "churn", "records": []}, {}]), JSON, st.integers(0, 3))
def test_any_message_is_orders_or_an_error_of_ours(base: dict[str, Any], odd: Any, how: int) -> None:
    """No message whatsoever raises anything but our own permanent errors: else the host would retry it."""
    changed: Any = base | odd if isinstance(odd, dict) and how < 2 else base | {"data": odd, "records": odd}
    body = json.dumps([changed] if how % 2 else changed)
    try:
        orders = read_message(body, SETTINGS)
    except (InputError, ModelError) as error:
        assert not error.retryable
    else:
        assert all(isinstance(order, Job | Dropped | Records) for order in orders)
    json.dumps(describe(body))
