"""What all pages for administrators share: the check of the right, the frame, forms."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.api.local_api import LocalApi
from wheelyard.api.operation import Call
from wheelyard.api.project_operations import HistoryQuery
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
from wheelyard.rendering.web.admin.navigation import SECTIONS
from wheelyard.rendering.web.page_numbers import PageNumbers, page_count

WHAT: Final = "see the pages for administrators"
"""What somebody is refused who may not, in the words of the message."""
MAX_PAGE_DIGITS: Final = 6
CHANGES_ON_A_PAGE: Final = 50

T = TypeVar("T")

Act = Callable[[forms.FormFields], Response]
"""Does what a form asks for, and returns the response. Raises WheelyardError to refuse it."""
AskAgain = Callable[[forms.FormFields, FormState, int], Response]
"""Returns the page of a form that was refused, which has the status that is given."""


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


class _CommitRange(Struct, frozen=True):
    """The commits of a journal that are on a page. Page 1 has the newest."""

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
        # first, as whoever may not see the page learns nothing about its fields
        self._require_right(request.caller)
        query = forms.parse_form(request.query_string)
        # a link of somebody else may have any text, and pages repeat it
        for text in chain.from_iterable(query.values.values()):
            require_one_line(text, "A field of the query", URL_LIMIT_BYTES)
        return query

    def form(self, request: IndexRequest, values: forms.FormFields | None = None) -> FormState:
        """
        Return the state of a form that nobody has sent yet, perhaps with values for some fields.

        Raises Unavailable if the store with the key of forms does not answer.
        """
        form = FormState(forms.form_token(request))
        if values is None:
            return form
        return replace(form, values=values.values)

    def names_of(self, request: IndexRequest, principals: Iterable[str]) -> dict[str, str]:
        """
        Return the names of those principals that are API tokens.

        The name of a token that is not there is an empty text. Raises Unavailable if the store does
        not answer.
        """
        api = self.api(request)
        names: dict[str, str] = {}
        for principal in principals:
            # of the others, the principal itself says who it is
            if principal.startswith("token:") and principal not in names:
                names[principal] = api.name_of(principal)
        return names

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

        `template` is below `admin/`. The path of the request has to end with a slash. No right is
        checked here.
        """
        root = "../" * len(request.segments)
        viewer = request.web.viewer(request.caller)
        # whoever may only approve packages has one of these pages
        entries = [entry for entry in SECTIONS if viewer.may_administer or entry.path == section]
        return request.web.show(
            request,
            viewer,
            status,
            f"admin/{template}",
            root,
            sections=[(entry.path, entry.title) for entry in entries],
            section=section,
            may_change=not request.context.index.settings.server.read_only,
            **values,
        )

    def answer_history(self, request: IndexRequest, history: HistoryPage) -> Response:
        """
        Handle GET: the changes of a document, the newest first.

        Raises Unauthenticated or Forbidden unless the caller may see the page, and Invalid for a
        malformed query. Raises NoSuchPage if there is no page of the number in the query. Raises
        Unavailable if the store does not answer, or its journal has lost a change.
        """
        query = self.query(request)
        api = self.api(request)
        revision = api.call(history.show).revision
        commit_range = _commit_range(query, revision)
        question = HistoryQuery(commit_range.after, commit_range.limit)
        commits = api.call(history.read, question).commits
        changes = list(chain.from_iterable(commit.events for commit in commits))
        values = {
            "what": history.title,
            "changes": [(event, history.describe(event)) for event in reversed(changes)],
            "numbers": commit_range.numbers,
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

        It is shown again with the status of the error. If it cannot be shown, the error is raised.
        The form has at most `limit` bytes. Raises Unauthenticated or Forbidden unless the caller
        may see the page. Raises Invalid for what is no form, or has too many fields, and TooLarge
        if it is too long. Raises Waiting until it has come.
        """
        # before the body of a stranger is read
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
            except WheelyardError:
                # What the form is about cannot be shown, as it is gone, or the store does not
                # answer. The first error says why nothing was changed.
                raise error from None

    def done(self, request: IndexRequest, query: str) -> Response:
        """Return a redirect from a form to the page that it is on, with a query."""
        path = request.web.path(*request.segments, query=query.encode())
        return redirect(SEE_OTHER, path)


@contextmanager
def refused_for(field: str) -> Iterator[None]:
    """Set `field` on each Invalid and NotFound of this block that has no field."""
    try:
        yield
    except (Invalid, NotFound) as error:
        error.field = error.field or field
        raise


@contextmanager
def confirmed_by(field: str, code: str) -> Iterator[None]:
    """Set `field`, a box to tick that confirms the change, on a Conflict with this code."""
    try:
        yield
    except Conflict as error:
        if error.code == code:
            error.field = field
        raise


def page_number(query: forms.FormFields) -> int:
    """Return the number of the page of a list that a query asks for, or 1 for what is none."""
    text = query.text("page")
    # `isdecimal` alone also takes digits of other scripts
    if text.isascii() and text.isdecimal() and len(text) <= MAX_PAGE_DIGITS:
        return max(1, int(text))
    return 1


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
    Return the rows of a list on the page that a query asks for, and which page it is.

    `size` is how many rows a page has. Raises NoSuchPage if the list has no page of this number.
    """
    numbers = page_numbers(query, len(rows), size)
    end = numbers.number * size
    return rows[end - size : end], numbers


def _commit_range(query: forms.FormFields, revision: int) -> _CommitRange:
    """
    Return the commits of a journal on the page that a query asks for.

    `revision` is the number of the last commit, 0 if there is none. Raises NoSuchPage if there is
    no page of this number.
    """
    numbers = page_numbers(query, revision, CHANGES_ON_A_PAGE)
    # A journal is read forwards, and pages begin with the newest commit. So the last commit of a
    # page is counted from the end of the journal.
    last = revision - (numbers.number - 1) * CHANGES_ON_A_PAGE
    # a limit of 0 would ask for all commits, of which there are none yet
    if last == 0:
        return _CommitRange(revision, 1, numbers)
    limit = min(CHANGES_ON_A_PAGE, last)
    return _CommitRange(last - limit, limit, numbers)


def query_of_search(search: str) -> str:
    """Return the beginning of the query of a list, with the text of its search if there is one."""
    if not search:
        return query_of({})
    return query_of({"search": search})


def query_of(fields: Mapping[str, str]) -> str:
    """Return fields as the beginning of a query, to which the number of a page is added."""
    return f"?{urlencode({**fields, 'page': ''})}"
