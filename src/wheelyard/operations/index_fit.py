"""Whether the indexes of a store are right together after a change."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from wheelyard.catalog.removed import without_removed_rules
from wheelyard.errors import Conflict, Invalid
from wheelyard.model.access import describe_indexes
from wheelyard.model.index_definition import IndexDefinition, misfits, read_definition
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_indexes import IndexKeys, IndexList
from wheelyard.operations.index_definitions import IndexDefinitions
from wheelyard.remedies import Advice, Remedy

OPENS_INDEX: Final = "opens_index"
"""The code of a Conflict for an open index that would show packages of one that is not."""


def require_lists_fit(
    definitions: IndexDefinitions, before: IndexList, after: IndexList, *, even_if_open: bool
) -> None:
    """
    Check that the indexes fit together after a change.

    What was wrong before may stay wrong. Raises Invalid (code `invalid_index`) if a layer of an
    index does not exist, or layers lead in a circle. Raises Conflict (code `opens_index`) unless
    `even_if_open` if an open index shows a closed one, and did not before. That also holds if the
    closed one is closed by the change: its packages would stay open. It holds for main as well if
    it was closed, and nothing says any more who may read it, unless the settings close all indexes.
    """
    earlier = _readable(definitions, before)
    later = _readable(definitions, after)
    if not even_if_open and not definitions.is_private:
        _require_main_closed(earlier, later, after)

    # only what is new: else nobody could change an index beside one that is wrong
    problems_before = misfits(earlier, definitions.labels.with_assumed(earlier))
    for name, why in misfits(later, definitions.labels.with_assumed(later)).items():
        if problems_before.get(name) != why:
            raise Invalid(why, code="invalid_index")
    if even_if_open:
        return
    for name in later:
        closed_layers = set(definitions.closed_layers(name, later))
        if name in earlier:
            closed_layers.difference_update(definitions.closed_layers(name, earlier))
        if closed_layers:
            closed = describe_indexes(tuple(sorted(closed_layers)))
            raise Conflict(
                f"Anybody may read the index {name}, which would show the packages of {closed}, "
                "where a right is needed. Nothing was changed.",
                code=OPENS_INDEX,
                advice=Advice(Remedy.CONFIRM_OPEN_INDEX),
            )


def _require_main_closed(
    earlier: Mapping[str, IndexDefinition],
    later: Mapping[str, IndexDefinition],
    after: IndexList,
) -> None:
    """Raise Conflict (code `opens_index`) if main is open for want of a word, and was closed."""
    was_closed = MAIN in earlier and not earlier[MAIN].is_open
    is_said = after.main is not None and "read" in after.main.keys
    if was_closed and not is_said and MAIN in later and later[MAIN].is_open:
        raise Conflict(
            "Anybody could read main then, where a right is needed now, as nothing would say who "
            'may. Write read = "granted" for it, or read = "anyone". Nothing was changed.',
            code=OPENS_INDEX,
            advice=Advice(Remedy.CONFIRM_OPEN_INDEX),
        )


def _readable(definitions: IndexDefinitions, stored: IndexList) -> Mapping[str, IndexDefinition]:
    """Return the definitions that this version understands, by name, also of main."""
    readable = dict[str, IndexDefinition]()
    main_keys: IndexKeys = {}
    if stored.main is not None:
        main_keys = stored.main.keys
    with suppress(Invalid):
        readable[MAIN] = definitions.read_main(main_keys)
    for index in stored.tables:
        # a newer version may have written one, which stays as it is
        with suppress(Invalid):
            readable[index.name] = read_definition(without_removed_rules(index.keys))
    return readable
