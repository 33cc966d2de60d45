"""The stored documents of download counts, those of batches and those of months, as bytes."""

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
_StoredCounts = dict[str, dict[str, dict[str, dict[date, Annotated[int, Meta(ge=1)]]]]]
"""The downloads of a project by version, `FILE`, `INSTALLER` and day."""
_COUNTS_DECODER: Final = Decoder(_StoredCounts)
_MONTH_FORMAT: Final = "%Y-%m"


class CountsDocument(Struct, frozen=True, omit_defaults=True):
    """The document of a batch or a month: counts by project, each decoded when it is needed."""

    projects: dict[NormalizedName, Raw]
    folded: dict[str, tuple[int, date]] = {}
    """
    In a month, by process: the number of the last batch that was added, and the day of that.

    The month has all batches of the process up to this number.
    """

    def has(self, batch: DownloadBatch) -> bool:
        """Return whether this month has the counts of a batch already."""
        folded_of_process = self.folded.get(batch.process)
        if folded_of_process is None:
            return False
        last_number, _ = folded_of_process
        return batch.number <= last_number

    def counts(self, name: NormalizedName) -> ProjectCounts:
        """
        Return the counts of a project, which are empty if the document does not have it.

        Raises Unavailable if the counts are damaged.
        """
        counts = ProjectCounts()
        if name in self.projects:
            for version, day, number in self.numbers(name):
                counts[DownloadKey(day, version)] += number
        return counts

    def numbers(self, name: NormalizedName) -> Iterator[tuple[str, date, int]]:
        """
        Yield each stored number of a project's downloads, with its version and day.

        The document has to have the project. A version and a day may come together several times.
        Raises Unavailable if the counts are damaged.
        """
        for version, counts_by_file in _decode_counts(name, self.projects[name]).items():
            for counts_by_day in _counts_by_day(counts_by_file):
                for day, number in counts_by_day.items():
                    yield version, day, number

    def folded_projects(self) -> dict[NormalizedName, Raw]:
        """
        Return the counts of all projects, encoded as this version of the code stores them.

        Damaged counts are returned as they are.
        """
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
            for version, counts_by_file in _decode_counts(name, raw).items():
                days = set[date]()
                for counts_by_day in _counts_by_day(counts_by_file):
                    days.update(counts_by_day)
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
    stored_counts = _StoredCounts()
    # sorted, so that the bytes do not depend on the order of the downloads
    for key, number in sorted(counts.items()):
        counts_by_file = stored_counts.setdefault(key.version, {FILE: {INSTALLER: {}}})
        counts_by_file[FILE][INSTALLER][key.day] = number
    return Raw(encode(stored_counts))


def _decode_counts(name: NormalizedName, raw: Raw) -> _StoredCounts:
    """Return the stored counts of a project, or raise Unavailable if they are damaged."""
    try:
        return _COUNTS_DECODER.decode(raw)
    except DecodeError as error:
        raise damaged(f"The counts of downloads of {name} are damaged.") from error


def _counts_by_day(
    counts_by_file: Mapping[str, Mapping[str, dict[date, int]]],
) -> Iterator[dict[date, int]]:
    """Yield the downloads by day of each file and installer of a version."""
    for counts_by_installer in counts_by_file.values():
        yield from counts_by_installer.values()


@cache
def month_of(day: date) -> str:
    """Return the month of a day: `2026-01`."""
    return day.strftime(_MONTH_FORMAT)


def months_between(since: date, until: date) -> Iterator[str]:
    """Yield each month from that of one day to that of another, oldest first."""
    day = since.replace(day=1)
    while day <= until:
        yield month_of(day)
        # 31 days after the first day of any month is a day of the next month
        day = (day + timedelta(31)).replace(day=1)


def document_of(counts: Mapping[NormalizedName, ProjectCounts]) -> CountsDocument:
    """Return the document of a batch with these counts."""
    return CountsDocument({name: encode_counts(counts[name]) for name in sorted(counts)})


def by_month(document: CountsDocument) -> dict[str, dict[NormalizedName, ProjectCounts]]:
    """
    Return the counts of a batch by month and project.

    Raises Unavailable if the counts of a project are damaged.
    """
    months = dict[str, dict[NormalizedName, ProjectCounts]]()
    for name in document.projects:
        for key, number in document.counts(name).items():
            projects = months.setdefault(month_of(key.day), {})
            projects.setdefault(name, ProjectCounts())[key] += number
    return months
