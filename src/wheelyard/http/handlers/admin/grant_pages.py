"""The pages of grants: the list, the form for a new grant, the question before a revocation."""

from functools import partial
from typing import Final

from msgspec import structs

from wheelyard.api import access_operations
from wheelyard.errors import Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, naming_field
from wheelyard.http.handlers.admin.admin_pages import (
    AdminPages,
    HistoryPage,
    confirmed_by,
    paged,
    query_of_search,
    refused_for,
)
from wheelyard.http.handlers.admin.principals import credentials_in_use
from wheelyard.http.messages import Response
from wheelyard.http.token_forms import parse_patterns
from wheelyard.model.access import EVERY_PROJECT, Action, describe_principal
from wheelyard.model.decoding import require_one_line
from wheelyard.model.grants import GrantFields, describe_event
from wheelyard.operations import access_control
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.principal_kinds import chosen_principal, preset_principal

SECTION: Final = "grants/"
ROWS_ON_A_PAGE: Final = 100


class GrantPages:
    """Handles the pages of grants, with the history of grants and groups."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form for a new grant, or the question whether to revoke a grant.

        The question about a grant that is gone says so. `?search=` selects rows of the list.
        """
        query = self._pages.query(request)
        if query.text("action") == "add":
            return self._show_form(request, self._preset_form(request, query), 200)
        if query.text("revoke"):
            form = self._pages.form(request)
            return self._show_question(request, query.text("revoke"), form, 200)
        return self._show_list(request, query, 200)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: add a grant, or revoke one.

        After an addition the answer is the list, with warnings about the new grant (201), and after
        a revocation a redirect to the list. A refused form is shown again with the reason.
        """

        def act(fields: FormFields) -> Response:
            if fields.action("add", "revoke") == "revoke":
                return self._revoke(request, fields)
            return self._add(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.text("id"):
                return self._show_question(request, fields.text("id"), form, status)
            return self._show_form(request, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def answer_history(self, request: IndexRequest) -> Response:
        """Handle GET: the changes of grants and groups, newest first."""
        history = HistoryPage(
            SECTION,
            "grants and groups",
            access_operations.show_access,
            access_operations.access_history,
            partial(describe_event, name_of=describe_principal),
        )
        return self._pages.answer_history(request, history)

    def _show_list(
        self,
        request: IndexRequest,
        query: FormFields,
        status: int,
        added: access_control.AddedGrant | None = None,
    ) -> Response:
        """Return the list of grants. `added` is a grant that was added just now, with warnings."""
        access = self._pages.api(request).call(access_operations.show_access)
        search = query.text("search")
        matching_grants = [grant for grant in access.grants if _has_text(grant, search.casefold())]
        rows, numbers = paged(matching_grants, query, ROWS_ON_A_PAGE)
        values = {
            "rows": rows,
            "numbers": numbers,
            "search": search,
            "links": query_of_search(search),
            "groups": {group.name for group in access.groups},
            "added": added,
            "revoked": query.text("revoked"),
            "names": self._pages.names_of(request, (row.created_by for row in rows)),
        }
        return self._pages.show(request, SECTION, "grants.html", values, status)

    def _preset_form(self, request: IndexRequest, query: FormFields) -> FormState:
        """Return the form with the fields of a query: pages of people and projects link to it."""
        form = self._pages.form(request, query)
        credentials = credentials_in_use(request.context.index)
        kinds = tuple(credentials.grantees())
        kind, name = preset_principal(query.text("kind"), query.text("who"), kinds)
        values: dict[str, tuple[str, ...]] = {"can": (Action.READ.word,)}
        values.update(form.values)
        values["kind"] = (kind,)
        values["who"] = (name,)
        return structs.replace(form, values=values)

    def _show_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        """Return the page with the form for a new grant."""
        index = request.context.index
        credentials = credentials_in_use(index)
        values = {
            "form": form,
            "kinds": tuple(credentials.grantees()),
            "groups": sorted(index.server.access.load().groups),
            "has_upstream": index.upstream is not None,
            "indexes": sorted(index.server.definitions.names()),
        }
        return self._pages.show(request, SECTION, "grant_form.html", values, status)

    def _add(self, request: IndexRequest, fields: FormFields) -> Response:
        """Add the grant of a form, and return the list, with warnings about the grant."""
        grant = _grant_in(fields)
        api = self._pages.api(request)
        # the other fields were checked before, so a refusal is about the principal
        with refused_for("who"):
            added = api.call(access_operations.add_grant, grant)
        # no redirect, as the warnings are shown once; the same form adds no grant twice
        return self._show_list(request, FormFields({}), 201, added)

    def _show_question(
        self, request: IndexRequest, grant_id: str, form: FormState, status: int
    ) -> Response:
        """Return the page that asks whether to revoke a grant, which may be gone by now."""
        access = self._pages.api(request).call(access_operations.show_access)
        row: access_control.ListedGrant | None = None
        for grant in access.grants:
            if grant.id == grant_id:
                row = grant
        values = {"form": form, "row": row, "id": grant_id}
        return self._pages.show(request, SECTION, "grant_revoke.html", values, status)

    def _revoke(self, request: IndexRequest, fields: FormFields) -> Response:
        """Revoke the grant of a form, and redirect to the list."""
        is_confirmed = bool(fields.text("even_if_own"))
        revocation = access_operations.GrantRevocation(
            fields.text("id"), fields.text("note"), is_confirmed
        )
        # administrators have to tick a box before they take away their own access
        with confirmed_by("even_if_own", access_control.OWN_ACCESS):
            self._pages.api(request).call(access_operations.revoke_grant, revocation)
        return self._pages.done(request, f"revoked={revocation.id}")


def _grant_in(fields: FormFields) -> GrantFields:
    """
    Return the grant of a form.

    Raises Invalid, with the field that is wrong.
    """
    # in the order of the form, as a page marks the first wrong field
    with naming_field("who"):
        principal = chosen_principal(fields.text("kind"), fields.text("who"))
    action_word = fields.text("can")
    with naming_field("can"):
        if not action_word:
            raise Invalid("Choose what they may do.", code="missing_field")
    with naming_field("projects"):
        projects = parse_patterns(fields.text("projects"))
        if action_word == Action.ADMIN.word and projects != (EVERY_PROJECT,):
            message = "Administrators administer every project. Write a single star."
            raise Invalid(message, code="invalid_field")
    with naming_field("note"):
        note = require_one_line(fields.text("note"), "A note", access_control.NOTE_LIMIT_CHARS)
    return GrantFields(
        who=(principal,),
        projects=projects,
        actions=(action_word,),
        note=note,
        index=fields.text("index"),
    )


def _has_text(grant: access_control.ListedGrant, search: str) -> bool:
    """Return whether a row of the list has a text, which is in lower case."""
    texts = [grant.id, grant.note]
    texts += grant.who
    texts += [describe_principal(principal) for principal in grant.who]
    texts += grant.projects
    texts += grant.can
    return any(search in text.casefold() for text in texts)
