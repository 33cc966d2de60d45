"""
Instrumentation of requests: durations for the metrics, the access log, and traces.

A request of the fast path only adds its duration to a table, unless the settings ask for an access
log or for OpenTelemetry.
"""

import sys
from asyncio import Event, get_running_loop, sleep, timeout
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Invalid
from wheelyard.http.caching.fast_path import Remembered
from wheelyard.http.observability import worker_metrics
from wheelyard.http.observability.access_log import LOGGED_HEADERS, AccessLog, Pieces, client_key
from wheelyard.http.observability.request_record import CURRENT_REQUEST, RequestRecord, parse_trace
from wheelyard.http.observability.token_expiry import ExpiringTokens
from wheelyard.http.observability.worker_metrics import (
    MetricsSnapshot,
    UpstreamSnapshot,
    WorkerMetricsFolder,
)
from wheelyard.http.protocol.client_address import client_address
from wheelyard.http.protocol.messages import AsgiScope, Header, Response
from wheelyard.settings.sections import Settings
from wheelyard.storage.instrumented import Histograms
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.observability.opentelemetry import Telemetry

SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that the last export to an OpenTelemetry collector may take."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Instrumentation:
    """
    Records the requests of one process: metrics, access log and traces.

    Args:
        index: The index that is served.
        folder: The folder that all workers share; None if this is the only worker.

    Raises:
        Invalid: OpenTelemetry is configured, but not installed (code `bad_setting`).
    """

    def __init__(self, index: Index, folder: WorkerMetricsFolder | None = None) -> None:
        self._index = index
        self._folder = folder
        self._write_lock = Lock()
        self.timings = Histograms()
        """By route, method and status."""
        self.in_progress = 0
        """Requests that are being answered, except those of the fast path."""
        self.now = index.runtime.monotonic
        self._proxies = index.settings.server.trusted_proxies
        log = index.settings.log
        is_logging = log.access and sys.stderr is not None
        self._access_log = AccessLog(log, index.runtime) if is_logging else None
        self.logged_headers = LOGGED_HEADERS if is_logging else frozenset[bytes]()
        """The request headers that `record_fast_path` needs."""
        self._expiring_tokens = ExpiringTokens(index.tokens)
        self._telemetry: Telemetry | None = None
        if index.settings.telemetry.otlp_endpoint:
            require_telemetry(index.settings)
            # an optional dependency, which takes a third of a second to import
            from wheelyard.http.observability import opentelemetry  # noqa: PLC0415

            endpoint = index.settings.telemetry.otlp_endpoint
            self._telemetry = opentelemetry.Telemetry(endpoint, index.runtime.now)
            index.store_metrics.listener = self._telemetry.record_store_call

    def record_fast_path(
        self,
        scope: AsgiScope,
        logged: Iterable[Header],
        response: Response,
        remembered: Remembered,
        started_at: float,
    ) -> None:
        """Record a request answered by the fast path; log it and export its span, if enabled."""
        seconds = self.now() - started_at
        self.timings.add(remembered.labels, seconds)
        log = self._access_log
        if self._telemetry is None:
            if log is None:
                return
            client = client_key(scope, logged)
            if log.repeat(remembered.log_pieces, client, started_at, seconds):
                return
        record = self._new_record(scope, started_at, seconds)
        record.caller = remembered.caller
        record.route, method, _ = remembered.labels
        record.set_response(response)
        remembered.log_pieces = self._emit(record, method, seconds)

    def start(self, scope: AsgiScope) -> RequestRecord:
        """
        Return the new record of a request that the fast path does not answer.

        It counts as in progress until `finish`, and becomes CURRENT_REQUEST.
        """
        self.in_progress += 1
        record = self._new_record(scope, self.now())
        CURRENT_REQUEST.set(record)
        return record

    def finish(self, record: RequestRecord) -> None:
        """Record the end of a request from `start`; log it and export its span, if enabled."""
        self.in_progress -= 1
        seconds = self.now() - record.started_at
        method = record.scope["method"]
        method = method if method in _METHODS else "other"
        self.timings.add((record.route, method, str(record.status)), seconds)
        self._emit(record, method, seconds)

    def _new_record(self, scope: AsgiScope, started_at: float, ago: float = 0.0) -> RequestRecord:
        headers = dict(scope["headers"])
        trace, agent = parse_trace(headers), headers.get(b"user-agent", b"")
        span = None if self._telemetry is None else self._telemetry.start_span(scope, trace, ago)
        address = client_address(scope, self._proxies)
        return RequestRecord(scope, started_at, address, agent, trace, span)

    def _emit(self, record: RequestRecord, method: str, seconds: float) -> Pieces:
        """
        End a request's span, and write its access log line, if they are enabled.

        Return the line's pieces about the request.
        """
        if self._telemetry is not None:
            self._telemetry.end_span(record.span, record.route, method, record.status, seconds)
        return () if self._access_log is None else self._access_log.add(record, seconds)

    @property
    def snapshot(self) -> MetricsSnapshot:
        """The metrics of this process so far."""
        from wheelyard.http.observability.prometheus import process_metrics  # noqa: PLC0415 - as in `metrics`

        return MetricsSnapshot(
            requests=tuple(self.timings.snapshot()),
            store_calls=tuple(self._index.store_metrics.timings.snapshot()),
            operations=tuple(sorted(self._index.traits.operation_counter.counts().items())),
            in_progress=self.in_progress,
            process=process_metrics(),
            expiring_tokens=self._expiring_tokens.last_count,
            upstream=self._upstream_snapshot,
        )

    @property
    def _upstream_snapshot(self) -> UpstreamSnapshot | None:
        if self._index.upstream is None:
            return None
        seen, osv = self._index.upstream.observation, self._index.upstream.policy.osv
        gauges = seen.gauges()
        if osv is not None and osv.in_force.entries:
            age = self._index.runtime.now().timestamp() - osv.in_force.modified_at
            gauges["osv_age_seconds", ()] = max(age, 0.0)
            gauges["osv_entries", ()] = float(osv.in_force.entries)
            gauges["osv_skipped_entries", ()] = float(osv.skipped)
            gauges["osv_refused", ()] = float(bool(osv.error))
        return UpstreamSnapshot(
            durations=tuple(seen.durations.snapshot()),
            counts=tuple((*key, float(count)) for key, count in sorted(seen.counts().items())),
            gauges=tuple((*key, value) for key, value in sorted(gauges.items())),
        )

    def merged_snapshot(self) -> MetricsSnapshot:
        """
        Return the merged metrics of all workers of this server, running or exited.

        Those of this worker are first written to the shared folder, if there is one. The tokens
        that expire soon are counted for a later call, if that is due.
        """
        self._expiring_tokens.refresh()
        if self._folder is None:
            return worker_metrics.merge([self.snapshot])
        # written first, as a value that was reported once must count after this worker's exit, too
        return worker_metrics.merge([self._write(self._folder), *self._folder.read_others()])

    def _write(self, folder: WorkerMetricsFolder) -> MetricsSnapshot:
        """Write this worker's metrics to the shared folder, and return them."""
        with self._write_lock:  # an older snapshot must not replace a newer one
            snapshot = self.snapshot
            folder.write(snapshot)
        return snapshot

    async def publish_periodically(self) -> None:
        """Write this worker's metrics every few seconds; return at once without a folder."""
        while self._folder is not None:
            self._write(self._folder)
            await sleep(worker_metrics.PUBLISH_INTERVAL_SECONDS)

    async def close(self) -> None:
        """
        Write this worker's last metrics and log lines, and export the last spans.

        Wait 5 seconds at most.
        """
        if self._access_log is not None:
            self._access_log.close()
        if self._folder is not None:
            self._write(self._folder)
        telemetry, exported, loop = self._telemetry, Event(), get_running_loop()
        if telemetry is None:
            return

        def export() -> None:
            telemetry.close()
            with suppress(RuntimeError):  # the loop has ended after the timeout
                loop.call_soon_threadsafe(exported.set)

        Thread(target=export, daemon=True).start()
        with suppress(TimeoutError):
            async with timeout(SHUTDOWN_TIMEOUT_SECONDS):
                await exported.wait()


def require_telemetry(settings: Settings) -> None:
    """Raise Invalid if the settings ask for OpenTelemetry, and it is not installed."""
    if not settings.telemetry.otlp_endpoint:
        return
    with suppress(ModuleNotFoundError):  # a parent package is missing
        if find_spec("opentelemetry.exporter.otlp.proto.http") is not None:
            return
    raise Invalid(
        "[telemetry] otlp_endpoint needs OpenTelemetry, which is not installed. Install "
        "'wheelyard[otel]', or in a clone requirements/otel.txt.",
        code="bad_setting",
    )
