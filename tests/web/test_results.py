"""What came of runs over HTTP: whole, in ranges and in parts, and never of two versions at once."""

import asyncio
import json
import threading
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from errors import ConditionFailedError
from scoring.entering import begin
from scoring.intake import accept_message
from scoring.job import Job
from scoring.options import Options
from scoring.pipeline import run_job
from storage import BlobPath
from tests.hand_model import make_sample
from tests.scoring.test_csv import GOOD, HEADER
from tests.scoring.test_pipeline import INPUT
from web.app import create_app
from web.results import attached

MIXED = HEADER + b"1,20,3,true,basic\n2,x,3,true,basic\n"


def drop(services, data: bytes = GOOD, name: str = "a.csv", **options):
    path = BlobPath("incoming", f"churn/{name}")
    services.blobs.write(path, data)
    return run_job(replace(Job.for_dropped(path), options=Options.from_dict(options)), services)


@pytest.fixture
def result(services) -> tuple[str, bytes]:
    """Score a file; return where its result is asked for, and the result."""
    receipt = drop(services)
    return f"/api/runs/{receipt.run_id}/result", services.blobs.read(BlobPath.parse(receipt.output))


def test_a_result_and_its_rejects_are_fetched(client, services) -> None:
    """Byte for byte as they lie in storage, with a name, a type and an ETag."""
    receipt = drop(services, MIXED, error_threshold=-1)
    result = client.get(f"/api/runs/{receipt.run_id}/result")
    rejected = client.get(f"/api/runs/{receipt.run_id}/rejected")
    for answer, place in ((result, receipt.output), (rejected, receipt.rejects)):
        blob = services.blobs.stat(BlobPath.parse(place))
        assert (answer.status_code, answer.content) == (200, services.blobs.read(blob.path))
        assert answer.headers["etag"] == f'"{blob.etag}"'
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-length"] == str(blob.size)
        assert answer.headers["accept-ranges"] == "bytes"
    assert result.headers["content-disposition"] == 'attachment; filename="a.csv"'
    assert rejected.headers["content-disposition"] == 'attachment; filename="rejected-a.csv"'


def test_a_head_has_all_but_the_file(client, result) -> None:
    """HEAD says what GET would bring, and reads nothing."""
    place, content = result
    head = client.head(place, headers={"range": "bytes=0-1", "x-request-id": "same"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(content))
    assert dict(head.headers) == dict(client.get(place, headers={"x-request-id": "same"}).headers)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("5-9", 5, 10), ("7-", 7, None), ("-4", -4, None), ("3-999999", 3, None), ("-999999", 0, None)],
)
def test_a_range_is_fetched(client, result, asked: str, start: int, stop: int | None) -> None:
    """One range of bytes is 206, and says which of how many bytes it brings."""
    place, content = result
    answer = client.get(place, headers={"range": f"bytes={asked}"})
    wanted = content[start:stop]
    first = content.index(wanted) if start < 0 else start
    assert (answer.status_code, answer.content) == (206, wanted)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(content)}"
    assert answer.headers["content-length"] == str(len(wanted))


@pytest.mark.parametrize("asked", ["999999-", "999999-1000000", "-0", "{size}-", "{size}-{size}"])
def test_a_range_that_is_not_there_is_416(client, result, asked: str) -> None:
    """It says how long the file is."""
    place, content = result
    answer = client.get(place, headers={"range": "bytes=" + asked.replace("{size}", str(len(content)))})
    assert (answer.status_code, answer.json()["error"]["code"]) == (416, "range_invalid")
    assert answer.headers["content-range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize(
    "asked", ["bytes=9-5", "bytes=-", "bytes=a-b", "rows=0-1", "bytes=0-1,4-5", "bytes=1", "x"]
)
def test_what_is_no_single_range_is_the_whole_file(client, result, asked: str) -> None:
    """HTTP lets a server pass over a Range header, and several ranges at once nobody needs here."""
    place, content = result
    answer = client.get(place, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, content)


