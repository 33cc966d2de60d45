"""
The rules that hide files: rows of one table, which `rule_rows.py` makes of keys.

A row says of the facts about a file whether it hides the file, and why. Where a fact is not known
that a row needs, the row hides the file. Rows about a whole version come first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.licences import UNKNOWN
from wheelyard.model.public_packages import (
    HIDDEN_BY_VIEW,
    Decision,
    FileReason,
    Verdict,
)
from wheelyard.model.rule_reasons import LIFTABLE, Code, Statement, not_among, not_among_those

NOTHING_HIDDEN: Final[Mapping[str, FileReason]] = MappingProxyType({})
_LIFTABLE: Final = frozenset[str](LIFTABLE)
_NOTHING_LIFTED: Final[frozenset[str]] = frozenset()
_OF_VERSION: Final = frozenset({Code.COOLDOWN})
"""What any approval of a version lifts: somebody has looked at these very files."""


class Vulnerabilities(Struct, frozen=True):
    """What is known of the vulnerabilities of a version."""

    ids: tuple[str, ...]
    score: float
    """The highest CVSS base score."""
    clean_after: str
    """The next version that no advisory is about, and no pre-release, or an empty text."""


class Facts(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a file, private or public."""

    name: NormalizedName
    version: str
    """The release's version, which may be none by PEP 440 if it is from an upstream index."""
    uploaded_at: datetime | None
    """When it was uploaded or promoted, in UTC, or None if nobody knows."""
    first_seen: datetime | None = None
    """When it was first seen here, in UTC, where `uploaded_at` is not known."""
    licence: str = UNKNOWN
    """A value of `licence_of`, or `LOOKED_UP_LATER`."""
    malware: tuple[str, ...] = ()
    """The ids of the advisories by which the version is malicious."""
    vulnerabilities: Vulnerabilities | None = None
    """None if no advisory is about the version."""
    has_advisories: bool = True
    """Whether there is a database of advisories that would say it."""
    decision: Decision | None = None
    """The decision that counts for the file."""
    other_approval: Decision | None = None
    """The approval of its version, if that was made for other files."""
    quarantine: str | None = None
    """Why its upstream has quarantined the project, perhaps empty, or None if it has not."""
    is_exempt: bool = False
    """Whether an exception from the cooldown for its version is about the file."""
    is_private: bool = False
    is_attested: bool = False
    """Whether a provenance or attestations are listed for the file."""
    attestation_fault: str = ""
    """
    Why its attestations do not hold, in a sentence.

    It is empty if they do, or if nobody has looked yet, which is done before the file is sent.
    """
    is_yanked: bool = False

    @property
    def target(self) -> str:
        """The project and the version, in words."""
        return f"{self.name} {self.version}"

    @property
    def since(self) -> datetime | None:
        """When it was uploaded, or else first seen: it was there then."""
        return self.uploaded_at or self.first_seen


Hides = Callable[[Facts, datetime], bool | None]
"""Returns whether a file is hidden at a moment, or None, which hides it, if nobody knows."""


def _never(_: Facts) -> datetime | None:
    """Return None: time alone changes nothing."""
    return None


class Rule(Struct, frozen=True, kw_only=True):
    """One reason to hide files."""

    code: Code
    hides: Hides
    says: Callable[[Facts], Statement]
    """Returns why a file is hidden, if it is."""
    ends: Callable[[Facts], datetime | None] = _never
    """Returns when it hides a file no more, or None if time alone never ends it."""
    is_of_version: bool = False
    """Whether it hides all files of a version that have the same licence and decision."""
    is_liftable: bool = True
    """Whether an approval can lift it, if it can lift the code."""


class Named(Protocol):
    """A file with a name."""

    @property
    def filename(self) -> str:
        """Its name."""


F = TypeVar("F", bound=Named)


class Judged(Struct, Generic[F], frozen=True):
    """Which files of a project are shown."""

    shown: tuple[F, ...]
    hidden: Mapping[str, FileReason]
    """Why each other file is hidden, by filename."""
    changes_at: datetime | None
    """The next moment at which a hidden file may appear by time alone, or None."""


