"""
Metrics and log lines of the upstream indexes.

One `Observation` is made for a process, and handed to everything that asks an upstream. The name of
a project stands in the log, and is never a label of a metric.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from threading import Lock
from typing import Final

from msgspec import Struct, field
from packaging.utils import NormalizedName

from wheelyard.model.text import escaped
from wheelyard.storage.instrumented import Histograms

logger = logging.getLogger("wheelyard")

NO_ANSWER: Final = "error"
"""The status of a request that got no HTTP response, or one that could not be used."""

SSRF: Final = "ssrf"
"""The reason of what is not fetched because a URL or an address is not allowed."""

Count = tuple[str, tuple[str, ...]]
"""The name of a metric without `wheelyard_upstream_`, and the values of its labels."""


class Kind(StrEnum):
    """What an upstream is asked for."""

    PAGE = "page"
    FILE = "file"
    METADATA = "metadata"
    CHECK = "check"
    """Whether a name exists, before an upload."""
    ROOT = "root"
    """Whether there is an index at all."""


class CacheResult(StrEnum):
    """How the cache answered."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    REVALIDATED = "revalidated"
    NEGATIVE = "negative"
    """A remembered 404."""


class UpstreamRequest(Struct):
    """One request to an upstream; its sender fills in what came of it."""

    status: str = NO_ANSWER
    """The HTTP status, or `NO_ANSWER`."""
    size: int = 0
    """Bytes that were read."""
    why: str = ""
    """What went wrong, for the log: without credentials and query strings."""


class Observation(Struct, frozen=True):
    """Counts, durations and log lines of what the upstream indexes are asked; thread-safe."""

    monotonic: Callable[[], float]
    durations: Histograms = field(default_factory=Histograms)
    """Seconds of requests to upstream indexes, by `Kind`."""
    _counts: Counter[Count] = field(default_factory=Counter)
    _gauges: dict[Count, float] = {}
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def request(self, kind: Kind, name: NormalizedName, label: str) -> Iterator[UpstreamRequest]:
        """Observe one request to the upstream `label`, until the end of its body."""
        request, began_at = UpstreamRequest(), self.monotonic()
        self._change_gauge("inflight", +1)
        try:
            yield request
        finally:
            seconds = self.monotonic() - began_at
            self._change_gauge("inflight", -1)
            if kind is Kind.PAGE and request.status != NO_ANSWER and request.status < "5":
                self.stale(0.0)
            self.durations.add((kind.value,), seconds)
            self._count("requests", kind.value, request.status)
            self._count("bytes", kind.value, by=request.size)
            is_usual = request.status < "4" or request.status == "404"
            level = logging.INFO if is_usual else logging.WARNING
            logger.log(
                level,
                "upstream %s: %s of %s: %s, %d ms, %d bytes%s",
                label,
                kind.value,
                name,
                request.status,
                seconds * 1000,
                request.size,
                f"; {escaped(request.why)}" if request.why else "",
            )

    def cache(self, kind: Kind, result: CacheResult) -> None:
        """Count how the cache answered a request of a client."""
        self._count("cache", kind.value, result.value)

    def stale(self, seconds: float) -> None:
        """Note the age of a page that is served while its upstream does not answer; 0: it does."""
        with self._lock:
            self._gauges["stale_age_seconds", ()] = seconds

    def blocked(self, reason: str) -> None:
        """Count something that is not asked for or not shown: `deny`, `cooldown`, `ssrf` ..."""
        self._count("blocked", reason)

    def digest_mismatch(self, name: NormalizedName, filename: str) -> None:
        """Count and log a file whose bytes have another digest than its page says."""
        self._count("digest_mismatch")
        logger.error("upstream: the bytes of %s of %s have a wrong digest", escaped(filename), name)

    def digest_change(self, name: NormalizedName, filename: str) -> None:
        """Count and log a file whose digest on the page is another one than before."""
        self._count("digest_change")
        logger.error(
            "upstream: the digest of %s of %s has changed; the file is hidden. Find out why before "
            "it is used",
            escaped(filename),
            name,
        )

    def not_stored(self, name: NormalizedName, filename: str, why: str) -> None:
        """Count and log a file that was fetched and could not be stored."""
        self._count("not_stored")
        logger.warning("upstream: %s of %s was not stored: %s", escaped(filename), name, why)

    def owner_change(self, name: NormalizedName, owner: str, other: str) -> None:
        """Count and log a name that the upstream `owner` has given up, and `other` has."""
        self._count("owner_change")
        logger.error(
            "upstream: %s is no longer at %s, and is at %s; it is not shown until an operator has "
            "decided which one is meant",
            name,
            owner,
            other,
        )

    def contested(self, name: NormalizedName, owner: str, other: str) -> None:
        """Count and log a name of the upstream `owner` that `other`, which comes first, has now."""
        self._count("owner_change")
        logger.error(
            "upstream: %s belongs to %s, and now %s has it, too, which is asked first; it is not "
            "shown until an operator has found out why, and runs 'wheelyard upstream forget %s'",
            name,
            owner,
            other,
            name,
        )

    def breaker(self, label: str, *, is_open: bool) -> None:
        """Note that requests to the upstream `label` are stopped, or allowed again."""
        with self._lock:
            self._gauges["breaker_open", (label,)] = float(is_open)
        if is_open:
            logger.warning("upstream %s does not answer, and is left alone for a while", label)

    def counts(self) -> dict[Count, int]:
        """Return the counters so far."""
        with self._lock:
            return dict(self._counts)

    def gauges(self) -> dict[Count, float]:
        """Return the values that go up and down, as they are now."""
        with self._lock:
            return dict(self._gauges)

    def _count(self, metric: str, *labels: str, by: int = 1) -> None:
        with self._lock:
            self._counts[metric, labels] += by

    def _change_gauge(self, metric: str, by: int) -> None:
        with self._lock:
            self._gauges[metric, ()] = self._gauges.get((metric, ()), 0.0) + by
