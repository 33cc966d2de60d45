"""The pages of grants: the list, a form for a new one, the question whether to revoke, history."""

from functools import partial
from typing import Final

from msgspec import structs

from wheelyard.api import access_operations
from wheelyard.errors import Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
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
    """The pages of grants."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form for a new grant, or the question whether to revoke one.

        The question is also shown for a grant that is gone, and says so. `?search=` selects rows of
        the list.
        """
        query = self._pages.query(request)
        if query.text("action") == "add":
            return self._grant_form(request, self._preset(request, query), 200)
        if query.text("revoke"):
            form = self._pages.form(request)
            return self._question(request, query.text("revoke"), form, 200)
        return self._list(request, query, 200)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: add a grant, or revoke one.

        After an addition the answer is the list with its warnings (201), and after a revocation a
        redirect to it. What is refused is told on the form.
        """

        def act(fields: FormFields) -> Response:
            if fields.action("add", "revoke") == "revoke":
                return self._revoke(request, fields)
            return self._add(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.text("id"):
                return self._question(request, fields.text("id"), form, status)
            return self._grant_form(request, form, status)

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

    def _list(
        self,
        request: IndexRequest,
        query: FormFields,
        status: int,
        added: access_control.AddedGrant | None = None,
    ) -> Response:
        """Return the list of grants, with the one that was `added` just now, and its warnings."""
        access = self._pages.api(request).call(access_operations.show_access)
        search = query.text("search")
        matching = [grant for grant in access.grants if _has_text(grant, search.casefold())]
        rows, numbers = paged(matching, query, ROWS_ON_A_PAGE)
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

    def _preset(self, request: IndexRequest, query: FormFields) -> FormState:
        """Return the form as a link fills it in."""
        # pages of people, groups and projects lead here, each with what it is about
        form = self._pages.form(request, query)
        kinds = tuple(credentials_in_use(request.context.index).grantees())
        kind, who = preset_principal(query.text("kind"), query.text("who"), kinds)
        values: dict[str, tuple[str, ...]] = {"can": (Action.READ.word,)}
        values.update(form.values)
        values["kind"] = (kind,)
        values["who"] = (who,)
        return structs.replace(form, values=values)

    def _grant_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        index = request.context.index
        values = {
            "form": form,
            "kinds": tuple(credentials_in_use(index).grantees()),
            "groups": sorted(index.server.access.load().groups),
            "has_upstream": index.upstream is not None,
            "indexes": sorted(index.server.definitions.names()),
        }
        return self._pages.show(request, SECTION, "grant_form.html", values, status)

    def _add(self, request: IndexRequest, fields: FormFields) -> Response:
        grant = _grant_in(fields)
        api = self._pages.api(request)
        # the other fields have been looked at, so that a refusal is about the principal
        with refused_for("who"):
            added = api.call(access_operations.add_grant, grant)
        # without a redirect, as the warnings are shown once; the same form adds nothing twice
        return self._list(request, FormFields({}), 201, added)

    def _question(
        self, request: IndexRequest, grant_id: str, form: FormState, status: int
    ) -> Response:
        """Return the page that asks whether to revoke a grant, which may be gone by now."""
        access = self._pages.api(request).call(access_operations.show_access)
        row = next((grant for grant in access.grants if grant.id == grant_id), None)
        values = {"form": form, "row": row, "id": grant_id}
        return self._pages.show(request, SECTION, "grant_revoke.html", values, status)

    def _revoke(self, request: IndexRequest, fields: FormFields) -> Response:
        revocation = access_operations.GrantRevocation(
            fields.text("id"), fields.text("note"), bool(fields.text("even_if_own"))
        )
        # nobody locks themselves out without having ticked a box that says so
        with confirmed_by("even_if_own", access_control.OWN_ACCESS):
            self._pages.api(request).call(access_operations.revoke_grant, revocation)
        return self._pages.done(request, f"revoked={revocation.id}")


def _grant_in(fields: FormFields) -> GrantFields:
    """
    Return the grant that a form asks for.

    Raises Invalid, with the field that is wrong.
    """
    # in the order of the form, as a page marks the first field that is wrong
    with checking("who"):
        who = chosen_principal(fields.text("kind"), fields.text("who"))
    can = fields.text("can")
    with checking("can"):
        if not can:
            raise Invalid("Choose what they may do.", code="missing_field")
    with checking("projects"):
        projects = parse_patterns(fields.text("projects"))
        if can == Action.ADMIN.word and projects != (EVERY_PROJECT,):
            message = "Administrators administer every project. Write a single star."
            raise Invalid(message, code="invalid_field")
    with checking("note"):
        note = require_one_line(fields.text("note"), "A note", access_control.NOTE_LIMIT_CHARS)
    return GrantFields(
        who=(who,), projects=projects, actions=(can,), note=note, index=fields.text("index")
    )


def _has_text(grant: access_control.ListedGrant, search: str) -> bool:
    """Return whether a text, in lower case, is in what the list shows of a grant."""
    texts = [grant.id, grant.note]
    texts += grant.who
    texts += map(describe_principal, grant.who)
    texts += grant.projects
    texts += grant.can
    return any(search in text.casefold() for text in texts)
