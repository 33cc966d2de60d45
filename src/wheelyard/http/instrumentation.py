"""
Instrumentation of requests: metrics and the access log.

The metrics are in the text format of Prometheus, and those of all workers of a server are added up.
Several workers keep their metrics in files of one folder (`PROMETHEUS_MULTIPROC_DIR`), by
prometheus-client's multiprocess mode. So each worker knows the sums, and the counts of a worker
stay after its exit.

`Instrumentation` sees the start and the end of each request: its duration goes into a histogram
and, where a setting asks for it, a line into the access log. `storage/forwarding.py` times each
verb of the store, `upstream/observation.py` counts what upstream indexes are asked. All are
prometheus-client's own objects in one registry.

A log line belongs to the request for which it is written, in whichever thread: `logs.py` keeps
the request in a context variable that threads inherit, and adds its trace and its client's
address. `operations/audit_log.py` logs who changed what: `catalog/commits.py` calls it
for each event right after the commit point. The journal is the record that counts. The log is a
copy of it. A thread writes the access log, so that no request waits for standard error.

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
"""The variable of prometheus-client with the folder of the metrics of several workers."""
_PROCESSOR_TIME: Final = "process_cpu_seconds"
_MERGES: Final[Mapping[str, Callable[[Iterable[float]], float]]] = {
    "process_start_time_seconds": min,
    "process_open_fds": max,
    "process_max_fds": max,
}
"""How values of several processes become one, unless they are added up."""

TOKENS_SECONDS: Final = 3600.0
"""How long after a count of expiring tokens the next one is made, at the earliest."""
DIFFERENCES_SECONDS: Final = 60.0
"""How long a count of differences from applied files counts before the next one is made."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
Labels = tuple[str, str, str]
"""Route, method and status."""


def share_metrics(folder: Path) -> None:
    """Keep in a folder all metrics that are made from now on, here and in child processes."""
    os.environ[FOLDER_VARIABLE] = str(folder)  # noqa: TID251 - for the library
    # the library looks for the variable when it is imported, which it may be already
    values.ValueClass = values.MultiProcessValue()


def render_metrics(registry: CollectorRegistry) -> bytes:
    """
    Return the metrics in the text format of Prometheus.

    These are the metrics in `registry`, or with several workers those of all workers. The files of
    gauges of workers that have ended are removed.
    """
    disable_created_metrics()
    rendered_registry = CollectorRegistry()
    folder = process_environment().get(FOLDER_VARIABLE)
    build = Info("wheelyard_build", "Which wheelyard this is.", registry=rendered_registry)
    build.info({"version": version("wheelyard")})
    if folder is None:
        rendered_registry.register(registry)
        ProcessCollector(registry=rendered_registry)
    else:
        # the folder has the values of all workers, also those of this one
        pids = [os.getppid(), *_running_workers(Path(folder))]
        rendered_registry.register(ProcessesCollector(pids))
        MultiProcessCollector(rendered_registry, folder)
    return generate_latest(rendered_registry)


