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
    """What the page says besides the ways to sign in."""

    message: str = ""
    """Why somebody could not sign in, or an empty text."""
    user: str = ""
    """The user name that was typed."""
    has_signed_out: bool = False
    asks: ErrorFacts | None = None
    """The error in whose place the page is shown."""


def show(request: IndexRequest, next_path: str, *, has_signed_out: bool) -> Response:
    """Return the page, from which somebody goes on to a path of this index."""
    return request.web.own_page(
        request, 200, _render(request, next_path, _State(has_signed_out=has_signed_out))
    )


def ask(request: IndexRequest, facts: ErrorFacts, root: str) -> bytes:
    """
    Return the bytes of the page in place of one that needs a sign-in.

    It leads back there. `root` is the way to the home page.
    """
    server = request.context.index.server.settings.server
    page = client_path(request.scope["raw_path"], server)
    target = path_back(page, request.scope["query_string"], server)
    return _render(request, target, _State(asks=facts), root)


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
    Return the page with what is wrong, and log it if it is an error of the store.

    `root` is the way to the home page, if that is not the one of the page itself: after a
    sign-in with a provider. `user` is the user name that was typed, which the page keeps.
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
    # of the server: the index that asks may be another one than main, where people sign in
    settings = request.context.index.server.settings
    caller = request.caller
    user = ""
    if not caller.is_anonymous:
        user = caller.principal

    # whoever has signed in otherwise has no name that they could type here
    own_name = ""
    if user.startswith(PASSWORD):
        own_name = user.removeprefix(PASSWORD)
    return request.web.environment.render(
        "sign_in.html",
        request.web.viewer(caller),
        root,
        providers=_links(request.context.index, next_path),
        action=build_path(settings.server, ("-", "sign-in")),
        user=user,
        user_name=state.user or own_name,
        next_path=next_path,
        has_passwords=bool(settings.access.htpasswd_file),
        takes_id_tokens=bool(settings.google.id_token.audience),
        message=state.message,
        is_form_wrong=bool(state.message) and root == ROOT,
        has_signed_out=state.has_signed_out,
        contact=settings.web.contact,
        asks=state.asks,
    )


def _links(index: Index, next_path: str) -> list[ProviderLink]:
    """Return the links to the providers, in the order of the settings."""
    if index.sessions.sign_in is None:
        return []
    # absolute: the provider sends people back to this very host, which has to have the cookie
    start = f"{index.server.settings.base_url}/-/sign-in"
    query = quote(next_path, safe="/")
    links = list[ProviderLink]()
    for name, provider in index.sessions.sign_in.providers.items():
        links.append(ProviderLink(provider.config.title, f"{start}/{name}/?next={query}"))
    return links
