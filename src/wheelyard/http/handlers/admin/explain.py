"""The page that explains why a principal may, or may not, do an action to a project."""

from typing import Final

from msgspec import convert

from wheelyard.api import access_operations
from wheelyard.authentication.rights import AccessExplanation
from wheelyard.errors import WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.forms import FormFields, naming_field
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
    """Handles the page that explains a right of a principal to a project."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the form, with an explanation if the query names a project.

        A wrong field of the query gets the form with the error, and the status of the error. An
        unknown action counts as `read`. Raises Unauthenticated or Forbidden unless the caller is an
        administrator. Raises Invalid for a malformed query, and Unavailable if the store does not
        answer.
        """
        query = self._pages.query(request)
        form = FormState("", query.values)
        status = 200
        explanation: AccessExplanation | None = None
        principal = ""

        # a form that was sent has a project
        if query.text("project"):
            try:
                with naming_field("who"):
                    principal = chosen_principal(query.text("kind"), query.text("who"))
                explanation = self._explain(request, query, principal)
            except WheelyardError as error:
                form = FormState("", query.values, error_on_page(error), error.field)
                status = status_of(error)
        names: dict[str, str] = {}
        if explanation is not None:
            names = self._pages.names_of(request, (principal,))
        index = request.context.index
        credentials = credentials_in_use(index)
        values = {
            "form": form,
            "kinds": tuple(credentials.subjects()),
            "actions": tuple(ACTIONS),
            "indexes": sorted(index.server.definitions.served()),
            "answer": explanation,
            "who": principal,
            "names": names,
        }
        return self._pages.show(request, SECTION, "explain.html", values, status)

    def _explain(
        self, request: IndexRequest, query: FormFields, principal: str
    ) -> AccessExplanation:
        """
        Return whether a principal may do the action in a query to the project in it, and why.

        Raises Invalid or NotFound, with the field that is wrong.
        """
        with naming_field("project"):
            name = parse_name(query.text("project"))
        # an unknown action, which a link may have, counts as the first one of the form
        action: access_operations.ActionWord = "read"
        if query.text("can") in ACTIONS:
            action = convert(query.text("can"), access_operations.ActionWord)
        question = access_operations.AccessQuestion(principal, name, action, query.text("index"))
        with refused_for("who"):
            return self._pages.api(request).call(access_operations.explain_access, question)