class ProcessesCollector(Collector):
    """
    The processor time, memory and descriptors of several processes together.

    Args:
        pids: The processes. The first is the parent of the others.
    """

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._parent = pids[0]

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the value of all processes together."""
        exited_seconds = _time_of_exited_children(self._parent)
        metrics_by_name = self._read_processes()
        # A worker that exits meanwhile would count twice, or not at all, and a counter that goes
        # down is a restart to Prometheus. So all processes are read again.
        while True:
            seconds_now = _time_of_exited_children(self._parent)
            if seconds_now == exited_seconds:
                break
            exited_seconds = seconds_now
            metrics_by_name = self._read_processes()
        for name, metrics in metrics_by_name.items():
            values_of_processes = [metric.samples[0].value for metric in metrics]
            if name == _PROCESSOR_TIME:
                values_of_processes.append(exited_seconds)
            merge = _MERGES.get(name, fsum)
            merged_metric = metrics[0]
            sample = merged_metric.samples[0]
            merged_metric.samples = [sample._replace(value=merge(values_of_processes))]
            yield merged_metric

    def _read_processes(self) -> dict[str, list[Metric]]:
        """Return the metrics of all processes, by the name of the metric."""
        metrics_by_name: dict[str, list[Metric]] = {}
        for pid in self._pids:
            # the library takes a function that returns the PID
            collector = ProcessCollector(registry=None, pid=partial(int, pid))
            for metric in collector.collect():
                metrics_by_name.setdefault(metric.name, []).append(metric)
        return metrics_by_name


def _time_of_exited_children(parent: int) -> float:
    """Return the processor time, in seconds, of the children that a process has waited for."""
    try:
        text = Path(f"/proc/{parent}/stat").read_text()
    except FileNotFoundError:
        return 0.0
    # behind the name of the program, which may have blanks and brackets
    _, _, text_after_name = text.rpartition(")")
    fields = text_after_name.split()
    user_ticks = int(fields[13])
    system_ticks = int(fields[14])
    return (user_ticks + system_ticks) / os.sysconf("SC_CLK_TCK")


def _running_workers(folder: Path) -> Iterator[int]:
    """Yield the PIDs of the workers that run, and remove the gauges of workers that have ended."""
    for path in folder.glob("gauge_livesum_*.db"):
        _, _, pid_text = path.stem.rpartition("_")
        pid = int(pid_text)
        if _is_running(pid):
            yield pid
        else:
            with suppress(FileNotFoundError):  # another worker has removed the files
                mark_process_dead(pid, str(folder))


def _is_running(pid: int) -> bool:
    """Return whether a process with a PID runs."""
    try:
        os.kill(pid, 0)  # signal 0 is not sent: it only asks
    except OSError:
        return False
    return True


class BackgroundCount:
    """
    Counts something in the store, in the background, and not too often.

    It counts only if somebody reads the metrics. No request for the metrics waits for the store.

    Args:
        gauge: Gets the number.
        count: Returns the number. If it raises WheelyardError, the gauge stays as it is.
        seconds: How long after a count the next one may be made.
        monotonic: The clock of `seconds`.
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

        This neither waits nor raises an error.
        """
        now = self._monotonic()
        with self._lock:  # several threads may be asked for the metrics at once
            if now < self._next_at:
                return
            self._next_at = now + self._seconds
        try:
            self._start(self._count_and_set)
        except RuntimeError:  # no more threads
            return

    def _count_and_set(self) -> None:
        """Count, and set the gauge, in a thread of its own."""
        try:
            number = self._count()
        except WheelyardError:  # the store logs its errors itself
            return
        self._gauge.set(number)


def expiring_tokens(
    tokens: ApiTokens, registry: CollectorRegistry, start: StartThread = in_background
) -> BackgroundCount:
    """
    Return the count, once an hour, of the tokens that expire soon. Its gauge is in the registry.

    `start` runs the count beside the thread that asks for it. On a bucket a count costs one class A
    operation for each thousand tokens, and one class B operation for each record that this process
    has not read yet.
    """
    gauge = Gauge(
        "wheelyard_expiring_tokens",
        f"Active API tokens that expire within {EXPIRY_WARNING.days} days, without those of CI "
        "jobs and those that another replaces; counted once an hour.",
        registry=registry,
        multiprocess_mode="mostrecent",
    )

    def count() -> int:
        return len(tokens.expiring())

    return BackgroundCount(gauge, count, TOKENS_SECONDS, tokens.runtime.monotonic, start)


def file_differences(
    files: "AppliedFiles", registry: CollectorRegistry, monotonic: Clock
) -> BackgroundCount:
    """
    Return the count, once a minute, of the things in force that differ from applied files.

    Its gauge is in the registry.
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
        """The children of the histogram by labels: the histogram's own look-up takes longer."""
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
        # a client may invent methods, and each of these would be a metric for ever
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

        Counts in the background are started if they are due. A later call returns their results.
        """
        for count in self._counts:
            count.refresh()
        self._note_osv()
        return render_metrics(self._registry)

    def _note_osv(self) -> None:
        """Set the metrics of the list of vulnerabilities, if the policy has one."""
        upstream = self._index.upstream
        if upstream is None or not upstream.policy.osv:
            return
        osv = upstream.policy.osv
        in_force = osv.in_force
        if not in_force.entries:
            return
        # the clock of the machine that has written the file may be ahead
        age_seconds = max(self._index.server.runtime.seconds() - in_force.modified_at, 0.0)
        upstream.observation.note_osv(
            age_seconds, in_force.entries, in_force.skipped, is_refused=bool(osv.error)
        )

    def close(self) -> None:
        """Write the last lines of the access log, or give up after a second."""
        for handler in logs.access_logger.handlers:
            handler.flush()


def require_telemetry(settings: Settings) -> None:
    """Raise Invalid if the settings ask for OpenTelemetry, and it is not installed."""
    if not settings.telemetry.otlp_endpoint:
        return
    with suppress(ModuleNotFoundError):  # a parent package is missing
        exporter = find_spec("opentelemetry.exporter.otlp.proto.http")
        instrumentation = find_spec("opentelemetry.instrumentation.asgi")
        if exporter and instrumentation:
            return
    raise missing_extra("telemetry.otlp_endpoint", "OpenTelemetry", "otel", ALL_EXTRAS)
