"""
Handlers of `/-/account/`, who the caller is, and of pages of API tokens.

`/-/account/tokens/` has the caller's own tokens, `/-/tokens/` has all. Both have the same forms.
Who may do what is decided where it is for `/api/v1/tokens`.
"""

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from wheelyard.authentication.api_tokens import (
    TokenRequest,
    invalid_credential,
    require_token_name,
)
from wheelyard.authentication.caller_tokens import (
    can_own_tokens,
    is_token_admin,
    owns,
    wanted_token,
)
from wheelyard.errors import Forbidden, Invalid, WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.form_faults import FormFault, checking, refused_form
from wheelyard.http.protocol.error_responses import read_only, status_of
from wheelyard.http.protocol.fields import FormFields, parse_form, read_form
from wheelyard.http.protocol.messages import Request, Response, redirect
from wheelyard.http.security.form_tokens import form_token, require_form_token
from wheelyard.http.security.request_authentication import signed_in_at
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Caller
from wheelyard.rendering.web.account_pages import Account, account_page
from wheelyard.rendering.web.forms import FormState
from wheelyard.rendering.web.tokens_page import (
    TokenRow,
    TokensView,
    made_page,
    revoke_page,
    tokens_page,
)

ALL_TOKENS: Final = ("-", "tokens")
"""The path of the pages of everybody's tokens."""

_DAYS = re.compile("[0-9]{1,5}", re.ASCII)
_SEPARATORS = re.compile(r"[\s,]+")


async def answer_account(request: Request, web: WebPages) -> Response:
    """Handle GET: the account of the caller."""
    caller, context = request.caller, web.context
    if caller.is_anonymous:
        raise invalid_credential()
    session = request.session
    account = Account(
        caller=caller,
        session_ends_at=session.expiry if session else None,
        is_by_proxy=session is None and b"authorization" not in request.headers,
        may_administer=is_token_admin(caller),
    )
    viewer, form = web.viewer(caller), FormState(await form_token(request, context))
    return web.own_page(200, account_page(web.environment, viewer, account, form))


async def answer_tokens(request: Request, web: WebPages) -> Response:
    """Handle GET: the list and the form for a new token, or the question whether to revoke one."""
    context, view = web.context, _view(request, web)
    fields, form = parse_form(request.query), FormState(await form_token(request, context))
    rows = await _rows(request, context, view)
    by_id = {row.record.id: row for row in rows}
    viewer, wanted = web.viewer(request.caller), by_id.get(fields.text("revoke"))
    if wanted is not None and wanted.state == "active":
        page = revoke_page(web.environment, viewer, view, wanted, form)
    else:
        revoked = by_id.get(fields.text("revoked"))
        page = tokens_page(web.environment, viewer, view, rows, form, revoked)
    return web.own_page(200, page)


async def answer_tokens_form(request: Request, web: WebPages) -> Response:
    """Handle POST: make a token and show it once, or revoke one and redirect to the list."""
    context, view = web.context, _view(request, web)
    fields = await read_form(request)
    try:
        with checking():
            await require_form_token(request, fields, context)
        if fields.text("action") == "revoke":
            return await _revoke(request, web, fields.text("id"))
        return await _create(request, web, view, fields)
    except FormFault as fault:
        context.store_errors.log(fault.error)
        form = await refused_form(request, context, fields, fault)
        try:
            rows = await _rows(request, context, view)
        except WheelyardError:  # the store does not answer: the form is worth more than the list
            rows = ()
        page = tokens_page(web.environment, web.viewer(request.caller), view, rows, form)
        return web.own_page(status_of(fault.error), page)


async def _create(
    request: Request, web: WebPages, view: TokensView, fields: FormFields
) -> Response:
    context, caller, index = web.context, request.caller, web.context.index
    if view.hindrance:
        raise FormFault("", Forbidden(view.hindrance))
    wanted = _wanted(caller, view, fields)
    signed_in = signed_in_at(request) if can_own_tokens(caller) else None
    create = partial(index.caller_tokens.create, caller, signed_in, wanted)
    with checking():
        async with context.long_read_limit.acquire(request.client_key):
            token, record = await context.pools.run_write(create)
    row = TokenRow(record, record.state(index.runtime.now()), None)
    page = made_page(web.environment, web.viewer(request.caller), view, row, token.text)
    return web.own_page(201, page)


async def _revoke(request: Request, web: WebPages, token_id: str) -> Response:
    context = web.context
    revoke = partial(context.index.caller_tokens.revoke, request.caller, token_id)
    with checking():
        record = await context.pools.run_write(revoke)
    query = f"revoked={record.id}".encode()
    return redirect(303, web.path(*request.segments, query=query))


def _wanted(caller: Caller, view: TokensView, fields: FormFields) -> TokenRequest:
    """Return the token that a form asks for; raise FormFault if a field is wrong."""
    name, projects = fields.text("name"), _SEPARATORS.split(fields.text("projects"))
    with checking("name"):
        require_token_name(name)
    with checking("days"):
        days = fields.text("days")
        if not _DAYS.fullmatch(days) or not 1 <= int(days) <= view.max_days:
            raise Invalid(
                f"Write a number of days from 1 to {view.max_days}.", code="invalid_field"
            )
    with checking("can"):
        if not fields.text("can"):
            raise Invalid("Choose what the token may do.", code="missing_field")
    with checking("projects"):
        if projects == [""]:
            raise Invalid("Name the projects that the token is for.", code="missing_field")
        actions, lifetime = (fields.text("can"),), timedelta(days=int(days))
        request = wanted_token(caller, name, actions, filter(None, projects), lifetime)
    if not view.is_for_all:
        return request
    with checking("owner"):
        owner = fields.text("owner") or None
        return wanted_token(caller, name, actions, filter(None, projects), lifetime, owner)


def _view(request: Request, web: WebPages) -> TokensView:
    """Return what the pages know of the caller; raise an error unless the caller may see them."""
    caller, index = request.caller, web.context.index
    is_for_all, is_admin = request.segments == ALL_TOKENS, is_token_admin(caller)
    if caller.is_anonymous:
        raise invalid_credential()
    if is_for_all and not is_admin:
        raise Forbidden(
            f"{caller.display_name} may not see the tokens of others. Ask an administrator of "
            "this index.",
            short="Only administrators may.",
        )
    hindrance, needs_sign_in = "", False
    if index.settings.server.read_only:
        hindrance = read_only().message
    elif not is_for_all and not can_own_tokens(caller):
        hindrance = (
            "Only a person who has signed in with Google has tokens of their own. Ask an "
            "administrator of this index to make one for you."
        )
    elif not is_for_all and not index.caller_tokens.is_signed_in(caller, signed_in_at(request)):
        hindrance, needs_sign_in = "You have signed in more than an hour ago.", True
    return TokensView(
        is_for_all=is_for_all,
        may_administer=is_admin,
        hindrance=hindrance,
        needs_sign_in=needs_sign_in,
        may_revoke=not index.settings.server.read_only,
        max_days=index.settings.tokens.max_days,
    )


async def _rows(request: Request, context: ServerContext, view: TokensView) -> Sequence[TokenRow]:
    caller, tokens = request.caller, context.index.caller_tokens

    def read() -> list[TokenRow]:
        return [
            TokenRow(each.record, each.state, each.last_used)
            for each in tokens.visible(caller)
            if view.is_for_all or owns(caller, each.record)
        ]

    if tokens.reads_all(caller):
        return await context.run_long_read(request, read)
    return await context.pools.run_read(read)