def test_conditions_are_held(client, result) -> None:
    """The same version again is 304, another than is meant 412, a range of another version the whole file."""
    place, content = result
    etag = client.head(place).headers["etag"]
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = client.get(place, headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert client.get(place, headers={"if-none-match": '"x"'}).content == content
    for meant, status in (
        (etag, 200),
        ("*", 200),
        (f'"x", {etag}', 200),
        ('"x"', 412),
        (f"W/{etag}", 412),
        ("", 412),
    ):
        assert client.get(place, headers={"if-match": meant}).status_code == status
    twice = [("if-none-match", '"x"'), ("if-none-match", etag)]
    assert client.get(place, headers=twice).status_code == 304
    for version, status in ((etag, 206), ('"x"', 200), (f"W/{etag}", 200), ("Sat, 21 Nov 2026 10:00:00 GMT", 200)):
        assert client.get(place, headers={"range": "bytes=0-3", "if-range": version}).status_code == status


def test_a_file_larger_than_a_chunk_comes_whole(client, result, monkeypatch) -> None:
    """Read a chunk at a time, of any size, whole or in a range."""
    place, content = result
    for size in (1, 7, len(content) - 1, len(content)):
        monkeypatch.setattr("web.results._CHUNK", size)
        assert client.get(place).content == content
        assert client.get(place, headers={"range": "bytes=3-20"}).content == content[3:21]


def test_conditions_may_be_dates(client, result) -> None:
    """As `curl -z` and `wget -N` ask: 304 for what is no newer, 412 for what is; ETags count before them."""
    place, _ = result
    answer = client.head(place)
    etag, then = answer.headers["etag"], answer.headers["last-modified"]
    old, new = "Sat, 01 Jan 2000 00:00:00 GMT", "Sun, 06 Nov 2094 08:49:37 GMT"
    for date, since, unmodified in (
        (then, 304, 200),
        (new, 304, 200),
        (old, 200, 412),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 200, 412),
        ("Sun Nov  6 08:49:37 1994", 200, 412),
        ("yesterday", 200, 200),
        ("", 200, 200),
        ("Sat, 01 Jan 99999999999999999999 00:00:00 GMT", 200, 200),
    ):
        assert client.get(place, headers={"if-modified-since": date}).status_code == since, date
        assert client.get(place, headers={"if-unmodified-since": date}).status_code == unmodified, date
    assert client.get(place, headers={"if-modified-since": new, "if-none-match": '"x"'}).status_code == 200
    assert client.get(place, headers={"if-unmodified-since": old, "if-match": etag}).status_code == 200


class Replaced:
    """A blob store whose blobs are replaced after some reads."""

    def __init__(self, blobs, reads: int) -> None:
        self._blobs, self._reads = blobs, reads

    def __getattr__(self, name: str):
        return getattr(self._blobs, name)

    def read(self, path: BlobPath, **options) -> bytes:
        if options.get("if_match"):
            self._reads -= 1
            if self._reads < 0:
                raise ConditionFailedError(f"{path} has changed", file=str(path))
        return self._blobs.read(path, **options)


def fetch_by_hand(app, path: str) -> list[dict]:
    """Ask as a server does, and return what it is told to send, up to the end or an exception."""
    sent: list[dict] = []
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}

    async def ask() -> None:
        asked = asyncio.Event()

        async def receive() -> dict:
            if asked.is_set():
                await asyncio.Event().wait()  # the client stays
            asked.set()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict) -> None:
            sent.append(message)

        await app(scope, receive, send)

    with pytest.raises(RuntimeError, match="response already started"):
        asyncio.run(ask())
    return sent


def test_a_result_that_is_replaced_midway_breaks_off(services, result, monkeypatch) -> None:
    """What was sent is of one version; the answer ends short of what was promised, as the connection is closed."""
    place, content = result
    monkeypatch.setattr("web.results._CHUNK", 10)
    late = replace(services, blobs=Replaced(services.blobs, 2))
    app = create_app(lambda: late, services.settings)
    start, *bodies = fetch_by_hand(app, place)
    assert dict(start["headers"])[b"content-length"] == str(len(content)).encode()
    assert b"".join(body["body"] for body in bodies) == content[:20]
    assert all(body["more_body"] for body in bodies)


