"""
Traces and durations for an OpenTelemetry collector, by OTLP over HTTP.

Every request is a span, a part of whatever trace its client or a proxy says; every verb of the
store that is waited for on its way is a span below it. The names of attributes are those of
OpenTelemetry's semantic conventions for HTTP servers. What its library itself reads from the
environment (`OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` ...) holds.
"""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from requests import Session

from wheelyard.http.observability.request_record import (
    CURRENT_REQUEST,
    TraceContext,
    redacted_for_log,
)
from wheelyard.http.protocol.messages import AsgiScope
from wheelyard.settings.sections import is_loopback

SERVICE_NAME: Final = "wheelyard"
NANOSECONDS: Final = 10**9
EXPORT_TIMEOUT_SECONDS: Final = 5
"""Seconds that a collector may take for one delivery."""
DURATION_BUCKETS_SECONDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
)
"""Seconds; what the conventions advise for durations of requests."""


class Telemetry:
    """
    What is sent to a collector; safe to share between threads.

    Args:
        endpoint: The collector's URL, without `/v1/traces` at its end.
        now: The time of day.
    """

    def __init__(self, endpoint: str, now: Callable[[], datetime]) -> None:
        base = endpoint.rstrip("/")
        resource = Resource.create(
            {"service.name": SERVICE_NAME, "service.version": version(SERVICE_NAME)}
        )
        spans = OTLPSpanExporter(
            f"{base}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS, session=_session(base)
        )
        figures = OTLPMetricExporter(
            f"{base}/v1/metrics", timeout=EXPORT_TIMEOUT_SECONDS, session=_session(base)
        )
        reader = PeriodicExportingMetricReader(figures)
        self._now = now
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracers.add_span_processor(BatchSpanProcessor(spans))
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self.tracer = self._tracers.get_tracer(SERVICE_NAME)
        self._requests = self._histogram("http.server.request.duration", "How long requests took.")
        self._verbs = self._histogram(
            "wheelyard.store.duration", "How long the verbs of the store took."
        )

    def _histogram(self, name: str, what: str) -> Histogram:
        meter = self._meters.get_meter(SERVICE_NAME)
        return meter.create_histogram(
            name, "s", what, explicit_bucket_boundaries_advisory=DURATION_BUCKETS_SECONDS
        )

    def start_span(self, scope: AsgiScope, trace: TraceContext | None, ago: float = 0.0) -> Span:
        """Begin the span of a request that has begun some seconds ago, as a part of a trace."""
        context = None
        if trace is not None and trace.span:
            flags = TraceFlags(TraceFlags.SAMPLED if trace.is_sampled else TraceFlags.DEFAULT)
            ids = (int(trace.id, 16), int(trace.span, 16))
            parent = SpanContext(*ids, is_remote=True, trace_flags=flags)
            context = set_span_in_context(NonRecordingSpan(parent))
        return self.tracer.start_span(
            scope["method"],
            context,
            SpanKind.SERVER,
            attributes={
                "http.request.method": scope["method"],
                "url.scheme": scope["scheme"],
                "url.path": redacted_for_log(scope["raw_path"]),
                "network.protocol.version": scope["http_version"],
            },
            start_time=self._moment(ago),
        )

    def end_span(self, span: Span, route: str, method: str, status: int, seconds: float) -> None:
        """End the span of a request."""
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        labels: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
        self._requests.record(seconds, labels, set_span_in_context(span))

    def record_store_call(self, verb: str, outcome: str, seconds: float) -> None:
        """Add a verb of the store that has just ended, to the request that has waited for it."""
        labels = {"wheelyard.store.verb": verb, "wheelyard.store.outcome": outcome}
        watched = CURRENT_REQUEST.get()
        self._verbs.record(seconds, labels)
        if watched is None or not isinstance(watched.span, Span):
            return
        context = set_span_in_context(watched.span)
        span = self.tracer.start_span(
            f"store {verb}", context, SpanKind.CLIENT, labels, start_time=self._moment(seconds)
        )
        if outcome == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what has not been sent yet; a slow collector may take a minute over it."""
        self._tracers.shutdown()
        self._meters.shutdown(EXPORT_TIMEOUT_SECONDS * 1000)

    def _moment(self, ago: float) -> int:
        return int((self._now().timestamp() - ago) * NANOSECONDS)


def _session(endpoint: str) -> Session:
    """Return what sends; to this machine it goes past a proxy that the environment names."""
    session = Session()
    session.trust_env = not is_loopback(urlsplit(endpoint).hostname or "")
    return session
