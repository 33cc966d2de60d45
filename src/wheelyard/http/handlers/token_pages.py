"""Handlers of `/-/account/tokens/`, where people list, make, rotate and revoke their tokens."""

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
from wheelyard.model.api_token import ListedToken
from wheelyard.model.index_name import EVERY_INDEX, MAIN
from wheelyard.rendering.web.account_pages import TOKENS_ROOT, FormState, TokensView

_NOT_A_PERSON: Final = (
    "Only a person who has signed in has tokens of their own, and a token makes none. Sign in "
    "yourself, or ask an administrator of this index to make one for you."
)


def answer(request: IndexRequest) -> Response:
    """
    Handle GET: the tokens of the caller with the form for a new one, or a page about one token.

    `?made=` shows a new token, once, as the page removes its cookie. `?revoke=` and `?rotate=` ask
    for confirmation. Each has the id of a token; an id that is not of a token of the caller is
    ignored. Raises Unauthenticated for an anonymous caller, Invalid for a malformed query, and
    Unavailable if the store does not answer.
    """
    fields = forms.parse_form(request.query_string)
    view = _tokens_view(request, fields)
    rows = _read_rows(request)

    # the secret is in a cookie, and only shown to the owner of the token
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
    lists = _token_lists(rows, fields.text("revoked"))
    reader = token_forms.LinkReader(
        caller_tokens, request.caller, view.indexes, view.preset, view.max_days
    )
    linked_fields = reader.read(fields)
    if linked_fields is not None:
        form = replace(form, values=linked_fields.values)
    return _show(request, "tokens.html", 200, view=view, form=form, linked=linked_fields, **lists)


def answer_form(request: IndexRequest) -> Response:
    """
    Handle POST: make or rotate a token, which the next page shows once, or revoke a token.

    A refused form is shown again, with the reason and the status of the error, and without the list
    of tokens if the store does not answer. Raises Unauthenticated for an anonymous caller. Raises
    Waiting until the body has come, Invalid if the body is no form, and TooLarge if it is too long.
    """
    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    view = _tokens_view(request, fields)
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
        # without the list, the form still keeps the typed fields
        with suppress(WheelyardError):
            rows = _read_rows(request)
        status = status_of(error)
        row = rows.get(form.value("token"))
        if form.value("action") == "rotate" and row is not None:
            return _show(request, "token_rotate.html", status, view=view, row=row.token, form=form)
        lists = _token_lists(rows)
        return _show(request, "tokens.html", status, view=view, form=form, linked=None, **lists)


def _create(request: IndexRequest, fields: forms.FormFields) -> Response:
    """Make the token of a form, and redirect to the page that shows it."""
    max_days = request.context.index.settings.tokens.max_days
    indexes = _allowed_indexes(request)
    new_token = token_forms.new_token(fields, max_days, indexes)
    made_token = _api_of_person(request).call(access_operations.create_token, new_token)
    return redirect_to_made(request, made_token)


def _rotate(request: IndexRequest, fields: forms.FormFields) -> Response:
    """Make a token in place of another, which may still work for a while, and show the new one."""
    rotation = forms.form_body(fields, access_operations.TokenRotation)
    made_token = _api_of_person(request).call(access_operations.rotate_token, rotation)
    return redirect_to_made(request, made_token)


def _revoke(request: IndexRequest, fields: forms.FormFields) -> Response:
    """Revoke the token of a form, and redirect to the list, which tells of it."""
    token_id = fields.text("id")
    api = LocalApi(index=request.context.index, caller=request.caller)
    api.call(access_operations.revoke_token, token_id)
    query = urlencode({"revoked": token_id}).encode()
    return redirect(303, request.web.path(*request.segments, query=query))


def _api_of_person(request: IndexRequest) -> LocalApi:
    """Return the operations of the index for a caller who can own tokens, or raise Forbidden."""
    # else the token of an administrator would make a token without an owner
    if not request.caller.can_own_tokens:
        raise Forbidden(_NOT_A_PERSON)
    sign_in_time = signed_in_at(request)
    return LocalApi(index=request.context.index, caller=request.caller, signed_in_at=sign_in_time)


