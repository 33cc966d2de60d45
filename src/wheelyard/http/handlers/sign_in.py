"""
Handlers of `/-/sign-in/` and `/-/sign-out/`: sessions of browsers.

What is typed into the form is verified as the same credential in a header would be, with the same
limits and the same lines in the log. Nothing of it is sent back.
"""

from typing import Final

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authenticator import CredentialType, classify
from wheelyard.authentication.sessions import no_session
from wheelyard.authentication.verifiers.login_rate_limit import client_network
from wheelyard.authentication.verifiers.verifier import invalid_password
from wheelyard.errors import NotFound, Unauthenticated, Unavailable, WheelyardError
from wheelyard.http.forms import CSRF_FIELD, FormFields, read_form, require_form_token
from wheelyard.http.protocol.error_responses import error_response_for, with_body
from wheelyard.http.protocol.messages import NO_STORE, Request, Response, redirect
from wheelyard.http.protocol.representation import MediaType
from wheelyard.http.security.origins import local_path, referring_page
from wheelyard.http.security.request_authentication import (
    AUTHORIZATION_LIMIT_BYTES,
    RequestAuthenticator,
    SessionCookie,
)
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Credential
from wheelyard.model.token import has_token_prefix

TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name
"""The user name by which a password is a token, as in the settings of clients."""
SEE_OTHER: Final = 303


def show_sign_in(request: Request, web: WebPages) -> Response:
    """Handle GET `/-/sign-in/`: the form, or for somebody who is signed in, the next page."""
    index = web.context.index
    server, given = index.settings.server, request.query_field("next")
    target = referring_page(request.joined_headers, server)
    if given is not None:
        target = local_path(given, server)
    if not request.caller.is_anonymous:
        return redirect(SEE_OTHER, target)
    _require_cookie(web)
    has_signed_out = request.query_field("signed-out") is not None
    return web.own_page(200, _form(request, web, target, has_signed_out=has_signed_out))


def sign_in(request: Request, web: WebPages) -> Response:
    """Handle POST `/-/sign-in/`: begin a session, or return the form with what is wrong."""
    cookie, index = _require_cookie(web), web.context.index
    fields = read_form(request)
    target = local_path(fields.exact_text("next"), index.settings.server)
    try:
        credential = _credential(fields, request.address)
        authenticator = RequestAuthenticator(web.context)
        caller = authenticator.verify(request, credential)
        authenticator.use_session(request)
        index.authenticator.count_sign_in(caller.principal, request.address)
        value, session = index.sessions.begin(credential, caller)
        if request.browser_session is not None:  # which the browser had before
            index.sessions.end(request.browser_session, request.caller.principal)
    except (Unauthenticated, Unavailable) as error:
        web.context.store_errors.log(error)
        page = _form(request, web, target, _message_of(error))
        content_type = MediaType.HTML.value.content_type
        return with_body(error_response_for(error), content_type, page, *web.security_headers)
    seconds = session.expires_at - int(index.runtime.seconds())
    return redirect(SEE_OTHER, target, NO_STORE, cookie.header(value, seconds))


def sign_out(request: Request, web: WebPages) -> Response:
    """Handle POST `/-/sign-out/`: end the session, and take its cookie from the browser."""
    cookie, context = _require_cookie(web), web.context
    fields = read_form(request)
    RequestAuthenticator(context).use_session(request)
    if request.browser_session is not None:
        require_form_token(request, context, fields.text(CSRF_FIELD))
        context.index.sessions.end(request.browser_session, request.caller.principal)
    prefix = context.index.settings.server.path_prefix
    return redirect(SEE_OTHER, f"{prefix}/-/sign-in/?signed-out", NO_STORE, cookie.removal())


def _require_cookie(web: WebPages) -> SessionCookie:
    cookie = SessionCookie.of(web.context.index.settings)
    if cookie is None:
        raise NotFound(
            "This index has no page to sign in. Where it needs a name and a password, your browser "
            "asks for them by itself."
        )
    return cookie


def _credential(fields: FormFields, address: str) -> Credential:
    """
    Return what was typed as the credential that a program would send.

    Raise Unauthenticated if it is an access token of Google's: before that is shown to Google.
    """
    user, secret, network = (
        fields.text("user"),
        fields.exact_text("password"),
        client_network(address),
    )
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


def _form(
    request: Request,
    web: WebPages,
    next_path: str,
    message: str = "",
    *,
    has_signed_out: bool = False,
) -> bytes:
    settings = web.context.index.settings
    return web.environment.render(
        "sign_in.html",
        web.viewer(request.caller),
        "../../",
        next_path=next_path,
        has_passwords=bool(settings.access.htpasswd_file),
        takes_id_tokens=bool(settings.google.id_token.audience),
        message=message,
        has_signed_out=has_signed_out,
        contact=settings.web.contact,
    )
