"""The parts that all pages for administrators share: the check of the right, the frame, forms."""

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

REFUSED_ACTION: Final = "see the pages for administrators"
"""What the caller may not do, in the words of the error."""
MAX_PAGE_DIGITS: Final = 6
"""How many digits the number of a page may have; a longer one counts as 1."""
CHANGES_ON_A_PAGE: Final = 50

T = TypeVar("T")

Act = Callable[[forms.FormFields], Response]
"""Makes the change of a form, and returns the response. Raises WheelyardError to refuse it."""
AskAgain = Callable[[forms.FormFields, FormState, int], Response]
"""Returns the page of a refused form, with the given status."""


class HistoryPage(Struct, frozen=True):
    """The facts about a page with the changes of a document."""

    section: str
    title: str
    """What the document is about, in words."""
    show: Callable[[Call], Any]
    """The operation whose result has the number of the last commit, as `revision`."""
    read: Callable[[Call, HistoryQuery], Any]
    """The operation that returns the commits with the changes."""
    describe: Callable[[Any], str]
    """Returns an event in words."""


class _CommitRange(Struct, frozen=True):
    """The commits of a journal that are on one page. Page 1 has the newest commits."""

    after: int
    """The number of the commit before the oldest one on the page."""
    limit: int
    """How many commits the page has at most."""
    numbers: PageNumbers


def _require_administrator(caller: Caller) -> None:
    """Raise Unauthenticated or Forbidden unless the caller administers the server."""
    require_server_admin(caller, REFUSED_ACTION)


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
        # first, as a caller without the right must learn nothing about the fields
        self._require_right(request.caller)
        query = forms.parse_form(request.query_string)
        # pages repeat the fields, in which a link of a stranger may have any text
        for text in chain.from_iterable(query.values.values()):
            require_one_line(text, "A field of the query", URL_LIMIT_BYTES)
        return query

    def form(self, request: IndexRequest, values: forms.FormFields | None = None) -> FormState:
        """
        Return the state of a new form, with the given values for its fields.

        Raises Unavailable if the store with the key of forms does not answer.
        """
        form = FormState(forms.form_token(request))
        if values is None:
            return form
        return replace(form, values=values.values)

    def names_of(self, request: IndexRequest, principals: Iterable[str]) -> dict[str, str]:
        """
        Return the names of those principals that are API tokens.

        The name of a token that does not exist is an empty text. Raises Unavailable if the store
        does not answer.
        """
        api = self.api(request)
        names: dict[str, str] = {}
        for principal in principals:
            # other principals have the name in their text
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
        Return a page in the frame of the pages for administrators.

        `section` is the path of its section below `-/admin/`, and `template` the name of its
        template below `admin/`. `status` is the status of the response. The path of the request has
        to end with a slash. No right is checked here.
        """
        root = "../" * len(request.segments)
        viewer = request.web.viewer(request.caller)
        # a person who may only approve packages sees one section, and no links to others
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
        malformed query. Raises NoSuchPage if the history has no page of the number in the query.
        Raises Unavailable if the store does not answer, or the journal has lost a change.
        """
        query = self.query(request)
        api = self.api(request)
        revision = api.call(history.show).revision
        commit_range = _commit_range(query, revision)
        history_query = HistoryQuery(commit_range.after, commit_range.limit)
        commits = api.call(history.read, history_query).commits
        events = list(chain.from_iterable(commit.events for commit in commits))
        values = {
            "what": history.title,
            "changes": [(event, history.describe(event)) for event in reversed(events)],
            "numbers": commit_range.numbers,
            "links": query_of({}),
            "names": self.names_of(request, (event.by for event in events)),
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
        Handle POST: make the change of a form, or show the form again if the change is refused.

        A refused form is shown with the typed values, the reason and the status of the error. If it
        cannot be shown, the error is raised. The form has at most `limit` bytes. Raises
        Unauthenticated or Forbidden unless the caller may see the page. Raises Invalid if the body
        is no form or has too many fields, and TooLarge if it is too long. Raises Waiting until the
        body has come.
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
                # The page of the form cannot be made, as its subject is gone, or the store does not
                # answer. The first error says why nothing was changed.
                raise error from None

    def done(self, request: IndexRequest, query: str) -> Response:
        """Return the redirect after a change to the page of the form, with a query."""
        path = request.web.path(*request.segments, query=query.encode())
        return redirect(SEE_OTHER, path)


@contextmanager
def refused_for(field: str) -> Iterator[None]:
    """Set the field on each Invalid and NotFound of the block that has no field yet."""
    try:
        yield
    except (Invalid, NotFound) as error:
        error.field = error.field or field
        raise


@contextmanager
def confirmed_by(field: str, code: str) -> Iterator[None]:
    """Set the field on a Conflict of the block with this code: a box that confirms the change."""
    try:
        yield
    except Conflict as error:
        if error.code == code:
            error.field = field
        raise


def page_number(query: forms.FormFields) -> int:
    """Return the number of the page of a list in a query, or 1 if the query has no number."""
    text = query.text("page")
    # `isdecimal` alone also takes digits of other scripts
    if text.isascii() and text.isdecimal() and len(text) <= MAX_PAGE_DIGITS:
        return max(1, int(text))
    return 1


def page_numbers(query: forms.FormFields, total: int, size: int) -> PageNumbers:
    """
    Return the number of the page of a list in a query, with the number of all pages.

    The list has `total` entries, `size` on each page. Raises NoSuchPage if the list has no page of
    this number.
    """
    number = page_number(query)
    count = page_count(total, size)
    if number > count:
        raise NoSuchPage(number, count)
    return PageNumbers(total, number, count)


def paged(rows: Sequence[T], query: forms.FormFields, size: int) -> tuple[Sequence[T], PageNumbers]:
    """
    Return the rows of the page of a list in a query, and the number of the page.

    A page has `size` rows. Raises NoSuchPage if the list has no page of this number.
    """
    numbers = page_numbers(query, len(rows), size)
    end = numbers.number * size
    return rows[end - size : end], numbers


def _commit_range(query: forms.FormFields, revision: int) -> _CommitRange:
    """
    Return the range of commits on the page of a history in a query.

    `revision` is the number of the last commit, or 0 without commits. Raises NoSuchPage if the
    history has no page of this number.
    """
    numbers = page_numbers(query, revision, CHANGES_ON_A_PAGE)
    # A journal is read forwards, and pages begin with the newest commit. So the last commit of a
    # page is counted from the end of the journal.
    last = revision - (numbers.number - 1) * CHANGES_ON_A_PAGE
    # without commits: a limit of 0 would mean no limit
    if last == 0:
        return _CommitRange(revision, 1, numbers)
    limit = min(CHANGES_ON_A_PAGE, last)
    return _CommitRange(last - limit, limit, numbers)


def query_of_search(search: str) -> str:
    """Return the query of a list, with its search if any, up to the number of a page."""
    if not search:
        return query_of({})
    return query_of({"search": search})


def query_of(fields: Mapping[str, str]) -> str:
    """Return the query with these fields up to the number of a page, which a template adds."""
    return f"?{urlencode({**fields, 'page': ''})}"
