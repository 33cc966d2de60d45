"""The pages of people: the list, the facts about a person, and forms to end or restore access."""

from typing import Final, get_args
from urllib.parse import urlencode

from msgspec import convert

from wheelyard.api import people_operations
from wheelyard.authentication.known_people import PersonState
from wheelyard.authentication.token_list import WORKING_STATES
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
from wheelyard.operations.access_control import NOTE_LIMIT_CHARS
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "people/"
ROWS_ON_A_PAGE: Final = 100
STATES: Final[dict[str, str]] = {
    "": "All",
    "active": "May sign in",
    "refused": "Refused by their provider",
    "ended": "Access ended",
    "gone": "Gone",
    "unseen": "Have not signed in yet",
    "unknown": "Known by Google",
}
"""The choices of the filter of the list, with their labels."""
CHANGES: Final = ("end", "admit", "release-name")
"""The changes of a person by forms, by the text of the field `action`."""


class PeoplePages:
    """Handles the pages of people."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, one person, or the question before a change of their access.

        An unknown principal has a page, too. `?search=`, `?state=` and `?group=` select rows of the
        list. Raises Invalid (code `invalid_field`) if `?who=` is no principal of a person or a
        service account.
        """
        query = self._pages.query(request)
        principal = query.text("who")
        action = query.text("action")
        if principal and action in CHANGES:
            form = self._pages.form(request)
            return self._show_question(request, principal, action, form, 200)
        if principal:
            return self._show_person(request, principal, query.text("done"))
        return self._show_list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: end the access of a person, admit the person again, or release their name.

        The answer is a redirect to the page of the person. A refused form is shown again with the
        reason.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            action = fields.text("action")
            # the error about an unknown action is shown on the page of the first action
            if action not in CHANGES:
                action = CHANGES[0]
            return self._show_question(request, fields.text("who"), action, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _show_list(self, request: IndexRequest, query: FormFields) -> Response:
        """Return the list of people, filtered by a query."""
        # an unknown state, which a link may have, selects all people
        state: PersonState | None = None
        if query.text("state") in get_args(PersonState):
            state = convert(query.text("state"), PersonState)
        number = page_number(query)
        people_query = people_operations.PeopleQuery(
            search=query.text("search"),
            state=state,
            group=query.text("group"),
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        people_page = self._pages.api(request).call(people_operations.list_people, people_query)
        total = people_page.total or 0
        filters = {
            "search": people_query.search,
            "state": people_query.state or "",
            "group": people_query.group,
        }
        values = {
            "rows": people_page.people,
            "numbers": page_numbers(query, total, ROWS_ON_A_PAGE),
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
        }
        return self._pages.show(request, SECTION, "people.html", values)

    def _show_question(
        self, request: IndexRequest, principal: str, action: str, form: FormState, status: int
    ) -> Response:
        """
        Return the page that asks whether to change the access of a person.

        Raises Invalid if the principal is not that of a person or a service account.
        """
        question = people_operations.PersonQuestion(principal)
        person_answer = self._pages.api(request).call(people_operations.show_person, question)
        values = {"form": form, "person": person_answer.person, "action": action}
        return self._pages.show(request, SECTION, "person_change.html", values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        """Change the access of a person by a form. Raises WheelyardError if it is refused."""
        action = fields.action(*CHANGES)
        principal = fields.text("who")
        with naming_field("reason"):
            note = require_one_line(fields.text("reason"), "The reason", NOTE_LIMIT_CHARS)
        api = self._pages.api(request)
        change = people_operations.PersonChange(principal, note)
        question = people_operations.PersonQuestion(principal)

        # before the change, as a person is not found by a released name any more
        person = api.call(people_operations.show_person, question).person
        with refused_for("who"):
            if action == "end":
                api.call(people_operations.end_person, change)
            elif action == "admit":
                api.call(people_operations.admit_person, change)
            else:
                # the principal of a person of a provider is `oidc:PROVIDER:NAME`
                name = person.principal.split(":", 2)[-1]
                release = people_operations.NameRelease(person.provider, name)
                api.call(people_operations.release_name, release)
        return self._pages.done(request, urlencode({"who": person.who, "done": action}))

    def _show_person(self, request: IndexRequest, principal: str, done_action: str) -> Response:
        """
        Return the page of a person, which tells of an action that was done just now.

        Raises Invalid if the principal is not that of a person or a service account.
        """
        question = people_operations.PersonQuestion(principal)
        person_answer = self._pages.api(request).call(people_operations.show_person, question)
        working_tokens = [token for token in person_answer.tokens if token.state in WORKING_STATES]
        values = {
            "answer": person_answer,
            "person": person_answer.person,
            "working": working_tokens,
            "done": done_action,
            "is_caller": person_answer.person.who in request.caller.principals,
        }
        return self._pages.show(request, SECTION, "person.html", values)
