"""What all pages for administrators share: the check of the right, the frame, forms."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.api.operation import Call
from wheelyard.api.project_operations import HistoryQuery
from wheelyard.api.table import LocalApi
from wheelyard.authentication.authorization import require_server_admin
from wheelyard.errors import Conflict, Invalid, NoSuchPage, NotFound, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.messages import SEE_OTHER, Response, redirect
from wheelyard.http.requests import BODY_LIMIT_BYTES, URL_LIMIT_BYTES
from wheelyard.model.access import Caller
from wheelyard.model.decoding import require_one_line
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.sections import SECTIONS
from wheelyard.rendering.web.page_numbers import PageNumbers, page_count

WHAT: Final = "see the pages for administrators"
MAX_PAGE_DIGITS: Final = 6

T = TypeVar("T")

Act = Callable[[forms.FormFields], Response]
"""Does what a form asks for, and returns the response; raises WheelyardError to refuse it."""
AskAgain = Callable[[forms.FormFields, FormState, int], Response]
"""Returns the page of a form that was refused, which has the status that is given."""


CHANGES_ON_A_PAGE: Final = 50


class HistoryPage(Struct, frozen=True):
    """The changes of a document on a page."""

    section: str
    title: str
    """What has changed, in words."""
    show: Callable[[Call], Any]
    """The operation that says the number of the last change."""
    read: Callable[[Call, HistoryQuery], Any]
    """The operation that returns the changes."""
    describe: Callable[[Any], str]
    """Returns an event in words."""


class _NewestPart(Struct, frozen=True):
    """The commits of a journal that are on a page, of which the first has the newest."""

    after: int
    """The number of the commit before the oldest of them."""
    limit: int
    """How many there are at most."""
    numbers: PageNumbers


def _require_administrator(caller: Caller) -> None:
    require_server_admin(caller, WHAT)


class AdminPages:
    """
    Shows the pages below `/-/admin/`, and answers their forms.

    `require_right` raises Unauthenticated or Forbidden unless the caller may see the page.
    """

    def __init__(self, require_right: Callable[[Caller], None] = _require_administrator) -> None:
        self._require_right = require_right

    def api(self, request: IndexRequest) -> LocalApi:
        """Return the operations of the index, for the caller of a request."""
        return LocalApi(index=request.context.index, caller=request.caller)

    def query(self, request: IndexRequest) -> forms.FormFields:
        """
        Return the fields in the query of a request.

        Raises Invalid if it is malformed. Raises Unauthenticated or Forbidden unless the caller may
        see the page.
        """
        self._require_right(request.caller)
        query = forms.parse_form(request.query_string)
        for text in chain.from_iterable(query.values.values()):
            require_one_line(text, "A field of the query", URL_LIMIT_BYTES)
        return query

    def form(self, request: IndexRequest, values: forms.FormFields | None = None) -> FormState:
        """
        Return the state of a form that nobody has sent yet, perhaps with values for some fields.

        Raises Unavailable if the store with the key of forms does not answer.
        """
        return FormState(forms.form_token(request), values.values if values else {})

    def names_of(self, request: IndexRequest, principals: Iterable[str]) -> dict[str, str]:
        """
        Return the names of those principals that are API tokens.

        Raises Unavailable if the store does not answer.
        """
        api = self.api(request)
        tokens = {principal for principal in principals if principal.startswith("token:")}
        return {principal: api.name_of(principal) for principal in tokens}

    def show(
        self,
        request: IndexRequest,
        section: str,
        template: str,
        values: Mapping[str, object],
        status: int = 200,
    ) -> Response:
        """
        Return a page in the frame of the section whose path below `-/admin/` is `section`.

        `template` is below `admin/`. The path of the request has to end with a slash.
        """
        root = "../" * len(request.segments)
        viewer = request.web.viewer(request.caller)
        sections = [
            (entry.path, entry.title)
            for entry in SECTIONS
            if viewer.may_administer or entry.path == section
        ]
        return request.web.show(
            request,
            viewer,
            status,
            f"admin/{template}",
            root,
            sections=sections,
            section=section,
            may_change=not request.context.index.settings.server.read_only,
            **values,
        )

    def answer_history(self, request: IndexRequest, history: HistoryPage) -> Response:
        """
        Handle GET: the changes of a document, the newest first.

        Raises Unavailable if the store does not answer.
        """
        query = self.query(request)
        api = self.api(request)
        part = _newest_part(query, api.call(history.show).revision)
        commits = api.call(history.read, HistoryQuery(part.after, part.limit)).commits
        changes = [event for commit in commits for event in commit.events]
        values = {
            "what": history.title,
            "changes": [(event, history.describe(event)) for event in reversed(changes)],
            "numbers": part.numbers,
            "links": query_of({}),
            "names": self.names_of(request, (event.by for event in changes)),
        }
        return self.show(request, history.section, "history.html", values)

    def answer_form(
        self,
        request: IndexRequest,
        act: Act,
        ask_again: AskAgain,
        limit: int = BODY_LIMIT_BYTES,
        max_fields: int = forms.MAX_FIELDS,
    ) -> Response:
        """
        Handle POST: do what a form asks for, or show it again with what was typed, and why.

        The form has at most `limit` bytes. Raises Unauthenticated or Forbidden unless the caller
        may see the page, and as `read_form`.
        """
        self._require_right(request.caller)
        # the handler is called again once the body has come, and changes nothing before
        fields = forms.read_form(request, limit, max_fields)
        try:
            forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
            return act(fields)
        except WheelyardError as error:
            form = forms.refused_form(request, fields, error)
            try:
                return ask_again(fields, form, status_of(error))
            except WheelyardError:  # the form is about nothing that can be shown
                raise error from None

    def done(self, request: IndexRequest, query: str) -> Response:
        """Return a redirect from a form to the page that it is on, with a query."""
        path = request.web.path(*request.segments, query=query.encode())
        return redirect(SEE_OTHER, path)


@contextmanager
def refused_for(field: str) -> Iterator[None]:
    """Name `field` as what each Invalid and NotFound of this block is about."""
    try:
        yield
    except (Invalid, NotFound) as error:
        error.field = error.field or field
        raise


@contextmanager
def confirmed_by(field: str, code: str) -> Iterator[None]:
    """Name `field`, a box to tick, in a refusal with a code until somebody confirms the change."""
    try:
        yield
    except Conflict as error:
        if error.code == code:
            error.field = field
        raise


def page_number(query: forms.FormFields) -> int:
    """Return the number of the page of a list that a query asks for, from 1."""
    text = query.text("page")
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_PAGE_DIGITS
    return max(1, int(text)) if is_number else 1


def page_numbers(query: forms.FormFields, total: int, size: int) -> PageNumbers:
    """
    Return which page of a list a query asks for, with `size` of `total` entries on each.

    Raises NoSuchPage if there is none of this number.
    """
    number = page_number(query)
    count = page_count(total, size)
    if number > count:
        raise NoSuchPage(number, count)
    return PageNumbers(total, number, count)


def paged(rows: Sequence[T], query: forms.FormFields, size: int) -> tuple[Sequence[T], PageNumbers]:
    """
    Return the part of a list that a query asks for, and which part it is.

    Raises NoSuchPage as `page_numbers`.
    """
    numbers = page_numbers(query, len(rows), size)
    return rows[(numbers.number - 1) * size : numbers.number * size], numbers


def _newest_part(query: forms.FormFields, revision: int) -> _NewestPart:
    """
    Return the part of a journal that a query asks for, of which `revision` is the last one.

    Raises NoSuchPage as `page_numbers`.
    """
    numbers = page_numbers(query, revision, CHANGES_ON_A_PAGE)
    # it is read forwards
    last = revision - (numbers.number - 1) * CHANGES_ON_A_PAGE
    limit = min(CHANGES_ON_A_PAGE, last)
    return _NewestPart(last - limit if last else revision, max(limit, 1), numbers)


def query_of(asked: Mapping[str, str]) -> str:
    """Return fields as the beginning of a query, to which the number of a page is added."""
    return f"?{urlencode({**asked, 'page': ''})}"
