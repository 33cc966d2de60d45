"""How often the files of a project were downloaded in a time: by day, version and installer."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.json import encode

KEPT_DAYS: Final = 400
"""How long counts are kept, at least."""
SHOWN_DAYS: Final = 30
"""The days that are shown unless others are asked for."""
OTHER_INSTALLERS: Final = "other"
"""What is counted for programs that `installer_of` does not know."""
_NAMES: Final[Mapping[str, str]] = {
    **{
        name: name
        for name in (
            *("pip", "uv", "poetry", "pdm", "unearth", "hatch", "pipenv", "pipx", "pex", "pixi"),
            *("bandersnatch", "conda", "curl", "wget", "renovate", "buildout", "setuptools"),
        )
    },
    "devpi-server": "devpi",
    "devpi-client": "devpi",
    "artifactory": "Artifactory",
    "nexus": "Nexus",
    "wheelyard": "wheelyard",
    "python-requests": "requests",
    "python-httpx": "httpx",
    "python-urllib": "urllib",
    "mozilla": "browser",
}
"""The names of programs in User-Agent, in lower case, and how they are counted."""
_WITHOUT_VERSION: Final = frozenset({"browser"})
_AGENT: Final = re.compile(r"([A-Za-z][A-Za-z-]{0,31})/?(?:([0-9]{1,2})\.([0-9]{1,2})(?![0-9]))?")


def installer_of(user_agent: bytes) -> str:
    """
    Return the program that a User-Agent names, with major and minor version: `pip 26.3`.

    There are few different results: programs that are not known are `OTHER_INSTALLERS`.
    """
    match = _AGENT.match(user_agent[:64].decode("latin-1"))
    name = _NAMES.get(match[1].lower(), "") if match else ""
    if match is None or not name:
        return OTHER_INSTALLERS
    if match[2] is None or name in _WITHOUT_VERSION:
        return name
    return f"{name} {int(match[2])}.{int(match[3])}"


class DownloadKey(NamedTuple):  # there may be many thousands
    """What is counted: downloads of one file, on one day, by one installer."""

    day: date
    """In UTC."""
    version: str
    """Empty in an overflow: too many files were downloaded in an hour to count each of them."""
    filename: str
    installer: str


ProjectCounts = Counter[DownloadKey]
"""The downloads of the files of one project."""


class CountByInstaller(Struct, frozen=True):
    """The downloads by one installer."""

    installer: str
    """Such as `pip 26.3`, or `other`."""
    downloads: int


class CountByDay(Struct, frozen=True):
    """The downloads on one day."""

    day: date
    downloads: int


class CountByVersion(Struct, frozen=True):
    """The downloads of one version."""

    version: str
    """Empty if the server did not count by version, as too many files were downloaded at once."""
    downloads: int
    last: date
    """The day of the last one."""
    installers: tuple[CountByInstaller, ...]
    """The most frequent first."""


class DownloadReport(Struct, frozen=True, kw_only=True):
    """The downloads of a project in some days, the last of which is today."""

    days: tuple[CountByDay, ...]
    """Each day, also without downloads, oldest first."""
    downloads: int
    last: date | None
    """The day of the last download in this time, or None without one."""
    versions: tuple[CountByVersion, ...]
    """The most frequent first."""
    installers: tuple[CountByInstaller, ...]
    """The most frequent first."""

    @property
    def digest(self) -> str:
        """A text that equal reports have in common, and others do not."""
        return sha256(encode(self)).hexdigest()[:16]

    @property
    def since(self) -> date:
        """The first day."""
        return self.days[0].day


def report_of(counts: ProjectCounts, today: date, days: int) -> DownloadReport:
    """Return the report on `days` days, which is at least 1, of which `today` is the last."""
    since = today - timedelta(days - 1)
    by_day, last = Counter[date](), dict[str, date]()
    by_version, by_installer = dict[str, Counter[str]](), Counter[str]()
    for key, number in counts.items():
        day = min(key.day, today)  # the clock of another server may be ahead
        if day >= since:
            by_day[day] += number
            last[key.version] = max(day, last.get(key.version, day))
            by_version.setdefault(key.version, Counter())[key.installer] += number
            by_installer[key.installer] += number
    versions = [
        CountByVersion(version, installers.total(), last[version], _most_frequent(installers))
        for version, installers in by_version.items()
    ]
    shown_days = (since + timedelta(number) for number in range(days))
    return DownloadReport(
        days=tuple(CountByDay(day, by_day[day]) for day in shown_days),
        downloads=by_day.total(),
        last=max(last.values(), default=None),
        versions=tuple(sorted(versions, key=lambda count: (-count.downloads, count.version))),
        installers=_most_frequent(by_installer),
    )


def _most_frequent(counts: Counter[str]) -> tuple[CountByInstaller, ...]:
    ordered = sorted(counts.items(), key=lambda count: (-count[1], count[0]))
    return tuple(CountByInstaller(installer, number) for installer, number in ordered)
