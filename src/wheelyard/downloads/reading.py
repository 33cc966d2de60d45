"""Reading of counts: the months, the batches, and what this process has not written yet."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from threading import Lock
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.keys import DownloadBatch
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.downloads.counter import DownloadCounter
from wheelyard.downloads.counts import (
    BATCHES,
    MONTHS,
    NO_COUNTS,
    CountsDocument,
    by_month,
    month_of,
    months_between,
)
from wheelyard.errors import Unavailable
from wheelyard.model.downloads import DownloadReport, ProjectCounts, report_of
from wheelyard.storage.base import Entry, Key, Store, Stored

LOCAL_SECONDS: Final = 60.0
REMOTE_SECONDS: Final = 300.0
"""How long a page shows the same counts. To look again at a bucket costs money."""
MEMORY_BYTES: Final = 32 * 1024**2
"""For the documents that the next look at the store needs again."""
COMPRESSION: Final = 12
"""How much larger a month is in memory than in the store, roughly."""
REPORTS: Final = 500
"""How many reports are kept."""


class DownloadTotals(Struct, frozen=True):
    """The downloads of all projects in some days, the last of which is today."""

    projects: Mapping[NormalizedName, int]
    """Those that have any."""
    days: tuple[int, ...]
    """The number of each day, oldest first."""


class Counts(Struct, frozen=True):
    """All counts since a day, as they were at one moment."""

    since: date
    until: date
    """The day of that moment."""
    months: Mapping[str, CountsDocument]
    batches: Mapping[DownloadBatch, CountsDocument]
    """Those that were listed, and what this process had not written. Months may have some."""
    first_month: str
    """The oldest month that has counts, or an empty text if all of them are in batches."""

    def of(self, name: NormalizedName) -> ProjectCounts:
        """
        Return the counts of a project.

        Raises Unavailable if they are damaged.
        """
        counts = ProjectCounts()
        for document in self.months.values():
            counts.update(document.counts(name))
        for batch, document in self.batches.items():
            for key, number in document.counts(name).items():
                month = self.months.get(month_of(key.day))
                if month is None or not month.has(batch):
                    counts[key] += number
        return counts

    def totals(self, days: int) -> DownloadTotals:
        """Return the downloads of each project in the last days, without damaged counts."""
        since = self.until - timedelta(days - 1)
        by_project = Counter[NormalizedName]()
        by_day = Counter[date]()
        for name, day, number in self._numbers(since):
            by_project[name] += number
            by_day[min(day, self.until)] += number  # the clock of another server may be ahead
        numbers = tuple(by_day[since + timedelta(number)] for number in range(days))
        return DownloadTotals(by_project, numbers)

    def _numbers(self, since: date) -> Iterator[tuple[NormalizedName, date, int]]:
        for document in self.months.values():
            for name in document.projects:
                with UnreadableIgnored():
                    for day, number in document.numbers(name, since):
                        yield name, day, number
        for batch, document in self.batches.items():
            for name in document.projects:  # of a batch that was read, none is damaged
                for day, number in document.numbers(name, since):
                    month = self.months.get(month_of(day))
                    if month is None or not month.has(batch):
                        yield name, day, number


class LastDownloads(Struct, frozen=True):
    """When versions were last downloaded, as far as a day in the past."""

    is_complete: bool
    """Whether downloads were counted on that day already. If not, nobody knows of older ones."""
    versions: Mapping[tuple[NormalizedName, str], date]
    """The last day by project and version, only of those that were downloaded since then."""
    projects: Mapping[NormalizedName, date]
    """Projects of which some version was downloaded on that day, without a record of which."""

    @classmethod
    def joined(cls, parts: Iterable["LastDownloads"]) -> "LastDownloads":
        """Return when versions were last downloaded from any of several indexes."""
        versions, projects = dict[tuple[NormalizedName, str], date](), dict[NormalizedName, date]()
        is_complete = False
        for part in parts:
            is_complete = is_complete or part.is_complete
            for version, day in part.versions.items():
                versions[version] = max(day, versions.get(version, day))
            for name, day in part.projects.items():
                projects[name] = max(day, projects.get(name, day))
        return cls(is_complete, versions, projects)

    def of(self, project: NormalizedName, version: str) -> date | None:
        """Return the last day on which a version was, or may have been, downloaded."""
        days = (self.versions.get((project, version)), self.projects.get(project))
        return max(filter(None, days), default=None)


class Downloads:
    """
    The counts of downloads of one index, and the counter of this process if it counts.

    Threads may share it. Every method that reads raises Unavailable if the store does not answer,
    or has a damaged document.
    """

    def __init__(
        self, store: Store, runtime: Runtime, counter: DownloadCounter | None, *, is_local: bool
    ) -> None:
        self.counter = counter
        """None in a command, and on a server that writes nothing."""
        self._store = store
        self._runtime = runtime
        self._threads = 1 if is_local else PREFETCH_THREADS
        self._seconds = LOCAL_SECONDS if is_local else REMOTE_SECONDS
        self._documents: LruCache[Key, tuple[str, CountsDocument]] = LruCache(MEMORY_BYTES)
        self._counts: tuple[Counts, float] | None = None
        """Those that were read last, and until when they are shown, on the monotonic clock."""
        self._reports: LruCache[tuple[NormalizedName, int], tuple[Counts, DownloadReport]] = (
            LruCache(REPORTS)
        )
        self._totals: tuple[Counts, int, DownloadTotals] | None = None
        """The downloads of all projects that were added up last, of which counts and days."""
        self._lock = Lock()
        """Held while the store is read, so that all who want counts share that."""

    def close(self) -> None:
        """Write what this process has counted, before it ends."""
        if self.counter is not None:
            self.counter.close()

    def report(self, name: NormalizedName, days: int) -> tuple[DownloadReport, float]:
        """
        Return the downloads of a project in the last days, and until when that is shown.

        That is a time on the monotonic clock.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._recent(today - timedelta(days - 1), today)
        kept = self._reports.get((name, days))
        if kept is None or kept[0] is not counts:
            kept = counts, report_of(counts.of(name), counts.until, days)
            self._reports.put((name, days), kept, 1)
        return kept[1], valid_until

    def totals(self, days: int) -> tuple[DownloadTotals, float]:
        """
        Return the downloads of all projects in the last days, and until when that is shown.

        That is a time on the monotonic clock.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._recent(today - timedelta(days - 1), today)
        kept = self._totals
        if kept is None or kept[0] is not counts or kept[1] != days:
            kept = counts, days, counts.totals(days)
            self._totals = kept
        return kept[2], valid_until

    def shown_report(self, name: NormalizedName, days: int) -> tuple[DownloadReport | None, float]:
        """Return what `report` does, or None for a while if the store does not answer."""
        try:
            return self.report(name, days)
        except Unavailable:  # the store logs its errors itself
            return None, self._runtime.monotonic() + LOCAL_SECONDS

    def last_downloads(self, days: int) -> LastDownloads:
        """
        Return when each version of the index was downloaded in the last days, as it is known now.

        That reads the document of each month, and the batches of the last day.
        """
        today = self._runtime.now().date()
        since = today - timedelta(days)
        with self._lock:
            counts = self._read(since, today)
        versions, projects = dict[tuple[NormalizedName, str], date](), dict[NormalizedName, date]()
        is_complete = "" < counts.first_month < month_of(since)
        # a batch that a month has already changes no day
        for document in (*counts.months.values(), *counts.batches.values()):
            for name, version, first, last in document.days_of_versions():
                is_complete = is_complete or first <= since
                if last >= since and version:
                    versions[name, version] = max(last, versions.get((name, version), last))
                elif last >= since:
                    projects[name] = max(last, projects.get(name, last))
        return LastDownloads(is_complete, versions, projects)

    def _recent(self, since: date, today: date) -> tuple[Counts, float]:
        kept = self._kept(since, today)
        # nobody waits for a thread that looks again, unless there is nothing to show yet
        if kept is not None and (self._runtime.monotonic() < kept[1] or self._lock.locked()):
            return kept
        with self._lock:
            return self._renewed(since, today)

    def _kept(self, since: date, today: date) -> tuple[Counts, float] | None:
        """Return the counts that were read last, if they begin early enough, and end today."""
        kept = self._counts
        return kept if kept and kept[0].since <= since and kept[0].until == today else None

    def _renewed(self, since: date, today: date) -> tuple[Counts, float]:
        """Return the counts in the store, unless another thread has just read them."""
        kept, now = self._kept(since, today), self._runtime.monotonic()
        if kept is not None and now < kept[1]:
            return kept
        try:
            # a page that shows less must not end what another one needs
            earliest = min(since, self._counts[0].since) if self._counts else since
            counts = self._read(earliest, today)
        except Unavailable:
            if kept is None:
                raise
            counts = kept[0]
        self._counts = counts, now + self._seconds
        return self._counts

    def _read(self, since: date, today: date) -> Counts:
        """Return the counts since a day as they are in the store now."""
        unwritten = self.counter.unwritten() if self.counter else []
        # a batch that is folded meanwhile is in the months, which are listed after it was read
        batches = dict(unwritten) | self._batches()
        months = list(self._store.list(keys.MONTHS_OF_DOWNLOADS))
        wanted = {keys.downloads_of_month(month): month for month in months_between(since, today)}
        read = partial(self._month, self._runtime.seconds())
        entries = [entry for entry in months if entry.key in wanted]
        documents = prefetch_map(read, entries, self._threads)
        return Counts(
            since,
            today,
            {wanted[entry.key]: month for entry, month in zip(entries, documents, strict=True)},
            batches,
            (months and keys.parse_month_of_downloads(months[0].key)) or "",
        )

    def _batches(self) -> dict[DownloadBatch, CountsDocument]:
        listed = (
            keys.parse_download_batch(entry.key) for entry in self._store.list(keys.NEW_DOWNLOADS)
        )
        batches = [batch for batch in listed if batch is not None]
        documents = prefetch_map(self._batch, batches, self._threads)
        return dict(zip(batches, documents, strict=True))

    def _batch(self, batch: DownloadBatch) -> CountsDocument:
        """Return a batch, which is empty if it is folded already or damaged."""
        kept = self._documents.get(batch.key)
        if kept is not None:
            return kept[1]
        stored, document = self._store.get(batch.key), NO_COUNTS
        if isinstance(stored, Stored):
            with UnreadableIgnored():  # as when it is folded
                read = BATCHES.decode(batch.key, stored.body)
                by_month(read)  # as damaged counts of one project
                document = read
                self._documents.put(batch.key, ("", document), len(stored.body))
        return document

    def _month(self, now: float, entry: Entry) -> CountsDocument:
        """Return the document of a month, read only if it was written since it was read last."""
        state, kept = entry.state(now), self._documents.get(entry.key)
        if kept is not None and kept[0] == state:
            return kept[1]
        stored = self._store.get(entry.key)
        if not isinstance(stored, Stored):  # it has just become too old
            return NO_COUNTS
        document = MONTHS.decode(self._store.whole_key(entry.key), stored.body)
        self._documents.put(entry.key, (state, document), COMPRESSION * len(stored.body))
        return document