class Rules(Struct, frozen=True, kw_only=True):
    """The rules of an index, or of the upstream indexes, the most serious first."""

    rows: tuple[Rule, ...]
    index: str = ""
    """What people call the index, or an empty text for the upstream indexes."""

    @property
    def codes(self) -> frozenset[Code]:
        """What the rules are about."""
        return frozenset(row.code for row in self.rows)

    def why(self, facts: Facts, now: datetime) -> Iterator[Rule]:
        """Yield the rules that hide a file now, the most serious one first."""
        return self._hiding(self.rows, facts, now)

    def first(self, facts: Facts, now: datetime) -> FileReason | None:
        """
        Return why a file is hidden, or None if it is shown.

        Of upstream indexes that is the most serious reason. Of an index all reasons are in it.
        """
        why = [(row, row.says(facts)) for row in self.why(facts, now)]
        if not why:
            return None
        return self._reason(why, facts, now)

    def reasons(self, facts: Facts, now: datetime) -> tuple[FileReason, ...]:
        """Return every reason by which a file is hidden, the most serious one first."""
        why = [(row, row.says(facts)) for row in self.why(facts, now)]
        return tuple(self._reason([pair], facts, now) for pair in why)

    def shown_versions(self, facts: Iterable[Facts], now: datetime) -> tuple[str, ...]:
        """Return those versions without files that no rule hides, whatever their files are."""
        rows = tuple(row for row in self.rows if row.is_of_version)
        versions = list[str]()
        for of_version in facts:
            if next(self._hiding(rows, of_version, now), None) is None:
                versions.append(of_version.version)
        return tuple(versions)

    def changes_at(self, facts: Facts, now: datetime) -> datetime | None:
        """Return the next moment at which time alone ends a rule that hides a file, or None."""
        return _next_end(self.why(facts, now), facts, now)

    def judge(self, files: Sequence[F], facts: Iterable[Facts], now: datetime) -> Judged[F]:
        """
        Return which files of one project are shown, by the facts about each of them in order.

        The reasons are those of `first`.
        """
        of_versions = dict[tuple[str, int, str], list[_Said]]()
        version_rows = tuple(row for row in self.rows if row.is_of_version)
        file_rows = tuple(row for row in self.rows if not row.is_of_version)
        hidden = dict[str, FileReason]()
        times = list[datetime]()
        for file, of_file in zip(files, facts, strict=True):
            # the decisions outlive this loop, so no two of them have one id
            key = of_file.version, id(of_file.decision), of_file.licence
            of_version = of_versions.get(key)
            if of_version is None:
                rows = self._hiding(version_rows, of_file, now)
                of_version = [(row, row.says(of_file)) for row in rows]
                of_versions[key] = of_version
            # a copy: the list of the version is that of its other files, too
            why = list(of_version)
            # of upstream indexes only the most serious reason is told: one of the version if any
            if self.index or not why:
                rows = self._hiding(file_rows, of_file, now)
                why += [(row, row.says(of_file)) for row in rows]
            if why:
                hidden[file.filename] = self._reason(why, of_file, now)
                # the sentences change as soon as one of the rules ends
                end = _next_end((row for row, _ in why), of_file, now)
                if end is not None:
                    times.append(end)
        if not hidden:
            return Judged(tuple(files), NOTHING_HIDDEN, None)
        shown = tuple(file for file in files if file.filename not in hidden)
        return Judged(shown, hidden, min(times, default=None))

    def _hiding(self, rows: Iterable[Rule], facts: Facts, now: datetime) -> Iterator[Rule]:
        """Yield those of the rules that hide a file now, and that no decision lifts."""
        lifted = lifted_by(facts.decision)
        for row in rows:
            # None hides it, too: a fact that nobody knows must not let a file through
            if row.hides(facts, now) is False:
                continue
            if not (row.is_liftable and row.code in lifted):
                yield row

    def _reason(self, why: Sequence["_Said"], facts: Facts, now: datetime) -> FileReason:
        """Return why a file is hidden, by the rules that hide it, the most serious one first."""
        if self.index:
            text = _text_of_index(self.index, why, facts)
            return FileReason(HIDDEN_BY_VIEW, text, changes_at=_last_end(why, facts, now))
        row, said = why[0]
        if facts.other_approval is not None:
            said = not_among(row.code, said, facts.other_approval)
        return FileReason(row.code, said.text, said.advice, _next_end((row,), facts, now))


_Said = tuple[Rule, Statement]


def _next_end(rows: Iterable[Rule], facts: Facts, now: datetime) -> datetime | None:
    """Return the first moment to come at which one of some rules ends by time, or None."""
    ends = list[datetime]()
    for row in rows:
        end = row.ends(facts)
        if end is not None and end > now:
            ends.append(end)
    return min(ends, default=None)


def _last_end(why: Sequence[_Said], facts: Facts, now: datetime) -> datetime | None:
    """Return when time alone has ended all rules that hide a file, or None if it never does."""
    ends = list[datetime]()
    for row, _ in why:
        end = row.ends(facts)
        # one that never ends, or has no end to come, hides the file for good
        if end is None or end <= now:
            return None
        ends.append(end)
    return max(ends)


def _text_of_index(index: str, why: Sequence[_Said], facts: Facts) -> str:
    """Return in sentences why the rules of an index hide a file."""
    sentences = [said.fact for _, said in why]
    if len(why) == 1:  # while another rule hides it as well, the end of this one shows nothing
        sentences += filter(None, [why[0][1].end])
    if facts.other_approval is not None:
        sentences.insert(0, not_among_those(facts.other_approval))
    return (
        f"{facts.target} is hidden by the rules of the index {index}: {' '.join(sentences)} "
        "Use another version, or another index."
    )


def lifted_by(decision: Decision | None) -> frozenset[str]:
    """Return the codes of the rules that do not apply to the files that a decision is about."""
    if decision is None or decision.verdict is not Verdict.APPROVED:
        return _NOTHING_LIFTED
    own = _OF_VERSION if decision.version else _NOTHING_LIFTED
    if decision.despite:
        return own.union(_LIFTABLE.intersection(decision.despite))
    return own


def decided_about(
    candidates: Sequence[Decision], sha256: str
) -> tuple[Decision | None, Decision | None]:
    """
    Return `decision` and `other_approval` of the facts about a file, each None if there is none.

    `candidates` are the decisions that may count for its version, the most specific one first.
    """
    if not candidates:
        return None, None
    of_file = next((decision for decision in candidates if decision.covers(sha256)), None)
    of_version = candidates[0]
    if of_version is of_file:
        return of_file, None
    return of_file, of_version
