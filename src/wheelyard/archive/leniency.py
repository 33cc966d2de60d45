"""
Rules that an old file may break if it is imported with `--lenient`.

Some rules are younger than the files of an old collection. A lenient import waives them, and the
index lists the waived rules of each file. Rules that protect this index or an installer (unsafe
paths, archive bombs, archives that two programs read differently, commands that are written into
code) are never waived.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final

from wheelyard.errors import Invalid


class Rule(StrEnum):
    """A rule that a lenient import waives; the value is the error code for breaking it."""

    OBSOLETE_FORMAT = "invalid_filename"
    """The file has an obsolete format, which clients skip."""
    RECORD = "record_mismatch"
    """RECORD is missing or not that of the files; installers write their own."""
    HAS_METADATA = "missing_metadata"
    """An sdist or an egg has no PKG-INFO, so the index offers no metadata."""
    METADATA = "invalid_metadata"
    """The metadata is malformed; clients read it in the file itself."""
    NAME = "name_mismatch"
    """The name of the metadata or of an sdist's folder is spelled otherwise than the file's."""
    VERSION = "version_mismatch"
    """The version is another than in the filename, whose version counts."""


WAIVABLE_CODES: Final = frozenset[str](Rule)
_MORE_CODES: Final = {
    Rule.RECORD: frozenset({"missing_metadata"}),
    Rule.METADATA: frozenset({"invalid_name", "invalid_version"}),
}
"""The error codes that a rule covers besides its own."""


@dataclass(slots=True, kw_only=True)
class Leniency:
    """Whether rules are waived for one file, and which of them were waived so far."""

    is_lenient: bool
    _waived: set[Rule] = field(default_factory=set, init=False)

    @property
    def waived_rules(self) -> tuple[str, ...]:
        """The codes of the rules that were waived for the file so far, sorted."""
        return tuple(sorted(rule.value for rule in self._waived))

    def waiving(self, rule: Rule) -> "RuleWaiver":
        """Return a context manager that suppresses and records errors of `rule`, if lenient."""
        return RuleWaiver(self, rule)

    def waive(self, rule: Rule, error: Invalid) -> bool:
        """Return whether `error` is of `rule` and the import is lenient; if so, record the rule."""
        is_covered = error.code == rule or error.code in _MORE_CODES.get(rule, ())
        if self.is_lenient and is_covered:
            self._waived.add(rule)
        return self.is_lenient and is_covered


@dataclass(frozen=True, slots=True)
class RuleWaiver:
    """A context manager that suppresses and records errors of one rule in a lenient import."""

    leniency: Leniency
    rule: Rule

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, Invalid) and self.leniency.waive(self.rule, error)
