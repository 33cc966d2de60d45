"""The metrics in the text format of Prometheus: names, labels and help texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import ProcessCollector, core, generate_latest
from prometheus_client.registry import Collector

from wheelyard.http.observability.worker_metrics import MetricsSnapshot
from wheelyard.model.token import EXPIRY_WARNING
from wheelyard.storage.instrumented import BUCKET_BOUNDS_SECONDS, Histogram


def render_metrics(snapshot: MetricsSnapshot) -> bytes:
    """Return the bytes of a metrics snapshot in the text format of Prometheus."""
    return generate_latest(_Collector(snapshot))


def process_metrics() -> dict[str, float]:
    """Return this process's CPU time, memory, descriptors and start time, by Prometheus's names."""
    families = ProcessCollector(registry=None).collect()
    return {family.name: family.samples[0].value for family in families}


@dataclass(frozen=True, slots=True)
class _Collector(Collector):
    snapshot: MetricsSnapshot

    def collect(self) -> Iterator[core.Metric]:
        yield core.InfoMetricFamily(
            "wheelyard_build", "Which wheelyard this is.", {"version": version("wheelyard")}
        )
        yield _histogram(
            "wheelyard_http_request_duration_seconds",
            "Durations of requests, until the response was handed to the server; a file of a local "
            "store is handed over as its path.",
            ("route", "method", "status"),
            self.snapshot.requests,
        )
        yield core.GaugeMetricFamily(
            "wheelyard_http_requests_in_progress",
            "Requests that are being answered, except from memory.",
            self.snapshot.in_progress,
        )
        yield _histogram(
            "wheelyard_store_duration_seconds",
            "Durations of calls of the store, local or a bucket.",
            ("verb", "outcome"),
            self.snapshot.store_calls,
        )
        operations = core.CounterMetricFamily(
            "wheelyard_storage_operations",  # the library appends `_total`
            "Operations on a bucket, free ones too, by kind and price class.",
            labels=("operation", "class"),
        )
        for operation, count in self.snapshot.operations:
            operations.add_metric((operation.kind, operation.price_class), count)
        yield operations
        if self.snapshot.expiring_tokens is not None:
            yield core.GaugeMetricFamily(
                "wheelyard_expiring_tokens",
                f"Active API tokens that expire within {EXPIRY_WARNING.days} days, without those "
                "of CI jobs and those that another replaces; counted once an hour.",
                self.snapshot.expiring_tokens[1],
            )
        for name, value in self.snapshot.process.items():
            is_counter = name == "process_cpu_seconds"
            family = core.CounterMetricFamily if is_counter else core.GaugeMetricFamily
            yield family(name, "Of all workers: sum, most descriptors, first start.", value)


def _histogram(
    name: str, help_text: str, labels: tuple[str, ...], timings: Sequence[Histogram]
) -> core.HistogramMetricFamily:
    family = core.HistogramMetricFamily(name, help_text, labels=labels)
    bounds = [*(f"{bound:g}" for bound in BUCKET_BOUNDS_SECONDS), "+Inf"]
    for timing in timings:
        buckets = list(zip(bounds, map(float, timing.counts), strict=True))
        family.add_metric(timing.labels, buckets, timing.seconds)
    return family
