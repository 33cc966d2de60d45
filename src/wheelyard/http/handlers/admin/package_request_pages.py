"""
Pages of requests for public packages: to decide about them, and to make one.

`/-/admin/requests/` is for people who may approve packages, also if they have no other right of an
administrator. Each caller with a credential may make a request, at `/-/request/`. A function that
asks an upstream index runs in `Request.ask_upstream`, as no thread of the handlers may wait for it.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import chain
from typing import Annotated, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import replace

from wheelyard.api import package_request_operations, public_package_operations
from wheelyard.api.local_api import LocalApi
from wheelyard.api.package_request_operations import (
    PackageAsk,
    RequestedPackage,
    WaitingRequest,
    WaitingRequests,
)
from wheelyard.api.public_package_operations import (
    DecidedPackage,
    PackageQuestion,
    SeveralDecisions,
)
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.handlers.admin.admin_pages import AdminPages
from wheelyard.http.messages import Response, redirect
from wheelyard.model.decoding import counted, require_one_line
from wheelyard.model.person import counted_as
from wheelyard.model.public_packages import Decision, DecisionList, DecisionSummary, Verdict
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "requests/"
MAX_FORM_BYTES: Final = 1024**2
MAX_FIELDS: Final = 10_000
"""Enough for a form with all packages that may wait, and the rules that their approvals lift."""
JUST_NOW: Final = timedelta(minutes=1)
"""How long the page tells of the last decisions of its viewer."""
VERDICTS: Final = {"approve": Verdict.APPROVED, "block": Verdict.BLOCKED}


class DecisionOutcome(Struct, frozen=True):
    """The result of the decisions about the packages of a form."""

    decided: int
    """How many packages were approved or blocked."""
    notes: tuple[str, ...] = ()
    """A sentence about each package that was not decided, or that is hidden all the same."""


class RequestPages:
    """Handles the page of requests that wait for a decision."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list of requests that wait, or the form to decide about some of them.

        Packages of the query that do not wait, or that the caller may not decide, are left out.
        Raises Waiting while an upstream index is asked.
        """
        query = self._pages.query(request)
        if query.text("decide"):
            return self._show_question(request, query, self._pages.form(request), 200)
        notice = ""
        if query.text("done"):
            notice = self._describe_last_decisions(request)
        return self._show_list(request, notice)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: approve or block packages, or show the form for those that are selected.

        A selection decides nothing yet. The answer to a decision is a redirect to the list, or the
        list with notes on packages that were not decided, or that are hidden all the same. A
        refused form is shown again with the reason. Raises Waiting, too, while an upstream index is
        asked.
        """

        def act(fields: forms.FormFields) -> Response:
            if not fields.text("select"):
                return self._decide(request, fields)
            if not fields.all("package"):
                return self._show_list(request, "", ["Select at least one package."])
            return self._show_question(request, fields, self._pages.form(request), 200)

        def ask_again(fields: forms.FormFields, form: FormState, status: int) -> Response:
            return self._show_question(request, fields, form, status)

        return self._pages.answer_form(request, act, ask_again, MAX_FORM_BYTES, MAX_FIELDS)

    def _describe_last_decisions(self, request: IndexRequest) -> str:
        """Return how many packages the caller has just decided about, or an empty text."""
        # from the last commit and not from the URL, as a link may be old, or of a stranger
        server = request.context.index.server
        decisions = server.decisions.get("current").value or DecisionList()
        now = server.runtime.now()
        if decisions.commit is None:
            return ""
        own_decisions = list[Decision]()
        for event in decisions.commit.events:
            if now - event.at < JUST_NOW and event.by == request.caller.principal:
                own_decisions.append(event)
        if not own_decisions:
            return ""
        return _describe_decided(len(own_decisions), own_decisions[-1].verdict)

    def _show_list(self, request: IndexRequest, notice: str, notes: Sequence[str] = ()) -> Response:
        """
        Return the list of requests that wait.

        `notice` says how many packages were decided just now, and `notes` which were not.
        """
        api = self._pages.api(request)
        waiting_requests = api.call(package_request_operations.list_requests)
        rows = waiting_requests.requests
        values = {
            "form": self._pages.form(request),
            "as_of": waiting_requests.as_of,
            "rows": rows,
            "notice": notice,
            "notes": notes,
            "has_upstream": request.context.index.upstream is not None,
            "names": self._token_names(request, rows),
        }
        return self._pages.show(request, SECTION, "requests.html", values)

    def _show_question(
        self, request: IndexRequest, fields: forms.FormFields, form: FormState, status: int
    ) -> Response:
        """Return the page with the form of a decision, for those of the packages that wait."""
        targets = frozenset(fields.all("package"))
        api = self._pages.api(request)
        # an upstream index may be asked which rules hide a package now
        waiting_requests = request.ask_upstream("chosen", find_chosen, api, targets)
        rows: Sequence[WaitingRequest] = waiting_requests.requests
        not_approvable: Sequence[WaitingRequest] = ()
        is_approval = fields.text("decide") != "block"

        # every package can be blocked, but not every hidden one can be shown by an approval
        if is_approval:
            rows = [row for row in waiting_requests.requests if row.approvable]
            not_approvable = [row for row in waiting_requests.requests if not row.approvable]
        values = {
            "form": form,
            "as_of": waiting_requests.as_of,
            "rows": rows,
            "others": not_approvable,
            "is_approval": is_approval,
            "names": self._token_names(request, waiting_requests.requests),
        }
        return self._pages.show(request, SECTION, "request_decide.html", values, status)

    def _token_names(self, request: IndexRequest, rows: Sequence[WaitingRequest]) -> dict[str, str]:
        """Return the names of API tokens that have asked for packages, or decided about them."""
        principals: list[str] = []
        for row in rows:
            principals += row.who
            if row.decided is not None:
                principals.append(row.decided.by)
        return self._pages.names_of(request, principals)

    def _decide(self, request: IndexRequest, fields: forms.FormFields) -> Response:
        """
        Approve or block the packages that are selected in a form.

        Raises WheelyardError if the form is refused. Raises Waiting while an upstream index is
        asked.
        """
        verdict = VERDICTS.get(fields.text("decide"))
        if verdict is None:
            raise Invalid("Choose whether to approve or to block.", code="missing_field")
        packages = tuple(_package_in(target, fields, verdict) for target in fields.all("package"))
        if not packages:
            raise Invalid("Choose at least one package.", code="missing_field")
        with forms.naming_field("reason"):
            reason = require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
            if verdict is Verdict.BLOCKED and not reason:
                raise Invalid("Say why: whoever wants it reads that.", code="missing_field")
        body = SeveralDecisions(
            verdict=verdict,
            packages=packages,
            reason=reason,
            unblock=True,  # the page has marked the packages that were blocked as of then
            as_of=_as_of(fields),
        )
        api = self._pages.api(request)
        # an upstream index is asked which of the packages are hidden all the same
        outcome = request.ask_upstream("decide", decide_all, api, body)
        if not outcome.notes:
            return self._pages.done(request, "done=1")

        # no redirect, as the notes are shown once
        notice = ""
        if outcome.decided:
            notice = _describe_decided(outcome.decided, verdict)
        return self._show_list(request, notice, outcome.notes)


