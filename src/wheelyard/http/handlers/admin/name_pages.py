"""The page of private names: why each is private, and forms to reserve and release some."""

from typing import Final
from urllib.parse import urlencode

from msgspec import convert

from wheelyard.api import project_operations
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
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
WORDS: Final[dict[str, str]] = {
    "files": "it has files",
    "deleted": "all of its files were deleted",
    "reserved": "it is reserved",
    "claimed": "an upload has begun under it, and none has ended",
    "unreadable": "its document is damaged, or of a newer version",
}
"""Why a name is private."""


class NamePages:
    """The page of private names."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form to reserve a name, or whether to release one.

        The question is also shown for a name that is not private. `?search=` and `?state=` select
        rows of the list. A state that there is not selects all.
        """
        query = self._pages.query(request)
        if query.text("action") == "reserve":
            return self._reserve_form(request, self._pages.form(request, query), 200)
        if query.text("release"):
            form = self._pages.form(request)
            return self._question(request, query.text("release"), form, 200)
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: reserve or release a name.

        The answer is a redirect to the list, also if the name was private before. What is refused
        is told on the form.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.text("action") == "release":
                return self._question(request, fields.text("name"), form, status)
            return self._reserve_form(request, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _list(self, request: IndexRequest, query: FormFields) -> Response:
        state = None

        # a link may say anything: what is no state selects none
        if query.text("state") and query.text("state") in STATES:
            state = convert(query.text("state"), project_operations.NameSelection)
        number = page_number(query)
        question = project_operations.NamesQuery(
            search=query.text("search"),
            state=state,
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        listed = self._pages.api(request).call(project_operations.list_names, question)
        total = listed.total or 0
        filters = {"search": question.search, "state": question.state or ""}
        values = {
            "rows": listed.names,
            "patterns": listed.patterns,
            "numbers": page_numbers(query, total, ROWS_ON_A_PAGE),
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
            "words": WORDS,
            "done": query.text("done"),
            "name": query.text("name"),
            "names": self._pages.names_of(request, (row.by for row in listed.names)),
        }
        return self._pages.show(request, SECTION, "names.html", values)

    def _reserve_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        return self._pages.show(request, SECTION, "name_reserve.html", {"form": form}, status)

    def _question(self, request: IndexRequest, name: str, form: FormState, status: int) -> Response:
        """Return the page that asks whether to release a name."""
        has_upstream = request.context.index.upstream is not None
        values = {"form": form, "name": name, "has_upstream": has_upstream}
        return self._pages.show(request, SECTION, "name_release.html", values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        action = fields.action("reserve", "release")
        with checking("name"):
            name = parse_name(fields.text("name"))
        with checking("reason"):
            reason = require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
        api = self._pages.api(request)
        change = project_operations.NameChange(reason)
        with refused_for("name"):
            if action == "release":
                api.call(project_operations.release_name, name, change)
                done = "released"
            else:
                reservation = api.call(project_operations.reserve_name, name, change)
                done = "reserved" if reservation.is_new else "known"
        return self._pages.done(request, urlencode({"done": done, "name": name}))
