"""
The keys of rules: which files are hidden, by the same keys in each table of the settings.

They are keys of `[upstream]`, of `[main]` and of each `[[index]]`, in a file and in the store.
`rule_rows.py` makes the rows of these keys, which say what is hidden.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName
from packaging.version import Version

from wheelyard.errors import Invalid, quoted
from wheelyard.model.access import NO_PATTERNS, NamePatterns, normalise_pattern, parse_name_patterns
from wheelyard.model.distribution_filename import parse_version, strip_trailing_zeros
from wheelyard.model.licences import LicencePatterns, parse_licence_patterns

MAX_DAYS: Final = 36_500
MAX_SCORE: Final = 10

_DAYS: Final = f"a number of days from 0 to {MAX_DAYS}"
_SCORE: Final = f"a number from 0 to {MAX_SCORE}"
_MOMENT: Final = "2026-10-31, or a time such as 2026-10-31T12:00:00Z"
_VERSIONS: Final = 'a table such as { numpy = "<2", "acme-*" = ">=1.4" }'
Days = Annotated[int, Meta(ge=0, le=MAX_DAYS, description=_DAYS)]
Score = Annotated[float, Meta(ge=0, le=MAX_SCORE, description=_SCORE)]


def parse_moment(text: str) -> datetime:
    """
    Return the end of a date, or a time, in UTC.

    A time without an offset is in UTC. Raises ValueError if the text is malformed, and
    OverflowError if the time is before the year 1 or after the year 9999 in UTC.
    """
    moment = datetime.fromisoformat(text)
    # a date means the whole day, so that files of this day are shown
    if len(text) == len("2026-10-31"):
        return datetime.combine(moment.date(), time.max, UTC)
    if moment.tzinfo:
        return moment.astimezone(UTC)
    return moment.replace(tzinfo=UTC)


def parse_specifier(text: str) -> SpecifierSet:
    """
    Return a set of versions, such as `>=2,<3`, to which pre-releases can belong as well.

    Raises InvalidSpecifier if the text is malformed or empty, or compares texts by `===`.
    """
    if not text.strip() or "===" in text:
        raise InvalidSpecifier(text)
    return SpecifierSet(text, prereleases=True)


def _is_exempt(text: str) -> bool:
    """Return True for a name, a pattern, or NAME==VERSION. Raises Invalid or ValueError else."""
    name, equals, version = text.partition("==")
    normalise_pattern(name.strip())
    if equals:
        Version(version)
    return True


def _text(description: str, accepts: Callable[[str], object]) -> Meta:
    return Meta(description=description, extra={"accepts": accepts})


Pattern = Annotated[str, _text("names, or patterns with * or ?, such as acme-*", normalise_pattern)]
Exempt = Annotated[str, _text("names, patterns, or NAME==VERSION", _is_exempt)]
Specifier = Annotated[str, _text("specifiers such as >=2,<3", parse_specifier)]
Moment = Annotated[str, _text(_MOMENT, parse_moment)]
VersionsOfNames = Annotated[dict[Pattern, Specifier], Meta(description=_VERSIONS)]


class RuleKeys(Struct, frozen=True, kw_only=True):
    """The keys of rules, of which each is off by its default."""

    cooldown_days: Days = 0
    """Files that were uploaded, or promoted to the index, less than so many days ago are hidden."""
    cooldown_allow: tuple[Exempt, ...] = ()
    """Packages that `cooldown_days` does not apply to."""
    cooldown_missing: Literal["hide", "first_seen"] = "hide"
    """A file without a time of upload is hidden, or counts from when it was first seen here."""
    min_cvss: Score = 0.0
    """Versions with a vulnerability of at least this CVSS score in `osv` are hidden. 0: none."""
    allowed_licenses: tuple[str, ...] = ()
    """Releases are hidden that need other licences: `MIT`, `BSD-*`, or `unknown`. Empty: none."""
    blocked_licenses: tuple[str, ...] = ()
    """Licences whose releases are hidden: `AGPL-3.0-only`, `GPL-*`, or `unknown`."""
    approval: bool = False
    """Whether public files are hidden that nobody has approved by `wheelyard upstream approve`."""
    attested: bool = False
    """Whether files are hidden for which no attestations are listed."""
    verified: bool = False
    """Whether files are hidden unless their attestations hold for a signer that they name."""
    prereleases: bool = True
    """Whether pre-releases and dev releases are shown."""
    yanked: bool = True
    """Whether yanked files are shown."""
    allow: tuple[Pattern, ...] = ()
    """The names that are shown, and in `[upstream]` looked up. Empty: all."""
    deny: tuple[Pattern, ...] = ()
    """Names that are hidden, and in `[upstream]` not looked up, whatever `allow` says."""
    versions: VersionsOfNames = {}
    """Which versions of names are shown, by specifiers such as `<2` for each pattern of names."""
    snapshot: Moment = ""
    """Files that were uploaded after this date (UTC) are hidden, such as `2026-10-31`."""

    @property
    def snapshot_at(self) -> datetime | None:
        """The last moment (UTC) of `snapshot`, where a date is the whole day, or None."""
        if not self.snapshot:
            return None
        return parse_moment(self.snapshot)


NO_KEYS: Final = RuleKeys()
RULE_KEYS: Final = RuleKeys.__struct_fields__


def rule_keys_in(table: RuleKeys) -> RuleKeys:
    """Return the keys of rules of a table that has other keys, too."""
    return RuleKeys(**{name: getattr(table, name) for name in RULE_KEYS})


def require_valid(keys: RuleKeys) -> None:
    """
    Check the texts in keys of rules.

    Raises Invalid (code `bad_setting`) for the first text that is wrong. The message begins with
    the key of this text.
    """
    _ = licence_rule(keys, needs_known=False)  # raises for a wrong licence
    # the default, an empty text, is no moment
    moments = (keys.snapshot,) if keys.snapshot else ()
    for key, texts, kind in (
        ("cooldown_allow", keys.cooldown_allow, Exempt),
        ("allow", keys.allow, Pattern),
        ("deny", keys.deny, Pattern),
        ("versions", keys.versions, Pattern),
        ("versions", keys.versions.values(), Specifier),
        ("snapshot", moments, Moment),
    ):
        _, meta = get_args(kind)
        for text in texts:
            if not _is_accepted(text, meta):
                message = f"{key}: expected {meta.description}, and found {quoted(text)}"
                raise Invalid(message, code="bad_setting")


def _is_accepted(text: str, meta: Meta) -> bool:
    """Return whether the function in the `Meta` of a key accepts a text."""
    # each parser has its own error: ours, packaging's, that of `datetime` for a year such as 10000
    try:
        return bool(meta.extra and meta.extra["accepts"](text))
    except (Invalid, OverflowError, ValueError):
        return False


class Exceptions(Struct, frozen=True):
    """Names, and versions of names, that a rule does not apply to."""

    names: NamePatterns = NO_PATTERNS
    versions: tuple[tuple[NamePatterns, str], ...] = ()
    """Patterns of names, each with a version without trailing zeros."""

    def version_for(self, name: NormalizedName, version: str) -> str | None:
        """
        Return the version of the exception for a normalised version, without trailing zeros.

        None if there is no such exception. An exception for `2.0` covers `2.0+cpu`, too. Exceptions
        for a whole name are not looked at.
        """
        if not self.versions:
            return None
        version_without_local, _, _ = version.partition("+")
        spellings = {strip_trailing_zeros(version), strip_trailing_zeros(version_without_local)}
        for names, exempt_version in self.versions:
            if exempt_version in spellings and names.match(name):
                return exempt_version
        return None


def parse_exceptions(texts: Iterable[str]) -> Exceptions:
    """
    Return exceptions written as `name`, `acme-*` or `name==1.2.3`.

    Raises Invalid for any other text: with the code `invalid_version` if no version stands behind
    `==`, else with the code `bad_setting`.
    """
    names = list[str]()
    versions = list[tuple[NamePatterns, str]]()
    for text in texts:
        name, equals, version = text.partition("==")
        if equals:
            parsed_version = parse_version(version.strip())
            release = strip_trailing_zeros(str(parsed_version))
            versions.append((parse_name_patterns((name.strip(),)), release))
        else:
            names.append(name)
    return Exceptions(parse_name_patterns(names), tuple(versions))


class LicenceRule(Struct, frozen=True):
    """Which licences are hidden, by `allowed_licenses` and `blocked_licenses`."""

    allowed: LicencePatterns
    """The allowed licences. Without patterns all are allowed."""
    blocked: LicencePatterns
    needs_known: bool
    """Whether a licence that is not known is blocked as soon as any licence is blocked."""

    def __bool__(self) -> bool:
        return bool(self.allowed or self.blocked)

    def hides(self, licence: str) -> bool:
        """Return whether a release is hidden whose licence has this value of `licence_of`."""
        return self.is_blocked(licence) or not self.is_allowed(licence)

    def is_blocked(self, licence: str) -> bool:
        """
        Return whether `blocked_licenses` leaves no choice in a licence.

        A licence that is not known is blocked, too, if the list has any licence and `needs_known`
        is set.
        """
        if not licence and self.blocked and self.needs_known:
            return True
        return self.blocked.blocks(licence)

    def is_allowed(self, licence: str) -> bool:
        """Return whether a licence can be met by `allowed_licenses` alone."""
        return not self.allowed or self.allowed.allows(licence)


def licence_rule(keys: RuleKeys, *, needs_known: bool) -> LicenceRule:
    """
    Return the rule of licences.

    With `needs_known`, as in an index, a list of blocked licences also blocks unknown licences.
    Raises Invalid (code `bad_setting`) for a text that matches no licence of SPDX. The message
    begins with the key.
    """
    allowed = _licence_patterns("allowed_licenses", keys.allowed_licenses)
    blocked = _licence_patterns("blocked_licenses", keys.blocked_licenses)
    return LicenceRule(allowed, blocked, needs_known)


def _licence_patterns(key: str, texts: Iterable[str]) -> LicencePatterns:
    """Return the licences of a key. The message of an error begins with the key."""
    try:
        return parse_licence_patterns(texts)
    except Invalid as fault:
        raise Invalid(f"{key}: {fault.message}", code=fault.code) from fault
