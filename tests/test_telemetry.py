"""Measurements: what is told of requests, runs and models becomes metrics and spans, and goes where it should."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2 as httpx
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from model_store import ModelReference
from model_store.registry import Registry
from observing import RequestScored, here, is_anybody_listening, listen, tell
from scoring.intake import accept_file, accept_message
from scoring.job import Job
from scoring.pipeline import run_job
from scoring.splits.worker import accept_split
from scoring.trail import follow
from settings import Settings, telemetry_goes_to
from storage import BlobPath
from telemetry import Measured, _here, begin
from tests.scoring.test_csv import GOOD
from tests.scoring.test_rows import ROW
from tests.scoring.test_trail import PARENT, TRACE
from tests.web.test_inference_v2 import INPUTS
from web.app import create_app

ROOT = Path(__file__).resolve().parent.parent
PLACE = BlobPath("incoming", "churn/a.csv")
BAD = GOOD + b"9,zqxj-7319,3,true,basic\n"


class Kept:
    """What was measured, in memory."""

    def __init__(self) -> None:
        self.reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters, self.tracers = MeterProvider([self.reader]), TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("test")

    def numbers(self, name: str) -> list[tuple[dict, float]]:
        """Return the points of a metric, each with its attributes; of a histogram the counts."""
        data = json.loads(self.reader.get_metrics_data().to_json())
        metrics = [m for r in data["resource_metrics"] for s in r["scope_metrics"] for m in s["metrics"]]
        points = [point for metric in metrics if metric["name"] == name for point in metric["data"]["data_points"]]
        return [(point["attributes"], point.get("value", point.get("count"))) for point in points]

    def spans(self, name: str) -> list:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    listen(Measured(made.tracer, made.meters.get_meter("test")), _here)
    yield made
    listen(None)
    made.meters.shutdown()
    made.tracers.shutdown()


@pytest.fixture
def client(services) -> Iterator[TestClient]:
    with TestClient(create_app(lambda: services, services.settings)) as made:
        yield made


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Let each test begin to measure as a process does."""
    begin.cache_clear()
    yield
    begin.cache_clear()


CHURN = {"dropscore.model": "churn", "dropscore.version": 1}


def test_a_run_is_measured_once(services, kept) -> None:
    """Rows, rejects by code, stages and time come from the receipt; the job delivered again adds nothing."""
    services.blobs.write(PLACE, BAD)
    with follow(PARENT):
        job = Job(
            PLACE, ModelReference("churn"), options=replace(Job.for_dropped(PLACE).options, error_threshold=-1)
        )
        receipt = run_job(job, services)
        assert run_job(job, services) == receipt
    run = CHURN | {"dropscore.source": "run"}
    assert kept.numbers("dropscore.rows") == [
        (run | {"dropscore.outcome": "scored"}, 3),
        (run | {"dropscore.outcome": "rejected"}, 1),
    ]
    assert kept.numbers("dropscore.rejects") == [(CHURN | {"dropscore.code": "value_type"}, 1)]
    assert kept.numbers("dropscore.runs") == [(CHURN | {"dropscore.status": "succeeded"}, 1)]
    assert kept.numbers("dropscore.run.duration") == [(CHURN | {"dropscore.status": "succeeded"}, 1)]
    stages = {attributes["dropscore.stage"]: value for attributes, value in kept.numbers("dropscore.stage.cpu")}
    assert stages == receipt.stages["cpu"]
    assert {"open", "read", "score", "commit"} <= stages.keys()
    [span] = kept.spans("run")
    assert span.attributes["dropscore.run"] == receipt.run_id
    assert f"{span.context.trace_id:032x}" == TRACE
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(receipt.seconds)
    assert "zqxj" not in span.to_json()


def test_a_failed_run_is_an_error(services, kept) -> None:
    """Its code is an attribute of the count and the span; its message, which may name files, is not."""
    services.blobs.write(PLACE, b"id\n1\n")
    run_job(Job(PLACE, ModelReference("churn")), services)
    assert kept.numbers("dropscore.runs") == [
        (CHURN | {"dropscore.status": "failed", "error.type": "column_missing"}, 1)
    ]
    [span] = kept.spans("run")
    assert span.status.status_code is StatusCode.ERROR
    run_job(Job(PLACE, ModelReference("nobody")), services)
    assert {"dropscore.status": "failed", "error.type": "model_not_found"} in [
        attributes for attributes, _ in kept.numbers("dropscore.runs")
    ]


