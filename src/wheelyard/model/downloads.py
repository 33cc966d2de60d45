"""How often the files of a project were downloaded in a time: by day and version."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.json import encode

KEPT_DAYS: Final = 400
"""How long counts are kept, at least."""
SHOWN_DAYS: Final = 30
"""How many days a report has unless another number is asked for."""
FREQUENT_VERSIONS: Final = 5
"""How many versions a report has by day. A project may have thousands."""


class DownloadKey(NamedTuple):  # there may be many thousands
    """What is counted: downloads of one version, on one day."""

    day: date
    """The day in UTC."""
    version: str
    """Empty if too many versions were downloaded in an hour to count each version."""


ProjectCounts = Counter[DownloadKey]
"""The downloads of the files of one project."""


class CountByDay(Struct, frozen=True):
    """The downloads on one day."""

    day: date
    downloads: int


class CountByVersion(Struct, frozen=True):
    """The downloads of one version."""

    version: str
    """
    The version, or an empty text for downloads that the server did not count by version, as too
    many versions were downloaded at once.
    """
    downloads: int
    last: date
    """The day of the last download of the version."""


class VersionDays(Struct, frozen=True):
    """The downloads of one version on each day."""

    version: str
    downloads: tuple[int, ...]
    """The downloads on each day of the report."""


class DownloadReport(Struct, frozen=True, kw_only=True):
    """The downloads of a project on a number of days, of which the last is today."""

    days: tuple[CountByDay, ...]
    """Each day, also without downloads, oldest first."""
    downloads: int
    last: date | None
    """The day of the last download in this time, or None without one."""
    versions: tuple[CountByVersion, ...]
    """The most frequent first."""
    frequent: tuple[VersionDays, ...]
    """The most frequent versions with a name, at most `FREQUENT_VERSIONS`, by day."""

    @property
    def digest(self) -> str:
        """A text that only equal reports have in common."""
        return sha256(encode(self)).hexdigest()[:16]

    @property
    def since(self) -> date:
        """The first day of the report."""
        return self.days[0].day


def report_of(counts: ProjectCounts, today: date, days: int) -> DownloadReport:
    """
    Return the report on `days` days, which is at least 1, of which `today` is the last.

    Counts of earlier days are left out. Counts of later days count as of today.
    """
    first_day = today - timedelta(days - 1)
    recent_counts = ProjectCounts()
    for key, number in counts.items():
        day = min(key.day, today)  # the clock of another server may be ahead
        if day >= first_day:
            recent_counts[DownloadKey(day, key.version)] += number
    versions = _counts_by_version(recent_counts)
    frequent_versions = [count.version for count in versions if count.version][:FREQUENT_VERSIONS]
    days_with_downloads = [key.day for key in recent_counts]
    return DownloadReport(
        days=_counts_by_day(recent_counts, first_day, days),
        downloads=recent_counts.total(),
        last=max(days_with_downloads, default=None),
        versions=versions,
        frequent=_days_of_versions(recent_counts, frequent_versions, first_day, days),
    )


def _counts_by_day(counts: ProjectCounts, first_day: date, days: int) -> tuple[CountByDay, ...]:
    """Return the downloads on each of `days` days, also on a day without downloads."""
    downloads_on = Counter[date]()
    for key, number in counts.items():
        downloads_on[key.day] += number
    count_by_day = list[CountByDay]()
    for offset in range(days):
        day = first_day + timedelta(offset)
        count_by_day.append(CountByDay(day, downloads_on[day]))
    return tuple(count_by_day)


def _counts_by_version(counts: ProjectCounts) -> tuple[CountByVersion, ...]:
    """Return the downloads of each version, the most frequent version first."""
    downloads_of = Counter[str]()
    last_day_of = dict[str, date]()
    for key, number in counts.items():
        downloads_of[key.version] += number
        last_day_of[key.version] = max(key.day, last_day_of.get(key.version, key.day))
    versions = list[CountByVersion]()
    for version, downloads in downloads_of.items():
        versions.append(CountByVersion(version, downloads, last_day_of[version]))
    # by name among equals, so that two servers make the same page of the same counts
    versions.sort(key=lambda count: (-count.downloads, count.version))
    return tuple(versions)


def _days_of_versions(
    counts: ProjectCounts, versions: Sequence[str], first_day: date, days: int
) -> tuple[VersionDays, ...]:
    """Return the downloads of some versions on each of `days` days, in the order of `versions`."""
    numbers_of = {version: [0] * days for version in versions}
    for key, number in counts.items():
        if key.version in numbers_of:
            numbers_of[key.version][(key.day - first_day).days] += number
    version_days = list[VersionDays]()
    for version, numbers in numbers_of.items():
        version_days.append(VersionDays(version, tuple(numbers)))
    return tuple(version_days)
