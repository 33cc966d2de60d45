"""Advisories in the OSV format: which versions of a page they are about."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from wheelyard.model.decoding import escaped

ECOSYSTEM: Final = "PyPI"
MALICIOUS: Final = "MAL-"
"""Begins the ids of entries about malware, and their aliases in entries of other databases."""
LOWEST_SCORES: Final = {"LOW": 0.1, "MODERATE": 4.0, "MEDIUM": 4.0, "HIGH": 7.0, "CRITICAL": 9.0}
"""The lowest score of each rating of CVSS. It counts for an entry that has a rating alone."""
EVERYTHING: Final = "introduced 0"
"""A range of all versions."""
_ORDER: Final = {"fixed": 0, "introduced": 1, "last_affected": 2}
"""Which event comes first of two at the same version, so that none of them is overlooked."""

T = TypeVar("T")
_LIST: Final = Decoder(list[Raw])


class Advisory(Struct, frozen=True, gc=False):
    """An entry of an OSV database, as far as it is about one project."""

    id: str
    is_malicious: bool
    score: float
    """The CVSS base score. 0.0 if the entry has none."""
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
        if not advisories:
            return {}
        return _Releases(versions).hits(advisories)


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
        """In order, also those of which there are local versions alone."""
        self._below = [0]
        """The bits of all versions before each position of `_public`."""
        for version in self._public:
            self._below.append(self._below[-1] | self._bits[version])

    def hits(self, advisories: Iterable[Advisory]) -> dict[str, Hit]:
        """Return a hit for each affected version."""
        affected_by = list[tuple[Advisory, int]]()
        any_affected = 0
        for advisory in advisories:
            affected = self._affected_by(advisory)
            affected_by.append((advisory, affected))
            any_affected |= affected
        hits = dict[str, Hit]()
        clean_after = ""

        # from the newest, so that `clean_after` is a later one
        for version in reversed(self._public):
            bits = self._bits[version]
            if not bits & any_affected and not version.is_prerelease:
                clean_after = self._text(bits)
            remaining = bits & any_affected
            while remaining:
                bit = remaining & -remaining  # the lowest one that is set
                about = tuple(advisory for advisory, affected in affected_by if affected & bit)
                hits[self._text(bit)] = Hit(about, clean_after)
                remaining ^= bit
        return hits

    def _text(self, bits: int) -> str:
        """Return the first of some versions."""
        return self._texts[(bits & -bits).bit_length() - 1]

    def _affected_by(self, advisory: Advisory) -> int:
        """Return the bits of the versions that an advisory is about."""
        # the union of both, as the OSV schema says: a version may be listed or in a range
        affected = 0
        for text in advisory.versions.splitlines():
            version = self._parse(text)
            if version is not None:
                affected |= self._bits.get(version, 0)
        for text in filter(None, advisory.ranges.split("\n\n")):
            for start, stop in self._intervals(text):
                affected |= self._below[max(start, stop)] & ~self._below[start]
        return affected

    def _intervals(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what a range covers of the public versions, by the algorithm of the OSV schema."""
        events = list[tuple[str, str]]()
        for line in text.splitlines():
            event, _, version_text = line.partition(" ")
            events.append((event, version_text))
        end = self._limit(events)
        start: int | None = None
        for event, version in self._sorted_events(events):
            if event == "introduced":
                if start is None:  # else the range has not ended since the last one
                    start = bisect_left(self._public, version) if version else 0
            elif start is not None and version:
                if event == "fixed":  # the first version that is not affected
                    stop = bisect_left(self._public, version)
                else:  # `last_affected`: the last one that is
                    stop = bisect_right(self._public, version)
                yield start, min(stop, end)
                start = None
        if start is not None:
            yield start, end

    def _sorted_events(self, events: list[tuple[str, str]]) -> list[tuple[str, Version | None]]:
        """
        Return the events in the order of their versions.

        The version of an `introduced` is None for the first version of all.
        """
        parsed = list[tuple[Version, str]]()
        for event, text in events:
            if event in _ORDER:
                version = self._parse(text)
                if version is not None:
                    parsed.append((version, event))
        parsed.sort(key=lambda pair: (pair[0], _ORDER[pair[1]]))
        ordered = list[tuple[str, Version | None]]()
        # what cannot be parsed is taken so that more versions are affected, not fewer
        if self._begins_at_first(events):
            ordered.append(("introduced", None))
        ordered += [(event, version) for version, event in parsed]
        return ordered

    def _begins_at_first(self, events: list[tuple[str, str]]) -> bool:
        """Return whether a range begins with the first version of all."""
        begins = [text for event, text in events if event == "introduced"]
        if not begins:
            return True
        return any(text == "0" or self._parse(text) is None for text in begins)

    def _limit(self, events: list[tuple[str, str]]) -> int:
        """Return the position before which all that a range covers is."""
        limits = list[Version]()
        for event, text in events:
            if event == "limit":
                version = self._parse(text)
                if version is None:  # `*`, which is no limit
                    return len(self._public)
                limits.append(version)
        if not limits:
            return len(self._public)
        return bisect_left(self._public, max(limits))

    def _parse(self, text: str) -> Version | None:
        """Return a version, which many advisories of a project name, or None if it is none."""
        if text not in self._parsed:
            self._parsed[text] = _version_or_none(text)
        return self._parsed[text]