def test_a_run_in_splits_counts_its_rows_once(services, kept) -> None:
    """Each split has a span, in the trace of whoever dropped the file; the rows are counted when all are scored."""
    services = replace(services, settings=replace(services.settings, split_bytes=100))
    services.blobs.write(PLACE, GOOD + b"".join(b"%d,20,3,true,basic\n" % number for number in range(20)))
    with follow(PARENT):
        accept_file(PLACE, services)
    for message in services.queues.receive("scoring-jobs", limit=32, lease=60):
        accept_message(message.body, services)
    splits = services.queues.receive("scoring-splits", limit=32, lease=60)
    assert len(splits) > 2
    for message in [*splits, splits[0]]:
        accept_split(message.body, services)
    assert sorted(span.attributes["dropscore.split"] for span in kept.spans("split")) == list(range(len(splits)))
    assert {f"{span.context.trace_id:032x}" for span in kept.exporter.get_finished_spans()} >= {TRACE}
    assert [value for _, value in kept.numbers("dropscore.rows")] == [23]
    assert [value for _, value in kept.numbers("dropscore.runs")] == [1]
    assert {f"{span.context.trace_id:032x}" for name in ("run", "split") for span in kept.spans(name)} == {TRACE}


def test_rows_of_a_message_are_measured(services, kept) -> None:
    """They are a run like any other."""
    rows = {"model": "churn", "records": [ROW, ROW | {"age": "x"}]}
    accept_message(json.dumps(rows), services)
    assert [value for _, value in kept.numbers("dropscore.rows")] == [1, 1]


@pytest.mark.parametrize(
    ("path", "body", "rows"),
    [
        ("/api/predict/churn", [ROW, ROW, ROW | {"age": "x"}], [2, 1]),
        ("/invocations", {"dataframe_records": [ROW, ROW]}, [2]),
        ("/invocations", {"dataframe_records": [ROW, ROW | {"age": "x"}]}, [1, 1]),
        ("/v2/models/churn/infer", {"inputs": INPUTS}, [len(INPUTS[0]["data"])]),
    ],
)
def test_rows_of_requests_are_measured(client, kept, path: str, body, rows: list[int]) -> None:
    """Scored and rejected ones, whatever the protocol; the model's first request is seen to open it."""
    client.post(path, json=body)
    assert [value for _, value in kept.numbers("dropscore.rows")] == rows
    assert {attributes["dropscore.source"] for attributes, _ in kept.numbers("dropscore.rows")} == {"request"}
    assert kept.numbers("dropscore.model.open.duration") == [(CHURN, 1)]


def test_a_model_that_cannot_be_opened_is_measured(services, packages, kept) -> None:
    """Its span is an error, by its code."""
    registry = Registry(services.blobs, services.settings.models)
    registry.add("churn", packages(-1.0))
    services.blobs.write(BlobPath("models", "churn/2/model.onnx"), b"damaged")
    run_job(Job(BlobPath("incoming", "churn/none.csv"), ModelReference("churn", version=2)), services)
    services.blobs.write(PLACE, GOOD)
    run_job(Job(PLACE, ModelReference("churn", version=2)), services)
    [(attributes, _)] = kept.numbers("dropscore.model.open.duration")
    assert attributes == {"dropscore.model": "churn", "dropscore.version": 2, "error.type": "package_invalid"}
    assert kept.spans("open model")[0].status.status_code is StatusCode.ERROR


def test_work_belongs_to_the_span_it_is_done_in(services, kept) -> None:
    """Where the request has a span, spans and jobs of it belong to that one, and not to the caller's header."""
    app = create_app(lambda: services, services.settings)
    app.router.routes.append(Route("/ping/jobs", lambda _request: Response(Job.for_dropped(PLACE).to_json())))

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            await client.post("/api/predict/churn", json=ROW)
            return (await client.get("/ping/jobs", headers={"traceparent": PARENT})).json()["traceparent"]

    with kept.tracer.start_as_current_span("outer") as outer:
        parent = f"00-{outer.context.trace_id:032x}-{outer.context.span_id:016x}-"
        assert asyncio.run(ask()).startswith(parent)
    assert here() is None
    [span] = kept.spans("open model")
    assert span.context.trace_id == outer.context.trace_id


