"""The pages of people: the list, what is known of one, and forms to end access and to admit."""

from typing import Final, get_args
from urllib.parse import urlencode

from msgspec import convert

from wheelyard.api import people_operations
from wheelyard.authentication.known_people import PersonState
from wheelyard.authentication.token_list import WORKING_STATES
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
CHANGES: Final = ("end", "admit", "release-name")


class PeoplePages:
    """The pages of people."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, one person, or the question whether to change their access.

        A principal that appears nowhere has a page, too. `?search=`, `?state=` and `?group=` select
        rows of the list. Raises Invalid (code `invalid_field`) for what is no principal of a person
        or a service account.
        """
        query = self._pages.query(request)
        who = query.text("who")
        action = query.text("action")
        if who and action in CHANGES:
            return self._confirmation_page(request, who, action, self._pages.form(request), 200)
        if who:
            return self._person(request, who, query.text("done"))
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: end somebody's access, admit them again, or release their name.

        The answer is a redirect to the page of the person. What is refused is told on the form.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            action = fields.text("action")
            # a form without an action that is known: the page of the first one says what is wrong
            if action not in CHANGES:
                action = CHANGES[0]
            return self._confirmation_page(request, fields.text("who"), action, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _list(self, request: IndexRequest, query: FormFields) -> Response:
        state: PersonState | None = None

        # a link may say anything: what is no state selects none
        if query.text("state") in get_args(PersonState):
            state = convert(query.text("state"), PersonState)
        number = page_number(query)
        question = people_operations.PeopleQuery(
            search=query.text("search"),
            state=state,
            group=query.text("group"),
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        listed = self._pages.api(request).call(people_operations.list_people, question)
        total = listed.total or 0
        filters = {
            "search": question.search,
            "state": question.state or "",
            "group": question.group,
        }
        values = {
            "rows": listed.people,
            "numbers": page_numbers(query, total, ROWS_ON_A_PAGE),
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
        }
        return self._pages.show(request, SECTION, "people.html", values)

    def _confirmation_page(
        self, request: IndexRequest, who: str, action: str, form: FormState, status: int
    ) -> Response:
        """
        Return the page that asks whether to make a change of somebody's access.

        Raises Invalid for what is no principal of a person or a service account.
        """
        query = people_operations.PersonQuestion(who)
        answer = self._pages.api(request).call(people_operations.show_person, query)
        values = {"form": form, "person": answer.person, "action": action}
        return self._pages.show(request, SECTION, "person_change.html", values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        """Make the change that a form asks for. Raises WheelyardError to refuse it."""
        action = fields.action(*CHANGES)
        who = fields.text("who")
        with checking("reason"):
            note = require_one_line(fields.text("reason"), "The reason", NOTE_LIMIT_CHARS)
        api = self._pages.api(request)
        change = people_operations.PersonChange(who, note)
        question = people_operations.PersonQuestion(who)

        # before the change, as nobody is found any more by a name that is released
        person = api.call(people_operations.show_person, question).person
        with refused_for("who"):
            if action == "end":
                api.call(people_operations.end_person, change)
            elif action == "admit":
                api.call(people_operations.admit_person, change)
            else:
                # of a provider, a principal is `oidc:PROVIDER:NAME`
                name = person.principal.split(":", 2)[-1]
                release = people_operations.NameRelease(person.provider, name)
                api.call(people_operations.release_name, release)
        return self._pages.done(request, urlencode({"who": person.who, "done": action}))

    def _person(self, request: IndexRequest, who: str, done: str) -> Response:
        """Return the page of one person. Raises Invalid for what is no principal of a person."""
        question = people_operations.PersonQuestion(who)
        answer = self._pages.api(request).call(people_operations.show_person, question)
        values = {
            "answer": answer,
            "person": answer.person,
            "working": [token for token in answer.tokens if token.state in WORKING_STATES],
            "done": done,
            "is_caller": answer.person.who in request.caller.principals,
        }
        return self._pages.show(request, SECTION, "person.html", values)