def _tokens_view(request: IndexRequest, fields: forms.FormFields) -> TokensView:
    """
    Return what the pages show of the caller: rights, choices, and why no token can be made.

    If the caller has to sign in again, the view has a link for that, which leads back to the form
    with the typed fields. Raises Unauthenticated for an anonymous caller.
    """
    caller = request.caller
    index = request.context.index
    if caller.is_anonymous:
        raise invalid_credential()
    hindrance = ""
    sign_in_url = ""
    if index.settings.server.read_only:
        hindrance = request.context.read_only_error().message
    elif not caller.can_own_tokens:
        hindrance = _NOT_A_PERSON
    elif not index.caller_tokens.is_signed_in(caller, signed_in_at(request)):
        hindrance = "You have signed in more than an hour ago, which is too long for that."
        sign_in_url = _sign_in_again_url(request, fields)
    indexes = _allowed_indexes(request)
    sent_index = request.query_field(token_forms.INDEX) or ""
    return TokensView(
        may_administer=is_token_admin(caller),
        hindrance=hindrance,
        sign_in=sign_in_url,
        may_change=not index.settings.server.read_only,
        max_days=index.settings.tokens.max_days,
        indexes=indexes,
        preset=token_forms.preset_index(sent_index, indexes),
    )


def _allowed_indexes(request: IndexRequest) -> tuple[str, ...]:
    """
    Return the indexes that a token of the caller can be about; only administrators get `*`.

    Raises Unavailable if the grants of the store cannot be read.
    """
    caller = request.caller
    index = request.context.index
    names = (MAIN, *sorted(index.server.definitions.names()))
    indexes = index.caller_tokens.indexes_of(caller, names)
    if is_token_admin(caller):
        return (*indexes, EVERY_INDEX)
    return indexes


def _sign_in_again_url(request: IndexRequest, fields: forms.FormFields) -> str:
    """Return the URL of a sign-in that leads back to the form with the typed fields."""
    server = request.context.index.settings.server
    path = request.web.path(*request.segments)
    if fields.values.get("action") == ("rotate",):
        kept_fields = {"rotate": fields.all("token")}
    else:
        names = (*token_forms.LINKED_FIELDS, "rotate")
        kept_fields = {name: fields.all(name) for name in names if name in fields.values}
    query = urlencode(kept_fields, doseq=True)
    url_of_form = f"{path}?{query}"
    # the sign-in page leads back to no URL that is too long: then the typed fields are lost
    if forms.local_path(url_of_form, server) != url_of_form:
        query = ""
    # without `again`, the sign-in page would redirect back at once, as the caller is signed in
    return f"{forms.sign_in_url(path.encode(), query.encode(), server)}&again="


def _read_rows(request: IndexRequest) -> dict[str, MarkedToken]:
    """Return the caller's own tokens by their ids, newest first."""
    index = request.context.index
    now = request.context.index.server.runtime.now()
    tokens = index.caller_tokens.visible(request.caller, only_own=True)
    newest_first = sorted(tokens, key=lambda token: token.record.created_at, reverse=True)
    return {token.record.id: marked(token, now, _is_owner_gone) for token in newest_first}


def _is_owner_gone(_token: ListedToken) -> bool:
    """Return False: the owner of a token on this page is the caller, and so is not gone."""
    return False


def _show(request: IndexRequest, template: str, status: int, **values: object) -> Response:
    """Return the page of a template for the caller."""
    viewer = request.web.viewer(request.caller)
    return request.web.show(request, viewer, status, template, TOKENS_ROOT, **values)


def _token_lists(rows: Mapping[str, MarkedToken], revoked_id: str = "") -> dict[str, object]:
    """
    Return the values for the template: tokens that may work, other tokens, and a revoked one.

    `revoked_id` is the id of a token that was revoked just now, or an empty text.
    """
    working_tokens: list[MarkedToken] = []
    ended_tokens: list[MarkedToken] = []
    for row in rows.values():
        if row.token.state in WORKING_STATES:
            working_tokens.append(row)
        else:
            ended_tokens.append(row)
    return {"working": working_tokens, "others": ended_tokens, "revoked": rows.get(revoked_id)}