def test_measuring_that_fails_keeps_nobody_from_scoring(client, caplog) -> None:
    """What a listener raises is logged, and the request answered."""

    def fail(_event) -> None:
        raise ValueError("full")

    listen(fail)
    try:
        assert is_anybody_listening()
        assert client.post("/api/predict/churn", json=ROW).status_code == 200
    finally:
        listen(None)
    assert "RequestScored could not be measured" in caplog.text
    tell(RequestScored("churn", 1, 1, 0))  # nobody listens: nothing comes of it


def test_where_measurements_go() -> None:
    """An OTLP endpoint counts before Application Insights, which every Functions app has."""
    azure = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=x"}
    assert telemetry_goes_to({}) is None
    assert telemetry_goes_to(azure) == "azure"
    assert telemetry_goes_to(azure | {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}) == "otlp"


def test_nowhere_to_go_is_logged(monkeypatch, caplog) -> None:
    """Nothing is measured then, and nothing else is the worse for it."""
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    with caplog.at_level(logging.ERROR):
        begin(Settings(telemetry="on"))
    assert "APPLICATIONINSIGHTS_CONNECTION_STRING" in caplog.text
    assert not is_anybody_listening()


def test_packages_that_are_missing_are_named(monkeypatch, caplog) -> None:
    """Whoever switches telemetry on without installing it is told what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    begin(Settings(telemetry="on"))
    assert "requirements-telemetry.txt" in caplog.text
    assert not is_anybody_listening()


class Collector:
    """A server that takes whatever is sent to it."""

    def __init__(self) -> None:
        self.got: dict[str, bytes] = {}
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.got[self.path] = collector.got.get(self.path, b"") + body
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_arguments) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


SERVE = """
import json, sys
from starlette.testclient import TestClient
import web.app

with TestClient(web.app.app) as client:
    url = "/api/predict/churn?code=s3cret&x=1"
    assert client.post(url, json=json.loads(sys.argv[1])).status_code == 200
"""


def serve(services, collector: Collector, **settings: str) -> str:
    """Answer one request in a process of its own, which exports what it has measured when it ends."""
    own = {
        "DROPSCORE_FOLDER": services.settings.folder,
        "DROPSCORE_CACHE": services.settings.cache,
        "DROPSCORE_FUNCTION_KEYS": "s3cret",
        "DROPSCORE_TELEMETRY": "on",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    }
    row = json.dumps(ROW | {"plan": "zqxj-7319"})
    command = [sys.executable, "-c", SERVE, row]
    done = subprocess.run(command, cwd=ROOT, env=own | settings, capture_output=True, text=True, check=True)
    everything = b"".join(collector.got.values())
    assert b"s3cret" not in everything, "the key is sent to whoever reads measurements"
    assert b"zqxj" not in everything
    return done.stderr


def test_measurements_go_where_opentelemetry_is_told(services, collector) -> None:
    """With an OTLP endpoint spans and metrics arrive there, FastAPI's of the request too, without its key."""
    serve(services, collector, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert set(collector.got) == {"/v1/traces", "/v1/metrics"}
    for text in (b"dropscore", b"POST /api/predict/{model", b"open model"):
        assert text in collector.got["/v1/traces"], text
    for text in (b"http.server.request.duration", b"dropscore.rows", b"dropscore.model.open.duration"):
        assert text in collector.got["/v1/metrics"], text


def test_measurements_go_to_application_insights(services, collector) -> None:
    """With its connection string alone they arrive there."""
    key = "InstrumentationKey=00000000-0000-0000-0000-000000000001"
    serve(services, collector, APPLICATIONINSIGHTS_CONNECTION_STRING=f"{key};IngestionEndpoint={collector.url}/")
    [path] = collector.got
    assert path.endswith("/track")
    assert b"dropscore.rows" in collector.got[path]
    assert b"open model" in collector.got[path]


@pytest.mark.parametrize("settings", [{"APPLICATIONINSIGHTS_CONNECTION_STRING": "s3cret"}])
def test_settings_that_are_none_keep_nobody_from_scoring(services, collector, settings) -> None:
    """Rows are scored all the same, and the log says that nothing is measured."""
    told = serve(services, collector, **settings)
    assert "nothing is measured: the settings" in told
    assert "s3cret" not in told
    assert collector.got == {}


def test_nothing_is_measured_unless_it_is_asked_for(services, collector) -> None:
    """Both destinations may be set: with DROPSCORE_TELEMETRY off nothing is sent."""
    serve(services, collector, DROPSCORE_TELEMETRY="off", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert collector.got == {}
