"""
The rules that hide files: rows of one table, made of the keys of an index or of `[upstream]`.

A row says of the facts about a file whether it hides the file, and why. Where a fact is not known
that a row needs, the row hides the file. Rows about a whole version come first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from wheelyard.model.access import NamePatterns, parse_name_patterns
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.licences import UNKNOWN, UNREADABLE
from wheelyard.model.public_packages import (
    HIDDEN_BY_VIEW,
    Decision,
    FileReason,
    Verdict,
)
from wheelyard.model.rule_keys import (
    LicenceRule,
    RuleKeys,
    licence_rule,
    parse_exceptions,
    parse_specifier,
)
from wheelyard.remedies import Advice, Remedy


class Code(StrEnum):
    """What a reason is about, the most serious one first."""

    DENIED = "denied"
    """A name of `deny`."""
    NOT_LISTED = "not_listed"
    """A name that `allow` lacks."""
    QUARANTINED = "quarantined"
    """By its upstream (PEP 792)."""
    BLOCKED = "blocked"
    """By `wheelyard upstream block`."""
    MALICIOUS = "malicious"
    VULNERABLE = "vulnerable"
    LICENCE = "licence"
    NOT_APPROVED = "not_approved"
    VERSION = "version"
    """A version that `versions` leaves out."""
    PRERELEASE = "prerelease"
    NOT_ATTESTED = "not_attested"
    YANKED = "yanked"
    SNAPSHOT = "snapshot"
    """Uploaded after `snapshot`."""
    COOLDOWN = "cooldown"
    """Uploaded less than `cooldown_days` ago."""
    REMOVED_FILTER = "removed_filter"
    """Every file of an index that has a filter of an earlier version."""


LIFTABLE: Final = (Code.COOLDOWN, Code.LICENCE, Code.MALICIOUS, Code.SNAPSHOT, Code.VULNERABLE)
"""What an approval can lift."""
LOOKED_UP_LATER: Final = "looked up later"
"""Stands for a licence that is looked up as soon as somebody wants the file. It is no SPDX id."""
NAMED_ADVISORIES: Final = 3
"""How many advisories a sentence names."""
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
    is_yanked: bool = False

    @property
    def target(self) -> str:
        """The project and the version, in words."""
        return f"{self.name} {self.version}"

    @property
    def since(self) -> datetime | None:
        """When it was uploaded, or else first seen: it was there then."""
        return self.uploaded_at or self.first_seen


class Statement(Struct, frozen=True):
    """Why a row hides a file, for people."""

    fact: str
    """One or more sentences."""
    help: str
    """What the user of an installer can do, in sentences."""
    advice: Advice | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.fact} {self.help}"


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
        return self._reason(why, facts, now) if why else None

    def reasons(self, facts: Facts, now: datetime) -> tuple[FileReason, ...]:
        """Return every reason by which a file is hidden, the most serious one first."""
        why = [(row, row.says(facts)) for row in self.why(facts, now)]
        return tuple(self._reason([pair], facts, now) for pair in why)

    def hides_version(self, facts: Facts, now: datetime) -> bool:
        """Return whether all files of a version are hidden, whatever else is known of them."""
        of_version = (row for row in self.rows if row.is_of_version)
        return any(True for _ in self._hiding(of_version, facts, now))

    def changes_at(self, facts: Facts, now: datetime) -> datetime | None:
        """Return the next moment at which time alone ends a rule that hides a file, or None."""
        return _next_end(self.why(facts, now), facts, now)

    def judge(self, files: Sequence[F], facts: Iterable[Facts], now: datetime) -> Judged[F]:
        """Return which files of one project are shown, by the facts about each of them in order."""
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
            why = of_version
            if self.index or not why:
                rows = self._hiding(file_rows, of_file, now)
                why = [*why, *((row, row.says(of_file)) for row in rows)]
            if why:
                reason = self._reason(why, of_file, now)
                hidden[file.filename] = reason
                if reason.changes_at is not None:
                    times.append(reason.changes_at)
        if not hidden:
            return Judged(tuple(files), NOTHING_HIDDEN, None)
        shown = tuple(file for file in files if file.filename not in hidden)
        return Judged(shown, hidden, min(times, default=None))

    def _hiding(self, rows: Iterable[Rule], facts: Facts, now: datetime) -> Iterator[Rule]:
        lifted = lifted_by(facts.decision)
        for row in rows:
            if row.hides(facts, now) is False:
                continue
            if not (row.is_liftable and row.code in lifted):
                yield row

    def _reason(self, why: Sequence["_Said"], facts: Facts, now: datetime) -> FileReason:
        if self.index:
            text = _text_of_index(self.index, why, facts)
            end = _next_end((row for row, _ in why), facts, now)
            return FileReason(HIDDEN_BY_VIEW, text, changes_at=end)
        row, said = why[0]
        if facts.other_approval is not None:
            said = not_among(row.code, said, facts.other_approval)
        return FileReason(row.code, said.text, said.advice, _next_end((row,), facts, now))


_Said = tuple[Rule, Statement]


def _next_end(rows: Iterable[Rule], facts: Facts, now: datetime) -> datetime | None:
    """Return the first moment to come at which one of some rules ends by time, or None."""
    ends = (row.ends(facts) for row in rows)
    return min((end for end in ends if end is not None and end > now), default=None)


def _text_of_index(index: str, why: Sequence[_Said], facts: Facts) -> str:
    """Return in sentences why the rules of an index hide a file."""
    sentences = [said.fact for _, said in why]
    if facts.other_approval is not None:
        sentences.insert(0, _not_among(facts.other_approval))
    return (
        f"{facts.target} is hidden by the rules of the index {index}: {' '.join(sentences)} "
        "Use another version, or another index."
    )


def lifted_by(decision: Decision | None) -> frozenset[str]:
    """Return the codes of the rules that do not apply to the files that a decision is about."""
    if decision is None or decision.verdict is not Verdict.APPROVED:
        return _NOTHING_LIFTED
    own = _OF_VERSION if decision.version else _NOTHING_LIFTED
    return own.union(_LIFTABLE.intersection(decision.despite)) if decision.despite else own


def decided_about(
    candidates: Sequence[Decision], sha256: str
) -> tuple[Decision | None, Decision | None]:
    """
    Return `decision` and `other_approval` of the facts about a file.

    `candidates` are the decisions that may count for its version, the most specific one first.
    """
    if not candidates:
        return None, None
    of_file = next((decision for decision in candidates if decision.covers(sha256)), None)
    of_version = candidates[0]
    return of_file, None if of_version is of_file else of_version


def cooldown_end(since: datetime | None, days: int) -> datetime | None:
    """Return when a cooldown ends that counts from a moment, or None for one that never does."""
    if since is None:
        return None
    try:
        return since + timedelta(days=days)
    except OverflowError:  # somebody has written the year 9999
        return None


# --- rows -----------------------------------------------------------------------------------------


def rules_of_upstream(keys: RuleKeys) -> Rules:
    """
    Return the rules of `[upstream]`, but for the names, which are never asked for if it hides them.

    Raises Invalid (code `bad_setting`) for a wrong licence, name or specifier.
    """
    vulnerable = (_vulnerable(keys.min_cvss),) if keys.min_cvss else ()
    rows = (_quarantined(), _blocked(), _malicious(), *vulnerable)
    return Rules(rows=(*rows, *_shared_rows(keys, is_index=False)))


def rules_of_index(keys: RuleKeys, index: str) -> Rules:
    """
    Return the rules of an index.

    There are none if no key is set. Raises Invalid (code `bad_setting`) as `rules_of_upstream`.
    """
    rows = list[Rule]()
    if keys.deny:
        rows.append(_denied(parse_name_patterns(keys.deny)))
    if keys.allow:
        rows.append(_not_listed(parse_name_patterns(keys.allow)))
    if keys.min_cvss:
        rows += [_malicious(), _vulnerable(keys.min_cvss, needs_advisories=True)]
    rows += _shared_rows(keys, is_index=True)
    return Rules(rows=tuple(rows), index=index)


def rules_of_day(end: datetime, title: str) -> Rules:
    """Return the rule of an index as of a day, whose last moment is `end`, in UTC."""
    return Rules(rows=(_after(end, is_liftable=False),), index=title)


def rules_of_removed_filter(index: str, why: str) -> Rules:
    """Return the rule that hides all files of an index, with a sentence that says why."""
    row = Rule(
        code=Code.REMOVED_FILTER,
        hides=lambda _, __: True,
        says=lambda _: Statement(why, ""),
        is_of_version=True,
    )
    return Rules(rows=(row,), index=index)


def _shared_rows(keys: RuleKeys, *, is_index: bool) -> Iterator[Rule]:
    """Yield the rows that indexes and upstream indexes have in common."""
    licences = licence_rule(keys, needs_known=is_index)
    if licences:
        yield _licence(licences)
    if keys.approval:
        yield _not_approved()
    if keys.versions:
        specifiers = [
            (parse_name_patterns((names,)), parse_specifier(text))
            for names, text in keys.versions.items()
        ]
        yield _other_version(specifiers)
    if not keys.prereleases:
        yield _prerelease()
    if keys.attested:
        yield _not_attested()
    if not keys.yanked:
        yield _yanked()
    if keys.snapshot_at is not None:
        uses_first_seen = not is_index or keys.cooldown_missing == "first_seen"
        yield _after(keys.snapshot_at, uses_first_seen=uses_first_seen)
    if keys.cooldown_days:
        yield _cooldown(keys)


def _denied(names: NamePatterns) -> Rule:
    return Rule(
        code=Code.DENIED,
        hides=lambda facts, _: names.match(facts.name),
        says=lambda facts: Statement(f"{facts.name} is denied here.", "Use another package."),
        is_of_version=True,
    )


def _not_listed(names: NamePatterns) -> Rule:
    return Rule(
        code=Code.NOT_LISTED,
        hides=lambda facts, _: not names.match(facts.name),
        says=lambda facts: Statement(
            f"{facts.name} is not among the packages that are allowed here.", "Use another package."
        ),
        is_of_version=True,
    )


def _quarantined() -> Rule:
    def says(facts: Facts) -> Statement:
        shown = f" ({escaped(facts.quarantine)})" if facts.quarantine else ""
        fact = f"{facts.name} is quarantined by its upstream index{shown}."
        return Statement(fact, "Use another package.")

    return Rule(
        code=Code.QUARANTINED,
        hides=lambda facts, _: facts.quarantine is not None,
        says=says,
        is_of_version=True,
    )


def _blocked() -> Rule:
    def hides(facts: Facts, _: datetime) -> bool:
        return facts.decision is not None and facts.decision.verdict is Verdict.BLOCKED

    def says(facts: Facts) -> Statement:
        assert facts.decision is not None  # noqa: S101 - `hides` says so
        return blocked(facts.target, facts.decision)

    return Rule(code=Code.BLOCKED, hides=hides, says=says, is_of_version=True)


def _malicious() -> Rule:
    def says(facts: Facts) -> Statement:
        return Statement(
            f"{facts.target} is known to be malicious: {_ids(facts.malware)}.",
            "Do not install it. If it was installed before, treat that machine and its credentials "
            "as stolen.",
        )

    return Rule(
        code=Code.MALICIOUS,
        hides=lambda facts, _: bool(facts.malware),
        says=says,
        is_of_version=True,
    )


def _vulnerable(min_cvss: float, *, needs_advisories: bool = False) -> Rule:
    """Return the row of `min_cvss`, which hides public files without a database if needed."""

    def hides(facts: Facts, _: datetime) -> bool | None:
        if needs_advisories and not facts.has_advisories:
            return None
        return facts.vulnerabilities is not None and facts.vulnerabilities.score >= min_cvss

    def says(facts: Facts) -> Statement:
        holes = facts.vulnerabilities
        if holes is None:
            return Statement(
                f"Nobody knows the vulnerabilities of {facts.target}, as there is no database of "
                "advisories in upstream.osv that can be read.",
                "Ask the operator for one.",
            )
        fact = (
            f"{facts.target} is known to be vulnerable, with a CVSS score of {holes.score:.1f}: "
            f"{_ids(holes.ids)}."
        )
        newer = f"Use {holes.clean_after} or newer." if holes.clean_after else ""
        return Statement(fact, newer or "Use another package.")

    return Rule(code=Code.VULNERABLE, hides=hides, says=says, is_of_version=True)


def _licence(rule: LicenceRule) -> Rule:
    hides_licence = lru_cache(1024)(rule.hides)  # many versions have the same

    def hides(facts: Facts, _: datetime) -> bool:
        # the file is judged again before it is sent
        return facts.licence != LOOKED_UP_LATER and hides_licence(facts.licence)

    def says(facts: Facts) -> Statement:
        licence = facts.licence
        if licence == UNREADABLE:
            what = "says its licence in a way that cannot be read, and some are blocked here"
        elif not licence:
            what = "names no licence"
        elif rule.is_blocked(licence):
            what = f"is under {licence}, which is blocked here"
        else:
            what = f"is under {licence}, which is not among the licences that are allowed here"
        return Statement(
            f"{facts.target} {what}.", "Use another version or package, or ask the operator."
        )

    return Rule(code=Code.LICENCE, hides=hides, says=says, is_of_version=True)


def _not_approved() -> Rule:
    return Rule(
        code=Code.NOT_APPROVED,
        hides=lambda facts, _: facts.decision is None and not facts.is_private,
        says=lambda facts: not_approved(facts.target),
        is_of_version=True,
    )


def _other_version(specifiers: Sequence[tuple[NamePatterns, SpecifierSet]]) -> Rule:
    def left_out_by(facts: Facts) -> Iterator[SpecifierSet]:
        version = _parsed(facts.version)
        for names, specifier in specifiers:
            if names.match(facts.name) and (version is None or version not in specifier):
                yield specifier

    def says(facts: Facts) -> Statement:
        allowed = " and ".join(str(specifier) for specifier in left_out_by(facts))
        fact = f"Of {facts.name}, only versions {allowed} are shown here, and not {facts.version}."
        return Statement(fact, "Use another version.")

    return Rule(
        code=Code.VERSION,
        hides=lambda facts, _: any(True for _ in left_out_by(facts)),
        says=says,
        is_of_version=True,
    )


def _prerelease() -> Rule:
    def hides(facts: Facts, _: datetime) -> bool | None:
        version = _parsed(facts.version)
        return None if version is None else version.is_prerelease

    return Rule(
        code=Code.PRERELEASE,
        hides=hides,
        says=lambda facts: Statement(
            f"{facts.target} is a pre-release, and none are shown here.", "Use another version."
        ),
        is_of_version=True,
    )


def _not_attested() -> Rule:
    return Rule(
        code=Code.NOT_ATTESTED,
        hides=lambda facts, _: not facts.is_attested,
        says=lambda facts: Statement(
            f"No attestations are listed for this file of {facts.target}.", "Use another file."
        ),
    )


def _yanked() -> Rule:
    return Rule(
        code=Code.YANKED,
        hides=lambda facts, _: facts.is_yanked,
        says=lambda facts: Statement(f"{facts.target} is yanked.", "Use another version."),
    )


def _after(snapshot: datetime, *, uses_first_seen: bool = False, is_liftable: bool = True) -> Rule:
    def hides(facts: Facts, _: datetime) -> bool | None:
        # what was seen here before the snapshot was uploaded before it, too
        since = facts.since if uses_first_seen else facts.uploaded_at
        return None if since is None else since > snapshot

    def says(facts: Facts) -> Statement:
        when = "has no time of upload"
        if facts.uploaded_at is not None:
            when = f"was uploaded on {_time(facts.uploaded_at)}"
        return Statement(
            f"{facts.target} {when}, and this index shows what was uploaded up to "
            f"{_time(snapshot)}.",
            "Use an older version, or ask the operator for a later snapshot.",
        )

    return Rule(code=Code.SNAPSHOT, hides=hides, says=says, is_liftable=is_liftable)


def _cooldown(keys: RuleKeys) -> Rule:
    days = keys.cooldown_days
    names = parse_exceptions(keys.cooldown_allow).names
    uses_first_seen = keys.cooldown_missing == "first_seen"

    def begin(facts: Facts) -> datetime | None:
        return facts.since if uses_first_seen else facts.uploaded_at

    def end(facts: Facts) -> datetime | None:
        return cooldown_end(begin(facts), days)

    def hides(facts: Facts, now: datetime) -> bool | None:
        if facts.is_exempt or names.match(facts.name):
            return False
        ends = end(facts)
        return None if ends is None else now < ends

    def says(facts: Facts) -> Statement:
        since = begin(facts)
        advice = _request_of(facts.target)
        if since is None:
            return Statement(
                f"{facts.target} has no time of upload, so it may be too new.",
                "Use an older version, or ask the operator to let it through, or to set "
                'cooldown_missing = "first_seen" for all.',
                advice,
            )
        ends = end(facts)
        shown_from = f" It is shown from {_time(ends)} on." if ends else ""
        return Statement(
            f"{facts.target} appeared on {_time(since)}, less than {counted(days, 'day')} ago."
            f"{shown_from}",
            "Use an older version. For a security fix, ask the operator to let it through.",
            advice,
        )

    return Rule(code=Code.COOLDOWN, hides=hides, says=says, ends=end)


# --- sentences ------------------------------------------------------------------------------------


def denied(name: NormalizedName) -> FileReason:
    """Return the reason for a name of `[upstream] deny`."""
    text = f"{name} is denied by the settings. Use another package, or ask the operator."
    return FileReason(Code.DENIED, text)


def not_listed(name: NormalizedName) -> FileReason:
    """Return the reason for a name that `[upstream] allow` lacks."""
    text = (
        f"{name} is not among the allowed public packages. Ask the operator to add it to 'allow'."
    )
    return FileReason(Code.NOT_LISTED, text)


def blocked(target: str, decision: Decision) -> Statement:
    """Return why what a person has blocked is hidden: a package, or a version of it."""
    kind = "version" if decision.version else "package"
    return Statement(
        _block(decision),
        f"Use another {kind}, or ask the operator to let it through.",
        _request_of(target),
    )


def not_approved(target: str, block: Decision | None = None) -> Statement:
    """
    Return why what nobody has approved is hidden.

    `block` is the latest block of a version of it.
    """
    fact = f"{target} is not approved."
    if block is not None:
        fact = f"{_block(block)} No other version of {target} is approved."
    return Statement(fact, "Ask the operator to approve it.", _request_of(target))


def not_among(code: Code, said: Statement, approval: Decision) -> Statement:
    """Return why a file is hidden that was not there when its version was approved."""
    fact = _not_among(approval)
    if code is Code.NOT_APPROVED:  # of its version, other files are
        return Statement(fact, "Ask the operator to approve it.", _request_of(approval.target))
    return Statement(f"{fact} {said.fact}", said.help, said.advice)


def _not_among(approval: Decision) -> str:
    return (
        f"This file is not among those of {approval.target} that were approved on "
        f"{approval.at:%Y-%m-%d}."
    )


def _block(decision: Decision) -> str:
    """Return the sentence that says who has blocked what, when and why."""
    why = f": {escaped(decision.reason)}" if decision.reason else ""
    by = escaped(decision.by)
    return f"{decision.target} was blocked by {by} on {decision.at:%Y-%m-%d}{why}."


def _request_of(target: str) -> Advice:
    """Return the advice to ask for a package, or for a version of it, behind a space."""
    project, _, version = target.partition(" ")
    return Advice(Remedy.REQUEST_PACKAGE, project, version=version)


def _ids(advisories: Sequence[str]) -> str:
    ids = [escaped(advisory) for advisory in advisories]
    more = f" and {len(ids) - NAMED_ADVISORIES} more" if len(ids) > NAMED_ADVISORIES else ""
    return f"{', '.join(ids[:NAMED_ADVISORIES])}{more}"


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@lru_cache(4096)  # the files of a version follow one another
def _parsed(version: str) -> Version | None:
    """Return a version, or None if it is none by PEP 440."""
    try:
        return Version(version)
    except InvalidVersion:
        return None
