"""The page that says whether somebody may do something to a project, and why."""

from typing import Final

from msgspec import convert

from wheelyard.api import access_operations
from wheelyard.authentication.rights import AccessExplanation
from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import FormFields, checking
from wheelyard.http.handlers.admin.admin_pages import AdminPages, refused_for
from wheelyard.http.handlers.admin.principals import credentials_in_use
from wheelyard.http.messages import Response
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.grants import ACTIONS
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.principal_kinds import chosen_principal

SECTION: Final = "explain/"


class ExplainPage:
    """The page that says whether somebody may do something to a project, and why."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the form, and the answer to it.

        There is an answer if the query names a project. What is wrong with the query is told on the
        page, which then has the status of the error. An action that there is not counts as `read`.
        Raises Unauthenticated or Forbidden unless the caller is an administrator. Raises Invalid
        for a malformed query, and Unavailable if the store does not answer.
        """
        query = self._pages.query(request)
        form = FormState("", query.values)
        status = 200
        answer = None
        who = ""

        # the form was sent, and is no form that somebody has just opened
        if query.text("project"):
            try:
                with checking("who"):
                    who = chosen_principal(query.text("kind"), query.text("who"))
                answer = self._explanation(request, query, who)
            except WheelyardError as error:
                form = FormState("", query.values, error_on_page(error), error.field)
                status = status_of(error)
        names: dict[str, str] = {}
        if answer is not None:
            names = self._pages.names_of(request, (who,))
        index = request.context.index
        values = {
            "form": form,
            "kinds": tuple(credentials_in_use(index).subjects()),
            "actions": tuple(ACTIONS),
            "indexes": sorted(index.server.definitions.served()),
            "answer": answer,
            "who": who,
            "names": names,
        }
        return self._pages.show(request, SECTION, "explain.html", values, status)

    def _explanation(self, request: IndexRequest, query: FormFields, who: str) -> AccessExplanation:
        """
        Return whether `who` may do what the form says, and why.

        Raises Invalid, with the field that is wrong.
        """
        with checking("project"):
            name = parse_name(query.text("project"))
        action: access_operations.ActionWord = "read"
        # a link may say anything: what is no action is answered as the first one of the form
        if query.text("can") in ACTIONS:
            action = convert(query.text("can"), access_operations.ActionWord)
        question = access_operations.AccessQuestion(who, name, action, query.text("index"))
        with refused_for("who"):
            return self._pages.api(request).call(access_operations.explain_access, question)
