"""Handlers of `/-/account/tokens/`, on which people make, see, rotate and revoke their tokens."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

from msgspec.structs import replace

from wheelyard.api import access_operations
from wheelyard.api.local_api import LocalApi
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.token_list import WORKING_STATES, MarkedToken, marked
from wheelyard.errors import Forbidden, WheelyardError
from wheelyard.http import forms, token_forms
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import status_of
from wheelyard.http.made_token_page import redirect_to_made, show_made
from wheelyard.http.messages import Response, redirect
from wheelyard.http.request_authentication import signed_in_at
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.rendering.web.account_pages import TOKENS_ROOT, FormState, TokensView

_NOT_A_PERSON: Final = (
    "Only a person who has signed in has tokens of their own, and a token makes none. Sign in "
    "yourself, or ask an administrator of this index to make one for you."
)


def answer(request: IndexRequest) -> Response:
    """
    Handle GET: the tokens with the form for a new one, a new token, or a question about one.

    A new token is shown once: the page takes it from the browser. An id in the query that is of no
    token of the caller counts as none. Raises Unauthenticated for an anonymous caller, Invalid for
    a malformed query, and Unavailable if the store does not answer.
    """
    fields = forms.parse_form(request.query_string)
    view = _view(request, fields)
    rows = _rows(request)

    # the secret is in a cookie, and shown to the owner of the token alone
    if fields.text("made") in rows:
        tokens = [row.token for row in rows.values()]
        answers = [access_operations.TokenAnswer.of(token.record, token.state) for token in tokens]
        return show_made(request, answers, fields.text("made"), TOKENS_ROOT)
    form = FormState(forms.form_token(request))
    for action in ("revoke", "rotate"):
        row = rows.get(fields.text(action))
        if row is not None and row.token.state in WORKING_STATES:
            template = f"token_{action}.html"
            return _show(request, template, 200, view=view, row=row.token, form=form)
    caller_tokens = request.context.index.caller_tokens
    values = _lists(rows, fields.text("revoked"))
    reader = token_forms.LinkReader(
        caller_tokens, request.caller, view.indexes, view.preset, view.max_days
    )
    linked = reader.read(fields)
    if linked is not None:
        form = replace(form, values=linked.values)
    return _show(request, "tokens.html", 200, view=view, form=form, linked=linked, **values)


def answer_form(request: IndexRequest) -> Response:
    """
    Handle POST: make or rotate a token, which the next page shows once, or revoke one.

    What is refused is told on the form, which then has the status of the error. The form may lack
    the list of tokens while the store does not answer. Raises Unauthenticated for an anonymous
    caller. Raises Waiting until the body has come, Invalid for what is no form, and TooLarge if it
    is too long.
    """
    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    view = _view(request, fields)
    try:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        action = fields.action("create", "rotate", "revoke")
        if action == "create":
            return _create(request, fields)
        if action == "rotate":
            return _rotate(request, fields)
        return _revoke(request, fields)
    except WheelyardError as error:
        form = forms.refused_form(request, fields, error)
        rows: dict[str, MarkedToken] = {}
        # what was typed into the form is worth more than the list
        with suppress(WheelyardError):
            rows = _rows(request)
        status = status_of(error)
        row = rows.get(form.value("token"))
        if form.value("action") == "rotate" and row is not None:
            return _show(request, "token_rotate.html", status, view=view, row=row.token, form=form)
        lists = _lists(rows)
        return _show(request, "tokens.html", status, view=view, form=form, linked=None, **lists)


def _create(request: IndexRequest, fields: forms.FormFields) -> Response:
    max_days = request.context.index.settings.tokens.max_days
    indexes = _indexes(request)
    new = token_forms.new_token(fields, max_days, indexes)
    made = _api_of_person(request).call(access_operations.create_token, new)
    return redirect_to_made(request, made)


def _rotate(request: IndexRequest, fields: forms.FormFields) -> Response:
    """Make a token in place of another one, which may work for a while yet."""
    rotation = forms.form_body(fields, access_operations.TokenRotation)
    made = _api_of_person(request).call(access_operations.rotate_token, rotation)
    return redirect_to_made(request, made)


def _revoke(request: IndexRequest, fields: forms.FormFields) -> Response:
    token_id = fields.text("id")
    api = LocalApi(index=request.context.index, caller=request.caller)
    api.call(access_operations.revoke_token, token_id)
    query = urlencode({"revoked": token_id}).encode()
    return redirect(303, request.web.path(*request.segments, query=query))


def _api_of_person(request: IndexRequest) -> LocalApi:
    """Return the index for somebody who can own tokens, or raise Forbidden."""
    # else an administrator's token would make one that belongs to nobody
    if not request.caller.can_own_tokens:
        raise Forbidden(_NOT_A_PERSON)
    signed_in = signed_in_at(request)
    return LocalApi(index=request.context.index, caller=request.caller, signed_in_at=signed_in)


def _view(request: IndexRequest, fields: forms.FormFields) -> TokensView:
    """
    Return what the pages know of the caller, with a link that leads back to what was typed.

    Raises Unauthenticated for an anonymous one.
    """
    caller = request.caller
    index = request.context.index
    if caller.is_anonymous:
        raise invalid_credential()
    hindrance = ""
    sign_in = ""
    if index.settings.server.read_only:
        hindrance = request.context.read_only().message
    elif not caller.can_own_tokens:
        hindrance = _NOT_A_PERSON
    elif not index.caller_tokens.is_signed_in(caller, signed_in_at(request)):
        hindrance = "You have signed in more than an hour ago, which is too long for that."
        sign_in = _sign_in_again(request, fields)
    indexes = _indexes(request)
    return TokensView(
        may_administer=is_token_admin(caller),
        hindrance=hindrance,
        sign_in=sign_in,
        may_change=not index.settings.server.read_only,
        max_days=index.settings.tokens.max_days,
        indexes=indexes,
        preset=token_forms.preset_index(request.query_field(token_forms.INDEX) or "", indexes),
    )


def _indexes(request: IndexRequest) -> tuple[str, ...]:
    """
    Return the indexes that a token of the caller can be about, `*` for administrators alone.

    Raises Unavailable if the grants of the store cannot be read.
    """
    caller = request.caller
    index = request.context.index
    names = (MAIN, *sorted(index.server.definitions.names()))
    indexes = index.caller_tokens.indexes_of(caller, names)
    if is_token_admin(caller):
        return (*indexes, EVERY_INDEX)
    return indexes


def _sign_in_again(request: IndexRequest, fields: forms.FormFields) -> str:
    """Return the path of the sign-in page that comes back to the form, filled in as it was."""
    server = request.context.index.settings.server
    path = request.web.path(*request.segments)
    if fields.values.get("action") == ("rotate",):
        values = {"rotate": fields.all("token")}
    else:
        names = (*token_forms.LINKED_FIELDS, "rotate")
        values = {name: fields.all(name) for name in names if name in fields.values}
    query = urlencode(values, doseq=True)
    way_back = f"{path}?{query}"
    # what is too long for the sign-in page to lead back to loses what was typed
    if forms.local_path(way_back, server) != way_back:
        query = ""
    # `again`, as the page would send somebody who is signed in back at once
    return f"{forms.sign_in_url(path.encode(), query.encode(), server)}&again="


def _rows(request: IndexRequest) -> dict[str, MarkedToken]:
    """Return the caller's own tokens by their ids, newest first."""
    index = request.context.index
    now = request.context.index.server.runtime.now()
    tokens = index.caller_tokens.visible(request.caller, only_own=True)
    newest = sorted(tokens, key=lambda token: token.record.created_at, reverse=True)
    # of no token is it looked up whether the owner is gone: the owner looks at this page
    return {token.record.id: marked(token, now, lambda _: False) for token in newest}


def _show(request: IndexRequest, template: str, status: int, **values: object) -> Response:
    viewer = request.web.viewer(request.caller)
    return request.web.show(request, viewer, status, template, TOKENS_ROOT, **values)


def _lists(rows: Mapping[str, MarkedToken], revoked: str = "") -> dict[str, object]:
    """
    Return the tokens that may work, the others, and the one that was revoked just now.

    `revoked` is the id of that one, or an empty text.
    """
    working: list[MarkedToken] = []
    ended: list[MarkedToken] = []
    for row in rows.values():
        if row.token.state in WORKING_STATES:
            working.append(row)
        else:
            ended.append(row)
    return {"working": working, "others": ended, "revoked": rows.get(revoked)}
