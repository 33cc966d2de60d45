"""The pages of the tables of one kind: the list, the form of a table, the removal, the history."""

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
    """The field of a form that says when its table had been changed last before it was shown."""

    as_of: Annotated[datetime, Meta(tz=True)]


class TablePages:
    """
    Handles the pages of the tables of a kind, below the section of its name.

    A kind whose pages show more than its keys has a subclass, with templates and methods of its
    own.

    Args:
        pages: The parts that all pages for administrators share.
        operations: The operations on tables of the kind.
    """

    ADD_ACTION: ClassVar[str] = "add"
    LIST: ClassVar[str] = "table_list.html"
    FORM: ClassVar[str] = "table_form.html"
    QUESTION: ClassVar[str] = "table_remove.html"
    NAME_FIELD: ClassVar[FormField] = FormField("name", "Name", is_required=True, limit=40)
    RARE_TITLE: ClassVar[str] = "More"
    CONFIRMED: ClassVar[str] = ""
    """The code of the Conflict that a ticked box prevents, or empty if the kind has no such box."""

    def __init__(self, pages: AdminPages, operations: TableOperations) -> None:
        self.pages = pages
        self.operations = operations
        self.kind = operations.kind
        self.name_key = self.kind.name_key
        self.section = f"{self.kind.plural}/"

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form of a table, or the question whether to remove one.

        For a table that has no form here, the question is shown in place of the form. `?search=`
        selects rows of the list. Raises NotFound if there is no such table.
        """
        # first, as this checks the right
        query = self.pages.query(request)
        form = self.pages.form(request)
        variant = query.text(self.ADD_ACTION)
        if self.has_form(variant):
            return self._show_form(request, variant, None, form, 200)
        for action in ("change", "remove"):
            name = query.text(action)
            if name:
                return self._show_stored(request, action, name, form, 200)
        return self._show_list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: add, change or remove a table.

        The answer is a redirect to the list, or the list itself if an addition has warnings. A
        refused form is shown again with the reason.
        """
        act = partial(self.act, request)
        ask_again = partial(self.ask_again, request)
        return self.pages.answer_form(request, act, ask_again)

    def act(self, request: IndexRequest, fields: FormFields) -> Response:
        """
        Make the change of a form, and return the response. A kind may have further actions.

        Raises WheelyardError if the form is refused.
        """
        action = fields.action(self.ADD_ACTION, "change", "remove")
        if action == "remove":
            return self._remove(request, fields)
        return self._save(request, fields, action)

    def ask_again(
        self, request: IndexRequest, fields: FormFields, form: FormState, status: int
    ) -> Response:
        """
        Return the page of a refused form. A kind may have further forms.

        Raises NotFound if the table of the form is gone.
        """
        action = fields.text("action")
        if action in {"change", "remove"}:
            name = fields.text(self.name_key)
            return self._show_stored(request, action, name, form, status)
        return self._show_form(request, self.variant_in(fields), None, form, status)

    def answer_added(self, request: IndexRequest, row: ListedTable) -> Response:
        """
        Return the response after a table is added. A kind may have another one.

        This is a redirect to the list. If there are warnings that only an addition has, it is the
        list with these (201).
        """
        new_warnings = self._new_warnings(request, row)
        # no redirect, as the warnings are shown once
        if new_warnings:
            query = FormFields({"done": (self.ADD_ACTION,), self.name_key: (row.name,)})
            return self._show_list(request, query, new_warnings, 201)
        return self._redirect_to_list(request, self.ADD_ACTION, row.name)

    def answer_history(self, request: IndexRequest) -> Response:
        """Handle GET: the changes of the tables of the kind, newest first."""
        history = HistoryPage(
            self.section,
            self.kind.title,
            self.operations.list,
            self.operations.history,
            self.kind.describe_event,
        )
        return self.pages.answer_history(request, history)

    def has_form(self, variant: str) -> bool:
        """Return whether a new table can have the variant of the form with this name."""
        return bool(variant)

    def variant_in(self, fields: FormFields) -> str:
        """Return the variant of the form that was sent."""
        del fields
        return self.kind.noun

    def variant_of(self, row: ListedTable) -> str:
        """Return the variant of the form that changes a table, or an empty text without a form."""
        del row
        return self.kind.noun

    def form_values(
        self, request: IndexRequest, variant: str, table_before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return the values of the kind for the template of a form, with its fields as `keys`.

        `variant` is the variant of the form. `table_before` is the table that the form changes, or
        None for a new one.
        """
        del request, variant, table_before
        form_fields = list[FormField]()
        for key in self.kind.keys:
            if key != self.name_key:
                label = key.replace("_", " ").capitalize()
                form_fields.append(FormField(key, label))
        return {"keys": form_fields}

    def list_values(self, request: IndexRequest, answer: Any) -> dict[str, object]:  # noqa: ANN401 - of the kind
        """Return the values of the kind for the template of the list."""
        del request, answer
        return {"cells": self.kind.cells}

    def question_values(self, request: IndexRequest, name: str) -> dict[str, object]:
        """
        Return the values of the kind for the template of the question.

        A kind may raise an error if the table cannot be removed.
        """
        del request, name
        return {}

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys of a table as texts, for the fields of its form."""
        return {key: text_of_value(value) for key, value in row.keys.items()}

    def keys_in(self, fields: FormFields) -> TableKeys:
        """
        Return the keys of a form, also the name, with None for an empty field.

        Raises Invalid (code `invalid_field`), with the key, if a text is wrong.
        """
        keys: TableKeys = {}
        for key, value_type in self.kind.keys.items():
            text = fields.text(key).strip()
            keys[key] = None
            if text:
                keys[key] = value_of_text(value_type, key, text)
        return keys

    def find_listed(self, request: IndexRequest, name: str) -> Any:  # noqa: ANN401 - of the kind
        """Return the row of a table. Raises NotFound if there is no table of this name."""
        tables = self.pages.api(request).call(self.operations.list).tables
        for row in tables:
            if row.name == name:
                return row
        raise NotFound(f"There is no {self.kind.noun} {quoted(name)}. It may have been removed.")

    @property
    def _add_words(self) -> str:
        """The words of the link and the title to add a table: `Add a webhook`."""
        return f"{self.ADD_ACTION.capitalize()} {self.kind.article} {self.kind.noun}"

    def _kind_words(self) -> dict[str, object]:
        """Return the words of the kind for the templates."""
        return {
            "noun": self.kind.noun,
            "list_title": f"{self.kind.title[0].upper()}{self.kind.title[1:]}",
            "name_key": self.name_key,
            "add_action": self.ADD_ACTION,
            "add_words": self._add_words,
            "added_word": self.kind.added_word,
        }

    def _show_list(
        self,
        request: IndexRequest,
        query: FormFields,
        warnings: Sequence[Caution] = (),
        status: int = 200,
    ) -> Response:
        """
        Return the list, filtered by a query, which tells of an action that was done just now.

        `warnings` are those about a table that was added just now.
        """
        answer = self.pages.api(request).call(self.operations.list)
        search = query.text("search")
        name = query.text(self.name_key)
        done_action = query.text("done")

        # A link of a stranger may name any action. After a removal the table is not listed; after
        # any other action it is listed.
        is_listed = any(row.name == name for row in answer.tables)
        should_be_listed = done_action != "remove"
        if is_listed != should_be_listed:
            done_action = ""
        matching_rows = [row for row in answer.tables if _has_text(row, search.casefold())]
        rows, numbers = paged(matching_rows, query, ROWS_ON_A_PAGE)
        values = self._kind_words() | {
            "titles": self.kind.titles,
            "rows": rows,
            "numbers": numbers,
            "search": search,
            "links": query_of_search(search),
            "done": done_action,
            "name": name,
            "warnings": warnings,
            "names": self.pages.names_of(request, (row.created_by for row in rows)),
        }

        # the values of the kind come last, and replace those above
        values |= self.list_values(request, answer)
        return self.pages.show(request, self.section, self.LIST, values, status)

    def _show_form(
        self,
        request: IndexRequest,
        variant: str,
        table_before: ListedTable | None,
        form: FormState,
        status: int,
    ) -> Response:
        """Return the page with the form that changes a table, or that adds one if it is None."""
        values = self._kind_words() | {
            "form": form,
            "before": table_before,
            "name_field": self.NAME_FIELD,
            "title": self._add_words,
            "texts": {},
            "rare_title": self.RARE_TITLE,
            "indexes": (),
        }
        values |= self.form_values(request, variant, table_before)
        if table_before is not None:
            values["title"] = f"Change {table_before.name}"
            # the form must not overwrite a change that another person makes meanwhile
            values["as_of"] = table_before.changed or table_before.created or NEVER_CHANGED
            values["texts"] = self.texts_of(table_before)
        return self.pages.show(request, self.section, self.FORM, values, status)

    def _show_stored(
        self, request: IndexRequest, action: str, name: str, form: FormState, status: int
    ) -> Response:
        """
        Return the page with the form that changes a table, or the question whether to remove it.

        Raises NotFound if there is no such table.
        """
        row = self.find_listed(request, name)
        variant = self.variant_of(row)
        # a table that another version has made may have no form here, and can still be removed
        if action == "change" and variant:
            return self._show_form(request, variant, row, form, status)
        values = self._kind_words() | {"form": form, "row": row, "warnings": ()}
        values |= self.question_values(request, name)
        return self.pages.show(request, self.section, self.QUESTION, values, status)

    def _save(self, request: IndexRequest, fields: FormFields, action: str) -> Response:
        """Add or change the table of a form, and return the response."""
        keys = self.keys_in(fields)
        note = fields.text("note")
        api = self.pages.api(request)
        json = self.operations.json
        # a kind has at most one confirmation
        confirmation_field = "".join(json.confirmations)
        with confirmed_by(confirmation_field, self.CONFIRMED):
            if action == self.ADD_ACTION:
                new_keys = {key: value for key, value in keys.items() if value is not None}
                ticked_boxes = _ticked_boxes(fields, json.confirmations_of(json.new))
                body = json.new(keys=new_keys, note=note, **ticked_boxes)
                row = api.call(self.operations.add, body)
                return self.answer_added(request, row)
            # a change removes the keys that are None
            name = keys.pop(self.name_key)
            ticked_boxes = _ticked_boxes(fields, json.confirmations_of(json.edit))
            as_of = _as_of(fields)
            edit = json.edit(name=name or "", keys=keys, note=note, as_of=as_of, **ticked_boxes)
            api.call(self.operations.change, edit)
        return self._redirect_to_list(request, action, fields.text(self.name_key))

    def _new_warnings(self, request: IndexRequest, row: ListedTable) -> list[Caution]:
        """Return the warnings that only the addition of a table has, and not the list."""
        if not row.cautions:
            return []
        tables = self.pages.api(request).call(self.operations.list).tables
        listed_warnings = set(chain.from_iterable(table.cautions for table in tables))
        return [caution for caution in row.cautions if caution not in listed_warnings]

    def _remove(self, request: IndexRequest, fields: FormFields) -> Response:
        """Remove the table of a form, and redirect to the list."""
        name = fields.text(self.name_key)
        removal = self.operations.json.removal(name=name, note=fields.text("note"))
        self.pages.api(request).call(self.operations.remove, removal)
        return self._redirect_to_list(request, "remove", name)

    def _redirect_to_list(self, request: IndexRequest, done_action: str, name: str) -> Response:
        """Return the redirect to the list, which tells of the action that was done."""
        return self.pages.done(request, urlencode({"done": done_action, self.name_key: name}))


def _ticked_boxes(fields: FormFields, names: Sequence[str]) -> dict[str, bool]:
    """Return by name whether each of these boxes of a form is ticked."""
    return {name: bool(fields.text(name)) for name in names}


def _as_of(fields: FormFields) -> datetime:
    """
    Return when the table of a form had been changed last before the form was shown.

    Raises Invalid for a malformed time, without a field, as no person types it.
    """
    try:
        return form_body(fields, FormTime).as_of
    except Invalid as fault:
        message = "The form does not say when it was shown. Load it again."
        raise Invalid(message, code="invalid_field") from fault


def _has_text(row: ListedTable, search: str) -> bool:
    """Return whether the name, the note or a key of a table has a text, which is in lower case."""
    texts = [row.name, row.note]
    texts += [str(value) for value in row.keys.values()]
    return any(search in text.casefold() for text in texts)
