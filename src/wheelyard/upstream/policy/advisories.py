"""Reads advisories in the OSV format, and finds which versions of a page they are about."""

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
"""Begins the id of an entry about malware, which other databases name as an alias."""
LOWEST_SCORES: Final = {"LOW": 0.1, "MODERATE": 4.0, "MEDIUM": 4.0, "HIGH": 7.0, "CRITICAL": 9.0}
"""The lowest CVSS score of each rating, which counts for an entry that has only a rating."""
EVERYTHING: Final = "introduced 0"
"""A range of all versions."""
_ORDER: Final = {"fixed": 0, "introduced": 1, "last_affected": 2}
"""The order of events at the same version, by which no event is overlooked."""

T = TypeVar("T")
_LIST: Final = Decoder(list[Raw])


class Advisory(Struct, frozen=True, gc=False):
    """An entry of an OSV database, as far as it is about one project."""

    id: str
    is_malicious: bool
    score: float
    """The CVSS base score. 0.0 if the entry has none."""
    versions: str = ""
    """The listed versions, one on each line."""
    ranges: str = ""
    """The ranges, separated by empty lines. Each line has the name of an event and a version."""


class Hit(Struct, frozen=True):
    """The advisories about one affected version."""

    advisories: tuple[Advisory, ...]
    clean_after: str
    """The next version that is no pre-release and not affected, or an empty text without one."""


class AdvisoryTable(Struct, frozen=True):
    """All advisories that count, by project."""

    generation: str
    """Changes with the content."""
    by_name: Mapping[NormalizedName, tuple[Advisory, ...]] = {}

    def hits(self, name: NormalizedName, versions: Iterable[str]) -> dict[str, Hit]:
        """Return a hit for each normalised version that is affected, by version."""
        advisories = self.by_name.get(name)
        if not advisories:
            return {}
        return _Releases(versions).hits(advisories)


class _Releases:
    """
    The versions of a project in order, so that two searches find the versions in a range.

    A set of versions is a number with a bit for each version: a project may have hundreds of
    versions, and hundreds of advisories that list most of them.

    A local version (`2.0+cpu`) is affected where its public version (`2.0`) is: it was built from
    the same source, and databases do not list local versions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._parsed = dict[str, Version | None]()
        self._texts = [text for text in dict.fromkeys(texts) if self._parse(text) is not None]
        self._bits = dict[Version, int]()
        """The bits of a version, and of the local versions that are built from it."""
        for number, text in enumerate(self._texts):
            version = Version(text)
            # a range or a list with 2.0 is about 2.0+cpu, too
            for affected_version in {version, Version(version.public)}:
                bits = self._bits.get(affected_version, 0)
                self._bits[affected_version] = bits | 1 << number
        self._public = sorted(version for version in self._bits if version.local is None)
        """The public versions in order, also those of which the project has only local versions."""
        self._bits_below = [0]
        """The bits of all versions before each position of `_public`."""
        for version in self._public:
            self._bits_below.append(self._bits_below[-1] | self._bits[version])

    def hits(self, advisories: Iterable[Advisory]) -> dict[str, Hit]:
        """Return a hit for each affected version."""
        bits_of_advisories = list[tuple[Advisory, int]]()
        all_affected_bits = 0
        for advisory in advisories:
            affected_bits = self._affected_by(advisory)
            bits_of_advisories.append((advisory, affected_bits))
            all_affected_bits |= affected_bits
        hits = dict[str, Hit]()
        clean_after = ""

        # from the newest version, so that `clean_after` is a later version
        for version in reversed(self._public):
            bits = self._bits[version]
            if not bits & all_affected_bits and not version.is_prerelease:
                clean_after = self._text(bits)
            remaining = bits & all_affected_bits
            while remaining:
                bit = _lowest_bit(remaining)
                advisories_of_version = tuple(
                    advisory
                    for advisory, affected_bits in bits_of_advisories
                    if affected_bits & bit
                )
                hits[self._text(bit)] = Hit(advisories_of_version, clean_after)
                remaining ^= bit
        return hits

    def _text(self, bits: int) -> str:
        """Return the text of the first version whose bit is set."""
        number = _lowest_bit(bits).bit_length() - 1
        return self._texts[number]

    def _affected_by(self, advisory: Advisory) -> int:
        """Return the bits of the versions that an advisory is about."""
        # the union of both, as the OSV schema says: a version may be listed or in a range
        affected_bits = 0
        for text in advisory.versions.splitlines():
            version = self._parse(text)
            if version is not None:
                affected_bits |= self._bits.get(version, 0)
        for range_text in advisory.ranges.split("\n\n"):
            if not range_text:  # an advisory without ranges
                continue
            for start, stop in self._intervals(range_text):
                affected_bits |= self._bits_below[max(start, stop)] & ~self._bits_below[start]
        return affected_bits

    def _intervals(self, range_text: str) -> Iterator[tuple[int, int]]:
        """
        Yield the intervals of public versions in a range, by the algorithm of the OSV schema.

        An interval is two positions in `_public`: of its first version, and behind its last one.
        """
        events = list[tuple[str, str]]()
        for line in range_text.splitlines():
            event, _, version_text = line.partition(" ")
            events.append((event, version_text))
        end = self._limit(events)
        start: int | None = None
        for event, version in self._sorted_events(events):
            if event == "introduced":
                if start is None:  # the range may not have ended since the last such event
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

        The version is None for an `introduced` at the beginning of all versions.
        """
        parsed = list[tuple[Version, str]]()
        for event, text in events:
            if event in _ORDER:
                version = self._parse(text)
                if version is not None:
                    parsed.append((version, event))
        parsed.sort(key=_event_order)
        ordered = list[tuple[str, Version | None]]()
        # a version that cannot be parsed counts so that more versions are affected, and not fewer
        if self._begins_at_first(events):
            ordered.append(("introduced", None))
        ordered += [(event, version) for version, event in parsed]
        return ordered

    def _begins_at_first(self, events: list[tuple[str, str]]) -> bool:
        """Return whether a range begins with the first version of all."""
        introduced = [text for event, text in events if event == "introduced"]
        if not introduced:
            return True
        return any(text == "0" or self._parse(text) is None for text in introduced)

    def _limit(self, events: list[tuple[str, str]]) -> int:
        """Return the position in `_public` before which all versions of a range are."""
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
        """Return the version in a text, or None if it is none. Each text is parsed once."""
        if text not in self._parsed:
            self._parsed[text] = _version_or_none(text)
        return self._parsed[text]


