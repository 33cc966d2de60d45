"""Advisories in the OSV format: which versions of a page they are about."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import reduce
from itertools import accumulate
from operator import or_
from typing import Final, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelyard.model.decoding import escaped

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
    """The ranges, separated by empty lines. Each line is the name of an event and a version."""


class Hit(Struct, frozen=True):
    """The advisories about one affected version."""

    advisories: tuple[Advisory, ...]
    clean_after: str
    """The next version that no advisory is about, and no pre-release, or an empty text."""


class AdvisoryTable(Struct, frozen=True):
    """All advisories that count, by project."""

    generation: str
    """Changes with the content."""
    by_name: Mapping[NormalizedName, tuple[Advisory, ...]] = {}

    def hits(self, name: NormalizedName, versions: Iterable[str]) -> dict[str, Hit]:
        """Return, by version, a hit for each of some normalised versions that is affected."""
        advisories = self.by_name.get(name)
        return _Releases(versions).hits(advisories) if advisories else {}


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
        self._texts = [text for text in dict.fromkeys(texts) if self._parse(text) is not None]
        self._bits = dict[Version, int]()
        for number, text in enumerate(self._texts):
            version = Version(text)
            # a range or list with 2.0 is about 2.0+cpu, too
            for form in {version, Version(version.public)}:
                self._bits[form] = self._bits.get(form, 0) | 1 << number
        self._public = sorted(version for version in self._bits if version.local is None)
        bits = (self._bits[version] for version in self._public)
        self._below = list(accumulate(bits, or_, initial=0))
        """The bits of all versions before each position."""

    def hits(self, advisories: Iterable[Advisory]) -> dict[str, Hit]:
        """Return a hit for each affected version."""
        pairs = [(advisory, self._affected_by(advisory)) for advisory in advisories]
        any_affected = reduce(or_, (affected for _, affected in pairs), 0)
        clean, hits = "", dict[str, Hit]()
        for version in reversed(self._public):  # from the newest, so that `clean` is a later one
            bits = self._bits[version]
            if not bits & any_affected:
                clean = clean if version.is_prerelease else self._text(bits)
            rest = bits & any_affected
            while rest:
                bit = rest & -rest  # the lowest one that is set
                about = tuple(advisory for advisory, affected in pairs if affected & bit)
                hits[self._text(bit)] = Hit(about, clean)
                rest ^= bit
        return hits

    def _text(self, bits: int) -> str:
        """Return the first of some versions."""
        return self._texts[(bits & -bits).bit_length() - 1]

    def _affected_by(self, advisory: Advisory) -> int:
        """Return the bits of the versions that an advisory is about."""
        affected = 0
        for text in advisory.versions.splitlines():
            version = self._parse(text)
            affected |= self._bits.get(version, 0) if version else 0
        for text in filter(None, advisory.ranges.split("\n\n")):
            for start, stop in self._intervals(text):
                affected |= self._below[max(start, stop)] & ~self._below[start]
        return affected

    def _intervals(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what a range covers of the public versions, by the algorithm of the OSV schema."""
        pairs = [line.partition(" ")[::2] for line in text.splitlines()]
        end, start = self._limit(pairs), None
        for event, version in self._sorted_events(pairs):
            if event == "introduced":
                at = bisect_left(self._public, version) if version else 0
                start = at if start is None else start
            elif start is not None and version:
                cut = bisect_left if event == "fixed" else bisect_right
                yield start, min(cut(self._public, version), end)
                start = None
        if start is not None:
            yield start, end

    def _sorted_events(self, pairs: list[tuple[str, str]]) -> list[tuple[str, Version | None]]:
        """
        Return the events in order.

        The version of an `introduced` is None for the first version of all.
        """
        # what cannot be parsed is taken so that more versions are affected, not fewer
        first = [("introduced", None)] if self._begins_at_first(pairs) else []
        events = [(event, self._parse(version)) for event, version in pairs if event in _ORDER]
        later = [(event, version) for event, version in events if version is not None]
        return [*first, *sorted(later, key=lambda event: (event[1], _ORDER[event[0]]))]

    def _begins_at_first(self, pairs: list[tuple[str, str]]) -> bool:
        begins = [version for event, version in pairs if event == "introduced"]
        return not begins or any(text == "0" or self._parse(text) is None for text in begins)

    def _limit(self, pairs: list[tuple[str, str]]) -> int:
        parsed = [self._parse(version) for event, version in pairs if event == "limit"]
        limits = [version for version in parsed if version is not None]
        if not limits or len(limits) < len(parsed):  # one of them is `*`
            return len(self._public)
        return bisect_left(self._public, max(limits))

    def _parse(self, text: str) -> Version | None:
        if text not in self._parsed:
            self._parsed[text] = _version_or_none(text)
        return self._parsed[text]


def _version_or_none(text: str) -> Version | None:
    with suppress(InvalidVersion, ValueError):
        return Version(text)
    return None


ECOSYSTEM: Final = "PyPI"
MALICIOUS: Final = "MAL-"
LOWEST_SCORES: Final = {"LOW": 0.1, "MODERATE": 4.0, "MEDIUM": 4.0, "HIGH": 7.0, "CRITICAL": 9.0}
"""The lowest score of each rating of CVSS. It counts for an entry that has a rating alone."""

