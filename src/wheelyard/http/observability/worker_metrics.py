"""
What a server has counted, as values; and where its workers find each other's.

Each worker process counts for itself, and a scrape meets one of them. So each keeps a file of its
figures in a folder that they share, and whoever is asked adds up what is there. The file of a
worker that has died stays, or counters would go down.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, encode
from msgspec.structs import replace

from wheelyard.storage.instrumented import Histogram, Operation

PUBLISH_INTERVAL_SECONDS: Final = 2.0
"""Seconds from one look at a worker's figures to the next; the others' are so old at most."""
START_TIME: Final = "process_start_time_seconds"
KEPT_AFTER_EXIT: Final = frozenset({START_TIME, "process_cpu_seconds"})
"""What a process has taken for ever, and may not take back when it ends."""
NO_PROCESS_METRICS: Final[Mapping[str, float]] = MappingProxyType({})


class MetricsSnapshot(Struct, frozen=True, kw_only=True):
    """What was counted since the start."""

    requests: tuple[Histogram, ...] = ()
    """By route, method and status."""
    verbs: tuple[Histogram, ...] = ()
    """Of the store, by verb and outcome."""
    operations: tuple[tuple[Operation, int], ...] = ()
    under_way: int = 0
    """Requests that are being answered."""
    process: Mapping[str, float] = NO_PROCESS_METRICS
    """What the worker takes, by the names of Prometheus."""

    @property
    def after_exit(self) -> "MetricsSnapshot":
        """What still counts when the worker is gone."""
        kept = {name: value for name, value in self.process.items() if name in KEPT_AFTER_EXIT}
        return replace(self, under_way=0, process=kept)


_DECODER: Final = Decoder(MetricsSnapshot)


@dataclass(frozen=True, slots=True)
class WorkerMetricsFolder:
    """The folder in which the workers of one server keep their figures."""

    folder: Path
    pid: int
    """Of this worker."""
    is_running: Callable[[int], bool]
    """Tells whether there is a process of such a number."""

    def put(self, figures: MetricsSnapshot) -> None:
        """Show the others what this worker has counted; where that fails, they see it later."""
        place = self.folder / f"{self.pid}.json"
        with suppress(OSError):
            new = place.with_suffix(".new")
            new.write_bytes(encode(figures))
            new.replace(place)

    def read_others(self) -> list[MetricsSnapshot]:
        """Return what the other workers have shown; nothing is under way at those that are gone."""
        found = list[MetricsSnapshot]()
        for place in sorted(self.folder.glob("*.json")):
            if place.stem == str(self.pid):
                continue
            with suppress(OSError, DecodeError):
                figures = _DECODER.decode(place.read_bytes())
                alive = self.is_running(int(place.stem))
                found.append(figures if alive else figures.after_exit)
        return found


def merge(every: Sequence[MetricsSnapshot]) -> MetricsSnapshot:
    """
    Return the sum of what several workers have counted, which is the same in any order.

    Each worker begins with its own figures. A sum that went down by the last bit of a float would
    be taken for a restart, and the whole of it counted once more.
    """
    operations = Counter[Operation]()
    for figures in every:
        operations.update(dict(figures.operations))
    return MetricsSnapshot(
        requests=_added(timing for figures in every for timing in figures.requests),
        verbs=_added(timing for figures in every for timing in figures.verbs),
        operations=tuple(sorted(operations.items())),
        under_way=sum(figures.under_way for figures in every),
        process=_taken([figures.process for figures in every]),
    )


def _taken(every: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return what all take together; of descriptors what one has, since each has its own limit."""
    names = {name for each in every for name in each}
    how = {START_TIME: min, "process_open_fds": max, "process_max_fds": max}
    return {
        name: how.get(name, fsum)([each[name] for each in every if name in each])
        for name in sorted(names)
    }


def _added(timings: Iterable[Histogram]) -> tuple[Histogram, ...]:
    by_kind = defaultdict[tuple[str, ...], list[Histogram]](list)
    for timing in timings:
        by_kind[timing.kind].append(timing)
    return tuple(_sum(kind, by_kind[kind]) for kind in sorted(by_kind))


def _sum(kind: tuple[str, ...], timings: Sequence[Histogram]) -> Histogram:
    counts = tuple(map(sum, zip(*(timing.counts for timing in timings), strict=True)))
    return Histogram(kind, counts, fsum(timing.seconds for timing in timings))
