"""
Spans and duration metrics for an OpenTelemetry collector (OTLP over HTTP).

A request is a span in the trace that its client or a proxy sent, or in a new one; a call of the
store during the request is a child span. Attributes have the names of the semantic conventions for
HTTP servers. The library's own environment variables (`OTEL_SERVICE_NAME`,
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` ...) are in force.
"""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags
from requests import Session

from wheelyard.http.observability.request_record import CURRENT_REQUEST, TraceContext, log_safe
from wheelyard.http.protocol.messages import AsgiScope
from wheelyard.settings.sections import is_loopback

SERVICE: Final = "wheelyard"
EXPORT_SECONDS: Final = 5
"""Timeout of one export to the collector."""
BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Bounds of the duration histograms, as the semantic conventions advise for requests."""


class Telemetry:
    """Exports spans and durations to a collector; safe to share between threads."""

    def __init__(self, endpoint: str, now: Callable[[], datetime]) -> None:
        """Start to export; `endpoint` is the collector's URL, without `/v1/traces`."""
        base = endpoint.rstrip("/")
        resource = Resource.create({"service.name": SERVICE, "service.version": version(SERVICE)})
        spans = OTLPSpanExporter(
            f"{base}/v1/traces", timeout=EXPORT_SECONDS, session=_session(base)
        )
        durations = OTLPMetricExporter(
            f"{base}/v1/metrics", timeout=EXPORT_SECONDS, session=_session(base)
        )
        reader = PeriodicExportingMetricReader(durations)
        self._now = now
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(BatchSpanProcessor(spans))
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self.tracer = self._tracers.get_tracer(SERVICE)
        self._requests = self._histogram("http.server.request.duration", "How long requests took.")
        self._store_calls = self._histogram(
            "wheelyard.store.duration", "How long the verbs of the store took."
        )

    def _histogram(self, name: str, description: str) -> Histogram:
        meter = self._meters.get_meter(SERVICE)
        return meter.create_histogram(
            name, "s", description, explicit_bucket_boundaries_advisory=BUCKETS_SECONDS
        )

    def start_span(self, scope: AsgiScope, trace: TraceContext | None, ago: float = 0.0) -> Span:
        """Return a new span, in `trace` if any, for a request that started `ago` seconds before."""
        context = None
        if trace is not None and trace.span:
            flags = TraceFlags(TraceFlags.SAMPLED if trace.is_sampled else TraceFlags.DEFAULT)
            ids = (int(trace.id, 16), int(trace.span, 16))
            parent = SpanContext(*ids, is_remote=True, trace_flags=flags)
            context = otel.set_span_in_context(otel.NonRecordingSpan(parent))
        return self.tracer.start_span(
            scope["method"],
            context,
            SpanKind.SERVER,
            attributes={
                "http.request.method": scope["method"],
                "url.scheme": scope["scheme"],
                "url.path": log_safe(scope["raw_path"]),
                "network.protocol.version": scope["http_version"],
            },
            start_time=self._nanoseconds(ago),
        )

    def end_span(self, span: Span, route: str, method: str, status: int, seconds: float) -> None:
        """End the span of a request that took `seconds`, and add the duration to the metrics."""
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(otel.Status(otel.StatusCode.ERROR))
        span.end()
        labels: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
        self._requests.record(seconds, labels, otel.set_span_in_context(span))

    def record_store_call(self, verb: str, outcome: str, seconds: float) -> None:
        """Record the duration of a store call that has just ended; in a request, also its span."""
        labels = {"wheelyard.store.verb": verb, "wheelyard.store.outcome": outcome}
        request = CURRENT_REQUEST.get()
        self._store_calls.record(seconds, labels)
        if request is None or not isinstance(request.span, Span):
            return
        context = otel.set_span_in_context(request.span)
        span = self.tracer.start_span(
            f"store {verb}", context, SpanKind.CLIENT, labels, start_time=self._nanoseconds(seconds)
        )
        if outcome == "error":
            span.set_status(otel.Status(otel.StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Export the spans and durations that are left, and stop. It may take a minute."""
        self._tracers.shutdown()
        self._meters.shutdown(EXPORT_SECONDS * 1000)

    def _nanoseconds(self, ago: float) -> int:
        """Return the time `ago` seconds before now, in nanoseconds since the epoch."""
        return int((self._now().timestamp() - ago) * 10**9)


def _session(endpoint: str) -> Session:
    """Return the HTTP session of an exporter; it uses no proxy for a collector on this machine."""
    session = Session()
    session.trust_env = not is_loopback(urlsplit(endpoint).hostname or "")
    return session
