"""The pages of indexes: the list with the ways of promotion, and the form of an index."""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct

from wheelyard.catalog.removed import (
    REMOVED_KEYS,
    removed_filter,
    removed_filter_warning,
    removed_rules,
)
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.model.index_name import MAIN
from wheelyard.model.index_texts import INDEX_KEYS, index_of_texts, texts_of_index
from wheelyard.model.promotion_rules import NO_RULES
from wheelyard.model.removed_filter import keys_of_filter
from wheelyard.model.stored_indexes import FILTER, IndexKeys
from wheelyard.model.stored_tables import ListedTable
from wheelyard.operations.index_fit import OPENS_INDEX
from wheelyard.rendering.web.admin.form_fields import FormField
from wheelyard.rendering.web.admin.index_fields import NAME_FIELD, index_fields
from wheelyard.wiring.index import Index


class IndexSize(Struct, frozen=True):
    """An index on a way of promotion, with its size."""

    name: str
    projects: int | None
    """The number of its own projects, or None if this process has not read them yet."""


class PromotionWay(Struct, frozen=True):
    """The indexes from which an index takes releases."""

    sources: tuple[IndexSize, ...]
    target: IndexSize
    is_only_way: bool
    """Whether the target takes no uploads."""


class IndexPages(TablePages):
    """Handles the pages of indexes."""

    ADD_ACTION: ClassVar[str] = "make"
    LIST: ClassVar[str] = "indexes.html"
    FORM: ClassVar[str] = "index_form.html"
    QUESTION: ClassVar[str] = "index_remove.html"
    NAME_FIELD: ClassVar[FormField] = NAME_FIELD
    RARE_TITLE: ClassVar[str] = "Rules and limits"
    CONFIRMED: ClassVar[str] = OPENS_INDEX

    def list_values(self, request: IndexRequest, answer: Any) -> dict[str, object]:  # noqa: ANN401 - of the kind
        """Return the cells of each row, and the ways of promotion."""
        values = super().list_values(request, answer)
        indexes = request.context.index.server.indexes.all()
        values["ways"] = _promotion_ways(indexes)
        return values

    def form_values(
        self, request: IndexRequest, variant: str, table_before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return the fields of an index, and notes on its keys of earlier versions.

        `table_before` is the index that the form changes, or None for a new one.
        """
        del request, variant
        is_main = table_before is not None and table_before.name == MAIN
        says_read = table_before is None or "read" in table_before.keys
        values: dict[str, object] = {
            "keys": tuple(index_fields(INDEX_KEYS, is_main=is_main, says_read=says_read)),
            "removed_rules": (),
            "removed_filter": "",
        }
        if table_before is not None:
            values["removed_rules"] = removed_rules(table_before.keys)
            values["removed_filter"] = _describe_removed_filter(table_before)
        return values

    def question_values(self, request: IndexRequest, name: str) -> dict[str, object]:
        """
        Return the warnings about the removal of an index.

        It is not checked whether the index is empty. Raises NotFound if there is no such index, and
        Invalid (code `invalid_index`) for main. Raises Conflict (code `index_in_use`) for main
        while an index of an earlier version has this name.
        """
        administration = request.context.index.server.index_administration
        administration.require_removable(name, administration.read_stored())
        return {"warnings": tuple(administration.warnings(name))}

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys of an index as texts, and the keys that replace a removed filter."""
        # keys of the index itself win over those that replace the removed filter
        keys = dict(keys_of_filter(removed_filter(row.keys)).keys)
        keys.update((key, value) for key, value in row.keys.items() if key != FILTER)
        return texts_of_index(keys)

    def keys_in(self, fields: FormFields) -> IndexKeys:
        """
        Return the keys of a form, with None for a key that the index loses.

        An index loses the key of an empty field, and a key of earlier versions whose box is ticked.
        """
        form_keys = index_of_texts({key: fields.text(key) for key in INDEX_KEYS})
        keys: IndexKeys = {key: form_keys.get(key) for key in INDEX_KEYS}
        for key in REMOVED_KEYS:
            if fields.text(key):
                keys[key] = None
        return keys


def _promotion_ways(indexes: Sequence[Index]) -> list[PromotionWay]:
    """Return the ways of promotion to all indexes that have rules of promotion."""
    sizes = {index.name: _size_of(index) for index in indexes if index.definition.has_packages}
    ways = list[PromotionWay]()
    for index in indexes:
        rules = index.definition.promotion
        if index.name in sizes and rules != NO_RULES:
            # rules without a source are about all other indexes
            source_names: Sequence[str] = rules.promote_from
            if not source_names:
                source_names = [name for name in sizes if name != index.name]
            # without a source that does not exist any more, or has no packages now
            sources = tuple(sizes[name] for name in source_names if name in sizes)
            ways.append(PromotionWay(sources, sizes[index.name], rules.promote_only))
    return ways


def _size_of(index: Index) -> IndexSize:
    """Return an index with the number of its own projects, if its search table is in memory."""
    # the list of indexes must not read the search table of each
    table = index.search.in_memory
    if not table.projects:
        return IndexSize(index.name, None)
    return IndexSize(index.name, len(table.private_names))


def _describe_removed_filter(row: ListedTable) -> str:
    """Return the effect of the removed filter of an index, or an empty text without a filter."""
    text = removed_filter(row.keys)
    if not text:
        return ""
    return removed_filter_warning(row.name, text).message
