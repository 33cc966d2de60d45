"""
The rules that hide files: rows of one table, which `rule_rows.py` makes of keys.

A row decides from the facts about a file whether the file is hidden, and says why. A row hides the
file if it needs a fact that is not known. Rows about a whole version come first.
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
_LIFTED_BY_VERSION_APPROVAL: Final = frozenset({Code.COOLDOWN})
"""What each approval of a version lifts, as a person has looked at these very files."""


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
    """The release's version. That of an upstream index may be no version by PEP 440."""
    uploaded_at: datetime | None
    """When the file was uploaded or promoted, in UTC, or None if that is not known."""
    first_seen: datetime | None = None
    """When the file was first seen here, in UTC, where `uploaded_at` is not known."""
    licence: str = UNKNOWN
    """A value of `licence_of`, or `LOOKED_UP_LATER`."""
    malware: tuple[str, ...] = ()
    """The ids of the advisories by which the version is malicious."""
    vulnerabilities: Vulnerabilities | None = None
    """The vulnerabilities of the version, or None if no advisory is about it."""
    has_advisories: bool = True
    """Whether there is a database of advisories that would know vulnerabilities."""
    decision: Decision | None = None
    """The decision that counts for the file, or None."""
    other_approval: Decision | None = None
    """The approval of the version for other files than this one, or None."""
    quarantine: str | None = None
    """Why the upstream has quarantined the project, perhaps empty, or None if it has not."""
    is_exempt: bool = False
    """Whether an exception from the cooldown for its version is about the file."""
    is_private: bool = False
    is_attested: bool = False
    """Whether a provenance or attestations are listed for the file."""
    attestation_fault: str = ""
    """
    Why the attestations of the file do not hold, in a sentence.

    Empty if they hold, or if they were not verified yet: that is done before the file is sent.
    """
    is_yanked: bool = False

    @property
    def target(self) -> str:
        """The project and the version, in words."""
        return f"{self.name} {self.version}"

    @property
    def since(self) -> datetime | None:
        """When the file was uploaded, or else first seen, or None if neither is known."""
        return self.uploaded_at or self.first_seen


Hides = Callable[[Facts, datetime], bool | None]
"""Returns whether a file is hidden at a moment. None, if that is not known, hides the file."""


def _never(_: Facts) -> datetime | None:
    """Return None, as time alone never ends the rule."""
    return None


class Rule(Struct, frozen=True, kw_only=True):
    """One reason to hide files."""

    code: Code
    hides: Hides
    says: Callable[[Facts], Statement]
    """Returns why the rule hides a file that it hides."""
    ends: Callable[[Facts], datetime | None] = _never
    """Returns when the rule stops hiding a file, or None if time alone never ends the rule."""
    is_of_version: bool = False
    """Whether the rule hides all files of a version that have the same licence and decision."""
    is_liftable: bool = True
    """Whether an approval can lift the rule, if it can lift the code."""


class Named(Protocol):
    """A file with a name."""

    @property
    def filename(self) -> str:
        """Its name."""


F = TypeVar("F", bound=Named)


class Judged(Struct, Generic[F], frozen=True):
    """Which files of a project are shown, and why the others are hidden."""

    shown: tuple[F, ...]
    hidden: Mapping[str, FileReason]
    """The reason of each hidden file, by filename."""
    changes_at: datetime | None
    """The next moment at which time alone may show a hidden file, or None if there is none."""


