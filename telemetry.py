"""What is told becomes metrics and spans of OpenTelemetry, where DROPSCORE_TELEMETRY=on asks for it.

The one file that imports OpenTelemetry, and only then: see requirements-telemetry.txt. Where measurements go, the
settings say that Azure and OpenTelemetry have for it. Nothing that fails here keeps anybody from scoring.
"""

import logging
import time
from functools import cache
from typing import TYPE_CHECKING

from observing import Event, ModelOpened, RequestScored, RunEnded, SplitScored, listen
from settings import VERSION, Settings, telemetry_goes_to

if TYPE_CHECKING:  # cold start, and the packages may not be there
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

Attributes = dict[str, str | int]


@cache
def begin(settings: Settings) -> None:
    """Measure from here on, if settings ask for it; what is wrong with them is logged, and then nothing is."""
    if settings.telemetry == "off":
        return
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415  # only where it is asked for

        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider) and not _provide():
            return
    except ImportError as missing:
        log.error(  # noqa: TRY400  # which package is missing says it all
            "nothing is measured: %s; install requirements-telemetry.txt", missing
        )
        return
    except Exception:  # a connection string that is none, say; nobody is kept from scoring by it
        log.exception("nothing is measured: the settings of what is to be measured cannot be read")
        return
    listen(Measured(trace.get_tracer("dropscore", VERSION), metrics.get_meter("dropscore", VERSION)), _here)


def _provide() -> bool:
    """Set up what exports measurements; False if no setting says where to."""
    destination = telemetry_goes_to()
    if destination is None:
        log.error(
            "nothing is measured: set APPLICATIONINSIGHTS_CONNECTION_STRING or OTEL_EXPORTER_OTLP_ENDPOINT, to say "
            "where it is to go"
        )
        return False
    from opentelemetry import metrics, trace  # noqa: PLC0415  # as above
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415  # as above
        MetricExporter,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter  # noqa: PLC0415  # as above

    spans: SpanExporter
    numbers: MetricExporter
    if destination == "otlp":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415  # as above
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415  # as above
            OTLPSpanExporter,
        )

        spans, numbers = OTLPSpanExporter(), OTLPMetricExporter()
    else:
        from azure.monitor.opentelemetry.exporter import (  # noqa: PLC0415  # as above
            AzureMonitorMetricExporter,
            AzureMonitorTraceExporter,
        )

        spans, numbers = AzureMonitorTraceExporter(), AzureMonitorMetricExporter()
    resource = Resource.create()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, if they are set
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "dropscore", "service.version": VERSION}))
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(numbers)], resource=resource))
    return True


class Measured:
    """What is told, as metrics and spans."""

    def __init__(self, tracer: "Tracer", meter: "Meter") -> None:
        self._tracer = tracer
        self._runs = meter.create_counter("dropscore.runs", "{run}", "Runs that have ended")
        self._rows = meter.create_counter("dropscore.rows", "{row}", "Rows that were scored or rejected")
        self._rejects = meter.create_counter("dropscore.rejects", "{row}", "Rejected rows of files, by code")
        self._duration = meter.create_histogram(
            "dropscore.run.duration", "s", "From a run's beginning to its receipt"
        )
        self._wall = meter.create_counter("dropscore.stage.time", "s", "Time in each stage, summed over threads")
        self._cpu = meter.create_counter("dropscore.stage.cpu", "s", "CPU time in each stage")
        self._opened = meter.create_histogram("dropscore.model.open.duration", "s", "Fetching and opening a model")

    def __call__(self, event: Event) -> None:
        """Measure what has happened."""
        match event:
            case RunEnded():
                self._run_ended(event)
            case SplitScored():
                named = _named(event.model, event.version) | {"dropscore.split": event.split}
                told = named | {"dropscore.run": event.run_id, "dropscore.rows": event.rows}
                self._span("split", told, event.seconds, parent=event.traceparent)
            case RequestScored():
                self._count(_named(event.model, event.version) | {"dropscore.source": "request"}, event)
            case ModelOpened():
                named = _named(event.model, event.version) | _failed(event.error)
                self._opened.record(event.seconds, named)
                self._span("open model", named, event.seconds, error=event.error)

    def _run_ended(self, event: RunEnded) -> None:
        named = _named(event.model, event.version)
        how: Attributes = {"dropscore.status": event.status, **_failed(event.error)}
        self._runs.add(1, named | how)
        self._duration.record(event.seconds, named | how)
        self._count(named | {"dropscore.source": "run"}, event)
        for code, count in event.codes.items():
            self._rejects.add(count, named | {"dropscore.code": code})
        for counter, stages in ((self._wall, event.wall), (self._cpu, event.cpu)):
            for stage, seconds in stages.items():
                counter.add(max(0.0, seconds), named | {"dropscore.stage": stage})
        facts: Attributes = {
            "dropscore.run": event.run_id,
            "dropscore.rows": event.scored,
            "dropscore.rejected": event.rejected,
        }
        failed = event.error if event.status == "failed" else None
        self._span("run", named | how | facts, event.seconds, parent=event.traceparent, error=failed)

    def _count(self, named: Attributes, event: RunEnded | RequestScored) -> None:
        for outcome, rows in (("scored", event.scored), ("rejected", event.rejected)):
            if rows:
                self._rows.add(rows, {**named, "dropscore.outcome": outcome})

    def _span(
        self, name: str, told: Attributes, seconds: float, *, parent: str | None = None, error: str | None = None
    ) -> None:
        """Put down a span that ends now; a part of the trace `parent`, or else of the span that this is in."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415  # as above
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415  # as above

        reader = tracecontext.TraceContextTextMapPropagator()
        context = reader.extract({"traceparent": parent}) if parent else None
        end = time.time_ns()
        span = self._tracer.start_span(
            name, context, attributes=told, start_time=end - round(seconds * 1_000_000_000)
        )
        if error:
            span.set_status(StatusCode.ERROR)
        span.end(end)


def _named(model: str | None, version: int | None) -> Attributes:
    return {"dropscore.model": model, "dropscore.version": version or 0} if model else {}


def _failed(error: str | None) -> Attributes:
    return {"error.type": error} if error else {}


def _here() -> str | None:
    from opentelemetry import trace  # noqa: PLC0415  # as above

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
