"""The page on which people choose how to sign in, and type a password or a token."""

from urllib.parse import quote

from msgspec import Struct

from wheelyard.errors import WheelyardError
from wheelyard.http.client_paths import build_path, client_path
from wheelyard.http.context import IndexRequest
from wheelyard.http.error_responses import error_response_for, with_body
from wheelyard.http.forms import path_back
from wheelyard.http.messages import Response
from wheelyard.http.representation import MediaType
from wheelyard.model.access import PASSWORD
from wheelyard.rendering.web.account_pages import ProviderLink
from wheelyard.rendering.web.home_page import ErrorFacts
from wheelyard.wiring.index import Index

ROOT = "../../"
"""The way from the page to the home page."""


class _State(Struct, frozen=True):
    """What the page says besides how to sign in."""

    message: str = ""
    """Why somebody could not sign in, or an empty text."""
    user: str = ""
    """The user name that was typed."""
    has_signed_out: bool = False
    error: ErrorFacts | None = None
    """The error in whose place the page is shown, or None if somebody has opened the page."""


def show(request: IndexRequest, next_path: str, *, has_signed_out: bool) -> Response:
    """
    Return the page, from which somebody goes on to a path of this index.

    With `has_signed_out`, it says that the caller has just signed out.
    """
    state = _State(has_signed_out=has_signed_out)
    return request.web.own_page(request, 200, _render(request, next_path, state))


def render_for_error(request: IndexRequest, facts: ErrorFacts, root: str) -> bytes:
    """
    Return the bytes of the page in place of a page that needs a sign-in.

    The caller makes the response of the error from them. A sign-in leads back to the page that was
    asked for. `root` is the way to the home page.
    """
    server = request.context.index.server.settings.server
    raw_path = client_path(request.scope["raw_path"], server)
    next_path = path_back(raw_path, request.scope["query_string"], server)
    return _render(request, next_path, _State(error=facts), root)


def refuse(
    request: IndexRequest,
    next_path: str,
    error: WheelyardError,
    message: str,
    root: str = ROOT,
    *,
    user: str = "",
) -> Response:
    """
    Return the page with `message`, which says why a sign-in has failed with `error`.

    An error of the store is logged. `root` is the way to the home page: another one than that of
    the sign-in page after a sign-in with a provider. `user` is the user name that was typed, which
    the page keeps.
    """
    request.context.process.store_errors.log(error)
    page = _render(request, next_path, _State(message, user), root)
    content_type = MediaType.HTML.value.content_type
    return with_body(error_response_for(error), content_type, page, *request.web.security_headers)


def _render(
    request: IndexRequest,
    next_path: str,
    state: _State,
    root: str = ROOT,
) -> bytes:
    """Return the bytes of the page, from which somebody goes on to `next_path`."""
    # the message is about the form only at the path to which the form is sent, whose way to the
    # home page is `ROOT`: a failed sign-in with a provider is shown at a path of that provider
    is_form_wrong = bool(state.message) and root == ROOT
    # the settings of the server: people sign in at main, and may have asked for another index
    settings = request.context.index.server.settings
    caller = request.caller
    user = ""
    if not caller.is_anonymous:
        user = caller.principal

    # only people with a password have a user name that they can type here
    password_user = ""
    if user.startswith(PASSWORD):
        password_user = user.removeprefix(PASSWORD)
    return request.web.environment.render(
        "sign_in.html",
        request.web.viewer(caller),
        root,
        providers=_provider_links(request.context.index, next_path),
        action=build_path(settings.server, ("-", "sign-in")),
        user=user,
        user_name=state.user or password_user,
        next_path=next_path,
        has_passwords=bool(settings.access.htpasswd_file),
        takes_id_tokens=bool(settings.google.id_token.audience),
        message=state.message,
        is_form_wrong=is_form_wrong,
        has_signed_out=state.has_signed_out,
        contact=settings.web.contact,
        asks=state.error,
    )


def _provider_links(index: Index, next_path: str) -> list[ProviderLink]:
    """Return the links that sign in with a provider, in the order of the settings."""
    if index.sessions.sign_in is None:
        return []
    # absolute: the provider sends people back to this host, for which the browser needs the cookie
    sign_in_url = f"{index.server.settings.base_url}/-/sign-in"
    quoted_path = quote(next_path, safe="/")
    links = list[ProviderLink]()
    for name, provider in index.sessions.sign_in.providers.items():
        url = f"{sign_in_url}/{name}/?next={quoted_path}"
        links.append(ProviderLink(provider.config.title, url))
    return links