def find_chosen(api: LocalApi, targets: Collection[str]) -> WaitingRequests:
    """
    Return the requests for some packages that the caller may decide about.

    A target is `PROJECT` or `PROJECT VERSION`. A single package without a request is returned, too,
    if it is hidden: its page links to the form of a decision. An upstream index may be asked about
    it. Raises Unauthenticated, Forbidden or NotFound if the caller may not know about such a
    package. Raises Unavailable if the store does not answer, or the upstream index does not say
    what hides the package.
    """
    waiting_requests = package_request_operations.find_requests(api, targets)
    if waiting_requests.requests or len(targets) != 1 or api.index.upstream is None:
        return waiting_requests
    (target,) = targets
    project, _, version = target.partition(" ")
    with suppress(Invalid):  # a malformed name, to which no page links
        return package_request_operations.find_hidden(api, PackageQuestion(project, version))
    return waiting_requests


def _as_of(fields: forms.FormFields) -> datetime:
    """Return the time of the last decision that the page of a form has shown."""
    try:
        as_of: datetime = convert(fields.text("as_of"), Annotated[datetime, Meta(tz=True)])
    except ValidationError as error:
        message = "The form does not say which decisions it has shown. Load the page again."
        raise Invalid(message, code="invalid_field") from error
    return as_of


def _describe_decided(count: int, verdict: Verdict) -> str:
    """Return how many packages were approved or blocked, in a sentence."""
    return f"{counted(count, 'package')} {verdict}."


def _package_in(target: str, fields: forms.FormFields, verdict: Verdict) -> DecidedPackage:
    """Return a package of a form, with the rules that its approval lifts, without a check."""
    project, _, version = target.partition(" ")
    package = DecidedPackage(project, version)
    # only an approval lifts rules
    if verdict is Verdict.APPROVED:
        package = replace(package, despite=fields.all(f"despite {target}"))
    return package


