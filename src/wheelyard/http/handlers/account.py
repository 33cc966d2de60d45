"""Handlers of signing in and out, of `/-/account/`, and of pages of API tokens."""

from contextlib import suppress
from typing import Final

from wheelyard.api import access_operations
from wheelyard.api.table import LocalApi
from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authenticator import CredentialType, classify
from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.sessions import no_session
from wheelyard.authentication.token_owners import PASSWORD, can_own_tokens
from wheelyard.authentication.verifiers.verifier import client_network, invalid_password
from wheelyard.errors import (
    Forbidden,
    NotFound,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http.error_responses import error_response_for, read_only, status_of, with_body
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    form_token,
    local_path,
    parse_form,
    read_form,
    referring_page,
    refused_form,
    require_form_token,
)
from wheelyard.http.messages import NO_STORE, Request, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.request_authentication import (
    AUTHORIZATION_LIMIT_BYTES,
    RequestAuthenticator,
    SessionCookie,
    signed_in_at,
)
from wheelyard.http.token_forms import made_values, new_token
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Credential
from wheelyard.model.api_token import ListedToken, has_token_prefix
from wheelyard.rendering.web.account_pages import (
    TOKENS_ROOT,
    Account,
    FormState,
    TokensView,
    tokens_page,
)

TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name
"""The user name by which a password is a token, as in the settings of clients."""
SEE_OTHER: Final = 303