T = TypeVar("T")


class _Event(Struct):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None
    limit: str | None = None


class _Range(Struct):
    type: str = ""
    events: tuple[_Event, ...] | None = None


class _Package(Struct):
    ecosystem: str = ""
    name: str = ""


class _Severity(Struct):
    type: str = ""
    score: str = ""


class _Affected(Struct):
    package: _Package | None = None
    ranges: tuple[_Range, ...] | None = None
    versions: tuple[str, ...] | None = None
    severity: tuple[_Severity, ...] | None = None


class _Rating(Struct):
    severity: str = ""


class _Entry(Struct):
    id: str
    withdrawn: str | None = None
    aliases: tuple[str, ...] | None = None
    severity: tuple[_Severity, ...] | None = None
    affected: tuple[_Affected, ...] | None = None
    database_specific: Raw = Raw(b"null")


_ENTRY: Final = Decoder(_Entry)
_LIST: Final = Decoder(list[Raw])
_RATING: Final = Decoder(_Rating)


class OsvReader(Struct):
    """Reads entries, and keeps those about malware, and vulnerabilities of at least `min_cvss`."""

    min_cvss: float
    """If it is 0, vulnerabilities do not count at all."""
    by_name: dict[NormalizedName, list[Advisory]] = {}
    entries: int = 0
    """How many usable entries were read, of any ecosystem."""
    skipped: int = 0
    """How many entries cannot be used, and files that cannot be read."""
    first_skipped: str = ""
    """Where the first of them is, and what is wrong with it, or an empty text."""
    _scores: dict[tuple[str, str], float] = {}

    def read(self, body: bytes, where: str) -> None:
        """
        Add the advisories of one entry, or of a list of entries, without those that are malformed.

        `where` is the name of the file.
        """
        try:
            entries = _LIST.decode(body) if body.lstrip()[:1] == b"[" else [Raw(body)]
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.skip(where, f"it is no OSV entry in JSON: {error}")
            return
        for entry in entries:
            try:
                self._add(_ENTRY.decode(entry))
            except (DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.skip(where, f"it is no OSV entry in JSON: {error}")

    def skip(self, where: str, why: str) -> None:
        """Count an entry, or a file, that cannot be used."""
        self.skipped += 1
        self.first_skipped = self.first_skipped or f"{escaped(where)}: {why}"

    def _add(self, entry: _Entry) -> None:
        self.entries += 1
        if entry.withdrawn is not None:
            return
        ids = (entry.id, *_list(entry.aliases))
        is_malicious = any(text.startswith(MALICIOUS) for text in ids)
        if not is_malicious and not self.min_cvss:
            return
        for affected in _list(entry.affected):
            package = affected.package
            if package is None or package.ecosystem.partition(":")[0] != ECOSYSTEM:
                continue
            score = self._score(entry, affected) if self.min_cvss else 0.0
            if not is_malicious and score < self.min_cvss:
                continue
            versions, ranges = _affected_texts(affected)
            if is_malicious and not ranges and not versions:  # so is the whole project
                ranges = EVERYTHING
            advisory = Advisory(entry.id, is_malicious, score, versions, ranges)
            self.by_name.setdefault(canonicalize_name(package.name), []).append(advisory)

    def _score(self, entry: _Entry, affected: _Affected) -> float:
        """Return the highest base score of an entry, else that of its rating, else 0.0."""
        severities = [*_list(entry.severity), *_list(affected.severity)]
        scores = [self._base_score(severity.type, severity.score) for severity in severities]
        if any(scores):
            return max(scores)
        with suppress(DecodeError):
            rating = _RATING.decode(entry.database_specific).severity
            return LOWEST_SCORES.get(rating.upper(), 0.0)
        return 0.0

    def _base_score(self, kind: str, vector: str) -> float:
        key = kind, vector
        if key not in self._scores:  # thousands of entries share some hundreds of vectors
            self._scores[key] = base_score(kind, vector)
        return self._scores[key]


def base_score(kind: str, vector: str) -> float:
    """
    Return the base score of a vector, or 0.0 if it is malformed.

    `kind` is `CVSS_V2`, `CVSS_V3` or `CVSS_V4`. Any other one has the score 0.0.
    """
    # imported only if vulnerabilities count: it is a twentieth of a start
    from cvss import CVSS2, CVSS3, CVSS4  # noqa: PLC0415
    from cvss.exceptions import CVSSError  # noqa: PLC0415

    classes = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
    if kind not in classes:
        return 0.0
    try:
        return float(classes[kind](vector).base_score)
    except CVSSError:
        return 0.0


def _affected_texts(affected: _Affected) -> tuple[str, str]:
    """Return `versions` and `ranges` of an advisory."""
    ranges = (_events(part) for part in _list(affected.ranges) if part.type == "ECOSYSTEM")
    return "\n".join(_list(affected.versions)), "\n\n".join(map("\n".join, ranges))


def _events(affected: _Range) -> Iterator[str]:
    for event in _list(affected.events):
        for name, version in asdict(event).items():
            if version is not None:
                yield f"{name} {' '.join(version.split())}"


def _list(values: tuple[T, ...] | None) -> tuple[T, ...]:
    """Return a list that may be null, as many databases write an empty one."""
    return values or ()
