"""The pages of people: the list, and what is known of one."""

from typing import Final, get_args

from msgspec import convert

from wheelyard.api import people_operations
from wheelyard.api.people_operations import PeopleQuery, PersonQuestion
from wheelyard.authentication.known_people import PersonState
from wheelyard.authentication.token_list import WORKING_STATES
from wheelyard.http.forms import FormFields
from wheelyard.http.handlers.admin.pages import AdminPages, page_number, query_of
from wheelyard.http.messages import Request, Response
from wheelyard.rendering.web.page_numbers import PageNumbers, page_count

SECTION: Final = "people/"
ROWS_ON_A_PAGE: Final = 100
STATES: Final[dict[str, str]] = {
    "": "All",
    "active": "May sign in",
    "ended": "Access ended",
    "gone": "Gone",
    "unseen": "Have not signed in yet",
    "unknown": "Known by Google",
}


class PeoplePages:
    """The pages of people."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: Request) -> Response:
        """Handle GET: the list, or one person."""
        query = self._pages.query(request)
        if query.text("who"):
            return self._person(request, query.text("who"))
        return self._list(request, query)

    def _list(self, request: Request, query: FormFields) -> Response:
        state, number = query.text("state"), page_number(query)
        wanted = PeopleQuery(
            search=query.text("search"),
            state=convert(state, PersonState) if state in get_args(PersonState) else None,
            group=query.text("group"),
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        listed = self._pages.api(request).call(people_operations.list_people, wanted)
        total = listed.total or 0
        asked = {"search": wanted.search, "state": wanted.state or "", "group": wanted.group}
        values = {
            "rows": listed.people,
            "numbers": PageNumbers(total, number, page_count(total, ROWS_ON_A_PAGE)),
            "asked": asked,
            "links": query_of(asked),
            "states": STATES,
        }
        return self._pages.show(request, SECTION, "people.html", values)

    def _person(self, request: Request, who: str) -> Response:
        question = PersonQuestion(who)
        answer = self._pages.api(request).call(people_operations.show_person, question)
        values = {
            "answer": answer,
            "person": answer.person,
            "working": [token for token in answer.tokens if token.state in WORKING_STATES],
        }
        return self._pages.show(request, SECTION, "person.html", values)
