"""The page of private names, with the reason for each, and forms to reserve or release a name."""

from typing import Final
from urllib.parse import urlencode

from msgspec import convert

from wheelyard.api import project_operations
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, naming_field
from wheelyard.http.handlers.admin.admin_pages import (
    AdminPages,
    page_number,
    page_numbers,
    query_of,
    refused_for,
)
from wheelyard.http.messages import Response
from wheelyard.model.decoding import require_one_line
from wheelyard.model.distribution_filename import parse_name
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "names/"
ROWS_ON_A_PAGE: Final = 100
STATES: Final[dict[str, str]] = {
    "": "All",
    "unpublished": "Without files",
    "reserved": "Reserved",
    "claimed": "Nothing published",
    "deleted": "All files deleted",
    "unreadable": "Cannot be read",
    "files": "With files",
}
"""The choices of the filter of the list, with their labels."""
WORDS: Final[dict[str, str]] = {
    "files": "it has files",
    "deleted": "all of its files were deleted",
    "reserved": "it is reserved",
    "claimed": "an upload has begun under it, and none has ended",
    "unreadable": "its document is damaged, or of a newer version",
}
"""Why a name is private, in words, by its state."""


class NamePages:
    """Handles the page of private names."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form to reserve a name, or the question whether to release one.

        The question is also shown for a name that is not private. `?search=` and `?state=` select
        rows of the list. An unknown state selects all rows.
        """
        query = self._pages.query(request)
        if query.text("action") == "reserve":
            return self._show_form(request, self._pages.form(request, query), 200)
        if query.text("release"):
            form = self._pages.form(request)
            return self._show_question(request, query.text("release"), form, 200)
        return self._show_list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: reserve or release a name.

        The answer is a redirect to the list, also if the name was private before. A refused form is
        shown again with the reason.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.text("action") == "release":
                return self._show_question(request, fields.text("name"), form, status)
            return self._show_form(request, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _show_list(self, request: IndexRequest, query: FormFields) -> Response:
        """Return the list of private names, filtered by a query."""
        # an unknown state, which a link may have, selects all names
        state: project_operations.NameSelection | None = None
        if query.text("state") and query.text("state") in STATES:
            state = convert(query.text("state"), project_operations.NameSelection)
        number = page_number(query)
        names_query = project_operations.NamesQuery(
            search=query.text("search"),
            state=state,
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        name_list = self._pages.api(request).call(project_operations.list_names, names_query)
        total = name_list.total or 0
        filters = {"search": names_query.search, "state": names_query.state or ""}
        values = {
            "rows": name_list.names,
            "patterns": name_list.patterns,
            "numbers": page_numbers(query, total, ROWS_ON_A_PAGE),
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
            "words": WORDS,
            "done": query.text("done"),
            "name": query.text("name"),
            "names": self._pages.names_of(request, (row.by for row in name_list.names)),
        }
        return self._pages.show(request, SECTION, "names.html", values)

    def _show_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        """Return the page with the form to reserve a name."""
        return self._pages.show(request, SECTION, "name_reserve.html", {"form": form}, status)

    def _show_question(
        self, request: IndexRequest, name: str, form: FormState, status: int
    ) -> Response:
        """Return the page that asks whether to release a name."""
        has_upstream = request.context.index.upstream is not None
        values = {"form": form, "name": name, "has_upstream": has_upstream}
        return self._pages.show(request, SECTION, "name_release.html", values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        """Reserve or release the name of a form, and redirect to the list, which tells of it."""
        action = fields.action("reserve", "release")
        with naming_field("name"):
            name = parse_name(fields.text("name"))
        with naming_field("reason"):
            reason = require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
        api = self._pages.api(request)
        change = project_operations.NameChange(reason)
        with refused_for("name"):
            if action == "release":
                api.call(project_operations.release_name, name, change)
                done_word = "released"
            else:
                reservation = api.call(project_operations.reserve_name, name, change)
                done_word = "reserved" if reservation.is_new else "known"
        return self._pages.done(request, urlencode({"done": done_word, "name": name}))
