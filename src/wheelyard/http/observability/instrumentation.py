"""
What is kept of every request: how long it took, its line in the access log, and its trace.

A request that is answered from memory costs one entry in a table; whatever else there is to do is
done only where a setting asks for it. The access log has no secret in it: of the URL the path
alone, and of the credential only whose it is.
"""

from asyncio import Event, get_running_loop, sleep, timeout
from contextlib import suppress
from importlib.util import find_spec
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from wheelyard.errors import Invalid
from wheelyard.http.observability.access_log import log_request
from wheelyard.http.observability.request_record import (
    CURRENT_REQUEST,
    RequestRecord,
    parse_trace_context,
)
from wheelyard.http.observability.worker_metrics import (
    PUBLISH_INTERVAL_SECONDS,
    MetricsSnapshot,
    WorkerMetricsFolder,
    merge,
)
from wheelyard.http.protocol.client_address import client_address
from wheelyard.http.protocol.messages import AsgiScope, Response
from wheelyard.settings.sections import Settings
from wheelyard.storage.instrumented import Histograms
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.observability.opentelemetry import Telemetry

SHUTDOWN_TIMEOUT_SECONDS: Final = 5.0
"""Seconds that a collector has for what is sent at the end."""
DETAIL_ROUTE: Final = "project_detail"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Instrumentation:
    """
    Watches the requests of one process, as the settings of its index ask for it.

    Args:
        index: What is served.
        shelf: Where other workers of this server keep what they have counted, if there are any.

    Raises:
        Invalid: OpenTelemetry is asked for, and is not installed (code `bad_setting`).
    """

    def __init__(self, index: Index, shelf: WorkerMetricsFolder | None = None) -> None:
        self._index = index
        self._shelf = shelf
        self._showing = Lock()
        self.timings = Histograms()
        """By route, method and status."""
        self.under_way = 0
        """Requests that are being answered, and could not be answered at once."""
        self.now = index.runtime.monotonic
        self._proxies = index.settings.server.trusted_proxies
        self._is_logging = index.settings.log.access
        self._telemetry: Telemetry | None = None
        if index.settings.telemetry.otlp_endpoint:
            require_telemetry(index.settings)
            # an extra, which takes a third of a second to import
            from wheelyard.http.observability import opentelemetry  # noqa: PLC0415

            endpoint = index.settings.telemetry.otlp_endpoint
            self._telemetry = opentelemetry.Telemetry(endpoint, index.runtime.now)
            index.store_metrics.follower = self._telemetry.record_store_call

    def record_fast_path(self, scope: AsgiScope, answer: Response, who: str, began: float) -> None:
        """Keep a page that was in memory."""
        seconds = self.now() - began
        self.timings.add((DETAIL_ROUTE, "GET", str(answer.status)), seconds)
        if self._telemetry or self._is_logging:
            watched = self._watched(scope, began, seconds)
            CURRENT_REQUEST.set(watched)
            watched.route, watched.principal = DETAIL_ROUTE, who
            watched.set_response(answer)
            self._tell(watched, "GET", seconds)

    def start(self, scope: AsgiScope, began: float) -> RequestRecord:
        """Begin to watch a request that takes some time."""
        self.under_way += 1
        watched = self._watched(scope, began)
        CURRENT_REQUEST.set(watched)
        return watched

    def finish(self, watched: RequestRecord) -> None:
        """Keep what became of a request."""
        self.under_way -= 1
        seconds = self.now() - watched.started_at
        method = watched.scope["method"]
        method = method if method in _METHODS else "other"
        self.timings.add((watched.route, method, str(watched.status)), seconds)
        self._tell(watched, method, seconds)

    def _watched(self, scope: AsgiScope, began: float, ago: float = 0.0) -> RequestRecord:
        trace = parse_trace_context(dict(scope["headers"]))
        span = None if self._telemetry is None else self._telemetry.start_span(scope, trace, ago)
        return RequestRecord(scope, began, client_address(scope, self._proxies), trace, span)

    def _tell(self, watched: RequestRecord, method: str, seconds: float) -> None:
        """Tell a collector and the access log of a request, where there are any."""
        if self._telemetry is not None:
            self._telemetry.end_span(watched.span, watched.route, method, watched.status, seconds)
        if self._is_logging:
            log_request(watched, seconds)

    @property
    def figures(self) -> MetricsSnapshot:
        """What this process has counted, and what it takes."""
        from wheelyard.http.observability.prometheus import process_metrics  # noqa: PLC0415 - as in `metrics`

        return MetricsSnapshot(
            requests=tuple(self.timings.so_far()),
            verbs=tuple(self._index.store_metrics.timings.so_far()),
            operations=tuple(sorted(self._index.traits.tally.counts().items())),
            under_way=self.under_way,
            process=process_metrics(),
        )

    def merged_snapshot(self) -> MetricsSnapshot:
        """Return what all workers of this server have counted, those that are gone included."""
        if self._shelf is None:
            return merge([self.figures])
        # what was shown once has to count for ever, so it is put there first
        return merge([self._show(self._shelf), *self._shelf.read_others()])

    def _show(self, shelf: WorkerMetricsFolder) -> MetricsSnapshot:
        """Show the other workers what this one has counted; older figures never replace newer."""
        with self._showing:
            mine = self.figures
            shelf.put(mine)
        return mine

    async def publish_periodically(self) -> None:
        """Show the other workers what this one has counted, again and again, if there are any."""
        while self._shelf is not None:
            self._show(self._shelf)
            await sleep(PUBLISH_INTERVAL_SECONDS)

    async def close(self) -> None:
        """Show and send what has not been sent yet; whatever takes that does not wait for long."""
        if self._shelf is not None:
            self._show(self._shelf)
        telemetry, sent, loop = self._telemetry, Event(), get_running_loop()
        if telemetry is None:
            return

        def send() -> None:
            telemetry.close()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(sent.set)

        Thread(target=send, daemon=True).start()
        with suppress(TimeoutError):
            async with timeout(SHUTDOWN_TIMEOUT_SECONDS):
                await sent.wait()


def require_telemetry(settings: Settings) -> None:
    """
    Raise unless what the settings ask for is installed.

    Raises:
        Invalid: They ask for OpenTelemetry, and it is not (code `bad_setting`).
    """
    if not settings.telemetry.otlp_endpoint:
        return
    try:
        is_there = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # a package above it
        is_there = False
    if not is_there:
        raise Invalid(
            "[telemetry] otlp_endpoint needs OpenTelemetry, which is not installed. Install "
            "'wheelyard[otel]', or in a clone requirements/otel.txt.",
            code="bad_setting",
        )
