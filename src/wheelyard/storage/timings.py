"""How long things took: counts in buckets, as Prometheus and OpenTelemetry have them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Final

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""Seconds up to which a bucket goes: a page is within the first, a slow upload in the last."""

Kind = tuple[str, ...]
"""The labels of what took its time, in the order that whoever counts has chosen."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long everything of one kind has taken so far."""

    kind: Kind
    counts: tuple[int, ...]
    """How many took at most as long as each bound; the last one, how many there were at all."""
    seconds: float
    """All of them together."""


class Timings:
    """
    Durations by kind, from the start of the process; safe to share between threads.

    Args:
        bounds: Seconds up to which each bucket goes, ascending.
    """

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self.bounds = tuple(bounds)
        self._counts: dict[Kind, list[int]] = {}
        self._seconds: dict[Kind, float] = {}
        self._lock = Lock()

    def add(self, kind: Kind, seconds: float) -> None:
        """Count one thing that took so long."""
        bucket = bisect_left(self.bounds, seconds)
        with self._lock:
            counts = self._counts.get(kind)
            if counts is None:
                counts = self._counts[kind] = [0] * (len(self.bounds) + 1)
                self._seconds[kind] = 0.0
            counts[bucket] += 1
            self._seconds[kind] += seconds

    def so_far(self) -> list[Timing]:
        """Return what was counted, by kind."""
        with self._lock:
            counted = [
                (kind, tuple(counts), self._seconds[kind]) for kind, counts in self._counts.items()
            ]
        return [
            Timing(kind, tuple(accumulate(counts)), seconds)
            for kind, counts, seconds in sorted(counted)
        ]
