"""Instrumentation of requests: durations for the metrics, the access log, and traces."""

import logging
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import ASGIApp

from wheelyard.errors import Invalid
from wheelyard.http.caching.fast_path import Labels, Remembered
from wheelyard.http.observability import logs, metrics
from wheelyard.http.observability.metrics import ExpiringTokens
from wheelyard.http.observability.request_record import CURRENT_REQUEST, RequestRecord, parse_trace
from wheelyard.http.protocol.messages import AsgiScope, Response
from wheelyard.http.protocol.requests import client_address
from wheelyard.settings.sections import Settings
from wheelyard.storage.instrumented import BUCKET_BOUNDS_SECONDS
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.observability.opentelemetry import Telemetry

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Instrumentation:
    """
    Records the requests of one process: metrics, access log and traces.

    Raises:
        Invalid: OpenTelemetry is configured, but not installed (code `bad_setting`).
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.now = index.runtime.monotonic
        self._proxies = index.settings.server.trusted_proxies
        self._registry = CollectorRegistry()
        self._durations = Histogram(
            "wheelyard_http_request_duration_seconds",
            "Durations of requests, until the response was handed to the server; a file of a local "
            "store is handed over as its path.",
            ("route", "method", "status"),
            registry=self._registry,
            buckets=BUCKET_BOUNDS_SECONDS,
        )
        self._durations_by_labels: dict[Labels, Histogram] = {}
        """The children of that histogram: looking one up in it takes longer than to use it."""
        self._in_progress = Gauge(
            "wheelyard_http_requests_in_progress",
            "Requests that are being answered, except from memory.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._expiring_tokens = ExpiringTokens(index.tokens, self._registry)
        self._registry.register(index.store_metrics.durations)
        self._registry.register(index.traits.operation_counter.metric)
        if index.upstream is not None:
            self._registry.register(index.upstream.observation.registry)
        self._telemetry = _open_telemetry(index)

    def traced(self, application: ASGIApp, route_of: Callable[[AsgiScope], str]) -> ASGIApp:
        """
        Return `application` with a trace of each request, or itself without OpenTelemetry.

        `route_of` returns the name of the route that a request is for.
        """
        if self._telemetry is None:
            return application
        return self._telemetry.traced(application, route_of)

    def record_fast_path(
        self, scope: AsgiScope, response: Response, remembered: Remembered, started_at: float
    ) -> None:
        """Record a request that the fast path has answered."""
        seconds = self.now() - started_at
        self._observe(remembered.labels, seconds)
        if logs.access_logger.isEnabledFor(logging.INFO):
            record = self._new_record(scope, started_at)
            record.caller, record.route = remembered.caller, remembered.labels[0]
            record.set_response(response)
            logs.log_request(record, seconds)

    def start(self, scope: AsgiScope) -> RequestRecord:
        """
        Return the new record of a request that the fast path does not answer.

        It counts as in progress until `finish`, and becomes CURRENT_REQUEST.
        """
        self._in_progress.inc()
        record = self._new_record(scope, self.now())
        CURRENT_REQUEST.set(record)
        return record

    def finish(self, record: RequestRecord) -> None:
        """Record the end of a request from `start`."""
        self._in_progress.dec()
        seconds = self.now() - record.started_at
        method = record.scope["method"]
        method = method if method in _METHODS else "other"
        self._observe((record.route, method, str(record.status)), seconds)
        if logs.access_logger.isEnabledFor(logging.INFO):
            logs.log_request(record, seconds)

    def _observe(self, labels: Labels, seconds: float) -> None:
        durations = self._durations_by_labels.get(labels)
        if durations is None:
            durations = self._durations_by_labels[labels] = self._durations.labels(*labels)
        durations.observe(seconds)

    def _new_record(self, scope: AsgiScope, started_at: float) -> RequestRecord:
        headers = dict(scope["headers"])
        address = client_address(scope, self._proxies)
        agent = headers.get(b"user-agent", b"")
        return RequestRecord(scope, started_at, address, agent, parse_trace(headers))

    def render_metrics(self) -> bytes:
        """
        Return the metrics of all workers of this server in the text format of Prometheus.

        The tokens that expire soon are counted for a later call, if that is due.
        """
        self._expiring_tokens.refresh()
        upstream = self._index.upstream
        if upstream is not None and (osv := upstream.policy.osv) and osv.in_force.entries:
            age = max(self._index.runtime.seconds() - osv.in_force.modified_at, 0.0)
            upstream.observation.note_osv(
                age, osv.in_force.entries, osv.skipped, is_refused=bool(osv.error)
            )
        return metrics.render_metrics(self._registry)

    def close(self) -> None:
        """Write the last log lines, and export the last spans; give up after 6 seconds."""
        for handler in logs.access_logger.handlers:
            handler.flush()
        if self._telemetry is not None:
            self._telemetry.close()


def _open_telemetry(index: Index) -> "Telemetry | None":
    endpoint = index.settings.telemetry.otlp_endpoint
    if not endpoint:
        return None
    require_telemetry(index.settings)
    # an optional dependency, which takes a third of a second to import
    from wheelyard.http.observability.opentelemetry import Telemetry  # noqa: PLC0415

    return Telemetry(endpoint)


def require_telemetry(settings: Settings) -> None:
    """Raise Invalid if the settings ask for OpenTelemetry, and it is not installed."""
    if not settings.telemetry.otlp_endpoint:
        return
    with suppress(ModuleNotFoundError):  # a parent package is missing
        if find_spec("opentelemetry.exporter.otlp.proto.http") and find_spec(
            "opentelemetry.instrumentation.asgi"
        ):
            return
    raise Invalid(
        "telemetry.otlp_endpoint needs OpenTelemetry, which is not installed. Install "
        "'wheelyard[otel]', or in a clone requirements/otel.txt.",
        code="bad_setting",
    )
