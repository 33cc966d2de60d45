"""
Traces and durations for an OpenTelemetry collector (OTLP over HTTP).

OpenTelemetry's instrumentation of ASGI makes a span of each request, in the trace that its client
or a proxy sent, or in a new one. The library's own environment variables (`OTEL_SERVICE_NAME`,
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` ...) are in force.
"""

import os
from importlib.metadata import version
from threading import Thread
from typing import Final, Protocol
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from requests import Session
from starlette.types import ASGIApp, Receive, Scope, Send

from wheelyard.http.logs import log_safe, parse_trace
from wheelyard.settings.sections import is_loopback

SERVICE: Final = "wheelyard"
EXPORT_SECONDS: Final = 5
"""Timeout of one export to the collector, and of the last ones at the end."""
_WHOLE_SCOPE: Final = "wheelyard.scope"
"""The key under which the scope that OpenTelemetry gets has the whole ASGI scope."""


class RouteNames(Protocol):
    """Knows the names of the routes of requests."""

    def name_of(self, raw_path: bytes, method: str) -> str:
        """Return the name of the route that answers a method of a raw path."""


class Telemetry:
    """
    An ASGI application whose requests have spans. A collector gets the spans and durations.

    Args:
        endpoint: The collector's URL, without `/v1/traces`.
        application: Answers the requests.
        routes: Knows the routes of the application, whose names the spans have.
    """

    def __init__(self, endpoint: str, application: ASGIApp, routes: RouteNames) -> None:
        self._application = application
        self._routes = routes

        # the names of the stable semantic conventions for HTTP
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # noqa: TID251 - the only way
        collector_url = endpoint.rstrip("/")
        resource = Resource.create({"service.name": SERVICE, "service.version": version(SERVICE)})
        span_exporter = OTLPSpanExporter(
            f"{collector_url}/v1/traces", timeout=EXPORT_SECONDS, session=_session(collector_url)
        )
        duration_exporter = OTLPMetricExporter(
            f"{collector_url}/v1/metrics", timeout=EXPORT_SECONDS, session=_session(collector_url)
        )
        reader = PeriodicExportingMetricReader(duration_exporter)
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracers.add_span_processor(BatchSpanProcessor(span_exporter))
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._middleware: ASGIApp = OpenTelemetryMiddleware(
            self._answer,
            default_span_details=self._span_details,
            tracer_provider=self.tracers,
            meter_provider=self._meters,
            exclude_spans=["receive", "send"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as the application does."""
        await self._middleware(_without_secrets(scope), receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer a request by its whole scope."""
        await self._application(scope[_WHOLE_SCOPE], receive, send)

    def _span_details(self, scope: Scope) -> tuple[str, dict[str, str]]:
        """Return the name of a request's span, and the attribute with its route."""
        raw_path = scope[_WHOLE_SCOPE]["raw_path"]
        route = self._routes.name_of(raw_path, scope["method"])
        return f"{scope['method']} {route}", {"http.route": route}

    def close(self) -> None:
        """Export the last spans and durations, within EXPORT_SECONDS."""
        # a collector that takes a connection and never answers must not keep the process
        export = Thread(target=self._shut_down, daemon=True)
        export.start()
        export.join(EXPORT_SECONDS)

    def _shut_down(self) -> None:
        """Export the last spans and durations."""
        self.tracers.shutdown()
        self._meters.shutdown(EXPORT_SECONDS * 1000)


def _without_secrets(scope: Scope) -> Scope:
    """
    Return a scope with those parts of an ASGI scope that a collector may know.

    The instrumentation quotes the URL and the headers, and fails if it cannot decode them.
    """
    request_headers = dict(scope["headers"])
    agent = log_safe(request_headers.get(b"user-agent", b""))
    headers = [(b"user-agent", agent.encode())]
    trace = parse_trace(request_headers)
    if trace is not None and trace.span:
        flags = "01" if trace.is_sampled else "00"
        headers.append((b"traceparent", f"00-{trace.id}-{trace.span}-{flags}".encode()))
    return {
        "type": "http",
        "method": scope["method"],
        "scheme": scope["scheme"],
        "http_version": scope["http_version"],
        "path": log_safe(scope["raw_path"]),
        "query_string": b"",
        "headers": headers,
        "client": scope["client"],
        "server": scope.get("server"),
        _WHOLE_SCOPE: scope,
    }


def _session(collector_url: str) -> Session:
    """Return the HTTP session of an exporter, without a proxy for a collector on this machine."""
    host = urlsplit(collector_url).hostname or ""
    session = Session()
    session.trust_env = not is_loopback(host)
    return session