def decide_all(api: LocalApi, body: SeveralDecisions) -> DecisionOutcome:
    """
    Approve or block packages by one commit, and note which of them are hidden all the same.

    Requests for the latter still wait. An upstream index may be asked. Raises Unauthenticated or
    Forbidden if the caller may not decide about one of the packages. Raises Invalid if a name, a
    version, a digest or the reason is malformed, or a rule cannot be lifted. Raises Conflict (code
    `decisions_changed`) if another decision about one of the packages is newer than `as_of`. Raises
    Unavailable if the store does not answer: then the packages may be decided all the same.
    """
    summary = api.call(public_package_operations.decide, body)
    notes = list(_notes_on_undecided(summary))
    if body.verdict is Verdict.APPROVED and api.index.upstream is not None:
        # a package that was approved before may be hidden by a rule that is newer
        for decision in chain(summary.decided, summary.unchanged):
            package = PackageQuestion(decision.project, decision.version)
            why = package_request_operations.note_still_hidden(api, package)
            if why:
                notes.append(f"Still hidden: {why}")
    # packages with the same reason have the same sentence, which is shown once
    distinct_notes = tuple(dict.fromkeys(notes))
    return DecisionOutcome(len(summary.decided), distinct_notes)


def _notes_on_undecided(summary: DecisionSummary) -> Iterator[str]:
    """Yield a sentence about each package that was not decided, with the reason."""
    for decision in summary.unchanged:
        yield f"{decision.target} was {decision.verdict} before."
    for name in summary.private:
        yield f"{name} is private here, so nothing is decided about it."
    for package in summary.failed:
        target = f"{package.project} {package.version}".rstrip()
        yield f"{target}: {package.message}"


def answer_ask(request: IndexRequest) -> Response:
    """
    Handle GET `/-/request/`: the form to request a package, or the page that confirms a request.

    The query fills in the form. `?asked=` is a package that the caller has requested; any other
    package is ignored. Raises Unauthenticated for an anonymous caller, Invalid for a malformed
    query, and Unavailable if the store does not answer.
    """
    _require_credential(request)
    query = forms.parse_form(request.query_string)
    form = FormState(forms.form_token(request), query.values)
    requested_target = _own_target(request, query.text("asked"))
    return _show_request_page(request, form, 200, requested_target)


def answer_ask_form(request: IndexRequest) -> Response:
    """
    Handle POST: request a package.

    The answer is a redirect to the page that confirms the request. A refused form is shown again,
    with the reason and the status of the error. Raises Unauthenticated for an anonymous caller.
    Raises Waiting until the body has come, Invalid if the body is no form, and TooLarge if it is
    too long. Raises Waiting, too, while an upstream index is asked.
    """
    _require_credential(request)
    fields = forms.read_form(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        body = forms.form_body(fields, PackageAsk)
        api = LocalApi(index=request.context.index, caller=request.caller)
        # an upstream index is asked which rules hide the package
        package = request.ask_upstream("ask", _request_package, api, body)
    except WheelyardError as error:
        form = forms.refused_form(request, fields, error)
        return _show_request_page(request, form, status_of(error))
    target = f"{package.project} {package.version}".rstrip()
    query = urlencode({"asked": target}).encode()
    return redirect(303, request.web.path("-", "request", query=query))


def _require_credential(request: IndexRequest) -> None:
    """Raise Unauthenticated if the caller is anonymous, as a request names who has made it."""
    if request.caller.is_anonymous:
        raise invalid_credential()


def _own_target(request: IndexRequest, target: str) -> str:
    """Return a target if the caller has requested it, else an empty text."""
    if not target:
        return ""
    # the target is from a URL: the page must not tell what other people have requested
    person = counted_as(request.caller)
    for package_request in request.context.index.server.package_requests.get().requests:
        is_own = any(ask.is_by(person) for ask in package_request.asks)
        if package_request.target == target and is_own:
            return target
    return ""


def _request_package(api: LocalApi, body: PackageAsk) -> RequestedPackage:
    """Call the operation that requests a package, which may ask an upstream index."""
    return api.call(package_request_operations.request_package, body)


def _show_request_page(
    request: IndexRequest, form: FormState, status: int, requested_target: str = ""
) -> Response:
    """Return the page with the form to request a package, or with the one that was requested."""
    viewer = request.web.viewer(request.caller)
    root = "../" * len(request.segments)
    may_change = not request.context.index.settings.server.read_only
    values = {"form": form, "asked": requested_target, "may_change": may_change}
    return request.web.show(request, viewer, status, "request.html", root, **values)
