"""
Rules that an old file may break if it is imported with `--lenient`.

Some rules are younger than the files of an old collection. A lenient import waives them, and the
index lists the waived rules of each file. Rules that protect this index or an installer (unsafe
paths, archive bombs, archives that two programs read differently, commands that are written into
code) are never waived.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Final

from wheelyard.errors import Invalid

OBSOLETE_FORMAT_RULE: Final = "invalid_filename"
RECORD_RULE: Final = "record_mismatch"
MISSING_METADATA_RULE: Final = "missing_metadata"
METADATA_RULE: Final = "invalid_metadata"
NAME_RULE: Final = "name_mismatch"
VERSION_RULE: Final = "version_mismatch"

WAIVABLE_RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        OBSOLETE_FORMAT_RULE: "Its format is retired. Clients that do not know it pass it over.",
        RECORD_RULE: "It has no RECORD, or not the one of its files. Installers write their own.",
        MISSING_METADATA_RULE: "It is an sdist or an egg without PKG-INFO. Nobody is promised any "
        "metadata.",
        METADATA_RULE: "Its metadata breaks a rule. Clients read it in the file itself as they "
        "can.",
        NAME_RULE: "It spells its name otherwise than its filename, by which it is asked for.",
        VERSION_RULE: "It spells its version otherwise than its filename, by which it is asked "
        "for.",
    }
)
"""The code of each rule, with a description of a file that breaks it."""

_WAIVED_CODES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        RECORD_RULE: frozenset({RECORD_RULE, MISSING_METADATA_RULE}),
        METADATA_RULE: frozenset({METADATA_RULE, "invalid_name", "invalid_version"}),
    }
)
"""The error codes that a rule covers, if it covers more than its own."""


class Leniency:
    """Whether rules are waived for one file, and which of them were waived so far."""

    __slots__ = ("_waived", "is_lenient")

    def __init__(self, *, is_lenient: bool) -> None:
        self.is_lenient = is_lenient
        self._waived: set[str] = set()

    @property
    def waived_rules(self) -> tuple[str, ...]:
        """The codes of the rules that the file breaks, sorted."""
        return tuple(sorted(self._waived))

    def waiving(self, rule: str) -> "RuleWaiver":
        """Return a context manager that suppresses the errors of `rule` if it is waived."""
        return RuleWaiver(self, rule)

    def waive(self, rule: str, error: Invalid) -> bool:
        """Return whether `rule` is waived and covers `error`; if so, record the rule."""
        codes = _WAIVED_CODES.get(rule, frozenset({rule}))
        if not self.is_lenient or error.code not in codes:
            return False
        self._waived.add(rule)
        return True


@dataclass(frozen=True, slots=True)
class RuleWaiver:
    """A context manager that suppresses the errors of one waived rule."""

    leniency: Leniency
    rule: str

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return isinstance(error, Invalid) and self.leniency.waive(self.rule, error)
