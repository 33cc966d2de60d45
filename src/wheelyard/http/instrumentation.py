"""
Instrumentation of requests: metrics and the access log.

The metrics are in the text format of Prometheus, of all workers of a server together. Several
workers keep them in files of one folder (`PROMETHEUS_MULTIPROC_DIR`), by prometheus-client's
multiprocess mode. So whichever worker is asked has the sums, and what a worker has counted stays
after its exit.

`Instrumentation` sees the start and the end of each request: its duration goes into a histogram
and, where a setting asks for it, a line into the access log. `storage/forwarding.py` times each
verb of the store, `upstream/observation.py` counts what upstream indexes are asked. All are
prometheus-client's own objects in one registry.

A log line belongs to the request for which it is written, in whichever thread: `logs.py` keeps
the request in a context variable that threads inherit, and adds its trace and its client's
address. `operations/audit_log.py` logs who changed what: `catalog/commits.py` calls it
for each event right after the commit point. The journal is the record that counts. The log is a
copy. A thread writes the access log, so that no request waits for standard error.

OpenTelemetry is an extra, imported only if a collector is configured. Its instrumentation of ASGI
makes the spans of requests. `opentelemetry.py` gives it a copy of each request without the query,
the headers and the tokens in a path, which it would send on.

There is one log, on standard error. Cloud Run, App Engine and GKE read JSON there as well as on
standard output, which belongs to what the program prints: the first token must never be in a log.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from math import fsum
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    Info,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.catalog.stored_tokens import StartThread, in_background
from wheelyard.concurrency.runtime import Clock
from wheelyard.errors import ALL_EXTRAS, WheelyardError, missing_extra
from wheelyard.http import logs
from wheelyard.http.logs import CURRENT_REQUEST
from wheelyard.http.messages import Request
from wheelyard.model.api_token import EXPIRY_WARNING
from wheelyard.settings.load import process_environment
from wheelyard.settings.sections import Settings
from wheelyard.storage.forwarding import BUCKET_BOUNDS_SECONDS
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.operations.applied_files import AppliedFiles

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_PROCESSOR_TIME: Final = "process_cpu_seconds"
_MERGES: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "process_start_time_seconds": min,
    "process_open_fds": max,
    "process_max_fds": max,
}
"""How values of several processes become one, unless they are added up."""

INTERVAL_SECONDS: Final = 3600.0
DIFFERENCES_SECONDS: Final = 60.0
"""Seconds from one count to the next one, at least, also after a failed one."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
Labels = tuple[str, str, str]
"""Route, method and status."""


def share_metrics(folder: Path) -> None:
    """Keep the metrics that are made from now on, here and in child processes, in a folder."""
    os.environ[FOLDER_VARIABLE] = str(folder)  # noqa: TID251 - for the library
    # it looks for the variable when it is imported, which may be long ago
    values.ValueClass = values.MultiProcessValue()


def render_metrics(registry: CollectorRegistry) -> bytes:
    """
    Return the metrics in a registry, or of all workers, in the text format of Prometheus.

    The files of gauges of workers that have ended are removed.
    """
    disable_created_metrics()
    rendered = CollectorRegistry()
    folder = process_environment().get(FOLDER_VARIABLE)
    build = Info("wheelyard_build", "Which wheelyard this is.", registry=rendered)
    build.info({"version": version("wheelyard")})
    if folder is None:
        rendered.register(registry)
        ProcessCollector(registry=rendered)
    else:
        # the values of all workers are in the folder, those of this one as well
        rendered.register(ProcessesCollector([os.getppid(), *_running_workers(Path(folder))]))
        MultiProcessCollector(rendered, folder)
    return generate_latest(rendered)


class ProcessesCollector(Collector):
    """The processor time, memory and descriptors of several processes, the first their parent."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the value of all processes together."""
        exited_seconds = _time_of_exited_children(self._pids[0])
        by_name = self._read_processes()
        # A worker that exits meanwhile would count twice, or not at all, and a counter that goes
        # down is a restart to Prometheus. So all are read again.
        while True:
            seconds_now = _time_of_exited_children(self._pids[0])
            if seconds_now == exited_seconds:
                break
            exited_seconds = seconds_now
            by_name = self._read_processes()
        for name, metrics in by_name.items():
            amounts = [metric.samples[0].value for metric in metrics]
            if name == _PROCESSOR_TIME:
                amounts.append(exited_seconds)
            total = _MERGES.get(name, fsum)(amounts)
            metrics[0].samples = [metrics[0].samples[0]._replace(value=total)]
            yield metrics[0]

    def _read_processes(self) -> dict[str, list[Metric]]:
        """Return the metrics of each process, by their name."""
        by_name: dict[str, list[Metric]] = {}
        for pid in self._pids:
            for metric in ProcessCollector(registry=None, pid=partial(int, pid)).collect():
                by_name.setdefault(metric.name, []).append(metric)
        return by_name


