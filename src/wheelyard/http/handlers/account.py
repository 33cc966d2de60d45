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
"""How many of a person's projects the page shows before the person asks for all."""
MAX_USER_CHARS: Final = 255
"""The longest user name that the form shows again."""


def answer_account(request: IndexRequest) -> Response:
    """
    Handle GET: the account of the caller.

    With `?projects=all` the page shows all projects of the caller, else the first ones. It shows no
    project while the store does not answer. Raises Unauthenticated for an anonymous caller. Raises
    Unavailable if the key of forms cannot be read.
    """
    caller = request.caller
    if caller.is_anonymous:
        raise invalid_credential()
    session = request.browser_session
    session_ends_at = None
    if session is not None:
        session_ends_at = session.expiry
    # a caller who has neither our cookie nor the header is signed in by a proxy
    has_own_credential = session is not None or b"authorization" in request.joined_headers
    account = Account(
        caller=caller,
        rights_elsewhere=_rights_elsewhere(request),
        session_ends_at=session_ends_at,
        is_by_proxy=not has_own_credential,
        may_administer=is_token_admin(caller),
        index=request.query_field(INDEX) or "",
    )
    viewer = request.web.viewer(caller)
    form = FormState(forms.form_token(request))
    projects = _own_projects(request)
    listed_projects = projects[:OWN_PROJECTS_SHOWN]
    if request.query_field("projects") == "all":
        listed_projects = projects
    has_other_indexes = bool(request.web.index_viewer(request).indexes)
    return request.web.show(
        request,
        viewer,
        200,
        "account.html",
        "../../",
        account=account,
        form=form,
        projects=listed_projects,
        others=len(projects) - len(listed_projects),
        has_indexes=has_other_indexes,
    )


def _rights_elsewhere(request: IndexRequest) -> dict[str, tuple[str, ...]]:
    """
    Return the rights of a caller in each other index, in words, if they differ from those here.

    An index is left out if its rights cannot be read.
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
    """Return the projects of a caller, or an empty list while the store does not answer."""
    caller = request.caller
    context = request.context
    # a person who wants to sign out needs the page, also without this list
    with suppress(Unavailable):
        principals = context.index.caller_tokens.principals_of(caller)
        return load_projects(context).projects_of(caller, principals)
    return []


def show_sign_in(request: IndexRequest) -> Response:
    """
    Handle GET `/-/sign-in/`: the form, or for a caller who is signed in, the next page.

    `?next=` is the next page; without it, the next page is the one whose link was followed. Neither
    leads outside this server. With `?again` the form is shown also to a caller who is signed in.
    Raises NotFound in place of the form if the settings allow no sessions.
    """
    index = request.context.index
    server = index.settings.server
    next_path = request.query_field("next")
    # another person may have made the link, so it must not lead outside this server
    if next_path is None:
        target = forms.referring_page(request.joined_headers, server)
    else:
        target = forms.local_path(next_path, server)
    wants_form = request.query_field("again") is not None
    if not request.caller.is_anonymous and not wants_form:
        return redirect(SEE_OTHER, target)
    _require_cookie(request)
    has_signed_out = request.query_field("signed-out") is not None
    return sign_in_page.show(request, target, has_signed_out=has_signed_out)


def sign_in(request: IndexRequest) -> Response:
    """
    Handle POST `/-/sign-in/`: begin a session, or return the form with an error.

    A session that the browser had before is ended. A refused credential, or a store that does not
    answer, is an error on the form. Raises NotFound if the settings allow no sessions. Raises
    Waiting until the body has come, Invalid if the body is no form, and TooLarge if it is too long.
    """
    cookie = _require_cookie(request)
    index = request.context.index

    # the handler is called again once the body has come, and changes nothing before
    fields = forms.read_form(request)
    target = forms.local_path(fields.exact_text("next"), index.settings.server)
    try:
        # The form has no form token, as there is no session yet that the token could belong to. A
        # form from another site was refused before, by the headers of the request.
        credential = _typed_credential(fields, request.address)
        caller = request.authenticator.verify(request, credential)
        request.authenticator.use_session(request)
        index.authenticator.count_sign_in(caller, request.address)
        cookie_value, session = index.sessions.begin(credential, caller)
        # The session that the browser had before: its cookie is replaced, so nobody could end it
        # later. This comes last, as a credential that is refused must not sign anybody out.
        if request.browser_session is not None:
            index.sessions.end(request.browser_session, request.caller.principal)
    except (Unauthenticated, Unavailable) as error:
        message = _refusal_message(error, fields)
        user = _typed_user(fields)
        return sign_in_page.refuse(request, target, error, message, user=user)
    seconds_left = session.expires_at - int(index.server.runtime.seconds())
    return redirect(SEE_OTHER, target, NO_STORE, cookie.header(cookie_value, seconds_left))


def sign_out(request: IndexRequest) -> Response:
    """
    Handle POST `/-/sign-out/`: end the session, and remove its cookie from the browser.

    Without a session, or on a read-only server, only the cookie is removed. Raises NotFound if the
    settings allow no sessions. Raises Forbidden (code `stale_form`) if the form is too old or of
    another session. Raises Unavailable if the store does not answer: then the session may go on.
    Raises Waiting until the body has come, Invalid if the body is no form, and TooLarge if it is
    too long.
    """
    cookie = _require_cookie(request)
    context = request.context
    fields = forms.read_form(request)
    request.authenticator.use_session(request)
    # Without a session, another site that sends this form can end nothing. The cookie is removed
    # in any case, as its session may have ended. A read-only server cannot end a session, which is
    # a write.
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


def _typed_credential(fields: forms.FormFields, address: str) -> Credential:
    """
    Return the typed user and password as the credential that a program would send.

    Raises Unauthenticated if the password is too long, or is an access token of Google. This is
    raised before Google is asked about the token.
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
    # a token counts without its user name, and without the newline that a pasted one may end with
    is_token = kind is CredentialType.ID_TOKEN or has_token_prefix(token.secret)
    if is_token or not user:
        return token
    return Credential(user, secret, client_network=network)


def _refusal_message(error: WheelyardError, fields: forms.FormFields) -> str:
    """Return why a sign-in was refused, in words for a person who has filled in the form."""
    # two messages for programs, which are about headers, have other words on the form
    messages_for_programs = (invalid_credential().message, invalid_password("").message)
    if error.message not in messages_for_programs:
        return error_on_page(error)
    if fields.text("user"):
        return "User name or password is wrong."
    return "This token is wrong, or is no longer valid."


def _typed_user(fields: forms.FormFields) -> str:
    """Return the typed user name to show it again, or an empty text if it may be a secret."""
    user = fields.text("user")
    # a person may have typed the secret into the wrong field
    if has_token_prefix(user) or user == fields.exact_text("password").strip():
        return ""
    if len(user) > MAX_USER_CHARS:
        return ""
    return user