def _lowest_bit(bits: int) -> int:
    """Return the lowest bit that is set."""
    return bits & -bits


def _event_order(event: tuple[Version, str]) -> tuple[Version, int]:
    """Return by what events are sorted."""
    version, name = event
    return version, _ORDER[name]


def _version_or_none(text: str) -> Version | None:
    with suppress(InvalidVersion, ValueError):
        return Version(text)
    return None


# these classes have the parts of an entry that are read, by the names of the OSV schema
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
    """How many entries cannot be used, and how many files cannot be read, together."""
    first_skipped: str = ""
    """Where the first skipped entry or file is, and what is wrong with it, or an empty text."""
    _scores: dict[tuple[str, str], float] = {}

    def read(self, body: bytes, where: str) -> None:
        """
        Add the advisories of one entry, or of a list of entries, and count malformed entries.

        `where` is the name of the file.
        """
        # each entry is decoded by itself, so that a malformed entry does not hide the others
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
        if not self.first_skipped:
            self.first_skipped = f"{escaped(where)}: {why}"

    def _add(self, entry: _Entry) -> None:
        """Add what an entry says of projects, if it counts."""
        # every entry is counted, as databases are compared by the number of entries
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
            if is_malicious and not ranges and not versions:
                ranges = EVERYTHING
            advisory = Advisory(entry.id, is_malicious, score, versions, ranges)
            name = canonicalize_name(package.name)
            self.by_name.setdefault(name, []).append(advisory)

    def _score(self, entry: _Entry, affected: _Affected) -> float:
        """Return the highest base score of an entry, else the score of its rating, else 0.0."""
        severities = _list(entry.severity) + _list(affected.severity)
        scores = [self._base_score(severity.type, severity.score) for severity in severities]
        if any(scores):
            return max(scores)
        with suppress(DecodeError):  # a database may have anything there
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

    `kind` is `CVSS_V2`, `CVSS_V3` or `CVSS_V4`. Any other kind has the score 0.0.
    """
    # imported only if vulnerabilities count: the import takes a twentieth of the start
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
    """Return the texts `versions` and `ranges` of an advisory."""
    versions = "\n".join(_list(affected.versions))
    ranges = list[str]()
    for affected_range in _list(affected.ranges):
        # ranges of other types are about commits of a repository, or versions by another rule
        if affected_range.type == "ECOSYSTEM":
            ranges.append("\n".join(_events(affected_range)))
    return versions, "\n\n".join(ranges)


def _events(affected_range: _Range) -> Iterator[str]:
    """Yield the events of a range, each as its name and a version."""
    for event in _list(affected_range.events):
        for name, version in asdict(event).items():
            if version is not None:
                one_line = " ".join(version.split())
                yield f"{name} {one_line}"


def _list(values: tuple[T, ...] | None) -> tuple[T, ...]:
    """Return a list, which many databases write as null if it is empty."""
    return values or ()
