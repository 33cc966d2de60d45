"""Reads and adds up download counts: months, batches, and unwritten counts of this process."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
"""How long a page shows the same counts, of a folder and of a bucket, whose calls cost money."""
MEMORY_BYTES: Final = 32 * 1024**2
"""The size of the cache of documents, which the next read of the counts needs again."""
COMPRESSION: Final = 12
"""How much larger a month is in memory than in the store, roughly."""
REPORTS: Final = 500
"""How many reports are cached."""


class DownloadTotals(Struct, frozen=True):
    """The downloads of all projects in some days, the last of which is today."""

    projects: Mapping[NormalizedName, int]
    """The number of downloads of each project that has any."""
    days: tuple[int, ...]
    """The number of downloads on each day, oldest first."""


class Counts(Struct, frozen=True):
    """All counts since a day, as they were when they were read."""

    since: date
    until: date
    """The day on which the counts were read."""
    months: Mapping[str, CountsDocument]
    batches: Mapping[keys.DownloadBatch, CountsDocument]
    """The batches in the store and the unwritten ones. Months may have some of them already."""
    first_month: str
    """The oldest month that has counts, or an empty text if all of them are in batches."""

    def of(self, name: NormalizedName) -> ProjectCounts:
        """
        Return the counts of a project, from the first day of the month of `since` on.

        Raises Unavailable if the counts of the project are damaged.
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
            # the clock of another server may be a day ahead
            by_day[min(day, self.until)] += number
        daily_numbers = tuple(by_day[since + timedelta(offset)] for offset in range(days))
        return DownloadTotals(by_project, daily_numbers)

    def _numbers(self, since: date) -> Iterator[tuple[NormalizedName, date, int]]:
        """Yield each number of downloads since a day, with its project and day, if not damaged."""
        for document in self.months.values():
            for name in document.projects:
                with UnreadableIgnored():
                    for _, day, number in document.numbers(name):
                        if day >= since:
                            yield name, day, number
        for batch, document in self.batches.items():
            for name in document.projects:  # a batch with damaged counts is left out when read
                for _, day, number in document.numbers(name):
                    if day >= since and not self._is_folded(batch, day):
                        yield name, day, number


