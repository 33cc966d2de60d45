"""
Metrics and log lines of the upstream indexes.

One `Observation` is made for a process, and handed to everything that asks an upstream. The name of
a project stands in the log, and is never a label of a metric.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct
from packaging.utils import NormalizedName
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.hosts import FetchError
from wheelyard.model.decoding import escaped
from wheelyard.storage.forwarding import BUCKET_BOUNDS_SECONDS

logger = logging.getLogger("wheelyard")

NO_ANSWER: Final = "error"
"""The status of a request that got no HTTP response, or one that could not be used."""

NOT_ASKED: Final = "not asked"
"""The status of a request that was not sent, because the index is left alone for a while."""

SSRF: Final = "ssrf"
"""The reason of what is not fetched because a URL or an address is not allowed."""

GaugeMode = Literal["livesum", "livemax", "livemostrecent"]
LATEST: Final = "livemostrecent"
"""All workers see the same, and the one whose metrics are asked for looks at it then."""
PREFIX: Final = "wheelyard_upstream_"
COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "requests": ("Requests to upstream indexes.", ("kind", "status")),
    "bytes": ("Bytes that were received from upstream indexes.", ("kind",)),
    "cache": ("Requests of clients, by what was known already.", ("kind", "result")),
    "blocked": ("Names and files that were not asked for or not shown.", ("reason",)),
    "digest_mismatch": ("Files whose bytes had another digest than their page says.", ()),
    "digest_change": ("Files whose digest on the page has changed; they are hidden.", ()),
    "owner_change": ("Names of one upstream index that another one has now.", ()),
    "not_stored": ("Files that were fetched, and could not be stored.", ()),
}
"""The counters: their help text and labels."""
GAUGES: Final[Mapping[str, tuple[str, tuple[str, ...], GaugeMode]]] = {
    "inflight": ("Requests to upstream indexes that are under way.", (), "livesum"),
    "stale_age_seconds": (
        "Age of the last stale page that was served; 0 once an upstream index has answered.",
        (),
        "livemax",
    ),
    "breaker_open": (
        "Whether an upstream index is left alone for a while.",
        ("upstream",),
        "livemax",
    ),
    "osv_age_seconds": ("Age of the OSV database in force, by its newest file.", (), LATEST),
    "osv_entries": ("Usable entries of the OSV database in force.", (), LATEST),
    "osv_skipped_entries": (
        "Malformed entries of that database, which are skipped.",
        (),
        LATEST,
    ),
    "osv_refused": (
        "Whether a newer OSV database cannot be read, or has lost entries.",
        (),
        LATEST,
    ),
}
"""The gauges: their help text, labels, and how those of several workers become one."""


class Kind(StrEnum):
    """What an upstream index is asked for."""

    PAGE = "page"
    FILE = "file"
    METADATA = "metadata"
    PROVENANCE = "provenance"
    CHECK = "check"
    """Whether a name exists, before an upload."""
    ROOT = "root"
    """Whether the URL of the settings has an index at all."""


class CacheResult(StrEnum):
    """How the cache answered."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"
    REVALIDATED = "revalidated"
    NEGATIVE = "negative"
    """A remembered 404."""


class LatestRequest(Struct, frozen=True):
    """What came of the last request to an upstream index."""

    at: datetime
    """When the request ended (UTC)."""
    is_answered: bool
    why: str
    """What went wrong, or an empty text."""


class UpstreamRequest(Struct):
    """One request to an upstream index. Its sender fills in what came of the request."""

    status: str = NO_ANSWER
    """The HTTP status, `NO_ANSWER`, or `NOT_ASKED`."""
    size: int = 0
    """Bytes that were read."""
    why: str = ""
    """What went wrong, for the log, without credentials and query strings."""

    def fail(self, fault: FetchError) -> None:
        """Note that the request has no answer, or one that cannot be used."""
        self.why = fault.why
        if fault.status:
            self.status = str(fault.status)
        elif fault.is_asked:
            self.status = NO_ANSWER
        else:
            self.status = NOT_ASKED


