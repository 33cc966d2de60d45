"""The rows of the rules of an index, and of `[upstream]`, made of their keys."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelyard.model.access import NamePatterns, parse_name_patterns
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.licences import LOOKED_UP_LATER, UNREADABLE
from wheelyard.model.public_packages import (
    Verdict,
)
from wheelyard.model.rule_keys import (
    LicenceRule,
    RuleKeys,
    licence_rule,
    parse_exceptions,
    parse_specifier,
)
from wheelyard.model.rule_reasons import Code, Statement, blocked, not_approved, request_of
from wheelyard.model.rules import Facts, Rule, Rules

NAMED_ADVISORIES: Final = 3
"""How many advisories a sentence names."""


def rules_of_upstream(keys: RuleKeys) -> Rules:
    """
    Return the rules of `[upstream]`, but for the names, which are never asked for if it hides them.

    Raises Invalid (code `bad_setting` or `invalid_version`) for a wrong licence, name or exception,
    ValueError for a wrong specifier, and ValueError or OverflowError for a wrong snapshot.
    """
    # these always: what an upstream or a person has withdrawn, and malware, is never let through
    rows = [_quarantined(), _blocked(), _malicious()]
    if keys.min_cvss:
        rows.append(_vulnerable(keys.min_cvss))
    rows += _shared_rows(keys, is_index=False)
    return Rules(rows=tuple(rows))


def rules_of_index(keys: RuleKeys, index: str) -> Rules:
    """
    Return the rules of an index.

    There are none if no key is set. Raises Invalid (code `bad_setting` or `invalid_version`) for a
    wrong licence, name or exception, ValueError for a wrong specifier, and ValueError or
    OverflowError for a wrong snapshot.
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
        specifiers = list[tuple[NamePatterns, SpecifierSet]]()
        for names, text in keys.versions.items():
            specifiers.append((parse_name_patterns((names,)), parse_specifier(text)))
        yield _other_version(specifiers)
    if not keys.prereleases:
        yield _prerelease()
    if keys.attested or keys.verified:
        yield _not_attested()
    if keys.verified:
        yield _not_verified()
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
        fact = f"{facts.name} is quarantined by its upstream index"
        if facts.quarantine:
            # a stranger's words
            fact = f"{fact} ({escaped(facts.quarantine)})"
        return Statement(f"{fact}.", "Use another package.")

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
        if holes.clean_after:
            return Statement(fact, f"Use {holes.clean_after} or newer.")
        return Statement(fact, "Use another package.")

    return Rule(code=Code.VULNERABLE, hides=hides, says=says, is_of_version=True)


def _licence(rule: LicenceRule) -> Rule:
    hides_licence = lru_cache(1024)(rule.hides)  # many versions have the same

    def hides(facts: Facts, _: datetime) -> bool:
        # the file is judged again before it is sent
        return facts.licence != LOOKED_UP_LATER and hides_licence(facts.licence)

    def says(facts: Facts) -> Statement:
        licence = facts.licence
        if licence == UNREADABLE:
            limit = "only some are allowed"
            if rule.blocked:
                limit = "some are blocked"
            what = f"says its licence in a way that cannot be read, and {limit} here"
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
            # a version that cannot be compared belongs to no set
            if names.match(facts.name) and (version is None or version not in specifier):
                yield specifier

    def says(facts: Facts) -> Statement:
        allowed = " and ".join(str(specifier) for specifier in left_out_by(facts))
        fact = f"Of {facts.name}, only versions {allowed} are shown here, and not {facts.version}."
        return Statement(fact, "Use another version.")

    return Rule(
        code=Code.VERSION,
        hides=lambda facts, _: next(left_out_by(facts), None) is not None,
        says=says,
        is_of_version=True,
    )


def _prerelease() -> Rule:
    def hides(facts: Facts, _: datetime) -> bool | None:
        version = _parsed(facts.version)
        if version is None:
            return None
        return version.is_prerelease

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


def _not_verified() -> Rule:
    return Rule(
        code=Code.NOT_VERIFIED,
        hides=lambda facts, _: facts.attestation_fault != "",
        says=lambda facts: Statement(
            f"This file of {facts.target} cannot be verified. {facts.attestation_fault}",
            "Use another file, and tell the operator.",
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
        if since is None:
            return None
        return since > snapshot

    def says(facts: Facts) -> Statement:
        when = "has no time of upload"
        if facts.uploaded_at is not None:
            when = f"appeared on {_time(facts.uploaded_at)}"
        return Statement(
            f"{facts.target} {when}, and this index shows what appeared up to {_time(snapshot)}.",
            "Use an older version, or ask the operator for a later snapshot.",
        )

    return Rule(code=Code.SNAPSHOT, hides=hides, says=says, is_liftable=is_liftable)


def _cooldown(keys: RuleKeys) -> Rule:
    days = keys.cooldown_days
    names = parse_exceptions(keys.cooldown_allow).names
    uses_first_seen = keys.cooldown_missing == "first_seen"

    def begin(facts: Facts) -> datetime | None:
        if uses_first_seen:
            return facts.since
        return facts.uploaded_at

    def end(facts: Facts) -> datetime | None:
        return cooldown_end(begin(facts), days)

    def hides(facts: Facts, now: datetime) -> bool | None:
        if facts.is_exempt or names.match(facts.name):
            return False
        ends = end(facts)
        if ends is None:
            return None
        return now < ends

    def says(facts: Facts) -> Statement:
        since = begin(facts)
        advice = request_of(facts.target)
        if since is None:
            return Statement(
                f"{facts.target} has no time of upload, so it may be too new.",
                "Use an older version, or ask the operator to let it through, or to set "
                'cooldown_missing = "first_seen" for all.',
                advice,
            )
        ends = end(facts)
        shown_from = ""
        if ends is not None:
            shown_from = f"It is shown from {_time(ends)} on."
        return Statement(
            f"{facts.target} appeared on {_time(since)}, less than {counted(days, 'day')} ago.",
            "Use an older version. For a security fix, ask the operator to let it through.",
            advice,
            shown_from,
        )

    return Rule(code=Code.COOLDOWN, hides=hides, says=says, ends=end)


def cooldown_end(since: datetime | None, days: int) -> datetime | None:
    """Return when a cooldown ends that counts from `since`, or None for one that never does."""
    if since is None:
        return None
    try:
        return since + timedelta(days=days)
    except OverflowError:  # somebody has written the year 9999
        return None


def _ids(advisories: Sequence[str]) -> str:
    """Return the ids of the first advisories, and how many more there are."""
    ids = ", ".join(map(escaped, advisories[:NAMED_ADVISORIES]))
    if len(advisories) > NAMED_ADVISORIES:
        ids = f"{ids} and {len(advisories) - NAMED_ADVISORIES} more"
    return ids


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@lru_cache(4096)  # the files of a version follow one another
def _parsed(version: str) -> Version | None:
    """Return a version, or None if it is none by PEP 440."""
    try:
        return Version(version)
    except InvalidVersion:
        return None