class LastDownloads(Struct, frozen=True):
    """When versions were last downloaded, for downloads since a first day."""

    is_complete: bool
    """Whether downloads were counted on the first day already, so that none is missing."""
    versions: Mapping[tuple[NormalizedName, str], date]
    """By project and version: the day of the last download since the first day."""
    projects: Mapping[NormalizedName, date]
    """By project: the day of the last download that was counted without its version."""

    @classmethod
    def joined(cls, indexes: Iterable["LastDownloads"]) -> "LastDownloads":
        """
        Return when versions were last downloaded from any of several indexes.

        The result is complete if that of one index is complete.
        """
        versions = dict[tuple[NormalizedName, str], date]()
        projects = dict[NormalizedName, date]()
        is_complete = False
        for downloads in indexes:
            is_complete = is_complete or downloads.is_complete
            for release, day in downloads.versions.items():
                versions[release] = max(day, versions.get(release, day))
            for name, day in downloads.projects.items():
                projects[name] = max(day, projects.get(name, day))
        return cls(is_complete, versions, projects)

    def of(self, project: NormalizedName, version: str) -> date | None:
        """
        Return the last day on which a version was, or may have been, downloaded.

        None means that the version was not downloaded since the first day, as far as is known.
        """
        day_of_version = self.versions.get((project, version))
        # the day of a download that may have been of this version
        day_of_project = self.projects.get(project)
        if day_of_version is None:
            return day_of_project
        if day_of_project is None:
            return day_of_version
        return max(day_of_version, day_of_project)


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
        self._last_read: tuple[Counts, float] | None = None
        """The counts that were read last, and until when they are shown, on the monotonic clock."""
        self._reports: LruCache[tuple[NormalizedName, int], tuple[Counts, DownloadReport]]
        """By project and number of days: the counts that a report was made from, and the report."""
        self._reports = LruCache(REPORTS)
        self._last_totals: tuple[Counts, int, DownloadTotals] | None = None
        """The totals that were added up last, with the counts and the number of days in them."""
        self._read_lock = Lock()
        """Held while the store is read, so that all threads that want counts share one read."""

    def close(self) -> None:
        """Write the counts of this process, before it ends."""
        if self.counter is not None:
            self.counter.close()

    def report(self, name: NormalizedName, days: int) -> tuple[DownloadReport, float]:
        """
        Return the downloads of a project in the last days, and until when the report is shown.

        The second value is a time on the monotonic clock. If the store does not answer, counts that
        were read earlier today are used, if there are any.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._shown_counts(today - timedelta(days - 1), today)
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
        Return the downloads of all projects in the last days, and until when they are shown.

        The second value is a time on the monotonic clock. Damaged counts of a project are left out.
        If the store does not answer, counts that were read earlier today are used, if there are
        any.
        """
        today = self._runtime.now().date()
        counts, valid_until = self._shown_counts(today - timedelta(days - 1), today)
        if self._last_totals is not None:
            counts_of_totals, days_of_totals, totals = self._last_totals
            if counts_of_totals is counts and days_of_totals == days:
                return totals, valid_until
        totals = counts.totals(days)
        self._last_totals = (counts, days, totals)
        return totals, valid_until

    def shown_report(self, name: NormalizedName, days: int) -> tuple[DownloadReport | None, float]:
        """
        Return the downloads of a project in the last days, and until when the report is shown.

        The report is None, for a while, if the store does not answer or has a damaged document.
        """
        try:
            return self.report(name, days)
        except Unavailable:  # the store logs its errors itself
            return None, self._runtime.monotonic() + LOCAL_SECONDS

    def last_downloads(self, days: int) -> LastDownloads:
        """
        Return when each version of the index was last downloaded in the last days.

        This reads the counts anew: the document of each month, and all batches.
        """
        today = self._runtime.now().date()
        since = today - timedelta(days)
        with self._read_lock:
            counts = self._read_counts(since, today)
        versions = dict[tuple[NormalizedName, str], date]()
        projects = dict[NormalizedName, date]()
        has_months = counts.first_month != ""
        is_complete = has_months and counts.first_month < stored_counts.month_of(since)
        # batches that are in a month already do no harm, as days are not added up
        for document in chain(counts.months.values(), counts.batches.values()):
            for name, version, first, last in document.days_of_versions():
                is_complete = is_complete or first <= since
                if last >= since and version:
                    versions[name, version] = max(last, versions.get((name, version), last))
                elif last >= since:
                    projects[name] = max(last, projects.get(name, last))
        return LastDownloads(is_complete, versions, projects)

    def _shown_counts(self, since: date, today: date) -> tuple[Counts, float]:
        """Return counts since a day that may be shown now, and until when they may be shown."""
        remembered = self._remembered_counts(since, today)
        if remembered is not None:
            _, valid_until = remembered
            # a thread that has counts to show does not wait for one that reads the store
            if self._runtime.monotonic() < valid_until or self._read_lock.locked():
                return remembered
        with self._read_lock:
            return self._renew_counts(since, today)

    def _remembered_counts(self, since: date, today: date) -> tuple[Counts, float] | None:
        """
        Return the counts that were read last, and until when they are shown.

        None means that there are no such counts, that they begin after `since`, or that they were
        not read today.
        """
        # read once, as another thread may replace the attribute
        remembered = self._last_read
        if remembered is None:
            return None
        counts, _ = remembered
        if counts.since > since or counts.until != today:
            return None
        return remembered

    def _renew_counts(self, since: date, today: date) -> tuple[Counts, float]:
        """
        Read the counts from the store, unless another thread has just read them.

        Returns the counts, and until when they are shown. The caller holds the lock.
        """
        remembered = self._remembered_counts(since, today)
        now = self._runtime.monotonic()
        if remembered is not None:
            _, valid_until = remembered
            if now < valid_until:
                return remembered
        earliest_day = since
        if self._last_read is not None:
            # a page that shows fewer days must not drop counts that another page needs
            last_counts, _ = self._last_read
            earliest_day = min(since, last_counts.since)
        try:
            counts = self._read_counts(earliest_day, today)
        except Unavailable:
            # older counts of this day say more than an error, and are read again later
            if remembered is None:
                raise
            counts, _ = remembered
        self._last_read = (counts, now + self._seconds)
        return self._last_read

    def _read_counts(self, since: date, today: date) -> Counts:
        """Read the counts since a day, as they are in the store and in this process now."""
        batches = dict[keys.DownloadBatch, CountsDocument]()
        if self.counter is not None:
            batches.update(self.counter.unwritten())
        # before the months are listed: those have each batch that is folded meanwhile
        batches.update(self._read_batches())
        month_entries = list(self._store.list(keys.MONTHS_OF_DOWNLOADS))
        first_month = ""
        if month_entries:  # sorted by key, so by month
            first_month = keys.parse_month_of_downloads(month_entries[0].key) or ""
        months = self._read_months(month_entries, since, today)
        return Counts(since, today, months, batches, first_month)

    def _read_months(
        self, listed_entries: Sequence[Entry], since: date, today: date
    ) -> dict[str, CountsDocument]:
        """Return the documents of the listed months that have days from `since` to today."""
        months_by_key = dict[Key, str]()
        for month in stored_counts.months_between(since, today):
            months_by_key[keys.downloads_of_month(month)] = month
        entries = [entry for entry in listed_entries if entry.key in months_by_key]
        read_month = partial(self._read_month, self._runtime.seconds())
        documents = prefetch_map(read_month, entries, self._threads)
        months = dict[str, CountsDocument]()
        for entry, document in zip(entries, documents, strict=True):
            months[months_by_key[entry.key]] = document
        return months

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
        """Return the document of a batch, which is empty if the batch is damaged or was deleted."""
        # a batch is never written again with other counts, so the cache needs no version
        cached = self._documents.get(batch.key)
        if cached is not None:
            _, document = cached
            return document
        stored = self._store.get(batch.key)
        document = NO_COUNTS
        if isinstance(stored, Stored):
            with UnreadableIgnored():  # as folding does
                decoded_document = BATCHES.decode(batch.key, stored.body)
                # raises an error here if the counts of one project are damaged
                stored_counts.by_month(decoded_document)
                document = decoded_document
                self._documents.put(batch.key, ("", document), len(stored.body))
        return document

    def _read_month(self, now: float, entry: Entry) -> CountsDocument:
        """Return the document of a month from the cache, or read it if it has changed."""
        state = entry.state(now)
        cached = self._documents.get(entry.key)
        if cached is not None:
            state_when_read, document = cached
            if state_when_read == state:
                return document
        stored = self._store.get(entry.key)
        if not isinstance(stored, Stored):  # it was too old, and has just been deleted
            return NO_COUNTS
        document = MONTHS.decode(self._store.whole_key(entry.key), stored.body)
        self._documents.put(entry.key, (state, document), COMPRESSION * len(stored.body))
        return document
