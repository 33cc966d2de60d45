"""The pages of the tables of a kind: the list, the form of one, removal, history."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct

from wheelyard.api.table_operations import TableOperations
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, form_body
from wheelyard.http.handlers.admin.admin_pages import (
    AdminPages,
    HistoryPage,
    confirmed_by,
    paged,
    query_of_search,
)
from wheelyard.http.messages import Response
from wheelyard.model.field_texts import text_of_value, value_of_text
from wheelyard.model.stored_tables import NEVER_CHANGED, ListedTable, TableKeys
from wheelyard.remedies import Caution
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.form_fields import FormField

ROWS_ON_A_PAGE: Final = 100


class FormTime(Struct, frozen=True):
    """When the table that a form was shown with had been changed last."""

    as_of: Annotated[datetime, Meta(tz=True)]


class TablePages:
    """
    The pages of the tables of a kind, below the section of its name.

    A kind that shows more than its keys has a subclass, with templates and methods of its own.

    Args:
        pages: What all pages for administrators share.
        operations: Those on the kind.
    """

    ADD_ACTION: ClassVar[str] = "add"
    LIST: ClassVar[str] = "table_list.html"
    FORM: ClassVar[str] = "table_form.html"
    QUESTION: ClassVar[str] = "table_remove.html"
    NAME_FIELD: ClassVar[FormField] = FormField("name", "Name", is_required=True, limit=40)
    RARE_TITLE: ClassVar[str] = "More"
    CONFIRMED: ClassVar[str] = ""
    """The code of a refusal that the only confirmation of the kind answers."""

    def __init__(self, pages: AdminPages, operations: TableOperations) -> None:
        self.pages = pages
        self.operations = operations
        self.kind = operations.kind
        self.name_key = self.kind.name_key
        self.section = f"{self.kind.plural}/"

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form of a table, or the question whether to remove one.

        A table that no form here can change has the question in its place. `?search=` selects rows
        of the list. Raises NotFound if there is no such table.
        """
        # the right is checked by this, before anything else is looked at
        query = self.pages.query(request)
        form = self.pages.form(request)
        variant = query.text(self.ADD_ACTION)
        if self.has_form(variant):
            return self._form_of(request, variant, None, form, 200)
        for action in ("change", "remove"):
            if query.text(action):
                return self._of_stored(request, action, query.text(action), form, 200)
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: add, change or remove a table.

        The answer is a redirect to the list, or the list itself if an addition has warnings. What
        is refused is told on the form.
        """
        act = partial(self.act, request)
        ask_again = partial(self.ask_again, request)
        return self.pages.answer_form(request, act, ask_again)

    def act(self, request: IndexRequest, fields: FormFields) -> Response:
        """Do what a form asks for. Raises WheelyardError to refuse it. A kind may do more."""
        action = fields.action(self.ADD_ACTION, "change", "remove")
        if action == "remove":
            return self._remove(request, fields)
        return self._save(request, fields, action)

    def ask_again(
        self, request: IndexRequest, fields: FormFields, form: FormState, status: int
    ) -> Response:
        """
        Return the page of a form that was refused. A kind may have more forms.

        Raises NotFound if the table that it is about is gone.
        """
        action = fields.text("action")
        if action in {"change", "remove"}:
            name = fields.text(self.name_key)
            return self._of_stored(request, action, name, form, status)
        return self._form_of(request, self.variant_in(fields), None, form, status)

    def answer_added(self, request: IndexRequest, row: ListedTable) -> Response:
        """
        Return what is shown once a table is added. A kind may show more.

        That is the list with warnings (201) if the list does not show them all the time, or else a
        redirect to it.
        """
        new_warnings = self._new_warnings(request, row)
        # without a redirect, as the warnings are shown once
        if new_warnings:
            done = {"done": (self.ADD_ACTION,), self.name_key: (row.name,)}
            return self._list(request, FormFields(done), new_warnings, 201)
        return self._done(request, self.ADD_ACTION, row.name)

    def answer_history(self, request: IndexRequest) -> Response:
        """Handle GET: the changes, newest first."""
        history = HistoryPage(
            self.section,
            self.kind.title,
            self.operations.list,
            self.operations.history,
            self.kind.describe_event,
        )
        return self.pages.answer_history(request, history)

    def has_form(self, variant: str) -> bool:
        """Return whether a new table can have the form of this name."""
        return bool(variant)

    def variant_in(self, fields: FormFields) -> str:
        """Return the name of the form that was sent."""
        del fields
        return self.kind.noun

    def variant_of(self, row: ListedTable) -> str:
        """Return the name of the form by which a table is changed, or nothing if there is none."""
        del row
        return self.kind.noun

    def form_values(
        self, request: IndexRequest, variant: str, before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return what the template of a form needs more, with the fields as `keys`.

        `variant` is the name of the form. `before` is the table that it changes, or None for a new
        one.
        """
        del request, variant, before
        keys = [key for key in self.kind.keys if key != self.name_key]
        return {"keys": [FormField(key, key.replace("_", " ").capitalize()) for key in keys]}

    def list_values(self, request: IndexRequest, answer: Any) -> dict[str, object]:  # noqa: ANN401 - of the kind
        """Return what the template of the list needs more."""
        del request, answer
        return {"cells": self.kind.cells}

    def question_values(self, request: IndexRequest, name: str) -> dict[str, object]:
        """
        Return what the template of the question needs more.

        A kind may raise an error if the table cannot be removed.
        """
        del request, name
        return {}

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys of a table as texts, for the fields of its form."""
        return {key: text_of_value(value) for key, value in row.keys.items()}

    def keys_in(self, fields: FormFields) -> TableKeys:
        """
        Return the keys that a form says, also the name, with None for an empty field.

        Raises Invalid (code `invalid_field`), with the key, if a text is wrong.
        """
        keys: TableKeys = {}
        for key, kind in self.kind.keys.items():
            text = fields.text(key).strip()
            keys[key] = None
            if text:
                keys[key] = value_of_text(kind, key, text)
        return keys

    @property
    def _add_words(self) -> str:
        return f"{self.ADD_ACTION.capitalize()} {self.kind.article} {self.kind.noun}"

    def _words(self) -> dict[str, object]:
        """Return how the templates call the tables."""
        return {
            "noun": self.kind.noun,
            "list_title": f"{self.kind.title[0].upper()}{self.kind.title[1:]}",
            "name_key": self.name_key,
            "add_action": self.ADD_ACTION,
            "add_words": self._add_words,
            "added_word": self.kind.added_word,
        }

    def _list(
        self,
        request: IndexRequest,
        query: FormFields,
        warnings: Sequence[Caution] = (),
        status: int = 200,
    ) -> Response:
        answer = self.pages.api(request).call(self.operations.list)
        search = query.text("search")
        name = query.text(self.name_key)
        done = query.text("done")

        # A link of somebody else may say anything. What was removed is not in the list any more,
        # and all else that was done is about a table that is there.
        is_listed = any(row.name == name for row in answer.tables)
        if is_listed == (done == "remove"):
            done = ""
        matching = [row for row in answer.tables if _has_text(row, search.casefold())]
        rows, numbers = paged(matching, query, ROWS_ON_A_PAGE)
        values = self._words() | {
            "titles": self.kind.titles,
            "rows": rows,
            "numbers": numbers,
            "search": search,
            "links": query_of_search(search),
            "done": done,
            "name": name,
            "warnings": warnings,
            "names": self.pages.names_of(request, (row.created_by for row in rows)),
        }

        # what the kind says comes last, and wins
        values |= self.list_values(request, answer)
        return self.pages.show(request, self.section, self.LIST, values, status)

    def _form_of(
        self,
        request: IndexRequest,
        variant: str,
        before: ListedTable | None,
        form: FormState,
        status: int,
    ) -> Response:
        """Return the form of a new table, or of the one that was there before."""
        values = self._words() | {
            "form": form,
            "before": before,
            "name_field": self.NAME_FIELD,
            "title": self._add_words,
            "texts": {},
            "rare_title": self.RARE_TITLE,
            "indexes": (),
        }
        values |= self.form_values(request, variant, before)
        if before is not None:
            values["title"] = f"Change {before.name}"
            # what somebody else changes meanwhile is not overwritten by this form
            values["as_of"] = before.changed or before.created or NEVER_CHANGED
            values["texts"] = self.texts_of(before)
        return self.pages.show(request, self.section, self.FORM, values, status)

    def _of_stored(
        self, request: IndexRequest, action: str, name: str, form: FormState, status: int
    ) -> Response:
        """
        Return the form that changes a table, or asks whether to remove it.

        Raises NotFound if there is no such table.
        """
        row = self.find_listed(request, name)
        variant = self.variant_of(row)
        # a table that another version has made may have no form here, and can still be removed
        if action == "change" and variant:
            return self._form_of(request, variant, row, form, status)
        values = self._words() | {"form": form, "row": row, "warnings": ()}
        values |= self.question_values(request, name)
        return self.pages.show(request, self.section, self.QUESTION, values, status)

    def find_listed(self, request: IndexRequest, name: str) -> Any:  # noqa: ANN401 - of the kind
        """Return the row of a table. Raises NotFound if there is none of that name."""
        listed = self.pages.api(request).call(self.operations.list).tables
        for row in listed:
            if row.name == name:
                return row
        raise NotFound(f"There is no {self.kind.noun} {quoted(name)}. It may have been removed.")

    def _save(self, request: IndexRequest, fields: FormFields, action: str) -> Response:
        """Add or change a table, as a form says."""
        keys = self.keys_in(fields)
        note = fields.text("note")
        api = self.pages.api(request)
        json = self.operations.json
        # a kind has one confirmation at most
        with confirmed_by("".join(json.confirmations), self.CONFIRMED):
            if action == self.ADD_ACTION:
                new_keys = {key: value for key, value in keys.items() if value is not None}
                confirmed = _confirmed(fields, json.confirmations_of(json.new))
                body = json.new(keys=new_keys, note=note, **confirmed)
                row = api.call(self.operations.add, body)
                return self.answer_added(request, row)
            # a change takes away the keys that are None
            name = keys.pop(self.name_key)
            confirmed = _confirmed(fields, json.confirmations_of(json.edit))
            as_of = _shown_at(fields)
            edit = json.edit(name=name or "", keys=keys, note=note, as_of=as_of, **confirmed)
            api.call(self.operations.change, edit)
        return self._done(request, action, fields.text(self.name_key))

    def _new_warnings(self, request: IndexRequest, row: ListedTable) -> list[Caution]:
        """Return the warnings about a new table that the list does not show all the time."""
        if not row.cautions:
            return []
        listed = self.pages.api(request).call(self.operations.list).tables
        lasting = set(chain.from_iterable(table.cautions for table in listed))
        return [caution for caution in row.cautions if caution not in lasting]

    def _remove(self, request: IndexRequest, fields: FormFields) -> Response:
        name = fields.text(self.name_key)
        removal = self.operations.json.removal(name=name, note=fields.text("note"))
        self.pages.api(request).call(self.operations.remove, removal)
        return self._done(request, "remove", name)

    def _done(self, request: IndexRequest, action: str, name: str) -> Response:
        return self.pages.done(request, urlencode({"done": action, self.name_key: name}))


def _confirmed(fields: FormFields, names: Sequence[str]) -> dict[str, bool]:
    """Return which of the boxes of these names are ticked."""
    return {name: bool(fields.text(name)) for name in names}


def _shown_at(fields: FormFields) -> datetime:
    """
    Return when the table of a form had been changed last as the form was shown.

    Raises Invalid, without a field, as nobody types it.
    """
    try:
        return form_body(fields, FormTime).as_of
    except Invalid as fault:
        message = "The form does not say when it was shown. Load it again."
        raise Invalid(message, code="invalid_field") from fault


def _has_text(row: ListedTable, search: str) -> bool:
    """Return whether a text, in lower case, is in what a list says of a table."""
    texts = [row.name, row.note]
    texts += map(str, row.keys.values())
    return any(search in text.casefold() for text in texts)
