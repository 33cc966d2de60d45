"""The rows of the rules of an index, and of `[upstream]`: a function makes the row of each key."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from wheelyard.model.access import NamePatterns, parse_name_patterns
from wheelyard.model.decoding import counted, escaped
from wheelyard.model.licences import LOOKED_UP_LATER, UNREADABLE
from wheelyard.model.public_packages import Verdict
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
    Return the rules of `[upstream]`, but for its names: no hidden name is ever asked for upstream.

    Raises Invalid (code `bad_setting` or `invalid_version`) for a wrong licence, name or exception,
    ValueError for a wrong specifier, and ValueError or OverflowError for a wrong snapshot.
    """
    # these rows are always there, as they hide malware, and what an upstream or a person withdrew
    rows = [_quarantine_row(), _block_row(), _malware_row()]
    if keys.min_cvss:
        rows.append(_min_cvss_row(keys.min_cvss))
    rows += _shared_rows(keys, is_index=False)
    return Rules(rows=tuple(rows))


def rules_of_index(keys: RuleKeys, index: str) -> Rules:
    """
    Return the rules of an index.

    Without keys there are no rules. Raises Invalid (code `bad_setting` or `invalid_version`) for a
    wrong licence, name or exception, ValueError for a wrong specifier, and ValueError or
    OverflowError for a wrong snapshot.
    """
    rows = list[Rule]()
    if keys.deny:
        rows.append(_deny_row(parse_name_patterns(keys.deny)))
    if keys.allow:
        rows.append(_allow_row(parse_name_patterns(keys.allow)))
    if keys.min_cvss:
        rows += [_malware_row(), _min_cvss_row(keys.min_cvss, needs_advisories=True)]
    rows += _shared_rows(keys, is_index=True)
    return Rules(rows=tuple(rows), index=index)


def rules_of_day(end: datetime, title: str) -> Rules:
    """Return the rule of an index as of a day, whose last moment is `end`, in UTC."""
    return Rules(rows=(_snapshot_row(end, is_liftable=False),), index=title)


def rules_of_removed_filter(index: str, why: str) -> Rules:
    """Return the rule that hides all files of an index. `why` is the sentence that says why."""
    row = Rule(
        code=Code.REMOVED_FILTER,
        hides=lambda _, __: True,
        says=lambda _: Statement(why, ""),
        is_of_version=True,
    )
    return Rules(rows=(row,), index=index)


def _shared_rows(keys: RuleKeys, *, is_index: bool) -> Iterator[Rule]:
    """Yield the rows of the keys that `[upstream]` and an index have in common."""
    licences = licence_rule(keys, needs_known=is_index)
    if licences:
        yield _licence_row(licences)
    if keys.approval:
        yield _approval_row()
    if keys.versions:
        specifiers = list[tuple[NamePatterns, SpecifierSet]]()
        for pattern, text in keys.versions.items():
            specifiers.append((parse_name_patterns((pattern,)), parse_specifier(text)))
        yield _versions_row(specifiers)
    if not keys.prereleases:
        yield _prereleases_row()
    if keys.attested or keys.verified:
        yield _attested_row()
    if keys.verified:
        yield _verified_row()
    if not keys.yanked:
        yield _yanked_row()
    if keys.snapshot_at is not None:
        uses_first_seen = not is_index or keys.cooldown_missing == "first_seen"
        yield _snapshot_row(keys.snapshot_at, uses_first_seen=uses_first_seen)
    if keys.cooldown_days:
        yield _cooldown_row(keys)


def _deny_row(names: NamePatterns) -> Rule:
    """Return the row of `deny`, which hides the names that the patterns match."""
    return Rule(
        code=Code.DENIED,
        hides=lambda facts, _: names.match(facts.name),
        says=lambda facts: Statement(f"{facts.name} is denied here.", "Use another package."),
        is_of_version=True,
    )


def _allow_row(names: NamePatterns) -> Rule:
    """Return the row of `allow`, which hides the names that no pattern matches."""
    return Rule(
        code=Code.NOT_LISTED,
        hides=lambda facts, _: not names.match(facts.name),
        says=lambda facts: Statement(
            f"{facts.name} is not among the packages that are allowed here.", "Use another package."
        ),
        is_of_version=True,
    )


def _quarantine_row() -> Rule:
    """Return the row that hides what its upstream has quarantined."""

    def says(facts: Facts) -> Statement:
        fact = f"{facts.name} is quarantined by its upstream index"
        if facts.quarantine:
            # the reason is in a stranger's words
            fact = f"{fact} ({escaped(facts.quarantine)})"
        return Statement(f"{fact}.", "Use another package.")

    return Rule(
        code=Code.QUARANTINED,
        hides=lambda facts, _: facts.quarantine is not None,
        says=says,
        is_of_version=True,
    )


