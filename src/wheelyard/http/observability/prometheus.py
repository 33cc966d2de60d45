"""The metrics in the text format of Prometheus: names, labels and help texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from wheelyard.http.observability.worker_metrics import MetricsSnapshot
from wheelyard.storage.instrumented import BUCKET_BOUNDS_SECONDS, Histogram

PROCESS_HELP: Final = "Of all workers together; of descriptors, what one of them has."
PROCESS_COUNTERS: Final = frozenset({"process_cpu_seconds"})
"""The process metrics that are counters; all others are gauges."""


def render_metrics(snapshot: MetricsSnapshot) -> bytes:
    """Return a snapshot as the body of `/metrics`."""
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    return generate_latest(registry)


def process_metrics() -> dict[str, float]:
    """Return the metrics of this process by name: CPU time, memory, file descriptors."""
    families = ProcessCollector(registry=None).collect()
    return {family.name: family.samples[0].value for family in families}


@dataclass(frozen=True, slots=True, eq=False)  # a registry compares by identity
class _Collector:
    snapshot: MetricsSnapshot

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "wheelyard_build", "Which wheelyard this is.", {"version": version("wheelyard")}
        )
        yield _histogram(
            "wheelyard_http_request_duration_seconds",
            "How long requests took, until all of their answer was handed on; a file of a folder "
            "is handed to the kernel at once.",
            ("route", "method", "status"),
            self.snapshot.requests,
        )
        yield GaugeMetricFamily(
            "wheelyard_http_requests_in_progress",
            "Requests that are being answered, those from memory apart.",
            self.snapshot.in_progress,
        )
        yield _histogram(
            "wheelyard_store_duration_seconds",
            "How long the store took for a verb; a folder's and a bucket's alike.",
            ("verb", "outcome"),
            self.snapshot.store_calls,
        )
        operations = CounterMetricFamily(
            "wheelyard_storage_operations",  # the library appends `_total`
            "Operations that this process has asked a bucket for, by kind, and by the class that "
            "they are billed in.",
            labels=("operation", "class"),
        )
        for operation, count in self.snapshot.operations:
            operations.add_metric((operation.kind, operation.price_class), count)
        yield operations
        for name, value in self.snapshot.process.items():
            family = CounterMetricFamily if name in PROCESS_COUNTERS else GaugeMetricFamily
            yield family(name, PROCESS_HELP, value)


def _histogram(
    name: str, help_text: str, labels: tuple[str, ...], timings: Sequence[Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    bounds = [*(f"{bound:g}" for bound in BUCKET_BOUNDS_SECONDS), "+Inf"]
    for timing in timings:
        buckets = list(zip(bounds, map(float, timing.counts), strict=True))
        family.add_metric(timing.kind, buckets, timing.seconds)
    return family
