"""
Entries of the OSV format (https://ossf.github.io/osv-schema/) as advisories.

Only entries about PyPI's ecosystem count, and only those that are not withdrawn. An entry is about
malware if its id, or an alias, begins with `MAL-`.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, TypeVar

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict
from packaging.utils import NormalizedName, canonicalize_name

from wheelyard.model.text import escaped
from wheelyard.upstream.policy.advisories import EVERYTHING, Advisory

ECOSYSTEM: Final = "PyPI"
MALICIOUS: Final = "MAL-"
LOWEST_SCORES: Final = {"LOW": 0.1, "MODERATE": 4.0, "MEDIUM": 4.0, "HIGH": 7.0, "CRITICAL": 9.0}
"""The lowest score of each rating of CVSS; it counts for an entry that has a rating alone."""

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
    """Reads entries; keeps those about malware, and vulnerabilities of at least `min_cvss`."""

    min_cvss: float
    """0: vulnerabilities do not count at all."""
    found: dict[NormalizedName, list[Advisory]] = {}
    entries: int = 0
    """How many usable entries were read, of any ecosystem."""
    skipped: int = 0
    """How many entries cannot be used, and files that cannot be read."""
    first_skipped: str = ""
    """Where the first of them is, and what is wrong with it; empty if there is none."""
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
        is_malicious = any(each.startswith(MALICIOUS) for each in (entry.id, *_list(entry.aliases)))
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
            if is_malicious and not ranges and not versions:
                ranges = EVERYTHING
            advisory = Advisory(entry.id, is_malicious, score, versions, ranges)
            self.found.setdefault(canonicalize_name(package.name), []).append(advisory)

    def _score(self, entry: _Entry, affected: _Affected) -> float:
        """Return the highest base score of an entry, else that of its rating, else 0.0."""
        given = [*_list(entry.severity), *_list(affected.severity)]
        found = [self._base_score(each.type, each.score) for each in given]
        if any(found):
            return max(found)
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
    """Return the base score of a vector of the type `CVSS_V2`, `_V3` or `_V4`; 0.0 if malformed."""
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
    ranges = [_events(each) for each in _list(affected.ranges) if each.type == "ECOSYSTEM"]
    return "\n".join(_list(affected.versions)), "\n\n".join(map("\n".join, ranges))


def _events(affected: _Range) -> Iterator[str]:
    for event in _list(affected.events):
        for name, version in asdict(event).items():
            if version is not None:
                yield f"{name} {' '.join(version.split())}"


def _list(values: tuple[T, ...] | None) -> tuple[T, ...]:
    """Return a list that may be null, as many databases write an empty one."""
    return values or ()
