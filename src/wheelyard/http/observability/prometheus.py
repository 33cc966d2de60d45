"""What a process has counted, as Prometheus reads it."""

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
from wheelyard.storage.instrumented import BOUNDS, Histogram

PROCESS_HELP: Final = "Of all workers together; of descriptors, what one of them has."
PROCESS_COUNTERS: Final = frozenset({"process_cpu_seconds"})


def render_metrics(figures: MetricsSnapshot) -> bytes:
    """Return everything that was counted so far, and what the processes take."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    return generate_latest(registry)


def process_metrics() -> dict[str, float]:
    """Return what this process takes, by name."""
    found = ProcessCollector(registry=None).collect()
    return {family.name: family.samples[0].value for family in found}


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps it by its identity
class _Collector:
    figures: MetricsSnapshot

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "wheelyard_build", "Which wheelyard this is.", {"version": version("wheelyard")}
        )
        yield _histogram(
            "wheelyard_http_request_duration_seconds",
            "How long requests took, until all of their answer was handed on; a file of a folder "
            "is handed to the kernel at once.",
            ("route", "method", "status"),
            self.figures.requests,
        )
        yield GaugeMetricFamily(
            "wheelyard_http_requests_in_progress",
            "Requests that are being answered, those from memory apart.",
            self.figures.under_way,
        )
        yield _histogram(
            "wheelyard_store_duration_seconds",
            "How long the store took for a verb; a folder's and a bucket's alike.",
            ("verb", "outcome"),
            self.figures.verbs,
        )
        operations = CounterMetricFamily(
            "wheelyard_storage_operations",  # Prometheus puts `_total` behind it
            "Operations that this process has asked a bucket for, by kind, and by the class that "
            "they are billed in.",
            labels=("operation", "class"),
        )
        for operation, count in self.figures.operations:
            operations.add_metric((operation.kind, operation.price_class), count)
        yield operations
        for name, value in self.figures.process.items():
            family = CounterMetricFamily if name in PROCESS_COUNTERS else GaugeMetricFamily
            yield family(name, PROCESS_HELP, value)


def _histogram(
    name: str, what: str, labels: tuple[str, ...], timings: Sequence[Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, what, labels=labels)
    bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    for timing in timings:
        buckets = list(zip(bounds, map(float, timing.counts), strict=True))
        family.add_metric(timing.kind, buckets, timing.seconds)
    return family
