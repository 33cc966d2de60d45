"""The stored documents of counts, and what is added up of them."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder, encode
from packaging.utils import NormalizedName

from wheelyard.catalog.document_cache import Codec, damaged, gunzipped, gzipped
from wheelyard.catalog.keys import DownloadBatch
from wheelyard.model.downloads import DownloadKey, ProjectCounts
from wheelyard.storage.base import Key

MAX_BYTES: Final = 256 * 1024**2
"""The largest document that is read, without its compression."""

_Stored = dict[str, dict[str, dict[str, dict[date, Annotated[int, Meta(ge=1)]]]]]
"""The downloads of a project by version, filename, installer and day."""
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
        raw = self.projects.get(name)
        return ProjectCounts() if raw is None else _decode(name, raw)

    def days_of_files(self) -> Iterator[tuple[NormalizedName, str, date, date]]:
        """
        Yield each project and filename with the first and the last day of its downloads.

        The filename is empty for downloads that were counted by project alone. Raises Unavailable
        if counts are damaged.
        """
        for name, raw in self.projects.items():
            for files in _stored(name, raw).values():
                for filename, installers in files.items():
                    days = [day for by_day in installers.values() for day in by_day]
                    yield name, filename, min(days), max(days)


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
    stored: dict[str, dict[str, dict[str, dict[date, int]]]] = {}
    for key, number in sorted(counts.items()):
        by_file = stored.setdefault(key.version, {})
        by_file.setdefault(key.filename, {}).setdefault(key.installer, {})[key.day] = number
    return Raw(encode(stored))


def _stored(name: NormalizedName, raw: Raw) -> _Stored:
    try:
        return _PROJECT.decode(raw)
    except DecodeError as error:
        raise damaged(f"The counts of downloads of {name} are damaged.") from error


def _decode(name: NormalizedName, raw: Raw) -> ProjectCounts:
    counts = ProjectCounts()
    for version, files in _stored(name, raw).items():
        for filename, installers in files.items():
            for installer, days in installers.items():
                for day, number in days.items():
                    counts[DownloadKey(day, version, filename, installer)] = number
    return counts


@cache
def month_of(day: date) -> str:
    """Return the month of a day: `2026-01`."""
    return day.strftime(_MONTH)


def months_between(since: date, until: date) -> Iterator[str]:
    """Yield each month that has one of these days, oldest first."""
    day = since.replace(day=1)
    while day <= until:
        yield month_of(day)
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
