"""
Pages of requests for public packages: whoever may approve them decides, and anybody asks.

`/-/admin/requests/` is for whoever may approve something, also if that is all they may. What asks
an upstream index waits by `Request.wait`, as no thread of the handlers may.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct, ValidationError, convert

from wheelyard.api import package_request_operations, public_package_operations
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
from wheelyard.api.table import LocalApi
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http import forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.handlers.admin.pages import AdminPages
from wheelyard.http.messages import Response, redirect
from wheelyard.model.decoding import counted, require_one_line
from wheelyard.model.person import counted_as
from wheelyard.model.public_packages import DecisionList, DecisionSummary, Verdict
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "requests/"
MAX_BYTES: Final = 1024**2
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
        """Handle GET: what waits, or the form to approve or block some of it."""
        query = self._pages.query(request)
        if query.text("decide"):
            return self._question(request, query, self._pages.form(request), 200)
        return self._list(request, self._notice(request) if query.text("done") else "")

    def answer_form(self, request: IndexRequest) -> Response:
        """Handle POST: approve or block packages, or show the form for those that are selected."""

        def act(fields: forms.FormFields) -> Response:
            if not fields.text("select"):
                return self._decide(request, fields)
            if not fields.all("package"):
                return self._list(request, "", ["Select at least one package."])
            return self._question(request, fields, self._pages.form(request), 200)

        def ask_again(fields: forms.FormFields, form: FormState, status: int) -> Response:
            return self._question(request, fields, form, status)

        return self._pages.answer_form(request, act, ask_again, MAX_BYTES, MAX_FIELDS)

    def _notice(self, request: IndexRequest) -> str:
        """Return how many packages the caller has just decided about, or an empty text."""
        index = request.context.index
        commit = (index.server.decisions.get("current").value or DecisionList()).commit
        now = index.server.runtime.now()
        own = [
            decision
            for decision in (commit.events if commit else ())
            if decision.by == request.caller.principal and now - decision.at < JUST_NOW
        ]
        return _decided(len(own), own[-1].verdict) if own else ""

    def _list(self, request: IndexRequest, notice: str, notes: Sequence[str] = ()) -> Response:
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
        wanted = frozenset(fields.all("package"))
        is_approval = fields.text("decide") != "block"
        api = self._pages.api(request)
        upstream = request.context.upstream
        if upstream is None:
            listed = find_chosen(api, wanted)
        else:
            listed = request.wait(
                "chosen", upstream.answer, request.client_key, find_chosen, api, wanted
            )
        chosen = listed.requests
        values = {
            "form": form,
            "as_of": listed.as_of,
            "rows": [row for row in chosen if row.approvable or not is_approval],
            "others": [row for row in chosen if not row.approvable and is_approval],
            "is_approval": is_approval,
            "names": self._names(request, chosen),
        }
        return self._pages.show(request, SECTION, "request_decide.html", values, status)

    def _names(self, request: IndexRequest, rows: Sequence[WaitingRequest]) -> dict[str, str]:
        deciders = (row.decided.by for row in rows if row.decided)
        askers = (who for row in rows for who in row.who)
        return self._pages.names_of(request, (*askers, *deciders))

    def _decide(self, request: IndexRequest, fields: forms.FormFields) -> Response:
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
        upstream = request.context.upstream
        if upstream is None:
            outcome = decide_all(api, body)
        else:
            outcome = request.wait(
                "decide", upstream.answer, request.client_key, decide_all, api, body
            )
        if not outcome.notes:
            return self._pages.done(request, "done=1")
        notice = _decided(outcome.decided, verdict) if outcome.decided else ""
        return self._list(request, notice, outcome.notes)


def find_chosen(api: LocalApi, targets: Collection[str]) -> WaitingRequests:
    """
    Return the requests for some packages.

    A single one that nobody has asked for can be decided, too: a page about it leads there.
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


def _decided(count: int, verdict: Verdict) -> str:
    return f"{counted(count, 'package')} {verdict}."


def _choice(package: str, fields: forms.FormFields, verdict: Verdict) -> DecidedPackage:
    """Return a package of a form, whose operation says what is wrong with its name."""
    project, _, version = package.partition(" ")
    despite = fields.all(f"despite {package}") if verdict is Verdict.APPROVED else ()
    return DecidedPackage(project, version, despite=despite)


def decide_all(api: LocalApi, body: SeveralDecisions) -> DecisionOutcome:
    """
    Approve or block packages by one commit, and say which of them are hidden all the same.

    Those wait on. Raises as `decide` of the operations.
    """
    summary = api.call(public_package_operations.decide, body)
    notes = [*_undecided(summary)]
    if body.verdict is Verdict.APPROVED and api.index.upstream is not None:
        approved = (
            PackageQuestion(decision.project, decision.version)
            for decision in (*summary.decided, *summary.unchanged)
        )
        hidden = (package_request_operations.keep_hidden(api, package) for package in approved)
        notes += [f"Still hidden: {why}" for why in hidden if why]
    return DecisionOutcome(len(summary.decided), tuple(dict.fromkeys(notes)))


def _undecided(summary: DecisionSummary) -> Iterator[str]:
    for decision in summary.unchanged:
        yield f"{decision.target} was {decision.verdict} before."
    for name in summary.private:
        yield f"{name} is private here, so nothing is decided about it."
    for package in summary.failed:
        yield f"{package.project} {package.version}".rstrip() + f": {package.message}"


def answer_ask(request: IndexRequest) -> Response:
    """Handle GET `/-/request/`: the form, or that somebody has asked."""
    _require_credential(request)
    query = forms.parse_form(request.query_string)
    form = FormState(forms.form_token(request), query.values)
    return _page(request, form, 200, _asked(request, query.text("asked")))


def answer_ask_form(request: IndexRequest) -> Response:
    """Handle POST: ask for a package."""
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
    requests = request.context.index.server.package_requests.get().requests if target else ()
    asker = counted_as(request.caller)
    own = (wanted for wanted in requests if any(ask.is_by(asker) for ask in wanted.asks))
    return target if any(wanted.target == target for wanted in own) else ""


def _require_credential(request: IndexRequest) -> None:
    if request.caller.is_anonymous:
        raise invalid_credential()


def _ask(request: IndexRequest, body: PackageAsk) -> RequestedPackage:
    api = LocalApi(index=request.context.index, caller=request.caller)
    upstream = request.context.upstream
    if upstream is None:
        return _request_package(api, body)
    return request.wait("ask", upstream.answer, request.client_key, _request_package, api, body)


def _page(request: IndexRequest, form: FormState, status: int, asked: str = "") -> Response:
    viewer = request.web.viewer(request.caller)
    root = "../" * len(request.segments)
    may_change = not request.context.index.settings.server.read_only
    values = {"form": form, "asked": asked, "may_change": may_change}
    return request.web.show(request, viewer, status, "request.html", root, **values)


def _request_package(api: LocalApi, body: PackageAsk) -> RequestedPackage:
    return api.call(package_request_operations.request_package, body)