def _time_of_exited_children(parent: int) -> float:
    """Return the processor time, in seconds, of the children that a process has waited for."""
    try:
        fields = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _running_workers(folder: Path) -> Iterator[int]:
    """Yield the PIDs of the workers that run, and remove the gauges of the others."""
    for path in folder.glob("gauge_livesum_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if _is_running(pid):
            yield pid
        else:
            with suppress(FileNotFoundError):  # another worker has removed them
                mark_process_dead(pid, str(folder))


def _is_running(pid: int) -> bool:
    """Return whether there is a process with a PID."""
    try:
        os.kill(pid, 0)  # signal 0 is not sent: it only asks
    except OSError:
        return False
    return True


class BackgroundCount:
    """
    Counts something of the store: in the background, when somebody asks, and not too often.

    So a server whose metrics nobody reads never counts, and a request for the metrics never waits
    for the store.

    Args:
        gauge: Gets the number.
        count: Returns it. It may raise WheelyardError, and then the number stays.
        seconds: How long the next count has to wait.
        monotonic: The clock for that.
        start: Starts a function in a thread.
    """

    def __init__(
        self,
        gauge: Gauge,
        count: Callable[[], int],
        seconds: float,
        monotonic: Clock,
        start: StartThread = in_background,
    ) -> None:
        self._gauge = gauge
        self._count = count
        self._seconds = seconds
        self._monotonic = monotonic
        self._start = start
        self._next_at = float("-inf")
        self._lock = Lock()

    def refresh(self) -> None:
        """
        Start a count, unless one was started a short while ago.

        This never waits and never raises an error.
        """
        now = self._monotonic()
        with self._lock:  # several threads may be asked for the metrics at once
            if now < self._next_at:
                return
            self._next_at = now + self._seconds
        try:
            self._start(self._set)
        except RuntimeError:  # no more threads
            return

    def _set(self) -> None:
        """Count, and set the number, in a thread of its own."""
        try:
            self._gauge.set(self._count())
        except WheelyardError:  # the store logs its errors itself
            return


def expiring_tokens(
    tokens: ApiTokens, registry: CollectorRegistry, start: StartThread = in_background
) -> BackgroundCount:
    """
    Return what counts the tokens that expire soon, once an hour, with a gauge in the registry.

    On a bucket a count costs one class A operation for each thousand tokens, and one class B
    operation for each record that this process has not read yet.
    """
    gauge = Gauge(
        "wheelyard_expiring_tokens",
        f"Active API tokens that expire within {EXPIRY_WARNING.days} days, without those of CI "
        "jobs and those that another replaces; counted once an hour.",
        registry=registry,
        multiprocess_mode="mostrecent",
    )
    return BackgroundCount(
        gauge,
        lambda: len(tokens.expiring()),
        INTERVAL_SECONDS,
        tokens.runtime.monotonic,
        start,
    )


def file_differences(
    files: "AppliedFiles", registry: CollectorRegistry, monotonic: Clock
) -> BackgroundCount:
    """
    Return what counts the things in force that differ from applied files, once a minute.

    Its gauge is added to the registry.
    """
    gauge = Gauge(
        "wheelyard_apply_differences",
        "Things in force that differ from the files of serve --apply; counted once a minute.",
        registry=registry,
        multiprocess_mode="mostrecent",
    )
    return BackgroundCount(gauge, files.count_differences, DIFFERENCES_SECONDS, monotonic)


class Instrumentation:
    """Records the requests of one process: metrics and access log."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.now = index.server.runtime.monotonic
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
        self._counts = [expiring_tokens(index.tokens, self._registry)]
        if index.server.applied_files is not None:
            self._counts.append(
                file_differences(index.server.applied_files, self._registry, self.now)
            )
        self._registry.register(index.server.store_metrics.durations)
        self._registry.register(index.server.traits.operation_counter.metric)
        self._registry.register(index.server.webhook_metrics.registry)
        if index.upstream is not None:
            self._registry.register(index.upstream.observation.registry)

    def start(self, request: Request) -> None:
        """Make a request CURRENT_REQUEST, and count it as in progress until `finish`."""
        self._in_progress.inc()
        request.started_at = self.now()
        CURRENT_REQUEST.set(request)

    def finish(self, request: Request) -> None:
        """Record the end of a request from `start`."""
        self._in_progress.dec()
        seconds = self.now() - request.started_at
        # a client may invent methods, and each one would be a metric of its own for ever
        method = request.method if request.method in _METHODS else "other"
        self.observe((request.route, method, str(request.status)), seconds)
        if self.logs_requests:
            logs.log_request(request, seconds)

    @property
    def logs_requests(self) -> bool:
        """Whether requests are written to the access log."""
        return logs.access_logger.isEnabledFor(logging.INFO)

    def observe(self, labels: Labels, seconds: float) -> None:
        """Record how long a request has taken."""
        durations = self._durations_by_labels.get(labels)
        if durations is None:
            durations = self._durations.labels(*labels)
            self._durations_by_labels[labels] = durations
        durations.observe(seconds)

    def render_metrics(self) -> bytes:
        """
        Return the metrics of all workers of this server in the text format of Prometheus.

        What is counted in the background is counted for a later call, if that is due.
        """
        for count in self._counts:
            count.refresh()
        self._note_osv()
        return render_metrics(self._registry)

    def _note_osv(self) -> None:
        """Set the metrics of the list of vulnerabilities, if there is one."""
        upstream = self._index.upstream
        if upstream is None or not upstream.policy.osv:
            return
        osv = upstream.policy.osv
        in_force = osv.in_force
        if not in_force.entries:
            return
        # the clock of whoever has written the file may be ahead
        age = max(self._index.server.runtime.seconds() - in_force.modified_at, 0.0)
        upstream.observation.note_osv(
            age, in_force.entries, in_force.skipped, is_refused=bool(osv.error)
        )

    def close(self) -> None:
        """Write the last log lines, or give up after a second."""
        for handler in logs.access_logger.handlers:
            handler.flush()


def require_telemetry(settings: Settings) -> None:
    """Raise Invalid if the settings ask for OpenTelemetry, and it is not installed."""
    if not settings.telemetry.otlp_endpoint:
        return
    with suppress(ModuleNotFoundError):  # a parent package is missing
        if find_spec("opentelemetry.exporter.otlp.proto.http") and find_spec(
            "opentelemetry.instrumentation.asgi"
        ):
            return
    raise missing_extra("telemetry.otlp_endpoint", "OpenTelemetry", "otel", ALL_EXTRAS)