class AccountPages:
    """Signing in and out, the account of a caller, and the pages of API tokens."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context

    def answer_account(self, request: Request) -> Response:
        """Handle GET: the account of the caller."""
        caller, context = request.caller, self._context
        if caller.is_anonymous:
            raise invalid_credential()
        session = request.browser_session
        account = Account(
            caller=caller,
            session_ends_at=session.expiry if session else None,
            is_by_proxy=session is None and b"authorization" not in request.joined_headers,
            may_administer=is_token_admin(caller),
            may_change_password=caller.principal.startswith(PASSWORD)
            and not context.index.settings.server.read_only,
            has_changed_password=request.query_field("password-changed") is not None,
        )
        viewer, form = self._web.viewer(caller), FormState(form_token(request, context))
        return self._web.show(viewer, 200, "account.html", "../../", account=account, form=form)

    def answer_tokens(self, request: Request) -> Response:
        """Handle GET: the tokens with the form for a new one, or the question whether to revoke."""
        view, viewer = self._view(request), self._web.viewer(request.caller)
        fields = parse_form(request.query_string)
        form, rows = FormState(form_token(request, self._context)), self._rows(request)
        by_id = {row.record.id: row for row in rows}
        to_revoke = by_id.get(fields.text("revoke"))
        if to_revoke is not None and to_revoke.state == "active":
            return self._web.show(
                viewer, 200, "token_revoke.html", TOKENS_ROOT, row=to_revoke, form=form
            )
        revoked = by_id.get(fields.text("revoked"))
        return self._web.own_page(
            200, tokens_page(self._web.environment, viewer, view, rows, form, revoked)
        )

    def answer_tokens_form(self, request: Request) -> Response:
        """Handle POST: make a token and show it once, or revoke one and redirect to the list."""
        view, fields = self._view(request), read_form(request)
        try:
            require_form_token(request, self._context, fields.text(CSRF_FIELD))
            if fields.action("create", "revoke") == "revoke":
                return self._revoke(request, fields.text("id"))
            return self._create(request, view, fields)
        except WheelyardError as error:
            form = refused_form(request, self._context, fields, error)
            rows = list[ListedToken]()
            with suppress(WheelyardError):  # the form is worth more than the list
                rows = self._rows(request)
            page = tokens_page(
                self._web.environment, self._web.viewer(request.caller), view, rows, form
            )
            return self._web.own_page(status_of(error), page)

    def _create(self, request: Request, view: TokensView, fields: FormFields) -> Response:
        caller, index = request.caller, self._context.index
        if view.hindrance:
            raise Forbidden(view.hindrance)
        new = new_token(fields, view.max_days)
        signed_in = signed_in_at(request) if can_own_tokens(caller) else None
        api = LocalApi(index=index, caller=caller, signed_in_at=signed_in)
        made = api.call(access_operations.create_token, new)
        values = made_values(self._web.environment, made, TOKENS_ROOT)
        viewer = self._web.viewer(caller)
        return self._web.show(viewer, 201, "token_made.html", TOKENS_ROOT, **values)

    def _revoke(self, request: Request, token_id: str) -> Response:
        LocalApi(index=self._context.index, caller=request.caller).call(
            access_operations.revoke_token, token_id
        )
        return redirect(
            303, self._web.path(*request.segments, query=f"revoked={token_id}".encode())
        )

    def _view(self, request: Request) -> TokensView:
        """
        Return what the pages know of the caller.

        Raises Unauthenticated for an anonymous one.
        """
        caller, index = request.caller, self._context.index
        if caller.is_anonymous:
            raise invalid_credential()
        hindrance, needs_sign_in = "", False
        if index.settings.server.read_only:
            hindrance = read_only().message
        elif not can_own_tokens(caller):
            hindrance = (
                "Only a person who has signed in has tokens of their own, and a token makes none. "
                "Sign in yourself, or ask an administrator of this index to make one for you."
            )
        elif not index.caller_tokens.is_signed_in(caller, signed_in_at(request)):
            hindrance, needs_sign_in = "You have signed in more than an hour ago.", True
        return TokensView(
            may_administer=is_token_admin(caller),
            hindrance=hindrance,
            needs_sign_in=needs_sign_in,
            may_revoke=not index.settings.server.read_only,
            max_days=index.settings.tokens.max_days,
        )

    def _rows(self, request: Request) -> list[ListedToken]:
        return self._context.index.caller_tokens.visible(request.caller, only_own=True)

    def show_sign_in(self, request: Request) -> Response:
        """Handle GET `/-/sign-in/`: the form, or for somebody who is signed in, the next page."""
        index = self._context.index
        server, given = index.settings.server, request.query_field("next")
        target = referring_page(request.joined_headers, server)
        if given is not None:
            target = local_path(given, server)
        if not request.caller.is_anonymous:
            return redirect(SEE_OTHER, target)
        self._require_cookie()
        has_signed_out = request.query_field("signed-out") is not None
        return self._web.own_page(200, self._form(request, target, has_signed_out=has_signed_out))

    def sign_in(self, request: Request) -> Response:
        """Handle POST `/-/sign-in/`: begin a session, or return the form with what is wrong."""
        cookie, index = self._require_cookie(), self._context.index
        fields = read_form(request)
        target = local_path(fields.exact_text("next"), index.settings.server)
        try:
            credential = _credential(fields, request.address)
            authenticator = RequestAuthenticator(self._context)
            caller = authenticator.verify(request, credential)
            authenticator.use_session(request)
            index.authenticator.count_sign_in(caller.principal, request.address)
            value, session = index.sessions.begin(credential, caller)
            if request.browser_session is not None:  # which the browser had before
                index.sessions.end(request.browser_session, request.caller.principal)
        except (Unauthenticated, Unavailable) as error:
            self._context.store_errors.log(error)
            page = self._form(request, target, _message_of(error))
            content_type = MediaType.HTML.value.content_type
            return with_body(
                error_response_for(error), content_type, page, *self._web.security_headers
            )
        seconds = session.expires_at - int(index.runtime.seconds())
        return redirect(SEE_OTHER, target, NO_STORE, cookie.header(value, seconds))

    def sign_out(self, request: Request) -> Response:
        """Handle POST `/-/sign-out/`: end the session, and take its cookie from the browser."""
        cookie, context = self._require_cookie(), self._context
        fields = read_form(request)
        RequestAuthenticator(context).use_session(request)
        if request.browser_session is not None:
            require_form_token(request, context, fields.text(CSRF_FIELD))
            context.index.sessions.end(request.browser_session, request.caller.principal)
        prefix = context.index.settings.server.path_prefix
        return redirect(SEE_OTHER, f"{prefix}/-/sign-in/?signed-out", NO_STORE, cookie.removal())

    def _require_cookie(self) -> SessionCookie:
        cookie = SessionCookie.of(self._context.index.settings)
        if cookie is None:
            raise NotFound(
                "This index has no page to sign in. Where it needs a name and a password, your "
                "browser asks for them by itself."
            )
        return cookie

    def _form(
        self, request: Request, next_path: str, message: str = "", *, has_signed_out: bool = False
    ) -> bytes:
        settings = self._context.index.settings
        return self._web.environment.render(
            "sign_in.html",
            self._web.viewer(request.caller),
            "../../",
            next_path=next_path,
            has_passwords=bool(settings.access.htpasswd_file),
            takes_id_tokens=bool(settings.google.id_token.audience),
            message=message,
            has_signed_out=has_signed_out,
            contact=settings.web.contact,
        )


def _credential(fields: FormFields, address: str) -> Credential:
    """
    Return what was typed as the credential that a program would send.

    Raises Unauthenticated if it is an access token of Google's, before that is shown to Google.
    """
    user = fields.text("user")
    secret = fields.exact_text("password")
    network = client_network(address)
    if len(secret) > AUTHORIZATION_LIMIT_BYTES:
        raise invalid_credential()
    token = Credential(TOKEN_USER, secret.strip(), client_network=network)
    kind = classify(token)
    if kind is CredentialType.ACCESS_TOKEN:
        raise no_session()
    # a pasted token often has a newline at its end, and belongs to no user name
    is_token = not user or kind is CredentialType.ID_TOKEN or has_token_prefix(token.secret)
    return token if is_token else Credential(user, secret, client_network=network)


def _message_of(error: WheelyardError) -> str:
    if error.message in (invalid_credential().message, invalid_password("").message):
        return "That did not fit. Look at what you have typed, and try again."
    return error.on_page
