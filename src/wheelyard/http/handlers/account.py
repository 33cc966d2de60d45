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
from wheelyard.http import forms, request_authentication, sign_in_page
from wheelyard.http.context import IndexRequest
from wheelyard.http.messages import NO_STORE, SEE_OTHER, Response, redirect
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
"""How many of their projects people see before they ask for all."""
MAX_USER_CHARS: Final = 255
"""The longest user name that the form shows again."""


def answer_account(request: IndexRequest) -> Response:
    """
    Handle GET: the account of the caller.

    With `?projects=all` all of their projects are shown, else the first ones. None are while the
    store does not say which these are. Raises Unauthenticated for an anonymous caller. Raises
    Unavailable if the key of forms cannot be read.
    """
    caller = request.caller
    if caller.is_anonymous:
        raise invalid_credential()
    session = request.browser_session
    session_ends_at = None
    if session is not None:
        session_ends_at = session.expiry
    account = Account(
        caller=caller,
        rights_elsewhere=_rights_elsewhere(request),
        session_ends_at=session_ends_at,
        # whoever is neither signed in by our cookie nor by a header is so by the proxy alone
        is_by_proxy=session is None and b"authorization" not in request.joined_headers,
        may_administer=is_token_admin(caller),
        index=request.query_field(INDEX) or "",
    )
    viewer = request.web.viewer(caller)
    form = FormState(forms.form_token(request))
    projects = _own_projects(request)
    listed = projects[:OWN_PROJECTS_SHOWN]
    if request.query_field("projects") == "all":
        listed = projects
    return request.web.show(
        request,
        viewer,
        200,
        "account.html",
        "../../",
        account=account,
        form=form,
        projects=listed,
        others=len(projects) - len(listed),
        has_indexes=bool(request.web.index_viewer(request).indexes),
    )


def _rights_elsewhere(request: IndexRequest) -> dict[str, tuple[str, ...]]:
    """
    Return what a caller may do in each index where that is something else than here, in words.

    Indexes are missing for which the store does not say it.
    """
    main = request.context.index
    rights_here = rights_of(request.caller)
    caller_in = request_authentication.CallerElsewhere(request, main)
    rights_elsewhere: dict[str, tuple[str, ...]] = {}
    with suppress(Unauthenticated, Unavailable):
        for index in main.server.indexes.all():
            rights = rights_of(caller_in(index))
            if rights and rights != rights_here:
                rights_elsewhere[index.name] = rights
    return rights_elsewhere


def _own_projects(request: IndexRequest) -> list[ProjectFacts]:
    """Return the projects of a caller, none while the store does not say which these are."""
    caller = request.caller
    context = request.context
    # whoever wants to sign out needs the page, also without this list
    with suppress(Unavailable):
        principals = context.index.caller_tokens.principals_of(caller)
        return load_projects(context).projects_of(caller, principals)
    return []


def show_sign_in(request: IndexRequest) -> Response:
    """
    Handle GET `/-/sign-in/`: the form, or for somebody who is signed in, the next page.

    `?next=` is the next page, without it the one whose link was followed. Neither leads outside
    this server. With `?again` the form is shown also to somebody who is signed in. Raises NotFound
    for the form if the settings allow no sessions.
    """
    index = request.context.index
    server = index.settings.server
    next_path = request.query_field("next")
    # somebody else may have made the link: it leads to no page outside this index
    if next_path is None:
        target = forms.referring_page(request.joined_headers, server)
    else:
        target = forms.local_path(next_path, server)
    is_again = request.query_field("again") is not None
    if not request.caller.is_anonymous and not is_again:
        return redirect(SEE_OTHER, target)
    _require_cookie(request)
    has_signed_out = request.query_field("signed-out") is not None
    return sign_in_page.show(request, target, has_signed_out=has_signed_out)