def _version_or_none(text: str) -> Version | None:
    with suppress(InvalidVersion, ValueError):
        return Version(text)
    return None


# the parts of an entry that are read, by the names of the OSV schema
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
        Add the advisories of one entry, or of a list of them, and count those that are malformed.

        `where` is the name of the file.
        """
        # each entry is decoded by itself, so that a malformed one does not hide the others
        try:
            is_list = body.lstrip()[:1] == b"["
            entries = _LIST.decode(body) if is_list else [Raw(body)]
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
        """Add what an entry says of projects, if it counts."""
        # also one that does not count: by their number a database is compared with the last one
        self.entries += 1
        if entry.withdrawn is not None:
            return
        ids = [entry.id]
        ids += _list(entry.aliases)
        is_malicious = any(text.startswith(MALICIOUS) for text in ids)
        if not is_malicious and not self.min_cvss:
            return
        for affected in _list(entry.affected):
            package = affected.package
            if package is None or package.ecosystem.partition(":")[0] != ECOSYSTEM:
                continue
            score = 0.0
            if self.min_cvss:
                score = self._score(entry, affected)
            if not is_malicious and score < self.min_cvss:
                continue
            versions, ranges = _affected_texts(affected)
            if is_malicious and not ranges and not versions:  # so is the whole project
                ranges = EVERYTHING
            advisory = Advisory(entry.id, is_malicious, score, versions, ranges)
            self.by_name.setdefault(canonicalize_name(package.name), []).append(advisory)

    def _score(self, entry: _Entry, affected: _Affected) -> float:
        """Return the highest base score of an entry, else that of its rating, else 0.0."""
        severities = _list(entry.severity) + _list(affected.severity)
        scores = [self._base_score(severity.type, severity.score) for severity in severities]
        if any(scores):
            return max(scores)
        with suppress(DecodeError):  # what a database adds there is its own affair
            rating = _RATING.decode(entry.database_specific).severity
            return LOWEST_SCORES.get(rating.upper(), 0.0)
        return 0.0

    def _base_score(self, kind: str, vector: str) -> float:
        """Return the base score of a vector, or 0.0 if it is malformed."""
        key = (kind, vector)
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
    versions = "\n".join(_list(affected.versions))
    # ranges of other types are about commits of a repository, or versions by another rule
    ranges = [
        "\n".join(_events(affected_range))
        for affected_range in _list(affected.ranges)
        if affected_range.type == "ECOSYSTEM"
    ]
    return versions, "\n\n".join(ranges)


def _events(affected: _Range) -> Iterator[str]:
    """Yield the events of a range, each as its name and a version."""
    for event in _list(affected.events):
        for name, version in asdict(event).items():
            if version is not None:
                yield f"{name} {' '.join(version.split())}"


def _list(values: tuple[T, ...] | None) -> tuple[T, ...]:
    """Return a list that may be null, as many databases write an empty one."""
    return values or ()
