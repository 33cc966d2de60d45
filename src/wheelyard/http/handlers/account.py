"""Handlers of signing in and out, and of `/-/account/`."""

from contextlib import suppress
from typing import Final

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.authentication.credentials import CredentialType, classify
from wheelyard.authentication.sessions import no_session
from wheelyard.authentication.verifiers.login_rate_limit import client_network
from wheelyard.authentication.verifiers.verifier import invalid_password
from wheelyard.errors import NotFound, Unauthenticated, Unavailable, WheelyardError
from wheelyard.http import sign_in_page
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    form_token,
    local_path,
    read_form,
    referring_page,
    require_form_token,
)
from wheelyard.http.messages import NO_STORE, SEE_OTHER, Response, redirect
from wheelyard.http.request_authentication import (
    AUTHORIZATION_LIMIT_BYTES,
    CallerElsewhere,
    SessionCookie,
)
from wheelyard.http.responses import load_projects
from wheelyard.http.token_forms import INDEX
from wheelyard.model.access import Credential
from wheelyard.model.api_token import has_token_prefix
from wheelyard.rendering.advice import error_on_page
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.account_pages import Account, FormState, rights_of

TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name
"""The user name by which a password is a token, as in the settings of clients."""
OWN_PROJECTS_SHOWN: Final = 20
MAX_USER_CHARS: Final = 255
"""Of a user name that the form keeps."""


def answer_account(request: IndexRequest) -> Response:
    """Handle GET: the account of the caller."""
    caller = request.caller
    if caller.is_anonymous:
        raise invalid_credential()
    session = request.browser_session
    account = Account(
        caller=caller,
        rights_elsewhere=_rights_elsewhere(request),
        session_ends_at=session.expiry if session else None,
        is_by_proxy=session is None and b"authorization" not in request.joined_headers,
        may_administer=is_token_admin(caller),
        index=request.query_field(INDEX) or "",
    )
    viewer = request.web.viewer(caller)
    form = FormState(form_token(request))
    projects = _own_projects(request)
    is_whole = request.query_field("projects") == "all"
    first = projects if is_whole else projects[:OWN_PROJECTS_SHOWN]
    return request.web.show(
        request,
        viewer,
        200,
        "account.html",
        "../../",
        account=account,
        form=form,
        projects=first,
        others=len(projects) - len(first),
        has_indexes=bool(request.web.index_viewer(request).indexes),
    )


def _rights_elsewhere(request: IndexRequest) -> dict[str, tuple[str, ...]]:
    """Return the rights in indexes where a caller has others, none while the store is down."""
    index = request.context.index
    here = rights_of(request.caller)
    in_index = CallerElsewhere(request, index)
    rights = dict[str, tuple[str, ...]]()
    with suppress(Unavailable):
        for other in index.server.indexes.all():
            rights[other.name] = rights_of(in_index(other))
    return {name: words for name, words in rights.items() if words and words != here}


def _own_projects(request: IndexRequest) -> list[ProjectFacts]:
    """Return the projects of a caller, none while the store does not say which these are."""
    caller = request.caller
    context = request.context
    with suppress(Unavailable):  # whoever wants to sign out needs the page, too
        principals = context.index.caller_tokens.principals_of(caller)
        return load_projects(context).projects_of(caller, principals)
    return []


def show_sign_in(request: IndexRequest) -> Response:
    """Handle GET `/-/sign-in/`: the form, or for somebody who is signed in, the next page."""
    index = request.context.index
    server = index.settings.server
    given = request.query_field("next")
    target = referring_page(request.joined_headers, server)
    if given is not None:
        target = local_path(given, server)
    is_again = request.query_field("again") is not None
    if not request.caller.is_anonymous and not is_again:
        return redirect(SEE_OTHER, target)
    _require_cookie(request)
    has_signed_out = request.query_field("signed-out") is not None
    return sign_in_page.show(request, target, has_signed_out=has_signed_out)


def sign_in(request: IndexRequest) -> Response:
    """Handle POST `/-/sign-in/`: begin a session, or return the form with what is wrong."""
    cookie = _require_cookie(request)
    index = request.context.index
    fields = read_form(request)
    target = local_path(fields.exact_text("next"), index.settings.server)
    try:
        credential = _credential(fields, request.address)
        caller = request.authenticator.verify(request, credential)
        request.authenticator.use_session(request)
        index.authenticator.count_sign_in(caller, request.address)
        value, session = index.sessions.begin(credential, caller)
        if request.browser_session is not None:  # which the browser had before
            index.sessions.end(request.browser_session, request.caller.principal)
    except (Unauthenticated, Unavailable) as error:
        message = _message_of(error, fields)
        user = _typed_user(fields)
        return sign_in_page.refuse(request, target, error, message, user=user)
    seconds = session.expires_at - int(index.server.runtime.seconds())
    return redirect(SEE_OTHER, target, NO_STORE, cookie.header(value, seconds))


def sign_out(request: IndexRequest) -> Response:
    """Handle POST `/-/sign-out/`: end the session, and take its cookie from the browser."""
    cookie = _require_cookie(request)
    context = request.context
    fields = read_form(request)
    request.authenticator.use_session(request)
    if request.browser_session is not None:
        require_form_token(request, fields.text(CSRF_FIELD))
        context.index.sessions.end(request.browser_session, request.caller.principal)
    target = request.web.path("-", "sign-in", query=b"signed-out")
    return redirect(SEE_OTHER, target, NO_STORE, cookie.removal())


def _require_cookie(request: IndexRequest) -> SessionCookie:
    cookie = SessionCookie.of(request.context.index.settings)
    if cookie is None:
        raise NotFound(
            "This index has no page to sign in. Where it needs a name and a password, your "
            "browser asks for them by itself."
        )
    return cookie


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


def _message_of(error: WheelyardError, fields: FormFields) -> str:
    if error.message not in (invalid_credential().message, invalid_password("").message):
        return error_on_page(error)
    if fields.text("user"):
        return "User name or password is wrong."
    return "This token is wrong, or is no longer valid."


def _typed_user(fields: FormFields) -> str:
    """Return the user name that was typed, or an empty text for a token in its place."""
    user = fields.text("user")
    # what is shown again must be no secret, also if somebody has mistaken the field
    is_secret = has_token_prefix(user) or user == fields.exact_text("password").strip()
    return "" if is_secret or len(user) > MAX_USER_CHARS else user