def test_a_result_that_is_replaced_before_its_first_byte_is_an_error(services, result) -> None:
    """Nothing was said yet, so that it can be said what happened."""
    gone = replace(services, blobs=Replaced(services.blobs, 0))
    with TestClient(create_app(lambda: gone, services.settings)) as client:
        answer = client.get(result[0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "condition_failed")


def test_a_client_that_goes_away_ends_the_reading(services, result, monkeypatch) -> None:
    """What nobody waits for is read no further."""
    monkeypatch.setattr("web.results._CHUNK", 1)
    counted = Replaced(services.blobs, 10**6)
    told = replace(services, blobs=counted)
    app = create_app(lambda: told, services.settings)
    scope = {"type": "http", "method": "GET", "path": result[0], "query_string": b"", "headers": []}

    async def ask() -> int:
        gone = asyncio.Event()
        parts = 0

        async def receive() -> dict:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_message: dict) -> None:
            nonlocal parts
            parts += 1
            if parts == 3:
                gone.set()
                await asyncio.Event().wait()  # what is to be sent goes nowhere any more

        await app(scope, receive, send)
        return 10**6 - counted._reads

    assert asyncio.run(ask()) <= 4


def test_more_results_than_there_is_memory_for_have_to_wait(client, result, monkeypatch) -> None:
    """Each that is being fetched holds some blocks; one more is 503, and told when to come again."""
    monkeypatch.setattr("web.transfers.MOST_TRANSFERS", 0)
    answer = client.get(result[0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_transfers")
    assert int(answer.headers["retry-after"]) > 0
    assert client.head(result[0]).status_code == 200
    monkeypatch.setattr("web.transfers.MOST_TRANSFERS", 1)
    assert [client.get(result[0]).status_code for _ in range(3)] == [200] * 3


def test_a_run_without_a_result_says_why(client, services) -> None:
    """409 while it goes on, 404 where there is no such run, or it has put up none, or has rejected nothing."""
    services.blobs.write(INPUT, GOOD)
    run = services.open_runs.open(begin(Job.for_dropped(INPUT), services)).run
    services.receipts.announce(run)
    failed, whole = drop(services, b"id\n1\n", "b.csv"), drop(services, name="c.csv")
    for run_id, name, status, code in (
        (run.id, "result", 409, "run_under_way"),
        (run.id, "rejected", 409, "run_under_way"),
        ("0" * 32, "result", 404, "run_not_found"),
        ("a%00b", "result", 404, "run_not_found"),
        (failed.run_id, "result", 404, "blob_not_found"),
        (whole.run_id, "rejected", 404, "blob_not_found"),
    ):
        answer = client.get(f"/api/runs/{run_id}/{name}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_run_past_its_threshold_has_rejects_and_no_result(client, services) -> None:
    """What to look at is there all the same."""
    receipt = drop(services, MIXED)
    assert client.get(f"/api/runs/{receipt.run_id}/rejected").content.count(b"\n") == 2
    assert client.get(f"/api/runs/{receipt.run_id}/result").status_code == 404


def test_a_result_of_a_later_run_is_not_given_for_an_earlier_ones(client, services) -> None:
    """The place belongs to the newest; who asks for the older run's is told that it is gone."""
    first = drop(services)
    second = drop(services, GOOD + b"4,1,1,true,pro\n")
    gone = client.get(f"/api/runs/{first.run_id}/result")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "result_gone")
    assert client.get(f"/api/runs/{second.run_id}/result").status_code == 200
    services.blobs.delete(BlobPath.parse(second.output))
    assert client.get(f"/api/runs/{second.run_id}/result").status_code == 410


@pytest.fixture
def split(fleets):
    """Score a Parquet file in splits: three files of a row group each, and `_SUCCESS`."""
    fleet = fleets(split_rows=100)
    sink = pa.BufferOutputStream()
    pq.write_table(make_sample(300), sink, row_group_size=100)
    return fleet, fleet.score("t.parquet", sink.getvalue().to_pybytes())


def test_a_result_in_parts_is_listed_and_fetched(split) -> None:
    """A list in the order of rows, each part with where it is; together they are the result."""
    fleet, receipt = split
    with TestClient(create_app(lambda: fleet.services, fleet.services.settings)) as client:
        place = f"/api/runs/{receipt.run_id}/result"
        listed = client.get(place).json()
        assert [part["part"] for part in listed["parts"]] == [f"part-{number:05d}.parquet" for number in range(3)]
        tables = []
        for part in listed["parts"]:
            answer = client.get(part["href"])
            assert (len(answer.content), answer.headers["etag"]) == (part["bytes"], f'"{part["etag"]}"')
            assert part["part"] in answer.headers["content-disposition"]
            assert client.get(part["href"], headers={"range": "bytes=0-3"}).content == b"PAR1"
            tables.append(pq.read_table(pa.BufferReader(answer.content)))
        assert pa.concat_tables(tables).num_rows == receipt.rows["scored"] == 300
        for part in ("part-00003.parquet", "_SUCCESS", "../a", "part-0", "part-00000.parquet/x"):
            assert client.get(place, params={"part": part}).status_code == 404
        with TestClient(client.app, root_path="/pre") as below:
            hrefs = [part["href"] for part in below.get(f"/pre{place}").json()["parts"]]
        assert hrefs == [f"/pre{part['href']}" for part in listed["parts"]]
        services = fleet.services
        services.blobs.delete(BlobPath("scored", "churn/t.parquet/_SUCCESS"))
        assert client.get(place).status_code == 410


class SlowOnce(Replaced):
    """A blob store whose first read of a result takes until it is let go on."""

    def __init__(self, blobs) -> None:
        super().__init__(blobs, 10**6)
        self.reached, self.open = threading.Event(), threading.Event()

    def read(self, path: BlobPath, **options) -> bytes:
        if options.get("if_match") and not self.reached.is_set():
            self.reached.set()
            assert self.open.wait(60)
        return super().read(path, **options)


def test_who_goes_away_leaves_when_the_reading_has_ended(services, result, monkeypatch) -> None:
    """Clients that come and go while storage is slow have no more threads than any others."""
    monkeypatch.setattr("web.transfers.MOST_TRANSFERS", 1)
    slow = SlowOnce(services.blobs)
    told = replace(services, blobs=slow)
    app = create_app(lambda: told, services.settings)
    gone = asyncio.Event()

    async def ask() -> int:
        status = 0

        async def receive() -> dict:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            nonlocal status
            status = message.get("status", status)

        scope = {"type": "http", "method": "GET", "path": result[0], "query_string": b"", "headers": []}
        await app(scope, receive, send)
        return status

    async def main() -> list[int]:
        first = asyncio.create_task(ask())
        assert await asyncio.to_thread(slow.reached.wait, 60)
        gone.set()
        for _ in range(1000):
            await asyncio.sleep(0)
        gone.clear()
        meanwhile = await ask()
        slow.open.set()
        await first
        return [meanwhile, await ask()]

    assert asyncio.run(main()) == [503, 200]


def test_results_that_are_whole_in_memory_have_only_so_much_room(services, result, monkeypatch) -> None:
    """Under the Functions host, one more than there is memory for is 503; elsewhere only some chunks are held."""
    place, content = result
    monkeypatch.setattr("web.results.ROOM", len(content) + 9)
    slow = SlowOnce(services.blobs)
    told = replace(services, blobs=slow, settings=replace(services.settings, max_answer_bytes=len(content)))
    app = create_app(lambda: told, told.settings)

    async def ask(asked: bytes = b"", *, hosted: bool = True) -> int:
        status = 0

        async def receive() -> dict:
            await asyncio.Event().wait()  # the client stays
            return {}

        async def send(message: dict) -> None:
            nonlocal status
            status = message.get("status", status)

        headers = [(b"range", asked)]
        scope = {"type": "http", "method": "GET", "path": place, "query_string": b"", "headers": headers}
        await app(scope | ({"azure_functions.invocation_id": "1"} if hosted else {}), receive, send)
        return status

    async def main() -> list[int]:
        first = asyncio.create_task(ask())
        assert await asyncio.to_thread(slow.reached.wait, 60)
        meanwhile = [await ask(), await ask(b"bytes=0-8"), await ask(hosted=False)]
        slow.open.set()
        return [*meanwhile, await first, await ask()]

    assert asyncio.run(main()) == [503, 206, 200, 200, 200]


def test_a_single_result_has_no_parts(client, result) -> None:
    """Who asks for one is told so, and not given the whole."""
    assert client.get(f"{result[0]}?part=part-00000.parquet").json()["error"]["code"] == "blob_not_found"


def test_the_answer_to_rows_in_a_message_is_fetched(client, services) -> None:
    """It is JSON, and lies among the run's own records."""
    message = {"model": "churn", "records": [{"age": 20, "visits": 3, "member": True, "plan": "basic"}], "id": "x"}
    receipt = accept_message(json.dumps(message), services)
    assert receipt
    answer = client.get(f"/api/runs/{receipt.run_id}/result")
    assert (answer.headers["content-type"], answer.json()["id"]) == ("application/json", "x")
    assert len(answer.json()["predictions"]) == 1


def test_types_are_those_of_the_files(client, services, parquet) -> None:
    """Parquet, compressed CSV, and CSV of an encoding that the type's charset cannot tell."""
    latin = HEADER + "1,20,3,true,é\n".encode("latin-1")
    for name, data, options, kind in (
        ("a.parquet", parquet(make_sample(5)), {}, "application/vnd.apache.parquet"),
        ("b.csv", GOOD, {"output_format": "parquet"}, "application/vnd.apache.parquet"),
        ("c.csv", latin, {"csv": {"encoding": "latin-1"}}, "text/csv"),
        ("d.csv.gz", GOOD, {}, "application/gzip"),
    ):
        receipt = drop(services, data, name, **options)
        assert client.get(f"/api/runs/{receipt.run_id}/result").headers["content-type"] == kind


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a b (1).csv", 'q".csv', "semi;colon.csv", "été.csv", "100%.csv", "表.csv", "a'b.csv", "x\\y.csv"],
)
def test_a_name_is_told_safely(name: str) -> None:
    """In ASCII without anything that ends or escapes the quoted name; the true one beside it, percent-encoded."""
    header = attached(name)
    assert header.isascii()
    plain, _, own = header.removeprefix('attachment; filename="').partition('"')
    assert not set(plain) & set('"\\;%')
    assert unquote(own.removeprefix("; filename*=UTF-8''")) == (name if own else "")
    assert own or plain == name


def test_the_functions_host_is_given_no_more_than_it_holds(services, result) -> None:
    """It holds answers whole in memory: a larger file is fetched in ranges, which may be cut shorter than asked."""
    place, content = result
    few = replace(services, settings=replace(services.settings, max_answer_bytes=50))
    app = create_app(lambda: few, few.settings)

    async def hosted(scope, receive, send) -> None:
        await app(scope | {"azure_functions.invocation_id": "x"}, receive, send)

    with TestClient(hosted) as client:
        refused = client.get(place)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "answer_too_large")
        assert "bytes=0-49" in refused.json()["error"]["message"]
        assert client.head(place).headers["content-length"] == str(len(content))
        fetched = b""
        while len(fetched) < len(content):
            answer = client.get(place, headers={"range": f"bytes={len(fetched)}-"})
            assert answer.status_code == 206
            assert len(answer.content) <= 50
            assert answer.headers["content-range"].startswith(f"bytes {len(fetched)}-")
            fetched += answer.content
        assert fetched == content
