"""How often the files of a project were downloaded in a time: by day and version."""

from collections import Counter
from datetime import date, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.json import encode

KEPT_DAYS: Final = 400
"""How long counts are kept, at least."""
SHOWN_DAYS: Final = 30
"""The days that are shown unless others are asked for."""
FREQUENT_VERSIONS: Final = 5
"""How many versions a report has by day. A project may have thousands."""


class DownloadKey(NamedTuple):  # there may be many thousands
    """What is counted: downloads of one version, on one day."""

    day: date
    """In UTC."""
    version: str
    """Empty in an overflow: too many versions were downloaded in an hour to count each of them."""


ProjectCounts = Counter[DownloadKey]
"""The downloads of the files of one project."""


class CountByDay(Struct, frozen=True):
    """The downloads on one day."""

    day: date
    downloads: int


class CountByVersion(Struct, frozen=True):
    """The downloads of one version."""

    version: str
    """Empty if the server did not count by version, as too many were downloaded at once."""
    downloads: int
    last: date
    """The day of the last one."""


class VersionDays(Struct, frozen=True):
    """The downloads of one version on each day."""

    version: str
    downloads: tuple[int, ...]
    """As many as the report has days."""


class DownloadReport(Struct, frozen=True, kw_only=True):
    """The downloads of a project in some days, the last of which is today."""

    days: tuple[CountByDay, ...]
    """Each day, also without downloads, oldest first."""
    downloads: int
    last: date | None
    """The day of the last download in this time, or None without one."""
    versions: tuple[CountByVersion, ...]
    """The most frequent first."""
    frequent: tuple[VersionDays, ...]
    """The first `FREQUENT_VERSIONS` of them that have a name."""

    @property
    def digest(self) -> str:
        """A text that equal reports have in common, and others do not."""
        return sha256(encode(self)).hexdigest()[:16]

    @property
    def since(self) -> date:
        """The first day."""
        return self.days[0].day


def report_of(counts: ProjectCounts, today: date, days: int) -> DownloadReport:
    """
    Return the report on `days` days, which is at least 1, of which `today` is the last.

    Counts of earlier days are left out, and those of later days count as of today.
    """
    since = today - timedelta(days - 1)
    recent = ProjectCounts()
    for key, number in counts.items():
        day = min(key.day, today)  # the clock of another server may be ahead
        if day >= since:
            recent[DownloadKey(day, key.version)] += number
    by_day = Counter[date]()
    by_version = Counter[str]()
    last = dict[str, date]()
    for (day, version), number in recent.items():
        by_day[day] += number
        last[version] = max(day, last.get(version, day))
        by_version[version] += number
    versions = list[CountByVersion]()
    for version, downloads in by_version.items():
        versions.append(CountByVersion(version, downloads, last[version]))

    # by name among equals, so that two servers make the same page of the same counts
    versions.sort(key=lambda count: (-count.downloads, count.version))
    frequent = [count.version for count in versions if count.version][:FREQUENT_VERSIONS]
    numbers_of = {version: [0] * days for version in frequent}
    for (day, version), number in recent.items():
        if version in numbers_of:
            numbers_of[version][(day - since).days] += number

    # a figure needs each day, and a counter has only those with downloads
    count_by_day = list[CountByDay]()
    for offset in range(days):
        day = since + timedelta(offset)
        count_by_day.append(CountByDay(day, by_day[day]))
    return DownloadReport(
        days=tuple(count_by_day),
        downloads=by_day.total(),
        last=max(last.values(), default=None),
        versions=tuple(versions),
        frequent=tuple(VersionDays(name, tuple(numbers)) for name, numbers in numbers_of.items()),
    )
