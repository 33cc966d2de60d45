"""The rules of retention, as `[[retention]]` tables have them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, to_builtins
from msgspec.structs import asdict, replace
from packaging.version import Version

from wheelyard.errors import NEWER_DOCUMENT, Invalid, Unavailable
from wheelyard.model.access import EVERY_PROJECT, NamePatterns, parse_name_patterns
from wheelyard.model.decoding import InvalidField, counted, decode_table, require_one_line
from wheelyard.model.index_name import MAIN, parse_index_name, read_index_name
from wheelyard.model.stored_indexes import RetentionKeys, StoredRetention

Kind = Annotated[Literal["prereleases", "dev"], Meta(title='"prereleases" or "dev"')]
"""Which releases a rule is about: pre-releases, of which dev releases are some, or only these."""
NOTE_LIMIT: Final = 200
_WORDS_OF_KIND: Final[Mapping[Kind, str]] = {"prereleases": "pre-releases", "dev": "dev releases"}


class RetentionFields(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The keys of a `[[retention]]` table, before validation."""

    index: str = MAIN
    projects: Annotated[
        tuple[str, ...], Meta(min_length=1, title='a list of names such as ["acme-*"]')
    ] = (EVERY_PROJECT,)
    keep_last: (
        Annotated[int, Meta(ge=1, le=100_000, title="a number of releases, from 1")] | None
    ) = None
    older_than_days: (
        Annotated[int, Meta(ge=1, le=3650, title="a number of days, from 1 to 3650")] | None
    ) = None
    not_downloaded_days: (
        Annotated[int, Meta(ge=1, le=365, title="a number of days, from 1 to 365")] | None
    ) = None
    only: Kind | None = None
    note: str = ""


class RetentionRule(Struct, frozen=True, kw_only=True):
    """A valid rule. A release has to meet all its conditions to be deleted."""

    number: int
    """Its position among the rules of the store, from 1."""
    index: str
    """The name of the index whose own packages the rule is about."""
    projects: NamePatterns
    keep_last: int | None
    """How many of the newest releases the rule keeps, or None."""
    older_than_days: int | None
    """How many days ago the last file of a release has to have come, or None."""
    not_downloaded_days: int | None
    """For how many days nobody may have downloaded a file of a release, or None."""
    only: Kind | None
    """Which releases the rule is about, or None for all."""
    note: str
    """Why the rule exists, in the words of an administrator, or empty."""

    @property
    def title(self) -> str:
        """What people call the rule: `rule 1`, with its note in parentheses if it has one."""
        if self.note:
            return f"rule {self.number} ({self.note})"
        return f"rule {self.number}"

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions in words, as they are said of a release."""
        return tuple(self._conditions())

    def _conditions(self) -> Iterator[str]:
        """Yield each condition in words."""
        if self.keep_last is not None:
            yield f"not among the last {self.keep_last}"
        if self.older_than_days is not None:
            yield f"older than {counted(self.older_than_days, 'day')}"
        if self.not_downloaded_days is not None:
            yield f"not downloaded for {counted(self.not_downloaded_days, 'day')}"

    @property
    def reason(self) -> str:
        """Why the rule deletes a release, for the journal."""
        return f"retention {self.title}: {', '.join(self.conditions)}"

    @property
    def description(self) -> str:
        """What the rule deletes, in words."""
        releases = "releases"
        if self.only is not None:
            releases = _WORDS_OF_KIND[self.only]
        projects = "every project"
        if EVERY_PROJECT not in self.projects.texts:
            projects = ", ".join(self.projects.texts)
        return f"{releases} of {projects}: {', '.join(self.conditions)}"

    @property
    def least_age(self) -> timedelta:
        """
        How old the last file of a release has to be.

        A release can count as not downloaded for some days only if it was there on all these days.
        """
        days = max(self.older_than_days or 0, self.not_downloaded_days or 0)
        return timedelta(days=days)

    def is_about(self, version: Version) -> bool:
        """Return whether the rule is about releases with such a version."""
        # by PEP 440 a dev release is a pre-release, too
        if self.only == "dev":
            return version.is_devrelease
        return self.only is None or version.is_prerelease


def parse_rules(tables: Iterable[Mapping[str, Any]]) -> tuple[RetentionRule, ...]:
    """
    Return the rules in `[[retention]]` tables.

    Raises Invalid (code `invalid_field`) for the first rule that is wrong, or that has no condition
    which spares new releases.
    """
    return tuple(_parse_rule(number, table) for number, table in enumerate(tables, 1))


def canonical_rules(tables: tuple[RetentionKeys, ...]) -> tuple[RetentionKeys, ...]:
    """
    Return the keys of `[[retention]]` tables in a form that all equal rules have.

    Raises Invalid (code `invalid_field`) for the first rule that is wrong, or that has no condition
    which spares new releases.
    """
    parse_rules(tables)
    return tuple(map(_canonical_keys, tables))


def _canonical_keys(table: Mapping[str, Any]) -> RetentionKeys:
    """Return the keys of a valid table, with the name of the index in full."""
    fields = decode_table(table, RetentionFields)
    keys: RetentionKeys = to_builtins(replace(fields, index=read_index_name(fields.index)))
    return keys


def stored_rules(stored: StoredRetention) -> tuple[RetentionRule, ...]:
    """
    Return the rules of the store.

    Raises Unavailable (code `newer_document`) if a rule has a key that only a newer version knows,
    as this key may spare releases.
    """
    try:
        return parse_rules(stored.rules)
    except Invalid as fault:
        raise Unavailable(
            "Upgrade wheelyard, as this version of wheelyard does not know the rules of retention "
            f"in the store, and deletes nothing by them. {fault.message}",
            code=NEWER_DOCUMENT,
        ) from fault


def _parse_rule(number: int, table: Mapping[str, Any]) -> RetentionRule:
    """Return the rule of a table, or raise Invalid, with the number, if the table is wrong."""
    try:
        fields = decode_table(table, RetentionFields)
        index = read_index_name(fields.index)
        # the index need not exist, as it may be made later
        if index != MAIN:
            parse_index_name(index)
        require_one_line(fields.note, "The note", NOTE_LIMIT)
        patterns = parse_name_patterns(fields.projects)
    except InvalidField as fault:
        raise _invalid_rule(number, f"{fault.message}.") from fault
    except Invalid as fault:
        raise _invalid_rule(number, fault.message) from fault
    limits = (fields.keep_last, fields.older_than_days, fields.not_downloaded_days)
    if all(limit is None for limit in limits):
        releases = "releases"
        if fields.only is not None:
            releases = _WORDS_OF_KIND[fields.only]
        raise _invalid_rule(
            number,
            f"it would delete all {releases} as soon as they come. Add keep_last, "
            "older_than_days or not_downloaded_days.",
        )
    return RetentionRule(number=number, **asdict(fields) | {"index": index, "projects": patterns})


def _invalid_rule(number: int, why: str) -> Invalid:
    """Return the error about the `[[retention]]` table with a number."""
    return Invalid(f"[[retention]] number {number}: {why}", code="invalid_field")