def _block_row() -> Rule:
    """Return the row that hides what a person has blocked."""

    def hides(facts: Facts, _: datetime) -> bool:
        return facts.decision is not None and facts.decision.verdict is Verdict.BLOCKED

    def says(facts: Facts) -> Statement:
        assert facts.decision is not None  # noqa: S101 - `hides` is true only with a decision
        return blocked(facts.target, facts.decision)

    return Rule(code=Code.BLOCKED, hides=hides, says=says, is_of_version=True)


def _malware_row() -> Rule:
    """Return the row that hides versions which an advisory calls malicious."""

    def says(facts: Facts) -> Statement:
        return Statement(
            f"{facts.target} is known to be malicious: {_describe_advisories(facts.malware)}.",
            "Do not install it. If it was installed before, treat that machine and its credentials "
            "as stolen.",
        )

    return Rule(
        code=Code.MALICIOUS,
        hides=lambda facts, _: bool(facts.malware),
        says=says,
        is_of_version=True,
    )


def _min_cvss_row(min_cvss: float, *, needs_advisories: bool = False) -> Rule:
    """
    Return the row of `min_cvss`.

    With `needs_advisories`, it also hides files if there is no database of advisories.
    """

    def hides(facts: Facts, _: datetime) -> bool | None:
        if needs_advisories and not facts.has_advisories:
            return None
        return facts.vulnerabilities is not None and facts.vulnerabilities.score >= min_cvss

    def says(facts: Facts) -> Statement:
        vulnerabilities = facts.vulnerabilities
        if vulnerabilities is None:
            return Statement(
                f"Nobody knows the vulnerabilities of {facts.target}, as there is no database of "
                "advisories in upstream.osv that can be read.",
                "Ask the operator for one.",
            )
        fact = (
            f"{facts.target} is known to be vulnerable, with a CVSS score of "
            f"{vulnerabilities.score:.1f}: {_describe_advisories(vulnerabilities.ids)}."
        )
        if vulnerabilities.clean_after:
            return Statement(fact, f"Use {vulnerabilities.clean_after} or newer.")
        return Statement(fact, "Use another package.")

    return Rule(code=Code.VULNERABLE, hides=hides, says=says, is_of_version=True)


def _licence_row(rule: LicenceRule) -> Rule:
    """Return the row of `allowed_licenses` and `blocked_licenses`."""
    hides_licence = lru_cache(1024)(rule.hides)  # many versions have the same licence

    def hides(facts: Facts, _: datetime) -> bool:
        # a licence that is looked up later hides nothing now: the file is judged again when sent
        return facts.licence != LOOKED_UP_LATER and hides_licence(facts.licence)

    def says(facts: Facts) -> Statement:
        licence = facts.licence
        if licence == UNREADABLE:
            limit = "only some are allowed"
            if rule.blocked:
                limit = "some are blocked"
            fault = f"says its licence in a way that cannot be read, and {limit} here"
        elif not licence:
            fault = "names no licence"
        elif rule.is_blocked(licence):
            fault = f"is under {licence}, which is blocked here"
        else:
            fault = f"is under {licence}, which is not among the licences that are allowed here"
        return Statement(
            f"{facts.target} {fault}.", "Use another version or package, or ask the operator."
        )

    return Rule(code=Code.LICENCE, hides=hides, says=says, is_of_version=True)


def _approval_row() -> Rule:
    """Return the row of `approval`, which hides public files without a decision."""
    return Rule(
        code=Code.NOT_APPROVED,
        hides=lambda facts, _: facts.decision is None and not facts.is_private,
        says=lambda facts: not_approved(facts.target),
        is_of_version=True,
    )


def _versions_row(specifiers: Sequence[tuple[NamePatterns, SpecifierSet]]) -> Rule:
    """Return the row of `versions`, which hides versions outside of a specifier for their name."""

    def specifiers_without(facts: Facts) -> list[SpecifierSet]:
        """Return the specifiers for the name of a file to which its version does not belong."""
        version = _version_or_none(facts.version)
        without_version = list[SpecifierSet]()
        for names, specifier in specifiers:
            # a version that cannot be compared belongs to no specifier
            if names.match(facts.name) and (version is None or version not in specifier):
                without_version.append(specifier)
        return without_version

    def says(facts: Facts) -> Statement:
        allowed = " and ".join(map(str, specifiers_without(facts)))
        fact = f"Of {facts.name}, only versions {allowed} are shown here, and not {facts.version}."
        return Statement(fact, "Use another version.")

    return Rule(
        code=Code.VERSION,
        hides=lambda facts, _: bool(specifiers_without(facts)),
        says=says,
        is_of_version=True,
    )


