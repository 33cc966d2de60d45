"""The page of everybody's API tokens: search, make for somebody or nobody, revoke some at once."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import convert
from msgspec.structs import replace

from wheelyard.api import access_operations
from wheelyard.authentication import token_list
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
from wheelyard.http.handlers.admin.admin_pages import (
    AdminPages,
    page_number,
    page_numbers,
    query_of,
)
from wheelyard.http.handlers.admin.principals import credentials_in_use
from wheelyard.http.made_token_page import redirect_to_made, show_made
from wheelyard.http.messages import Response, redirect
from wheelyard.http.request_authentication import signed_in_at
from wheelyard.http.token_forms import new_token
from wheelyard.model.access import OWNER_PREFIXES
from wheelyard.model.api_token import token_id_in
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.principal_kinds import NOBODY, chosen_principal

SECTION: Final = "tokens/"
ROWS_ON_A_PAGE: Final = 100
STATES: Final[dict[str, str]] = {
    "active": "Active",
    "expiring": "Expire within 14 days",
    "unused": "Not used for 90 days",
    "owner-gone": "Of people who are gone",
    "unconfirmed": "Wait for a sign-in of their owner",
    "ended": "Ended with their owner",
    "expired": "Expired",
    "revoked": "Revoked",
    "": "All",
}
ORDERS: Final[dict[str, str]] = {
    "-created": "Newest first",
    "used": "Longest unused first",
    "-used": "Last used first",
    "expires": "Ends soonest first",
    "name": "Name",
}


class TokenAdministration:
    """The page of everybody's API tokens."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form for a new token, a new one, or the question to revoke.

        A new token is shown once: the page takes it from the browser. A search for a whole token is
        redirected to one for its id. Without `?state=` the list has the active ones. Raises
        NotFound for a new token that is not there.
        """
        query = self._pages.query(request)
        if query.text("action") == "make":
            return self._token_form(request, self._pages.form(request), 200)
        made_id = query.text("made")
        if made_id:
            listed = self._pages.api(request).call(access_operations.list_tokens)
            return show_made(request, listed.tokens, made_id, "../" * len(request.segments))
        ids = query.all("revoke")
        if ids:
            return self._question(request, ids, self._pages.form(request), 200)
        token_id = token_id_in(query.text("search"))
        if token_id is not None and token_id != query.text("search"):
            # a whole token is a secret: neither the page nor its address repeats it
            return self._pages.done(request, urlencode({"search": token_id, "state": ""}))
        return self._list(request, query)

    def redirect(self, request: IndexRequest) -> Response:
        """Handle GET `/-/tokens/`, where the page was once."""
        self._pages.query(request)
        return redirect(301, request.web.path("-", "admin", "tokens"))

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: make a token, which the next page shows once, or revoke some.

        They are revoked one by one. If one cannot be, those before it are revoked. What is refused
        is told on the form.
        """

        def act(fields: FormFields) -> Response:
            if fields.action("create", "revoke") == "revoke":
                return self._revoke(request, fields.all("id"))
            return self._create(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.all("id"):
                return self._question(request, fields.all("id"), form, status)
            return self._token_form(request, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _list(self, request: IndexRequest, query: FormFields) -> Response:
        state: token_list.TokenSelection | None = None
        sort: token_list.TokenOrder = "-created"

        # The field may be empty, which selects all tokens. A link may say anything: what is no
        # state does, too.
        if "state" not in query.values:
            state = "active"
        elif query.text("state") and query.text("state") in STATES:
            state = convert(query.text("state"), token_list.TokenSelection)
        if query.text("sort") in ORDERS:
            sort = convert(query.text("sort"), token_list.TokenOrder)
        number = page_number(query)
        question = access_operations.TokensQuery(
            search=query.text("search"),
            owner=query.text("owner"),
            project=query.text("project"),
            state=state,
            sort=sort,
            limit=ROWS_ON_A_PAGE,
            offset=(number - 1) * ROWS_ON_A_PAGE,
        )
        listed = self._pages.api(request).call(access_operations.list_tokens, question)
        numbers = page_numbers(query, listed.total or 0, ROWS_ON_A_PAGE)
        filters = {
            "search": question.search,
            "owner": question.owner,
            "project": question.project,
            "state": question.state or "",
            "sort": question.sort,
        }
        values = {
            "rows": listed.tokens,
            "numbers": numbers,
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
            "orders": ORDERS,
            "revoked": query.text("revoked"),
            "working": token_list.WORKING_STATES,
        }
        return self._pages.show(request, SECTION, "tokens.html", values)

    def _token_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        index = request.context.index
        values = {
            "form": form,
            "max_days": index.settings.tokens.max_days,
            "indexes": (MAIN, *sorted(index.server.definitions.names()), EVERY_INDEX),
            "kinds": tuple(credentials_in_use(index).owners(OWNER_PREFIXES)),
        }
        return self._pages.show(request, SECTION, "token_form.html", values, status)

    def _create(self, request: IndexRequest, fields: FormFields) -> Response:
        index = request.context.index
        indexes = (*index.server.definitions.names(), EVERY_INDEX)
        new = new_token(fields, index.settings.tokens.max_days, indexes)
        new = replace(new, owner=_owner_in(fields, index.authenticator.owners))
        api = self._pages.api(request)
        # an administrator who is a person has to have signed in lately, as everybody has
        if request.caller.can_own_tokens:
            api = replace(api, signed_in_at=signed_in_at(request))
        made = api.call(access_operations.create_token, new)
        return redirect_to_made(request, made)

    def _question(
        self, request: IndexRequest, ids: Sequence[str], form: FormState, status: int
    ) -> Response:
        """Return the page that asks whether to revoke those of these tokens that may work."""
        # some may have ended, or were revoked by somebody else, since the list was shown
        listed = self._pages.api(request).call(access_operations.list_tokens)
        chosen = [token for token in listed.tokens if token.id in ids]
        rows = [token for token in chosen if token.state in token_list.WORKING_STATES]
        values = {"form": form, "rows": rows}
        return self._pages.show(request, SECTION, "tokens_revoke.html", values, status)

    def _revoke(self, request: IndexRequest, ids: Sequence[str]) -> Response:
        """Revoke tokens, and lead back to the list, which says how many these were."""
        api = self._pages.api(request)
        for token_id in ids:
            # each by itself: if the store stops answering, those before are revoked
            api.call(access_operations.revoke_token, token_id)
        return self._pages.done(request, f"revoked={len(ids)}")


def _owner_in(fields: FormFields, owners: TokenOwners) -> str | None:
    """
    Return the owner that a form names, or None for nobody.

    Raises Invalid, with the field that is wrong. Raises Unavailable if the store does not answer.
    """
    with checking("who"):
        owner = chosen_principal(fields.text("kind"), fields.text("who"))
        if owner != NOBODY:
            owners.named(owner)
    return owner or None
