"""Reading of counts: the months, the batches, and what this process has not written yet."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from itertools import chain
from threading import Lock
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Runtime
from wheelyard.concurrency.threads import PREFETCH_THREADS, prefetch_map
from wheelyard.downloads import counts as stored_counts
from wheelyard.downloads.counter import DownloadCounter
from wheelyard.downloads.counts import BATCHES, MONTHS, NO_COUNTS, CountsDocument
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
    batches: Mapping[keys.DownloadBatch, CountsDocument]
    """Those that were listed, and what this process had not written. Months may have some."""
    first_month: str
    """The oldest month that has counts, or an empty text if all of them are in batches."""

    def of(self, name: NormalizedName) -> ProjectCounts:
        """
        Return the counts of a project, from the first day of the month of `since` on.

        Raises Unavailable if they are damaged.
        """
        counts = ProjectCounts()
        for document in self.months.values():
            counts.update(document.counts(name))
        for batch, document in self.batches.items():
            for key, number in document.counts(name).items():
                if not self._is_folded(batch, key.day):
                    counts[key] += number
        return counts

    def _is_folded(self, batch: keys.DownloadBatch, day: date) -> bool:
        """Return whether the month of a day has the counts of a batch already."""
        # a process that died after the write of a month has left its batches
        month = self.months.get(stored_counts.month_of(day))
        return month is not None and month.has(batch)

    def totals(self, days: int) -> DownloadTotals:
        """Return the downloads of each project in the last days, without damaged counts."""
        since = self.until - timedelta(days - 1)
        by_project = Counter[NormalizedName]()
        by_day = Counter[date]()
        for name, day, number in self._numbers(since):
            by_project[name] += number
            by_day[min(day, self.until)] += number  # the clock of another server may be ahead
        numbers = tuple(by_day[since + timedelta(age)] for age in range(days))
        return DownloadTotals(by_project, numbers)

    def _numbers(self, since: date) -> Iterator[tuple[NormalizedName, date, int]]:
        for document in self.months.values():
            for name in document.projects:
                with UnreadableIgnored():
                    for _, day, number in document.numbers(name):
                        if day >= since:
                            yield name, day, number
        for batch, document in self.batches.items():
            for name in document.projects:  # of a batch that was read, none is damaged
                for _, day, number in document.numbers(name):
                    if day >= since and not self._is_folded(batch, day):
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
    def joined(cls, indexes: Iterable["LastDownloads"]) -> "LastDownloads":
        """
        Return when versions were last downloaded from any of several indexes.

        It is complete if that is so of one of them.
        """
        versions = dict[tuple[NormalizedName, str], date]()
        projects = dict[NormalizedName, date]()
        is_complete = False
        for downloads in indexes:
            is_complete = is_complete or downloads.is_complete
            for version, day in downloads.versions.items():
                versions[version] = max(day, versions.get(version, day))
            for name, day in downloads.projects.items():
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
        self._reports: LruCache[tuple[NormalizedName, int], tuple[Counts, DownloadReport]]
        """By project and days: each report, and the counts that it was made from."""
        self._reports = LruCache(REPORTS)
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

        That is a time on the monotonic clock. If the store does not answer, counts that were read
        earlier today are shown, if there are any.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._recent(today - timedelta(days - 1), today)
        cached = self._reports.get((name, days))
        if cached is not None:
            counts_of_report, report = cached
            if counts_of_report is counts:
                return report, valid_until
        report = report_of(counts.of(name), counts.until, days)
        self._reports.put((name, days), (counts, report), 1)
        return report, valid_until

    def totals(self, days: int) -> tuple[DownloadTotals, float]:
        """
        Return the downloads of all projects in the last days, and until when that is shown.

        That is a time on the monotonic clock. Damaged counts of a project are left out. If the
        store does not answer, counts that were read earlier today are shown, if there are any.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._recent(today - timedelta(days - 1), today)
        if self._totals is not None:
            counts_of_totals, days_of_totals, totals = self._totals
            if counts_of_totals is counts and days_of_totals == days:
                return totals, valid_until
        totals = counts.totals(days)
        self._totals = (counts, days, totals)
        return totals, valid_until

    def shown_report(self, name: NormalizedName, days: int) -> tuple[DownloadReport | None, float]:
        """
        Return the downloads of a project in the last days, and until when that is shown.

        It is None for a while if the store does not answer, or has a damaged document.
        """
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
        versions = dict[tuple[NormalizedName, str], date]()
        projects = dict[NormalizedName, date]()
        is_complete = "" < counts.first_month < stored_counts.month_of(since)
        # a batch that a month has already changes no day
        for document in chain(counts.months.values(), counts.batches.values()):
            for name, version, first, last in document.days_of_versions():
                is_complete = is_complete or first <= since
                if last >= since and version:
                    versions[name, version] = max(last, versions.get((name, version), last))
                elif last >= since:
                    projects[name] = max(last, projects.get(name, last))
        return LastDownloads(is_complete, versions, projects)

    def _recent(self, since: date, today: date) -> tuple[Counts, float]:
        """Return counts since a day that may be shown now, and until when they may."""
        remembered = self._remembered(since, today)
        if remembered is not None:
            _, valid_until = remembered
            # nobody waits for a thread that looks again, unless there is nothing to show yet
            if self._runtime.monotonic() < valid_until or self._lock.locked():
                return remembered
        with self._lock:
            return self._renewed(since, today)

    def _remembered(self, since: date, today: date) -> tuple[Counts, float] | None:
        """Return the counts that were read last, if they begin early enough, and end today."""
        # one look, as another thread may replace them
        remembered = self._counts
        if remembered is None:
            return None
        counts, _ = remembered
        if counts.since > since or counts.until != today:
            return None
        return remembered

    def _renewed(self, since: date, today: date) -> tuple[Counts, float]:
        """Return the counts in the store, unless another thread has just read them."""
        remembered = self._remembered(since, today)
        now = self._runtime.monotonic()
        if remembered is not None:
            _, valid_until = remembered
            if now < valid_until:
                return remembered
        earliest = since
        if self._counts is not None:
            # a page that shows less must not end what another one needs
            last_counts, _ = self._counts
            earliest = min(since, last_counts.since)
        try:
            counts = self._read(earliest, today)
        except Unavailable:
            # counts of a minute ago say more than an error, and are asked for again later
            if remembered is None:
                raise
            counts, _ = remembered
        self._counts = (counts, now + self._seconds)
        return self._counts

    def _read(self, since: date, today: date) -> Counts:
        """Return the counts since a day as they are in the store now."""
        batches = dict[keys.DownloadBatch, CountsDocument]()
        if self.counter is not None:
            batches.update(self.counter.unwritten())
        # a batch that is folded meanwhile is in the months, which are listed after it was read
        batches.update(self._read_batches())
        listed = list(self._store.list(keys.MONTHS_OF_DOWNLOADS))
        months_by_key = {}
        for month in stored_counts.months_between(since, today):
            months_by_key[keys.downloads_of_month(month)] = month
        read_month = partial(self._read_month, self._runtime.seconds())
        entries = [entry for entry in listed if entry.key in months_by_key]
        months = {}
        documents = prefetch_map(read_month, entries, self._threads)
        for entry, document in zip(entries, documents, strict=True):
            months[months_by_key[entry.key]] = document
        first_month = ""
        if listed:  # sorted by key, so by month
            first_month = keys.parse_month_of_downloads(listed[0].key) or ""
        return Counts(since, today, months, batches, first_month)

    def _read_batches(self) -> dict[keys.DownloadBatch, CountsDocument]:
        """Return all batches that are in the store now."""
        batches = []
        for entry in self._store.list(keys.NEW_DOWNLOADS):
            batch = keys.parse_download_batch(entry.key)
            if batch is not None:
                batches.append(batch)
        documents = prefetch_map(self._read_batch, batches, self._threads)
        return dict(zip(batches, documents, strict=True))

    def _read_batch(self, batch: keys.DownloadBatch) -> CountsDocument:
        """Return a batch, which is empty if it is folded already or damaged."""
        # a batch is never written again with other counts, so its key is enough
        cached = self._documents.get(batch.key)
        if cached is not None:
            _, document = cached
            return document
        stored = self._store.get(batch.key)
        document = NO_COUNTS
        if isinstance(stored, Stored):
            with UnreadableIgnored():  # as when it is folded
                decoded = BATCHES.decode(batch.key, stored.body)
                stored_counts.by_month(decoded)  # as damaged counts of one project
                document = decoded
                self._documents.put(batch.key, ("", document), len(stored.body))
        return document

    def _read_month(self, now: float, entry: Entry) -> CountsDocument:
        """Return the document of a month, read only if it was written since it was read last."""
        state = entry.state(now)
        cached = self._documents.get(entry.key)
        if cached is not None:
            state_when_read, document = cached
            if state_when_read == state:
                return document
        stored = self._store.get(entry.key)
        if not isinstance(stored, Stored):  # it has just become too old
            return NO_COUNTS
        document = MONTHS.decode(self._store.whole_key(entry.key), stored.body)
        self._documents.put(entry.key, (state, document), COMPRESSION * len(stored.body))
        return document
