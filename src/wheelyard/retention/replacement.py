"""Replacement of the rules of retention in the store."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.json import decode, encode

from wheelyard.catalog.removed import FORMER_MAIN_PROBLEM, RENAME_MAIN
from wheelyard.errors import Conflict
from wheelyard.model.decoding import require_one_line
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import (
    AnyIndexEvent,
    IndexList,
    RetentionChanged,
    RetentionKeys,
)
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.operations.index_administration import INDEX_IN_USE, IndexAdministration
from wheelyard.remedies import Caution
from wheelyard.retention.rules import parse_rules, rules_without_index


class RetentionRules(Struct, frozen=True):
    """Replaces the rules of retention in the store."""

    administration: IndexAdministration

    def set_rules(
        self, tables: Iterable[Mapping[str, Any]], by: str, note: str = "", source: str = ""
    ) -> tuple[Caution, ...]:
        """
        Have the store have the rules of `[[retention]]` tables and no others, and return warnings.

        Nothing is written if it has these. `source` is that of a file, or empty. Raises Invalid
        (code `invalid_field`) for the first rule that is wrong. Raises Conflict (code
        `index_in_use`) for a rule about main while an index of an earlier version has its name, and
        Unavailable if the store does not answer.
        """
        require_one_line(note, "A note", NOTE_LIMIT_CHARS)
        administration = self.administration
        # as they are read again, so that they can be compared
        keys = decode(encode([*tables]), type=tuple[RetentionKeys, ...])
        rules = parse_rules(keys)
        # before the commit: where the indexes cannot be read, nothing is changed
        warnings = tuple(rules_without_index(rules, administration.in_force.names()))

        def intent(stored: IndexList) -> tuple[AnyIndexEvent, ...]:
            before = stored.retention.rules if stored.retention is not None else ()
            if keys == before:
                return ()
            if stored.find(MAIN) is not None and any(rule.index == MAIN for rule in rules):
                # nobody could tell later which of the two it means
                raise Conflict(FORMER_MAIN_PROBLEM, code=INDEX_IN_USE, advice=RENAME_MAIN)
            at = administration.runtime.now()
            return (RetentionChanged(at=at, by=by, note=note, rules=keys, source=source),)

        administration.submit(intent)
        return warnings
