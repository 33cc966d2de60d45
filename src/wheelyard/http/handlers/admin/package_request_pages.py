"""
Pages of requests for public packages: whoever may approve them decides, and anybody asks.

`/-/admin/requests/` is for whoever may approve something, also if that is all they may. What asks
an upstream index waits by `Request.wait`, as no thread of the handlers may.
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
from wheelyard.model.public_packages import DecisionList, DecisionSummary, Verdict
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "requests/"
MAX_FORM_BYTES: Final = 1024**2
MAX_FIELDS: Final = 10_000
"""Of a form with all packages that may wait, and the rules that their approvals lift."""
JUST_NOW: Final = timedelta(minutes=1)
"""How long the page says what its viewer has decided."""
VERDICTS: Final = {"approve": Verdict.APPROVED, "block": Verdict.BLOCKED}


class DecisionOutcome(Struct, frozen=True):
    """What has become of the packages of a form."""

    decided: int
    notes: tuple[str, ...] = ()
    """What was not decided, or is hidden all the same, and why."""


class RequestPages:
    """The page of what waits for a decision."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: what waits, or the form to approve or block some of it.

        Packages of the query that do not wait, or that the caller may not decide, are left out.
        Raises Waiting while an upstream index is asked.
        """
        query = self._pages.query(request)
        if query.text("decide"):
            return self._question(request, query, self._pages.form(request), 200)
        notice = ""
        if query.text("done"):
            notice = self._notice(request)
        return self._list(request, notice)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: approve or block packages, or show the form for those that are selected.

        A selection decides nothing yet. The answer to a decision is a redirect to the list, or the
        list with notes on what was not decided, or is hidden all the same. What is refused is told
        on the form. Raises Waiting, too, while an upstream index is asked.
        """

        def act(fields: forms.FormFields) -> Response:
            if not fields.text("select"):
                return self._decide(request, fields)
            if not fields.all("package"):
                return self._list(request, "", ["Select at least one package."])
            return self._question(request, fields, self._pages.form(request), 200)

        def ask_again(fields: forms.FormFields, form: FormState, status: int) -> Response:
            return self._question(request, fields, form, status)

        return self._pages.answer_form(request, act, ask_again, MAX_FORM_BYTES, MAX_FIELDS)

    def _notice(self, request: IndexRequest) -> str:
        """Return how many packages the caller has just decided about, or an empty text."""
        # From the last commit, and not from the URL: a link of somebody else may say anything, and
        # so may the same link tomorrow.
        server = request.context.index.server
        decisions = server.decisions.get("current").value or DecisionList()
        now = server.runtime.now()
        if decisions.commit is None:
            return ""
        lately = [event for event in decisions.commit.events if now - event.at < JUST_NOW]
        own_decisions = [event for event in lately if event.by == request.caller.principal]
        if not own_decisions:
            return ""
        return _describe_decided(len(own_decisions), own_decisions[-1].verdict)

    def _list(self, request: IndexRequest, notice: str, notes: Sequence[str] = ()) -> Response:
        """Return the page of what waits, with what was decided, and `notes` on what was not."""
        api = self._pages.api(request)
        listed = api.call(package_request_operations.list_requests)
        rows = listed.requests
        values = {
            "form": self._pages.form(request),
            "as_of": listed.as_of,
            "rows": rows,
            "notice": notice,
            "notes": notes,
            "has_upstream": request.context.index.upstream is not None,
            "names": self._names(request, rows),
        }
        return self._pages.show(request, SECTION, "requests.html", values)

    def _question(
        self, request: IndexRequest, fields: forms.FormFields, form: FormState, status: int
    ) -> Response:
        """Return the form with the reason, for those of the packages that wait."""
        targets = frozenset(fields.all("package"))
        api = self._pages.api(request)
        # an upstream index may be asked, to say which rules hide a package now
        listed = request.ask_upstream("chosen", find_chosen, api, targets)
        rows: Sequence[WaitingRequest] = listed.requests
        not_approvable: Sequence[WaitingRequest] = ()
        is_approval = fields.text("decide") != "block"

        # anything can be blocked, but some of what is hidden no approval can show
        if is_approval:
            rows = [row for row in listed.requests if row.approvable]
            not_approvable = [row for row in listed.requests if not row.approvable]
        values = {
            "form": form,
            "as_of": listed.as_of,
            "rows": rows,
            "others": not_approvable,
            "is_approval": is_approval,
            "names": self._names(request, listed.requests),
        }
        return self._pages.show(request, SECTION, "request_decide.html", values, status)

    def _names(self, request: IndexRequest, rows: Sequence[WaitingRequest]) -> dict[str, str]:
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

        Raises WheelyardError to refuse it. Raises Waiting while an upstream index is asked.
        """
        verdict = VERDICTS.get(fields.text("decide"))
        if verdict is None:
            raise Invalid("Choose whether to approve or to block.", code="missing_field")
        choices = tuple(_choice(package, fields, verdict) for package in fields.all("package"))
        if not choices:
            raise Invalid("Choose at least one package.", code="missing_field")
        with forms.checking("reason"):
            reason = require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
            if verdict is Verdict.BLOCKED and not reason:
                raise Invalid("Say why: whoever wants it reads that.", code="missing_field")
        body = SeveralDecisions(
            verdict=verdict,
            packages=choices,
            reason=reason,
            unblock=True,  # what is blocked was shown as such, as of then
            as_of=_as_of(fields),
        )
        api = self._pages.api(request)
        # an upstream index is asked which of the packages are hidden all the same
        outcome = request.ask_upstream("decide", decide_all, api, body)
        if not outcome.notes:
            return self._pages.done(request, "done=1")

        # without a redirect, as the notes are shown once
        notice = ""
        if outcome.decided:
            notice = _describe_decided(outcome.decided, verdict)
        return self._list(request, notice, outcome.notes)


def find_chosen(api: LocalApi, targets: Collection[str]) -> WaitingRequests:
    """
    Return the requests for some packages.

    `targets` are names, each with a blank and a version behind it if it is about one. A single one
    that nobody has asked for can be decided, too: a page about it leads there. What the caller may
    not decide is left out. An upstream index may be asked. Raises Unauthenticated, Forbidden or
    NotFound if the caller may not know about a single name that nobody has asked for. Raises
    Unavailable if the store does not answer, or it cannot be said now what hides that one.
    """
    listed = package_request_operations.find_requests(api, targets)
    if listed.requests or len(targets) != 1 or api.index.upstream is None:
        return listed
    project, _, version = next(iter(targets)).partition(" ")
    with suppress(Invalid):  # no page leads to such a name
        return package_request_operations.find_hidden(api, PackageQuestion(project, version))
    return listed


def _as_of(fields: forms.FormFields) -> datetime:
    """Return when the last decision was made that the page of a form has shown."""
    try:
        as_of: datetime = convert(fields.text("as_of"), Annotated[datetime, Meta(tz=True)])
    except ValidationError as error:
        message = "The form does not say which decisions it has shown. Load the page again."
        raise Invalid(message, code="invalid_field") from error
    return as_of


def _describe_decided(count: int, verdict: Verdict) -> str:
    """Return how many packages were approved or blocked, in a sentence."""
    return f"{counted(count, 'package')} {verdict}."


def _choice(package: str, fields: forms.FormFields, verdict: Verdict) -> DecidedPackage:
    """Return a package of a form, whose operation says what is wrong with its name."""
    project, _, version = package.partition(" ")
    choice = DecidedPackage(project, version)
    # only an approval lifts rules
    if verdict is Verdict.APPROVED:
        choice = replace(choice, despite=fields.all(f"despite {package}"))
    return choice


def decide_all(api: LocalApi, body: SeveralDecisions) -> DecisionOutcome:
    """
    Approve or block packages by one commit, and say which of them are hidden all the same.

    Those wait on. An upstream index may be asked. Raises Unauthenticated or Forbidden if the caller
    may not approve one of them. Raises Invalid if a name, a version, a digest or the reason is
    malformed, or a rule cannot be lifted. Raises Conflict (code `decisions_changed`) if somebody
    has decided about one of them after `as_of`. Raises Unavailable if the store does not answer:
    they may be decided all the same.
    """
    summary = api.call(public_package_operations.decide, body)
    notes = list(_undecided(summary))
    if body.verdict is Verdict.APPROVED and api.index.upstream is not None:
        # what was approved before may be hidden by a rule that is newer than that
        for decision in chain(summary.decided, summary.unchanged):
            package = PackageQuestion(decision.project, decision.version)
            why = package_request_operations.note_still_hidden(api, package)
            if why:
                notes.append(f"Still hidden: {why}")
    # one sentence for all packages that have one reason
    return DecisionOutcome(len(summary.decided), tuple(dict.fromkeys(notes)))


def _undecided(summary: DecisionSummary) -> Iterator[str]:
    """Yield about which packages nothing was decided, and why, in sentences."""
    for decision in summary.unchanged:
        yield f"{decision.target} was {decision.verdict} before."
    for name in summary.private:
        yield f"{name} is private here, so nothing is decided about it."
    for package in summary.failed:
        target = f"{package.project} {package.version}".rstrip()
        yield f"{target}: {package.message}"


def answer_ask(request: IndexRequest) -> Response:
    """
    Handle GET `/-/request/`: the form, or that somebody has asked.

    The query fills the form in. `?asked=` counts only for what the caller has asked for. Raises
    Unauthenticated for an anonymous caller, Invalid for a malformed query, and Unavailable if the
    store does not answer.
    """
    _require_credential(request)
    query = forms.parse_form(request.query_string)
    form = FormState(forms.form_token(request), query.values)
    return _page(request, form, 200, _asked(request, query.text("asked")))


def answer_ask_form(request: IndexRequest) -> Response:
    """
    Handle POST: ask for a package.

    The answer is a redirect to the page that says so. What is refused is told on the form, which
    then has the status of the error. Raises Unauthenticated for an anonymous caller. Raises Waiting
    until the body has come, Invalid for what is no form, and TooLarge if it is too long. Raises
    Waiting, too, while an upstream index is asked.
    """
    _require_credential(request)
    fields = forms.read_form(request)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        package = _ask(request, forms.form_body(fields, PackageAsk))
    except WheelyardError as error:
        form = forms.refused_form(request, fields, error)
        return _page(request, form, status_of(error))
    target = f"{package.project} {package.version}".rstrip()
    query = urlencode({"asked": target}).encode()
    return redirect(303, request.web.path("-", "request", query=query))


def _asked(request: IndexRequest, target: str) -> str:
    """Return a target if the caller has asked for it, else an empty text."""
    if not target:
        return ""
    # it is from a URL: nobody learns from the page what others have asked for
    who = counted_as(request.caller)
    for package_request in request.context.index.server.package_requests.get().requests:
        is_own = any(ask.is_by(who) for ask in package_request.asks)
        if package_request.target == target and is_own:
            return target
    return ""


def _require_credential(request: IndexRequest) -> None:
    """Raise Unauthenticated if the caller is anonymous: a request belongs to somebody."""
    if request.caller.is_anonymous:
        raise invalid_credential()


def _ask(request: IndexRequest, body: PackageAsk) -> RequestedPackage:
    """
    Ask for a package, for the caller of a request.

    Raises WheelyardError if it cannot be asked for. Raises Waiting while an upstream index says
    what hides it.
    """
    api = LocalApi(index=request.context.index, caller=request.caller)
    return request.ask_upstream("ask", _request_package, api, body)


def _page(request: IndexRequest, form: FormState, status: int, asked: str = "") -> Response:
    """Return the page with the form to ask for a package, or with the one that was asked for."""
    viewer = request.web.viewer(request.caller)
    root = "../" * len(request.segments)
    may_change = not request.context.index.settings.server.read_only
    values = {"form": form, "asked": asked, "may_change": may_change}
    return request.web.show(request, viewer, status, "request.html", root, **values)


def _request_package(api: LocalApi, body: PackageAsk) -> RequestedPackage:
    return api.call(package_request_operations.request_package, body)