def _prereleases_row() -> Rule:
    """Return the row of `prereleases`, which hides pre-releases."""

    def hides(facts: Facts, _: datetime) -> bool | None:
        version = _version_or_none(facts.version)
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


def _attested_row() -> Rule:
    """Return the row of `attested`, which hides files without attestations."""
    return Rule(
        code=Code.NOT_ATTESTED,
        hides=lambda facts, _: not facts.is_attested,
        says=lambda facts: Statement(
            f"No attestations are listed for this file of {facts.target}.", "Use another file."
        ),
    )


def _verified_row() -> Rule:
    """Return the row of `verified`, which hides files whose attestations do not hold."""
    return Rule(
        code=Code.NOT_VERIFIED,
        hides=lambda facts, _: facts.attestation_fault != "",
        says=lambda facts: Statement(
            f"This file of {facts.target} cannot be verified. {facts.attestation_fault}",
            "Use another file, and tell the operator.",
        ),
    )


def _yanked_row() -> Rule:
    """Return the row of `yanked`, which hides yanked files."""
    return Rule(
        code=Code.YANKED,
        hides=lambda facts, _: facts.is_yanked,
        says=lambda facts: Statement(f"{facts.target} is yanked.", "Use another version."),
    )


def _snapshot_row(
    snapshot: datetime, *, uses_first_seen: bool = False, is_liftable: bool = True
) -> Rule:
    """
    Return the row of `snapshot`, which hides files that were uploaded later.

    With `uses_first_seen`, a file without a time of upload counts from when it was first seen.
    """

    def hides(facts: Facts, _: datetime) -> bool | None:
        # a file that was seen here before the snapshot was uploaded before the snapshot, too
        since = facts.since if uses_first_seen else facts.uploaded_at
        if since is None:
            return None
        return since > snapshot

    def says(facts: Facts) -> Statement:
        upload = "has no time of upload"
        if facts.uploaded_at is not None:
            upload = f"appeared on {_describe_time(facts.uploaded_at)}"
        return Statement(
            f"{facts.target} {upload}, and this index shows what appeared up to "
            f"{_describe_time(snapshot)}.",
            "Use an older version, or ask the operator for a later snapshot.",
        )

    return Rule(code=Code.SNAPSHOT, hides=hides, says=says, is_liftable=is_liftable)


def _cooldown_row(keys: RuleKeys) -> Rule:
    """Return the row of `cooldown_days`, which hides files that are too new."""
    days = keys.cooldown_days
    names = parse_exceptions(keys.cooldown_allow).names
    uses_first_seen = keys.cooldown_missing == "first_seen"

    def starts(facts: Facts) -> datetime | None:
        if uses_first_seen:
            return facts.since
        return facts.uploaded_at

    def ends(facts: Facts) -> datetime | None:
        return cooldown_end(starts(facts), days)

    def hides(facts: Facts, now: datetime) -> bool | None:
        if facts.is_exempt or names.match(facts.name):
            return False
        end = ends(facts)
        if end is None:
            return None
        return now < end

    def says(facts: Facts) -> Statement:
        start = starts(facts)
        advice = request_of(facts.target)
        if start is None:
            return Statement(
                f"{facts.target} has no time of upload, so it may be too new.",
                "Use an older version, or ask the operator to let it through, or to set "
                'cooldown_missing = "first_seen" for all.',
                advice,
            )
        end = ends(facts)
        end_sentence = ""
        if end is not None:
            end_sentence = f"It is shown from {_describe_time(end)} on."
        return Statement(
            f"{facts.target} appeared on {_describe_time(start)}, less than "
            f"{counted(days, 'day')} ago.",
            "Use an older version. For a security fix, ask the operator to let it through.",
            advice,
            end_sentence,
        )

    return Rule(code=Code.COOLDOWN, hides=hides, says=says, ends=ends)


def cooldown_end(since: datetime | None, days: int) -> datetime | None:
    """Return when a cooldown ends that starts at `since`, or None if it never ends."""
    if since is None:
        return None
    try:
        return since + timedelta(days=days)
    except OverflowError:  # the end would be after the year 9999
        return None


def _describe_advisories(advisories: Sequence[str]) -> str:
    """Return the ids of the first advisories, and how many more there are."""
    ids = ", ".join(map(escaped, advisories[:NAMED_ADVISORIES]))
    more = len(advisories) - NAMED_ADVISORIES
    if more > 0:
        return f"{ids} and {more} more"
    return ids


def _describe_time(moment: datetime) -> str:
    """Return a moment in words, in UTC and to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@lru_cache(4096)  # the files of a version follow one another
def _version_or_none(version: str) -> Version | None:
    """Return a version, or None if it is none by PEP 440."""
    try:
        return Version(version)
    except InvalidVersion:
        return None
