"""The stored documents of counts, and what is added up of them."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder, encode
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Codec, UnreadableIgnored, damaged, gunzipped, gzipped
from wheelyard.catalog.keys import DownloadBatch
from wheelyard.model.downloads import DownloadKey, ProjectCounts
from wheelyard.storage.base import Key

MAX_BYTES: Final = 256 * 1024**2
"""The largest document that is read, without its compression."""

FILE: Final = ""
INSTALLER: Final = "other"
"""
The words between version and day. Earlier versions had filenames and installers in their place.

Those versions read what is written here, so that servers of both can share a store: to them, the
downloads are of no known file and of other installers. What they write is added up without both.
"""
_Stored = dict[str, dict[str, dict[str, dict[date, Annotated[int, Meta(ge=1)]]]]]
"""The downloads of a project by version, `FILE`, `INSTALLER` and day."""
_PROJECT: Final = Decoder(_Stored)
_MONTH: Final = "%Y-%m"


class CountsDocument(Struct, frozen=True, omit_defaults=True):
    """The document of a batch or a month: counts by project, each decoded when it is needed."""

    projects: dict[NormalizedName, Raw]
    folded: dict[str, tuple[int, date]] = {}
    """
    In a month: the batches that it has, by process, and when the last one came.

    The number is that of the last batch: it has all of that process up to this one.
    """

    def has(self, batch: DownloadBatch) -> bool:
        """Return whether this month has the counts of a batch already."""
        last = self.folded.get(batch.process)
        return last is not None and batch.number <= last[0]

    def counts(self, name: NormalizedName) -> ProjectCounts:
        """
        Return the counts of a project.

        Raises Unavailable if they are damaged.
        """
        counts = ProjectCounts()
        if name in self.projects:
            for version, day, number in self.numbers(name):
                counts[DownloadKey(day, version)] += number
        return counts

    def numbers(self, name: NormalizedName) -> Iterator[tuple[str, date, int]]:
        """
        Yield each stored number of a project's downloads, with its version and day.

        The document has to have the project. Both may come several times. Raises Unavailable if the
        counts are damaged.
        """
        for version, files in _stored(name, self.projects[name]).items():
            for by_day in _by_day(files):
                for day, number in by_day.items():
                    yield version, day, number

    def folded_projects(self) -> dict[NormalizedName, Raw]:
        """Return the counts of all projects as this version stores them. Damaged ones as is."""
        projects = dict(self.projects)
        for name in self.projects:
            with UnreadableIgnored():
                projects[name] = encode_counts(self.counts(name))
        return projects

    def days_of_versions(self) -> Iterator[tuple[NormalizedName, str, date, date]]:
        """
        Yield each project and version with the first and the last day of its downloads.

        The version is empty for downloads that were counted by project alone. Raises Unavailable if
        counts are damaged.
        """
        for name, raw in self.projects.items():
            for version, files in _stored(name, raw).items():
                days = set[date]()
                for by_day in _by_day(files):
                    days.update(by_day)
                if days:
                    yield name, version, min(days), max(days)


NO_COUNTS: Final = CountsDocument({})


class _MonthCodec(Codec[CountsDocument]):
    """Reads and writes the document of a month, which is compressed."""

    def encode(self, value: CountsDocument) -> bytes:
        return gzipped(super().encode(value))

    def decode(self, key: Key, body: bytes) -> CountsDocument:
        raw = gunzipped(body, MAX_BYTES)
        if raw is None:
            raise damaged(
                f"The document {key} is damaged. Restore it from a backup, or delete it: then the "
                "downloads of that month are lost."
            )
        return super().decode(key, raw)


BATCHES: Final = Codec(CountsDocument)
MONTHS: Final = _MonthCodec(CountsDocument)


def encode_counts(counts: ProjectCounts) -> Raw:
    """Return the stored form of the counts of a project: equal counts as equal bytes."""
    stored = _Stored()
    # sorted, so that the order in which downloads came is not in the bytes
    for key, number in sorted(counts.items()):
        files = stored.setdefault(key.version, {FILE: {INSTALLER: {}}})
        files[FILE][INSTALLER][key.day] = number
    return Raw(encode(stored))


def _stored(name: NormalizedName, raw: Raw) -> _Stored:
    """Return the stored counts of a project, or raise Unavailable if they are damaged."""
    try:
        return _PROJECT.decode(raw)
    except DecodeError as error:
        raise damaged(f"The counts of downloads of {name} are damaged.") from error


def _by_day(files: Mapping[str, Mapping[str, dict[date, int]]]) -> Iterator[dict[date, int]]:
    """Yield the downloads of a version by day, of each file and installer that is stored."""
    for installers in files.values():
        yield from installers.values()


@cache
def month_of(day: date) -> str:
    """Return the month of a day: `2026-01`."""
    return day.strftime(_MONTH)


def months_between(since: date, until: date) -> Iterator[str]:
    """Yield each month that has one of these days, oldest first."""
    day = since.replace(day=1)
    while day <= until:
        yield month_of(day)
        # 31 days after the first of a month is a day of the next month, however long this one is
        day = (day + timedelta(31)).replace(day=1)


def document_of(counts: Mapping[NormalizedName, ProjectCounts]) -> CountsDocument:
    """Return the document of a batch with these counts."""
    return CountsDocument({name: encode_counts(counts[name]) for name in sorted(counts)})


def by_month(document: CountsDocument) -> dict[str, dict[NormalizedName, ProjectCounts]]:
    """
    Return the counts of a batch by month and project.

    Raises Unavailable if they are damaged.
    """
    months = dict[str, dict[NormalizedName, ProjectCounts]]()
    for name in document.projects:
        for key, number in document.counts(name).items():
            projects = months.setdefault(month_of(key.day), {})
            projects.setdefault(name, ProjectCounts())[key] += number
    return months