def sign_in(request: IndexRequest) -> Response:
    """
    Handle POST `/-/sign-in/`: begin a session, or return the form with what is wrong.

    A session that the browser had before is ended. A credential that is refused, or a store that
    does not answer, is told on the form. Raises NotFound if the settings allow no sessions. Raises
    Waiting until the body has come, Invalid for what is no form, and TooLarge if it is too long.
    """
    cookie = _require_cookie(request)
    index = request.context.index

    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    target = forms.local_path(fields.exact_text("next"), index.settings.server)
    try:
        # No form token is asked for, as there is no session yet that it could belong to. That the
        # form is not from another site was checked before, by the headers of the request.
        credential = _credential(fields, request.address)
        caller = request.authenticator.verify(request, credential)
        request.authenticator.use_session(request)
        index.authenticator.count_sign_in(caller, request.address)
        value, session = index.sessions.begin(credential, caller)
        # The session that the browser had before: its cookie is replaced, so nobody could end it
        # later. This comes last, as a credential that is refused must not sign anybody out.
        if request.browser_session is not None:
            index.sessions.end(request.browser_session, request.caller.principal)
    except (Unauthenticated, Unavailable) as error:
        message = _message_of(error, fields)
        user = _typed_user(fields)
        return sign_in_page.refuse(request, target, error, message, user=user)
    seconds = session.expires_at - int(index.server.runtime.seconds())
    return redirect(SEE_OTHER, target, NO_STORE, cookie.header(value, seconds))


def sign_out(request: IndexRequest) -> Response:
    """
    Handle POST `/-/sign-out/`: end the session, and take its cookie from the browser.

    Without a session only the cookie goes. Raises NotFound if the settings allow no sessions.
    Raises Forbidden if the form is too old or of another session (code `stale_form`), or on a
    read-only server (code `read_only`). Raises Unavailable if the store does not answer: then the
    session may go on. Raises Waiting until the body has come, Invalid for what is no form, and
    TooLarge if it is too long.
    """
    cookie = _require_cookie(request)
    context = request.context
    fields = forms.read_form(request)
    request.authenticator.use_session(request)
    # Without a session there is nothing that another site could end by sending this form. The
    # cookie goes in any case: it may be of a session that has ended. A read-only server can end no
    # session, for which it would have to write.
    if request.browser_session is not None and not context.index.settings.server.read_only:
        forms.require_form_token(request, fields.text(forms.CSRF_FIELD))
        context.index.sessions.end(request.browser_session, request.caller.principal)
    target = request.web.path("-", "sign-in", query=b"signed-out")
    return redirect(SEE_OTHER, target, NO_STORE, cookie.removal())


def _require_cookie(request: IndexRequest) -> request_authentication.SessionCookie:
    """Return the cookie of sessions, or raise NotFound if the settings allow none."""
    cookie = request_authentication.SessionCookie.of(request.context.index.settings)
    if cookie is None:
        raise NotFound(
            "This index has no page to sign in. Where it needs a name and a password, your "
            "browser asks for them by itself."
        )
    return cookie


def _credential(fields: forms.FormFields, address: str) -> Credential:
    """
    Return what was typed as the credential that a program would send.

    Raises Unauthenticated if it is an access token of Google's, before that is shown to Google.
    """
    user = fields.text("user")
    secret = fields.exact_text("password")
    network = client_network(address)
    # the limit of the header in which a program would send it
    if len(secret) > request_authentication.AUTHORIZATION_LIMIT_BYTES:
        raise invalid_credential()
    token = Credential(TOKEN_USER, secret.strip(), client_network=network)
    kind = classify(token)
    if kind is CredentialType.ACCESS_TOKEN:
        raise no_session()
    # a pasted token often has a newline at its end, and belongs to no user name
    if not user or kind is CredentialType.ID_TOKEN or has_token_prefix(token.secret):
        return token
    return Credential(user, secret, client_network=network)


def _message_of(error: WheelyardError, fields: forms.FormFields) -> str:
    """Return why a sign-in was refused, for people who have typed a password or a token."""
    # what a program reads there is about credentials in headers
    if error.message not in (invalid_credential().message, invalid_password("").message):
        return error_on_page(error)
    if fields.text("user"):
        return "User name or password is wrong."
    return "This token is wrong, or is no longer valid."


def _typed_user(fields: forms.FormFields) -> str:
    """Return the user name that was typed, or an empty text for a token in its place."""
    user = fields.text("user")
    # what is shown again must be no secret, also if somebody has mistaken the field
    if has_token_prefix(user) or user == fields.exact_text("password").strip():
        return ""
    if len(user) > MAX_USER_CHARS:
        return ""
    return user