class Observation:
    """Counts, times and logs requests to the upstream indexes. Threads may share it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.latest = dict[str, LatestRequest]()
        """The last request, by the label of the upstream index. Before the first, there is none."""
        self.registry = CollectorRegistry()
        """All metrics of the upstream indexes."""
        self._durations = Histogram(
            f"{PREFIX}seconds",
            "Durations of requests to upstream indexes, until the last byte.",
            ("kind",),
            registry=self.registry,
            buckets=BUCKET_BOUNDS_SECONDS,
        )
        self._counters = {
            name: Counter(f"{PREFIX}{name}", about, labels, registry=self.registry)
            for name, (about, labels) in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(
                f"{PREFIX}{name}", about, labels, registry=self.registry, multiprocess_mode=mode
            )
            for name, (about, labels, mode) in GAUGES.items()
        }

    @contextmanager
    def request(self, kind: Kind, name: NormalizedName, label: str) -> Iterator[UpstreamRequest]:
        """
        Observe one request to the upstream index `label`, until the end of its body.

        The request is counted and logged. What has come of it is in `latest`, unless it was not
        sent.
        """
        request = UpstreamRequest()
        began_at = self._runtime.monotonic()
        self._gauges["inflight"].inc()
        try:
            yield request
        finally:
            # also if the block has raised, and its sender has not said what came of the request
            seconds = self._runtime.monotonic() - began_at
            self._gauges["inflight"].dec()
            # statuses are texts: `error` and `not asked` come behind all digits
            is_answered = request.status < "5"
            why = escaped(request.why)  # partly a stranger's words
            if request.status != NOT_ASKED:
                self.latest[label] = LatestRequest(self._runtime.now(), is_answered, why)
            if kind is Kind.PAGE and is_answered:
                self.stale(0.0)
            self._durations.labels(kind.value).observe(seconds)
            self._counters["requests"].labels(kind.value, request.status).inc()
            self._counters["bytes"].labels(kind.value).inc(request.size)
            # it was logged already when the index began to be left alone
            is_usual = request.status < "4" or request.status in ("404", NOT_ASKED)
            level = logging.INFO if is_usual else logging.WARNING
            reason = f"; {why}" if why else ""
            logger.log(
                level,
                "upstream %s: %s of %s: %s, %d ms, %d bytes%s",
                label,
                kind.value,
                name,
                request.status,
                seconds * 1000,
                request.size,
                reason,
            )

    def cache(self, kind: Kind, result: CacheResult) -> None:
        """Count how the cache answered a request of a client."""
        self._counters["cache"].labels(kind.value, result.value).inc()

    def stale(self, seconds: float) -> None:
        """
        Note the age of a page that is served while its upstream index does not answer.

        0 means that the index answers.
        """
        self._gauges["stale_age_seconds"].set(seconds)

    def blocked(self, reason: str) -> None:
        """Count a name or a file that is blocked for a reason, such as `cooldown` or `ssrf`."""
        self._counters["blocked"].labels(reason).inc()

    def digest_mismatch(self, name: NormalizedName, filename: str) -> None:
        """Count and log a file whose bytes have another digest than its page says."""
        self._counters["digest_mismatch"].inc()
        logger.error("upstream: the bytes of %s of %s have a wrong digest", escaped(filename), name)

    def digest_change(self, name: NormalizedName, filename: str) -> None:
        """Count and log a file whose digest on the page is another one than before."""
        self._counters["digest_change"].inc()
        logger.error(
            "upstream: the digest of %s of %s has changed; the file is hidden. Find out why before "
            "it is used",
            escaped(filename),
            name,
        )

    def not_stored(self, name: NormalizedName, filename: str, why: str) -> None:
        """Count and log a file that was fetched and could not be stored."""
        self._counters["not_stored"].inc()
        logger.warning("upstream: %s of %s was not stored: %s", escaped(filename), name, why)

    def owner_change(self, name: NormalizedName, owner: str, claimant: str) -> None:
        """Count and log a name of the upstream index `owner` that the index `claimant` has now."""
        self._counters["owner_change"].inc()
        logger.error(
            "upstream: %s belongs to %s, and now %s has it; it is not shown until an operator has "
            "found out why, and has the owner forgotten (upstream forget)",
            name,
            owner,
            claimant,
        )

    def breaker(self, label: str, *, is_open: bool) -> None:
        """Note that requests to the upstream index `label` are stopped, or allowed again."""
        self._gauges["breaker_open"].labels(label).set(is_open)
        if is_open:
            logger.warning("upstream %s does not answer, and is left alone for a while", label)

    def note_osv(self, age_seconds: float, entries: int, skipped: int, *, is_refused: bool) -> None:
        """Note the figures of the OSV database in force, and whether a newer one is refused."""
        self._gauges["osv_age_seconds"].set(age_seconds)
        self._gauges["osv_entries"].set(entries)
        self._gauges["osv_skipped_entries"].set(skipped)
        self._gauges["osv_refused"].set(is_refused)
