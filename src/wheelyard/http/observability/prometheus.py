"""The metrics in the text format of Prometheus: names, labels and help texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from prometheus_client import ProcessCollector, core, generate_latest
from prometheus_client.registry import Collector

from wheelyard.http.observability.worker_metrics import MetricsSnapshot, UpstreamSnapshot
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
        if self.snapshot.upstream is not None:
            yield from _upstream(self.snapshot.upstream)
        for name, value in self.snapshot.process.items():
            is_counter = name == "process_cpu_seconds"
            family = core.CounterMetricFamily if is_counter else core.GaugeMetricFamily
            yield family(name, "Of all workers: sum, most descriptors, first start.", value)


UPSTREAM_COUNTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "requests": ("Requests to upstream indexes.", ("kind", "status")),
    "bytes": ("Bytes that were received from upstream indexes.", ("kind",)),
    "cache": ("Requests of clients, by what was known already.", ("kind", "result")),
    "blocked": ("Names and files that were not asked for or not shown.", ("reason",)),
    "digest_mismatch": ("Files whose bytes had another digest than their page says.", ()),
    "digest_change": ("Files whose digest on the page has changed; they are hidden.", ()),
    "owner_change": ("Names of one upstream index that another one has now.", ()),
    "not_stored": ("Files that were fetched, and could not be stored.", ()),
}
"""The counters of upstream indexes: their help text and labels."""
UPSTREAM_GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "inflight": ("Requests to upstream indexes that are under way.", ()),
    "stale_age_seconds": (
        "Age of the last stale page that was served; 0 once an upstream index has answered.",
        (),
    ),
    "osv_age_seconds": ("Age of the OSV database in force, by its newest file.", ()),
    "osv_entries": ("Usable entries of the OSV database in force.", ()),
    "osv_skipped_entries": ("Malformed entries of that database, which are skipped.", ()),
    "osv_refused": ("Whether a newer OSV database cannot be read, or has lost entries.", ()),
    "breaker_open": (
        "Whether an upstream index is left alone for a while.",
        ("upstream",),
    ),
}
"""The gauges of upstream indexes: their help text and labels."""


def _upstream(snapshot: UpstreamSnapshot) -> Iterator[core.Metric]:
    yield _histogram(
        "wheelyard_upstream_seconds",
        "Durations of requests to upstream indexes, until the last byte.",
        ("kind",),
        snapshot.durations,
    )
    counters = (core.CounterMetricFamily, UPSTREAM_COUNTS, snapshot.counts)
    gauges = (core.GaugeMetricFamily, UPSTREAM_GAUGES, snapshot.gauges)
    for make, known, samples in (counters, gauges):
        for metric, (help_text, labels) in known.items():
            family = make(f"wheelyard_upstream_{metric}", help_text, labels=labels)
            found = [(each[1], each[2]) for each in samples if each[0] == metric]
            # a metric without labels is 0 from the start, so that its first change is seen
            for values, value in found or ([] if labels else [((), 0.0)]):
                family.add_metric(values, value)
            yield family


def _histogram(
    name: str, help_text: str, labels: tuple[str, ...], timings: Sequence[Histogram]
) -> core.HistogramMetricFamily:
    family = core.HistogramMetricFamily(name, help_text, labels=labels)
    bounds = [*(f"{bound:g}" for bound in BUCKET_BOUNDS_SECONDS), "+Inf"]
    for timing in timings:
        buckets = list(zip(bounds, map(float, timing.counts), strict=True))
        family.add_metric(timing.labels, buckets, timing.seconds)
    return family
