"""The page of all API tokens: the list with a search, the form of a new one, revocations."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import convert
from msgspec.structs import replace

from wheelyard.api import access_operations
from wheelyard.authentication import token_list
from wheelyard.authentication.token_owners import TokenOwners
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, naming_field
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
"""The choices of the filter of the list, with their labels."""
ORDERS: Final[dict[str, str]] = {
    "-created": "Newest first",
    "used": "Longest unused first",
    "-used": "Last used first",
    "expires": "Ends soonest first",
    "name": "Name",
}
"""The orders of the list, with their labels."""


class TokenAdministration:
    """Handles the page of the API tokens of all people."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, the form for a new token, a made token, or the question to revoke.

        A made token is shown once, as the page removes its cookie. A search for a whole token is
        redirected to a search for its id. Without `?state=` the list has the active tokens. Raises
        NotFound if the made token does not exist.
        """
        query = self._pages.query(request)
        if query.text("action") == "make":
            return self._show_form(request, self._pages.form(request), 200)
        made_id = query.text("made")
        if made_id:
            token_answer = self._pages.api(request).call(access_operations.list_tokens)
            return show_made(request, token_answer.tokens, made_id, "../" * len(request.segments))
        ids = query.all("revoke")
        if ids:
            return self._show_question(request, ids, self._pages.form(request), 200)
        token_id = token_id_in(query.text("search"))
        if token_id is not None and token_id != query.text("search"):
            # a whole token is a secret, which neither the page nor its URL may repeat
            return self._pages.done(request, urlencode({"search": token_id, "state": ""}))
        return self._show_list(request, query)

    def redirect(self, request: IndexRequest) -> Response:
        """Handle GET `/-/tokens/`, the former URL of the page: redirect."""
        self._pages.query(request)
        return redirect(301, request.web.path("-", "admin", "tokens"))

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: make a token, which the next page shows once, or revoke several tokens.

        Tokens are revoked one by one. If one cannot be revoked, those before it stay revoked. A
        refused form is shown again with the reason.
        """

        def act(fields: FormFields) -> Response:
            if fields.action("create", "revoke") == "revoke":
                return self._revoke(request, fields.all("id"))
            return self._create(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            if fields.all("id"):
                return self._show_question(request, fields.all("id"), form, status)
            return self._show_form(request, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def _show_list(self, request: IndexRequest, query: FormFields) -> Response:
        """Return the list of tokens, filtered and sorted by a query."""
        tokens_query = _tokens_query(query)
        token_answer = self._pages.api(request).call(access_operations.list_tokens, tokens_query)
        numbers = page_numbers(query, token_answer.total or 0, ROWS_ON_A_PAGE)
        filters = {
            "search": tokens_query.search,
            "owner": tokens_query.owner,
            "project": tokens_query.project,
            "state": tokens_query.state or "",
            "sort": tokens_query.sort,
        }
        values = {
            "rows": token_answer.tokens,
            "numbers": numbers,
            "asked": filters,
            "links": query_of(filters),
            "states": STATES,
            "orders": ORDERS,
            "revoked": query.text("revoked"),
            "working": token_list.WORKING_STATES,
        }
        return self._pages.show(request, SECTION, "tokens.html", values)

    def _show_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        """Return the page with the form for a new token."""
        index = request.context.index
        index_names = sorted(index.server.definitions.names())
        credentials = credentials_in_use(index)
        values = {
            "form": form,
            "max_days": index.settings.tokens.max_days,
            "indexes": (MAIN, *index_names, EVERY_INDEX),
            "kinds": tuple(credentials.owners(OWNER_PREFIXES)),
        }
        return self._pages.show(request, SECTION, "token_form.html", values, status)

    def _create(self, request: IndexRequest, fields: FormFields) -> Response:
        """Make the token of a form, and redirect to the page that shows it."""
        index = request.context.index
        indexes = (*index.server.definitions.names(), EVERY_INDEX)
        token_fields = new_token(fields, index.settings.tokens.max_days, indexes)
        owner = _owner_in(fields, index.authenticator.owners)
        token_fields = replace(token_fields, owner=owner)
        api = self._pages.api(request)
        # an administrator who is a person has to have signed in lately, as other people have to
        if request.caller.can_own_tokens:
            api = replace(api, signed_in_at=signed_in_at(request))
        made_token = api.call(access_operations.create_token, token_fields)
        return redirect_to_made(request, made_token)

    def _show_question(
        self, request: IndexRequest, ids: Sequence[str], form: FormState, status: int
    ) -> Response:
        """Return the page that asks whether to revoke those of the tokens that may still work."""
        # some may have ended, or been revoked by another person, since the list was shown
        token_answer = self._pages.api(request).call(access_operations.list_tokens)
        chosen_tokens = [token for token in token_answer.tokens if token.id in ids]
        rows = [token for token in chosen_tokens if token.state in token_list.WORKING_STATES]
        values = {"form": form, "rows": rows}
        return self._pages.show(request, SECTION, "tokens_revoke.html", values, status)

    def _revoke(self, request: IndexRequest, ids: Sequence[str]) -> Response:
        """Revoke tokens, and redirect to the list, which tells of their number."""
        api = self._pages.api(request)
        for token_id in ids:
            api.call(access_operations.revoke_token, token_id)
        return self._pages.done(request, f"revoked={len(ids)}")


def _tokens_query(query: FormFields) -> access_operations.TokensQuery:
    """Return the query for the tokens on a page of the list, by the query of the page."""
    state: token_list.TokenSelection | None = None
    # an empty field selects all tokens, and so does an unknown state, which a link may have
    if "state" not in query.values:
        state = "active"
    elif query.text("state") and query.text("state") in STATES:
        state = convert(query.text("state"), token_list.TokenSelection)
    sort: token_list.TokenOrder = "-created"
    if query.text("sort") in ORDERS:
        sort = convert(query.text("sort"), token_list.TokenOrder)
    number = page_number(query)
    return access_operations.TokensQuery(
        search=query.text("search"),
        owner=query.text("owner"),
        project=query.text("project"),
        state=state,
        sort=sort,
        limit=ROWS_ON_A_PAGE,
        offset=(number - 1) * ROWS_ON_A_PAGE,
    )


def _owner_in(fields: FormFields, owners: TokenOwners) -> str | None:
    """
    Return the owner in a form, or None for a token without an owner.

    Raises Invalid, with the field that is wrong. Raises Unavailable if the store does not answer.
    """
    with naming_field("who"):
        owner = chosen_principal(fields.text("kind"), fields.text("who"))
        if owner != NOBODY:
            owners.named(owner)
    return owner or None
