"""Rules that an old file may fail when it is imported with --lenient."""

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
"""From the code of a rule to what a file that fails it is like."""
_STANDS_FOR: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        RECORD_RULE: frozenset({RECORD_RULE, MISSING_METADATA_RULE}),
        METADATA_RULE: frozenset({METADATA_RULE, "invalid_name", "invalid_version"}),
    }
)
"""The codes of refusals that are excused as a rule, where that is not its own alone."""


class Leniency:
    """What is excused in one file."""

    __slots__ = ("_found", "is_lenient")

    def __init__(self, *, is_lenient: bool) -> None:
        self.is_lenient = is_lenient
        self._found: set[str] = set()

    @property
    def excused(self) -> tuple[str, ...]:
        """The codes of the rules that the file fails, sorted."""
        return tuple(sorted(self._found))

    def waiving(self, rule: str) -> "RuleWaiver":
        """Return a block that is left without an error where the file fails an excused `rule`."""
        return RuleWaiver(self, rule)

    def excuses(self, rule: str, fault: Invalid) -> bool:
        """Return whether a refusal is of a rule that is excused here; if so it is remembered."""
        stands_for = _STANDS_FOR.get(rule, frozenset({rule}))
        if not self.is_lenient or fault.code not in stands_for:
            return False
        self._found.add(rule)
        return True


@dataclass(frozen=True, slots=True)
class RuleWaiver:
    """A block in which a file may fail one rule."""

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
        return isinstance(error, Invalid) and self.leniency.excuses(self.rule, error)
