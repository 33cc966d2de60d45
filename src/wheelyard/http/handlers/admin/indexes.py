"""The pages of indexes: the list, the form of one, removal, history."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct

from wheelyard.api import index_operations
from wheelyard.api.access_operations import AccessHistoryQuery
from wheelyard.api.index_operations import IndexEdit, IndexRemoval, NewIndex
from wheelyard.catalog.removed import (
    REMOVED_RULES,
    removed_filter,
    removed_filter_warning,
    removed_rules,
)
from wheelyard.errors import NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, form_body
from wheelyard.http.handlers.admin.pages import AdminPages, confirmed_by, newest_part
from wheelyard.http.messages import Response
from wheelyard.model.index_name import MAIN
from wheelyard.model.index_texts import INDEX_KEYS, index_of_texts, texts_of_index
from wheelyard.model.removed_filter import keys_of_filter
from wheelyard.model.stored_indexes import (
    FILTER,
    NAME,
    NEVER_CHANGED,
    IndexKeys,
    ListedIndex,
    describe_event,
)
from wheelyard.operations.index_fit import OPENS_INDEX
from wheelyard.remedies import Caution
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.index_fields import index_fields

SECTION: Final = "indexes/"


class SeenIndex(Struct, frozen=True):
    """The index that a form was shown with."""

    name: str
    as_of: Annotated[datetime, Meta(tz=True)]
    """When it had been changed last."""


def _texts_of(index: IndexKeys) -> dict[str, str]:
    """Return the keys of an index as texts, with those that stand for a removed filter."""
    kept = {key: value for key, value in index.items() if key != FILTER}
    return texts_of_index({**keys_of_filter(removed_filter(index)).keys, **kept})


def _last_change(before: ListedIndex) -> datetime:
    """Return when an index was changed last, as a change compares it."""
    return before.changed or before.created or NEVER_CHANGED


def _removed_filter_of(before: ListedIndex) -> str:
    """Return what the removed filter of an index leads to, in sentences, or an empty text."""
    text = removed_filter(before.index)
    if not text:
        return ""
    return removed_filter_warning(before.name, text).message


class IndexPages:
    """The pages of indexes."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """Handle GET: the list, the form of an index, or the question whether to remove one."""
        query, form = self._pages.query(request), self._pages.form(request)
        if query.text("make"):
            return self._index_form(request, None, form, 200)
        for action in ("change", "remove"):
            if query.text(action):
                return self._of_stored(request, action, query.text(action), form, 200)
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """Handle POST: make, change or remove an index."""

        def act(fields: FormFields) -> Response:
            action = fields.action("make", "change", "remove")
            if action == "remove":
                return self._remove(request, fields)
            return self._save(request, fields, action)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            action = fields.text("action")
            if action in {"change", "remove"}:
                return self._of_stored(request, action, fields.text(NAME), form, status)
            return self._index_form(request, None, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def answer_history(self, request: IndexRequest) -> Response:
        """Handle GET: the changes of indexes, newest first."""
        query, api = self._pages.query(request), self._pages.api(request)
        part = newest_part(query, api.call(index_operations.list_indexes).revision)
        wanted = AccessHistoryQuery(part.after, part.limit)
        commits = api.call(index_operations.index_history, wanted).commits
        changes = [event for commit in commits for event in commit.events]
        described = [(event, describe_event(event)) for event in reversed(changes)]
        return self._pages.show_history(request, SECTION, "indexes", described, part)

    def _list(
        self,
        request: IndexRequest,
        query: FormFields,
        warnings: Sequence[Caution] = (),
        status: int = 200,
    ) -> Response:
        rows = self._pages.api(request).call(index_operations.list_indexes).indexes
        values = {
            "rows": rows,
            "done": query.text("done"),
            "name": query.text(NAME),
            "warnings": warnings,
            "names": self._pages.names_of(request, (row.created_by for row in rows)),
        }
        return self._pages.show(request, SECTION, "indexes.html", values, status)

    def _index_form(
        self, request: IndexRequest, before: ListedIndex | None, form: FormState, status: int
    ) -> Response:
        is_main = before is not None and before.name == MAIN
        values: Mapping[str, object] = {
            "form": form,
            "before": before,
            "as_of": _last_change(before) if before else None,
            "keys": tuple(index_fields(INDEX_KEYS, is_main=is_main)),
            "texts": _texts_of(before.index) if before else {},
            "removed_rules": removed_rules(before.index) if before else (),
            "removed_filter": _removed_filter_of(before) if before else "",
        }
        return self._pages.show(request, SECTION, "index_form.html", values, status)

    def _of_stored(
        self, request: IndexRequest, action: str, name: str, form: FormState, status: int
    ) -> Response:
        """
        Return the form that changes an index, or asks whether to remove it.

        Raises NotFound if there is no such index.
        """
        listed = self._pages.api(request).call(index_operations.list_indexes).indexes
        row = next((row for row in listed if row.name == name), None)
        if row is None:
            raise NotFound(f"There is no index {quoted(name)}. It may have been removed.")
        if action == "change":
            return self._index_form(request, row, form, status)
        warnings = tuple(request.context.index.server.index_administration.warnings(name))
        values = {"form": form, "row": row, "warnings": warnings}
        return self._pages.show(request, SECTION, "index_remove.html", values, status)

    def _save(self, request: IndexRequest, fields: FormFields, action: str) -> Response:
        keys = index_of_texts({key: fields.text(key) for key in INDEX_KEYS})
        note, api = fields.text("note"), self._pages.api(request)
        even_if_open = bool(fields.text("even_if_open"))
        if action == "make":
            wanted = NewIndex(keys, note, even_if_open)
            with confirmed_by("even_if_open", OPENS_INDEX):
                made = api.call(index_operations.make_index, wanted)
            listed = api.call(index_operations.list_indexes).indexes
            of_rows = {warning for row in listed for warning in row.warnings}
            new = [warning for warning in made.warnings if warning not in of_rows]
            if new:  # without a redirect, as they are shown once
                done = {"done": (action,), NAME: (made.name,)}
                return self._list(request, FormFields(done), new, 201)
        else:
            # a field that is empty leaves its key out
            changes = {key: keys.get(key) for key in INDEX_KEYS if key != NAME}
            removed = (*REMOVED_RULES, FILTER)
            changes |= {key: None for key in removed if fields.text(key)}
            seen = form_body(fields, SeenIndex)
            edit = IndexEdit(seen.name, changes, note, seen.as_of, even_if_open)
            with confirmed_by("even_if_open", OPENS_INDEX):
                api.call(index_operations.change_index, edit)
        return self._pages.done(request, urlencode({"done": action, NAME: fields.text(NAME)}))

    def _remove(self, request: IndexRequest, fields: FormFields) -> Response:
        removal = IndexRemoval(fields.text(NAME), fields.text("note"))
        self._pages.api(request).call(index_operations.remove_index, removal)
        return self._pages.done(request, urlencode({"done": "remove", NAME: removal.name}))
