"""
Pages of requests for public packages: whoever may approve them decides, and anybody asks.

`/-/admin/requests/` is for whoever may approve something, also if that is all they may. What asks
an upstream index waits by `Request.wait`, as no thread of the handlers may.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.api import package_request_operations, public_package_operations
from wheelyard.api.package_request_operations import (
    PackageAsk,
    RequestedPackage,
    WaitingRequest,
)
from wheelyard.api.public_package_operations import (
    Approval,
    DecidedPackage,
    PackageQuestion,
    SeveralDecisions,
)
from wheelyard.api.table import LocalApi
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.errors import Invalid, NotFound, WheelyardError, without_commands
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    checking,
    form_body,
    form_token,
    parse_form,
    read_form,
    refused_form,
    require_form_token,
)
from wheelyard.http.handlers.admin.pages import AdminPages
from wheelyard.http.messages import Request, Response, redirect
from wheelyard.http.web_pages import WebPages
from wheelyard.model.decoding import counted, require_one_line
from wheelyard.model.public_packages import DecisionSummary, Verdict
from wheelyard.operations.lifecycle import REASON_LIMIT
from wheelyard.rendering.web.account_pages import FormState

SECTION: Final = "requests/"
VERDICTS: Final = {"approve": Verdict.APPROVED, "block": Verdict.BLOCKED}


class _Choice(Struct, frozen=True):
    """A package of a form, to approve or to block."""

    question: PackageQuestion
    despite: tuple[str, ...]
    """Codes of rules that the form said an approval lifts."""

    @property
    def target(self) -> str:
        """The project, or project and version, in words."""
        return f"{self.question.project} {self.question.version}".rstrip()


class DecisionOutcome(Struct, frozen=True):
    """What has become of the packages of a form."""

    decided: int
    notes: tuple[str, ...] = ()
    """What was not decided, or is hidden all the same, and why."""


class RequestPages:
    """The page of what waits for a decision."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: Request) -> Response:
        """Handle GET: what waits, or the form to approve or block some of it."""
        query = self._pages.query(request)
        if query.text("decide") and query.all("package"):
            return self._question(request, query, self._pages.form(request), 200)
        if query.text("decide"):
            return self._list(request, "", ["Select at least one package."])
        return self._list(request, _notice(query.text("done"), query.text("count")))

    def answer_form(self, request: Request) -> Response:
        """Handle POST: approve or block one package or several."""

        def act(fields: FormFields) -> Response:
            return self._decide(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            return self._question(request, fields, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _list(self, request: Request, notice: str, notes: Sequence[str] = ()) -> Response:
        api = self._pages.api(request)
        listed = api.call(package_request_operations.list_requests)
        rows = listed.requests
        values = {
            "not_sent": listed.not_sent,
            "form": self._pages.form(request),
            "rows": rows,
            "notice": notice,
            "notes": notes,
            "has_upstream": self._pages.index.upstream is not None,
            "names": self._names(request, rows),
        }
        return self._pages.show(request, SECTION, "requests.html", values)

    def _question(
        self, request: Request, fields: FormFields, form: FormState, status: int
    ) -> Response:
        """Return the form with the reason, for those of the packages that wait."""
        api = self._pages.api(request)
        waiting = api.call(package_request_operations.list_requests).requests
        wanted, is_approval = fields.all("package"), fields.text("decide") != "block"
        chosen = [row for row in waiting if row.target in wanted]
        values = {
            "form": form,
            "rows": [row for row in chosen if row.approvable or not is_approval],
            "others": [row for row in chosen if not row.approvable and is_approval],
            "is_approval": is_approval,
            "names": self._names(request, chosen),
        }
        return self._pages.show(request, SECTION, "request_decide.html", values, status)

    def _names(self, request: Request, rows: Sequence[WaitingRequest]) -> dict[str, str]:
        return self._pages.names_of(request, (who for row in rows for who in row.who))

    def _decide(self, request: Request, fields: FormFields) -> Response:
        verdict = VERDICTS.get(fields.text("decide"))
        if verdict is None:
            raise Invalid("Choose whether to approve or to block.", code="missing_field")
        choices = tuple(_choice(package, fields) for package in fields.all("package"))
        if not choices:
            raise Invalid("Choose at least one package.", code="missing_field")
        with checking("reason"):
            reason = require_one_line(fields.text("reason"), "The reason", REASON_LIMIT)
            if verdict is Verdict.BLOCKED and not reason:
                raise Invalid("Say why: whoever wants it reads that.", code="missing_field")
        api, upstream = self._pages.api(request), self._pages.context.upstream
        if upstream is None:
            outcome = decide_all(api, choices, verdict, reason)
        else:
            client = request.client_key
            outcome = request.wait(
                "decide", upstream.answer, client, decide_all, api, choices, verdict, reason
            )
        if not outcome.notes:
            query = urlencode({"done": str(verdict), "count": outcome.decided})
            return self._pages.done(request, query)
        return self._list(request, _notice(verdict, str(outcome.decided)), outcome.notes)


def _notice(verdict: str, count: str) -> str:
    """Return how many packages were decided about, or an empty text for none."""
    is_known = verdict in {*Verdict} and re.fullmatch("[1-9][0-9]{0,3}", count, re.ASCII)
    return f"{counted(int(count), 'package')} {verdict}." if is_known else ""


def _choice(package: str, fields: FormFields) -> _Choice:
    """Return a package of a form, whose operations say what is wrong with its name."""
    project, _, version = package.partition(" ")
    return _Choice(PackageQuestion(project, version), fields.all(f"despite {package}"))


def decide_all(
    api: LocalApi, choices: Sequence[_Choice], verdict: Verdict, reason: str
) -> DecisionOutcome:
    """
    Approve or block packages, and say which of them are hidden all the same.

    Those without a rule to lift are decided by one commit, before the others. Raises as `decide`
    and `approve` of the operations.
    """
    lifting = [choice for choice in choices if choice.despite and verdict is Verdict.APPROVED]
    others = [choice for choice in choices if choice not in lifting]
    decided, notes = 0, list[str]()
    if others:
        body = SeveralDecisions(
            verdict=verdict,
            packages=tuple(
                DecidedPackage(choice.question.project, choice.question.version)
                for choice in others
            ),
            reason=reason,
            unblock=True,
        )
        summary = api.call(public_package_operations.decide, body)
        decided += len(summary.decided) + len(summary.unchanged)
        notes += _undecided(summary)
    for choice in lifting:
        wanted = choice.question
        approval = Approval(wanted.project, wanted.version, reason, choice.despite)
        try:
            api.call(public_package_operations.approve, approval)
        except (Invalid, NotFound) as error:  # others may be decided before and after it
            notes.append(f"{choice.target}: {error.message}")
        else:
            decided += 1
    if verdict is Verdict.APPROVED and api.index.upstream is not None:
        notes += [note for choice in choices if (note := _still_hidden(api, choice.question))]
    return DecisionOutcome(decided, tuple(dict.fromkeys(notes)))


def _undecided(summary: DecisionSummary) -> Iterator[str]:
    for name in summary.private:
        yield f"{name} is private here, so nothing is decided about it."
    for package in summary.failed:
        yield f"{package.project} {package.version}".rstrip() + f": {package.message}"


def _still_hidden(api: LocalApi, question: PackageQuestion) -> str:
    """Return why nothing of an approved package is shown, or an empty text if it is."""
    try:
        explanation = api.call(public_package_operations.explain_package, question)
    except WheelyardError:  # it is approved all the same
        return ""
    files = explanation.files
    if any(file.shown for file in files):
        return ""
    reasons = (*explanation.reasons, *(reason for file in files for reason in file.reasons))
    return next((f"Still hidden: {without_commands(reason.text)}" for reason in reasons), "")


class AskPage:
    """The page on which anybody with a credential asks for a hidden package."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context

    def answer(self, request: Request) -> Response:
        """Handle GET `/-/request/`: the form, or that somebody has asked."""
        self._require_credential(request)
        query = parse_form(request.query_string)
        form = FormState(form_token(request, self._context), query.values)
        return self._page(request, form, 200, query.text("asked"))

    def answer_form(self, request: Request) -> Response:
        """Handle POST: ask for a package."""
        self._require_credential(request)
        fields = read_form(request)
        try:
            require_form_token(request, self._context, fields.text(CSRF_FIELD))
            package = self._ask(request, form_body(fields, PackageAsk))
        except WheelyardError as error:
            form = refused_form(request, self._context, fields, error)
            return self._page(request, form, status_of(error))
        target = f"{package.project} {package.version}".rstrip()
        query = urlencode({"asked": target}).encode()
        return redirect(303, self._web.path("-", "request", query=query))

    def _require_credential(self, request: Request) -> None:
        if request.caller.is_anonymous:
            raise invalid_credential()

    def _ask(self, request: Request, body: PackageAsk) -> RequestedPackage:
        api = LocalApi(index=self._context.index, caller=request.caller)
        upstream = self._context.upstream
        if upstream is None:
            return _request_package(api, body)
        return request.wait("ask", upstream.answer, request.client_key, _request_package, api, body)

    def _page(self, request: Request, form: FormState, status: int, asked: str = "") -> Response:
        viewer, root = self._web.viewer(request.caller), "../" * len(request.segments)
        may_change = not self._context.index.settings.server.read_only
        values = {"form": form, "asked": asked, "may_change": may_change}
        return self._web.show(viewer, status, "request.html", root, **values)


def _request_package(api: LocalApi, body: PackageAsk) -> RequestedPackage:
    return api.call(package_request_operations.request_package, body)