class Rules(Struct, frozen=True, kw_only=True):
    """The rules of an index, or of the upstream indexes, the most serious first."""

    rows: tuple[Rule, ...]
    index: str = ""
    """What people call the index, or an empty text for the rules of upstream indexes."""

    @property
    def codes(self) -> frozenset[Code]:
        """The codes of the rules."""
        return frozenset(row.code for row in self.rows)

    def why(self, facts: Facts, now: datetime) -> Iterator[Rule]:
        """Yield the rules that hide a file now, the most serious one first."""
        return self._rows_that_hide(self.rows, facts, now)

    def first(self, facts: Facts, now: datetime) -> FileReason | None:
        """
        Return why a file is hidden, or None if it is shown.

        For upstream indexes that is the most serious reason. For an index it has all reasons.
        """
        hiding_rules = self._hiding_rules(self.rows, facts, now)
        if not hiding_rules:
            return None
        return self._reason_of(hiding_rules, facts, now)

    def reasons(self, facts: Facts, now: datetime) -> tuple[FileReason, ...]:
        """Return every reason for which a file is hidden, the most serious one first."""
        hiding_rules = self._hiding_rules(self.rows, facts, now)
        return tuple(self._reason_of([hiding_rule], facts, now) for hiding_rule in hiding_rules)

    def shown_versions(self, facts: Iterable[Facts], now: datetime) -> tuple[str, ...]:
        """Return the versions that no rule about whole versions hides, from facts about each."""
        version_rows = tuple(row for row in self.rows if row.is_of_version)
        versions = list[str]()
        for version_facts in facts:
            hiding_rows = list(self._rows_that_hide(version_rows, version_facts, now))
            if not hiding_rows:
                versions.append(version_facts.version)
        return tuple(versions)

    def changes_at(self, facts: Facts, now: datetime) -> datetime | None:
        """Return the next moment at which time alone ends a rule that hides a file, or None."""
        return _next_end_of(self.why(facts, now), facts, now)

    def judge(self, files: Sequence[F], facts: Iterable[Facts], now: datetime) -> Judged[F]:
        """
        Return which files of one project are shown, from the facts about each file in order.

        The reasons are those of `first`.
        """
        hiding_rules_by_version = dict[tuple[str, int, str], list[_HidingRule]]()
        version_rows = tuple(row for row in self.rows if row.is_of_version)
        file_rows = tuple(row for row in self.rows if not row.is_of_version)
        hidden = dict[str, FileReason]()
        ends = list[datetime]()
        for file, file_facts in zip(files, facts, strict=True):
            # the decisions outlive this loop, so no two of them have one id
            key = file_facts.version, id(file_facts.decision), file_facts.licence
            if key not in hiding_rules_by_version:
                hiding_rules_by_version[key] = self._hiding_rules(version_rows, file_facts, now)
            # a copy, as all files of the version share the list
            hiding_rules = list(hiding_rules_by_version[key])
            # of upstream indexes only the most serious reason is told, which one of the version is
            if self.index or not hiding_rules:
                hiding_rules += self._hiding_rules(file_rows, file_facts, now)
            if hiding_rules:
                hidden[file.filename] = self._reason_of(hiding_rules, file_facts, now)
                # the sentences change as soon as one of the rules ends
                rows = [row for row, _ in hiding_rules]
                end = _next_end_of(rows, file_facts, now)
                if end is not None:
                    ends.append(end)
        if not hidden:
            return Judged(tuple(files), NOTHING_HIDDEN, None)
        shown = tuple(file for file in files if file.filename not in hidden)
        return Judged(shown, hidden, min(ends, default=None))

    def _hiding_rules(
        self, rows: Iterable[Rule], facts: Facts, now: datetime
    ) -> list["_HidingRule"]:
        """Return the rules among `rows` that hide a file now, each with its statement."""
        return [(row, row.says(facts)) for row in self._rows_that_hide(rows, facts, now)]

    def _rows_that_hide(self, rows: Iterable[Rule], facts: Facts, now: datetime) -> Iterator[Rule]:
        """Yield the rules among `rows` that hide a file now, and that no decision lifts."""
        lifted = lifted_by(facts.decision)
        for row in rows:
            # None hides the file, too: a fact that nobody knows must not let it through
            if row.hides(facts, now) is False:
                continue
            if not (row.is_liftable and row.code in lifted):
                yield row

    def _reason_of(
        self, hiding_rules: Sequence["_HidingRule"], facts: Facts, now: datetime
    ) -> FileReason:
        """Return why a file is hidden, from the rules that hide it, the most serious one first."""
        if self.index:
            text = _text_of_index(self.index, hiding_rules, facts)
            return FileReason(
                HIDDEN_BY_VIEW, text, changes_at=_last_end_of(hiding_rules, facts, now)
            )
        row, statement = hiding_rules[0]
        if facts.other_approval is not None:
            statement = not_among(row.code, statement, facts.other_approval)
        changes_at = _next_end_of((row,), facts, now)
        return FileReason(row.code, statement.text, statement.advice, changes_at)


_HidingRule = tuple[Rule, Statement]
"""A rule that hides a file, and what it says about this file."""


def _next_end_of(rows: Iterable[Rule], facts: Facts, now: datetime) -> datetime | None:
    """Return the next moment at which time ends one of the rules, or None if there is none."""
    ends = list[datetime]()
    for row in rows:
        end = row.ends(facts)
        if end is not None and end > now:
            ends.append(end)
    return min(ends, default=None)


def _last_end_of(
    hiding_rules: Sequence[_HidingRule], facts: Facts, now: datetime
) -> datetime | None:
    """Return when time alone has ended all rules that hide a file, or None if it never does."""
    ends = list[datetime]()
    for row, _ in hiding_rules:
        end = row.ends(facts)
        # a rule without an end to come hides the file for good
        if end is None or end <= now:
            return None
        ends.append(end)
    return max(ends)


def _text_of_index(index: str, hiding_rules: Sequence[_HidingRule], facts: Facts) -> str:
    """Return in sentences why the rules of an index hide a file."""
    sentences = [statement.fact for _, statement in hiding_rules]
    # the end of a rule shows nothing while another rule hides the file as well
    if len(hiding_rules) == 1:
        _, only_statement = hiding_rules[0]
        if only_statement.end:
            sentences.append(only_statement.end)
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
    lifted = _LIFTED_BY_VERSION_APPROVAL if decision.version else _NOTHING_LIFTED
    if decision.despite:
        return lifted.union(_LIFTABLE.intersection(decision.despite))
    return lifted


def decided_about(
    candidates: Sequence[Decision], sha256: str
) -> tuple[Decision | None, Decision | None]:
    """
    Return `decision` and `other_approval` of the facts about a file, each None if there is none.

    `candidates` are the decisions that may count for the version of the file, the most specific one
    first.
    """
    if not candidates:
        return None, None
    file_decision = None
    for decision in candidates:
        if decision.covers(sha256):
            file_decision = decision
            break
    version_decision = candidates[0]
    if version_decision is file_decision:
        return file_decision, None
    return file_decision, version_decision
