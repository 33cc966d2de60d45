"""The check that the indexes of a store fit together after a change."""

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

    A problem that was there before the change raises nothing. Raises Invalid (code `invalid_index`)
    if a layer of an index does not exist, or layers lead in a circle. Unless `even_if_open`, raises
    Conflict (code `opens_index`) if an open index shows a closed index, and did not before, also if
    the change is what closes that index: its packages would stay open. Raises the same Conflict if
    main was closed, and nothing says any more who may read it, unless the settings close all
    indexes.
    """
    definitions_before = _read_definitions(definitions, before)
    definitions_after = _read_definitions(definitions, after)
    if not even_if_open and not definitions.is_private:
        _require_main_closed(definitions_before, definitions_after, after)

    # only new problems: else nobody could change an index while another one has a problem
    labels_before = definitions.labels.with_assumed(definitions_before)
    problems_before = misfits(definitions_before, labels_before)
    labels_after = definitions.labels.with_assumed(definitions_after)
    for name, problem in misfits(definitions_after, labels_after).items():
        if problems_before.get(name) != problem:
            raise Invalid(problem, code="invalid_index")
    if even_if_open:
        return
    for name in definitions_after:
        closed_layers = set(definitions.closed_layers(name, definitions_after))
        if name in definitions_before:
            closed_before = definitions.closed_layers(name, definitions_before)
            closed_layers.difference_update(closed_before)
        if closed_layers:
            indexes_text = describe_indexes(tuple(sorted(closed_layers)))
            raise Conflict(
                f"Anybody may read the index {name}, which would show the packages of "
                f"{indexes_text}, where a right is needed. Nothing was changed.",
                code=OPENS_INDEX,
                advice=Advice(Remedy.CONFIRM_OPEN_INDEX),
            )


def _require_main_closed(
    definitions_before: Mapping[str, IndexDefinition],
    definitions_after: Mapping[str, IndexDefinition],
    after: IndexList,
) -> None:
    """Raise Conflict (code `opens_index`) if a closed main is open by default after a change."""
    was_closed = MAIN in definitions_before and not definitions_before[MAIN].is_open
    becomes_open = MAIN in definitions_after and definitions_after[MAIN].is_open
    has_read_key = after.main is not None and "read" in after.main.keys
    if was_closed and becomes_open and not has_read_key:
        raise Conflict(
            "Anybody could read main then, where a right is needed now, as nothing would say who "
            'may. Write read = "granted" for it, or read = "anyone". Nothing was changed.',
            code=OPENS_INDEX,
            advice=Advice(Remedy.CONFIRM_OPEN_INDEX),
        )


def _read_definitions(
    definitions: IndexDefinitions, stored: IndexList
) -> Mapping[str, IndexDefinition]:
    """Return the definitions that this version understands, also of main, by name."""
    readable = dict[str, IndexDefinition]()
    main_keys: IndexKeys = {}
    if stored.main is not None:
        main_keys = stored.main.keys
    with suppress(Invalid):
        readable[MAIN] = definitions.read_main(main_keys)
    for index in stored.tables:
        # a definition that a newer version has written stays as it is
        with suppress(Invalid):
            readable[index.name] = read_definition(without_removed_rules(index.keys))
    return readable
