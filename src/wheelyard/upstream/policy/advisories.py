"""
Malicious and vulnerable versions of projects, and which versions of a page they are.

The lists of versions and ranges stay the texts of the OSV entry: tens of thousands of entries are
small in memory, and only those of projects that somebody asks for are parsed.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from itertools import accumulate
from operator import or_
from typing import Final

from msgspec import Struct
from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

EVERYTHING: Final = "introduced 0"
"""A range of all versions."""
_ORDER: Final = {"fixed": 0, "introduced": 1, "last_affected": 2}
"""Which event comes first of two at the same version, so that none of them is overlooked."""


class Advisory(Struct, frozen=True, gc=False):
    """An entry of an OSV database, as far as it is about one project."""

    id: str
    is_malicious: bool
    score: float
    """The CVSS base score; 0.0 if the entry has none."""
    versions: str = ""
    """The listed versions, one a line."""
    ranges: str = ""
    """The ranges, separated by empty lines; each line is the name of an event and a version."""


class Hit(Struct, frozen=True):
    """What is known of one affected version."""

    advisories: tuple[Advisory, ...]
    clean_after: str
    """The next version that no advisory is about, and no pre-release; empty if there is none."""


class AdvisoryTable(Struct, frozen=True):
    """All advisories that count, by project."""

    generation: str
    """Changes with the content."""
    by_name: Mapping[NormalizedName, tuple[Advisory, ...]] = {}

    def hits(self, name: NormalizedName, versions: Iterable[str]) -> dict[str, Hit]:
        """Return what is known of those of some normalised versions that are affected."""
        known = self.by_name.get(name)
        return _Releases(versions).hits(known) if known else {}


class _Releases:
    """
    The versions of a project in order, so that a range is two searches.

    A set of versions is a number with a bit for each of them: a project may have hundreds of
    versions, and hundreds of advisories that list most of these.

    A local version (`2.0+cpu`) is affected where its public version (`2.0`) is: it was built from
    the same source, and databases do not list local versions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._parsed = dict[str, Version | None]()
        self._texts = [each for each in dict.fromkeys(texts) if self._parse(each) is not None]
        self._bits = dict[Version, int]()
        for number, text in enumerate(self._texts):
            version = Version(text)
            for each in {version, Version(version.public)}:
                self._bits[each] = self._bits.get(each, 0) | 1 << number
        self._public = sorted(each for each in self._bits if each.local is None)
        bits = (self._bits[each] for each in self._public)
        self._below = list(accumulate(bits, or_, initial=0))
        """The bits of all versions before each position."""

    def hits(self, advisories: Iterable[Advisory]) -> dict[str, Hit]:
        """Return what is known of the affected versions."""
        pairs = [(each, self._affected_by(each)) for each in advisories]
        every = reduce(or_, (affected for _, affected in pairs), 0)
        clean, found = "", dict[str, Hit]()
        for version in reversed(self._public):
            bits = self._bits[version]
            if not bits & every:
                clean = clean if version.is_prerelease else self._text(bits)
            rest = bits & every
            while rest:
                bit = rest & -rest
                some = tuple(each for each, affected in pairs if affected & bit)
                found[self._text(bit)] = Hit(some, clean)
                rest ^= bit
        return found

    def _text(self, bits: int) -> str:
        """Return the first of some versions."""
        return self._texts[(bits & -bits).bit_length() - 1]

    def _affected_by(self, advisory: Advisory) -> int:
        found = 0
        for text in advisory.versions.splitlines():
            version = self._parse(text)
            found |= self._bits.get(version, 0) if version else 0
        for text in filter(None, advisory.ranges.split("\n\n")):
            for start, stop in self._intervals(text):
                found |= self._below[max(start, stop)] & ~self._below[start]
        return found

    def _intervals(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what a range covers of the public versions, by the algorithm of the OSV schema."""
        pairs = [line.partition(" ")[::2] for line in text.splitlines()]
        end, start = self._limit(pairs), None
        for event, version in self._sorted(pairs):
            if event == "introduced":
                at = bisect_left(self._public, version) if version else 0
                start = at if start is None else start
            elif start is not None and version:
                cut = bisect_left if event == "fixed" else bisect_right
                yield start, min(cut(self._public, version), end)
                start = None
        if start is not None:
            yield start, end

    def _sorted(self, pairs: list[tuple[str, str]]) -> list[tuple[str, Version | None]]:
        """Return the events in order; the version of an `introduced` is None for the first one."""
        # what cannot be parsed is taken so that more versions are affected, not fewer
        first = [("introduced", None)] if self._begins_at_first(pairs) else []
        events = [(event, self._parse(version)) for event, version in pairs if event in _ORDER]
        later = [(event, version) for event, version in events if version is not None]
        return [*first, *sorted(later, key=lambda each: (each[1], _ORDER[each[0]]))]

    def _begins_at_first(self, pairs: list[tuple[str, str]]) -> bool:
        begins = [version for event, version in pairs if event == "introduced"]
        return not begins or any(each == "0" or self._parse(each) is None for each in begins)

    def _limit(self, pairs: list[tuple[str, str]]) -> int:
        limits = [version for event, version in pairs if event == "limit"]
        parsed = [self._parse(each) for each in limits]
        known = [each for each in parsed if each is not None]
        if not known or len(known) < len(parsed):  # one of them is `*`
            return len(self._public)
        return bisect_left(self._public, max(known))

    def _parse(self, text: str) -> Version | None:
        if text not in self._parsed:
            self._parsed[text] = _parsed(text)
        return self._parsed[text]


def _parsed(text: str) -> Version | None:
    with suppress(InvalidVersion, ValueError):
        return Version(text)
    return None
