"""The pages of indexes."""

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
    """An index on a way of promotion."""

    name: str
    projects: int | None
    """Its own ones, or None if this process has not looked at it yet."""


class PromotionWay(Struct, frozen=True):
    """From where an index takes releases."""

    sources: tuple[IndexSize, ...]
    target: IndexSize
    is_only_way: bool
    """Whether the index takes no uploads."""


class IndexPages(TablePages):
    """The pages of indexes."""

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
        values["ways"] = _ways(request.context.index.server.indexes.all())
        return values

    def form_values(
        self, request: IndexRequest, variant: str, before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return the fields of an index, and what stands for keys of earlier versions.

        `before` is the index that the form changes, or None for a new one.
        """
        del request, variant
        is_main = before is not None and before.name == MAIN
        says_read = before is None or "read" in before.keys
        values: dict[str, object] = {
            "keys": tuple(index_fields(INDEX_KEYS, is_main=is_main, says_read=says_read)),
            "removed_rules": (),
            "removed_filter": "",
        }
        if before is not None:
            values["removed_rules"] = removed_rules(before.keys)
            values["removed_filter"] = _removed_filter_of(before)
        return values

    def question_values(self, request: IndexRequest, name: str) -> dict[str, object]:
        """
        Return what removing an index leads to.

        Whether it is empty is not looked at. Raises NotFound if there is no such index, and Invalid
        (code `invalid_index`) for main. Raises Conflict (code `index_in_use`) for main while an
        index of an earlier version is called so.
        """
        administration = request.context.index.server.index_administration
        administration.require_removable(name, administration.read_stored())
        return {"warnings": tuple(administration.warnings(name))}

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys as texts, also those that stand for a removed filter."""
        # keys of the index itself win over those that stand for the removed filter
        keys = dict(keys_of_filter(removed_filter(row.keys)).keys)
        keys.update((key, value) for key, value in row.keys.items() if key != FILTER)
        return texts_of_index(keys)

    def keys_in(self, fields: FormFields) -> IndexKeys:
        """
        Return the keys that a form says, with None for an empty field.

        None also stands for a key of an earlier version whose box is ticked.
        """
        form_keys = index_of_texts({key: fields.text(key) for key in INDEX_KEYS})
        # a field that was emptied takes the key away
        keys: IndexKeys = {key: form_keys.get(key) for key in INDEX_KEYS}
        # so does a ticked box for a key of earlier versions, which no form can set
        for key in REMOVED_KEYS:
            if fields.text(key):
                keys[key] = None
        return keys


def _ways(indexes: Sequence[Index]) -> list[PromotionWay]:
    """Return the ways of promotion to those indexes that say from where they take releases."""
    sizes = {index.name: _size_of(index) for index in indexes if index.definition.has_packages}
    ways = list[PromotionWay]()
    for index in indexes:
        rules = index.definition.promotion
        if index.name in sizes and rules != NO_RULES:
            # rules that name no source are about all others
            names = rules.promote_from or [name for name in sizes if name != index.name]
            # rules may also name an index that is no more, or that has no packages now
            sources = tuple(sizes[name] for name in names if name in sizes)
            ways.append(PromotionWay(sources, sizes[index.name], rules.promote_only))
    return ways


def _size_of(index: Index) -> IndexSize:
    """Return how many projects an index has of its own, as far as this process knows it."""
    # a list of all indexes must not read the search table of each
    table = index.search.in_memory
    if not table.projects:
        return IndexSize(index.name, None)
    return IndexSize(index.name, len(table.private_names))


def _removed_filter_of(row: ListedTable) -> str:
    """Return what the removed filter of an index leads to, in sentences, or an empty text."""
    text = removed_filter(row.keys)
    if not text:
        return ""
    return removed_filter_warning(row.name, text).message
