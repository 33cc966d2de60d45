"""
Metrics of several worker processes: snapshots, exchanged through a folder and merged.

Each worker counts its own requests, but a scrape reaches only one worker. So each worker writes its
metrics to a file in a shared folder, and the worker that is scraped merges all files. The file of a
worker that has exited stays, as counters must never go down.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from math import fsum
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import decode, encode
from msgspec.structs import replace

from wheelyard.storage.instrumented import Histogram, Operation

PUBLISH_INTERVAL_SECONDS: Final = 2.0
"""Seconds between two writes of a worker's metrics; for other workers they are at most so old."""
START_TIME: Final = "process_start_time_seconds"
KEPT_AFTER_EXIT: Final = frozenset({START_TIME, "process_cpu_seconds"})
"""The process metrics that still count after the worker has exited."""


Sample = tuple[str, tuple[str, ...], float]
"""The name of a metric of upstream indexes, the values of its labels, and its value."""
SUMMED_GAUGES: Final = frozenset({"inflight"})
"""Gauges of upstream indexes that are added up over workers; of others the largest counts."""


class UpstreamSnapshot(Struct, frozen=True, kw_only=True):
    """What was asked of upstream indexes."""

    durations: tuple[Histogram, ...] = ()
    """By kind of request."""
    counts: tuple[Sample, ...] = ()
    gauges: tuple[Sample, ...] = ()


class MetricsSnapshot(Struct, frozen=True, kw_only=True):
    """The metrics of a process, or of all workers together, since the start."""

    requests: tuple[Histogram, ...] = ()
    """By route, method and status."""
    store_calls: tuple[Histogram, ...] = ()
    """By verb and outcome."""
    operations: tuple[tuple[Operation, int], ...] = ()
    """The number of operations on a bucket, free ones too, by kind."""
    in_progress: int = 0
    """Requests that are being answered, except those of the fast path."""
    process: dict[str, float] = {}
    """CPU time, memory and file descriptors, by their Prometheus names."""
    expiring_tokens: tuple[float, int] | None = None
    """When the tokens that expire soon were counted, in seconds since the epoch, and the count."""
    upstream: UpstreamSnapshot | None = None
    """None without an upstream index."""


class WorkerMetricsFolder(Struct, frozen=True):
    """The folder with a file of metrics for each worker of a server, as one worker uses it."""

    folder: Path
    pid: int
    """Of this worker."""
    is_running: Callable[[int], bool]
    """Returns whether a process with this PID is running."""

    def write(self, snapshot: MetricsSnapshot) -> None:
        """Write this worker's metrics to its file; ignore an OSError, as a later write follows."""
        path = self.folder / f"{self.pid}.json"
        with suppress(OSError):
            new = path.with_suffix(".new")
            new.write_bytes(encode(snapshot))
            new.replace(path)

    def read_others(self) -> list[MetricsSnapshot]:
        """Return a snapshot of each other worker; of an exited one, only what still counts."""
        snapshots = list[MetricsSnapshot]()
        for path in sorted(self.folder.glob("*.json")):
            if path.stem == str(self.pid):
                continue
            with suppress(OSError, DecodeError):
                snapshot = decode(path.read_bytes(), type=MetricsSnapshot)
                if not self.is_running(int(path.stem)):
                    process = {k: v for k, v in snapshot.process.items() if k in KEPT_AFTER_EXIT}
                    snapshot = replace(snapshot, in_progress=0, process=process)
                snapshots.append(snapshot)
        return snapshots


def merge(workers: Sequence[MetricsSnapshot]) -> MetricsSnapshot:
    """
    Return the metrics of several workers as one snapshot: sums, but for some process metrics.

    All workers count the same tokens, so the latest count is taken.

    The sums are exact, and do not depend on the order of the workers. Otherwise a counter could
    go down by the last bit of a float, and Prometheus would take that for a restart of the counter.
    """
    operations = Counter[Operation]()
    for worker in workers:
        operations.update(dict(worker.operations))
    return MetricsSnapshot(
        requests=_merge_histograms(timing for worker in workers for timing in worker.requests),
        store_calls=_merge_histograms(each for worker in workers for each in worker.store_calls),
        operations=tuple(sorted(operations.items())),
        in_progress=sum(worker.in_progress for worker in workers),
        process=_merge_process([worker.process for worker in workers]),
        expiring_tokens=max(filter(None, (each.expiring_tokens for each in workers)), default=None),
        upstream=_merge_upstream([each.upstream for each in workers if each.upstream is not None]),
    )


def _merge_upstream(workers: Sequence[UpstreamSnapshot]) -> UpstreamSnapshot | None:
    if not workers:
        return None
    return UpstreamSnapshot(
        durations=_merge_histograms(timing for each in workers for timing in each.durations),
        counts=_merge_samples((each.counts for each in workers), lambda _: fsum),
        gauges=_merge_samples(
            (each.gauges for each in workers),
            lambda metric: fsum if metric in SUMMED_GAUGES else max,
        ),
    )


def _merge_samples(
    workers: Iterable[Iterable[Sample]],
    merge_of: Callable[[str], Callable[[Iterable[float]], float]],
) -> tuple[Sample, ...]:
    values = defaultdict[tuple[str, tuple[str, ...]], list[float]](list)
    for metric, labels, value in chain.from_iterable(workers):
        values[metric, labels].append(value)
    return tuple((*key, merge_of(key[0])(found)) for key, found in sorted(values.items()))


def _merge_process(workers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return sums over workers, but the earliest start and the maximum of file descriptors."""
    names = {name for each in workers for name in each}
    merges = {START_TIME: min, "process_open_fds": max, "process_max_fds": max}
    return {
        name: merges.get(name, fsum)([each[name] for each in workers if name in each])
        for name in sorted(names)
    }


def _merge_histograms(timings: Iterable[Histogram]) -> tuple[Histogram, ...]:
    by_kind = defaultdict[tuple[str, ...], list[Histogram]](list)
    for timing in timings:
        by_kind[timing.labels].append(timing)
    merged = list[Histogram]()
    for kind, same in sorted(by_kind.items()):
        counts = tuple(map(sum, zip(*(each.counts for each in same), strict=True)))
        merged.append(Histogram(kind, counts, fsum(each.seconds for each in same)))
    return tuple(merged)
