"""
Errors for people: an error response becomes a page if a browser has asked.

It is done in one place, for every path. Programs never get a page: their Accept prefers other types
to `text/html`, or names none.
"""

from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.errors import WheelyardError
from wheelyard.http.context import ServerContext
from wheelyard.http.page_loader import PageLoader
from wheelyard.http.protocol.error_responses import BEARER_CHALLENGE, CHALLENGE, with_body
from wheelyard.http.protocol.messages import (
    CSP,
    AsgiScope,
    ErrorBody,
    HeaderList,
    Headers,
    Response,
)
from wheelyard.http.protocol.negotiation import MediaType, prefers_html
from wheelyard.http.security.csrf import header_text
from wheelyard.http.security.next_page import sign_in_url
from wheelyard.model.access import Caller
from wheelyard.rendering.error_facts import ErrorFacts, plain_error_page

OLD_PIP: Final = "pip/"
"""The beginning of User-Agent of pip, which before 22.2 asked for text/html alone."""


class ErrorPages(Struct, frozen=True):
    """Makes the pages of errors; they need neither the store nor the templates."""

    context: ServerContext
    pages: PageLoader

    async def respond(
        self, response: Response, scope: AsgiScope, headers: Headers, caller: Caller | None
    ) -> Response:
        """Return the response for this client: if it is an error for a browser, with a page."""
        if response.status < 400:  # noqa: PLR2004 - no error
            return response
        is_page = is_browser(headers)
        if self.context.index.settings.access.cookie_login and (
            is_page or b"sec-fetch-mode" in headers
        ):
            response = _without_dialog(response)
        body = response.error
        if body is None or not is_page:
            return response
        body = replace(body, message=response.on_page or body.message)
        make = partial(self._page, response, body, scope, headers, caller)
        content, of_page = await self.context.pools.run_read(make)
        return with_body(response, MediaType.HTML.value.content_type, content, *of_page)

    def _page(
        self,
        response: Response,
        body: ErrorBody,
        scope: AsgiScope,
        headers: Headers,
        caller: Caller | None,
    ) -> tuple[bytes, HeaderList]:
        """Return the bytes of a page, and the headers that go with them."""
        settings, status = self.context.index.settings, response.status
        server, sign_in, message = settings.server, "", body.message
        if settings.access.cookie_login:
            sign_in = sign_in_url(scope["raw_path"], scope["query_string"], server)
            if status == 401 and b"authorization" not in headers:  # noqa: PLR2004 - not signed in
                message = "You are not signed in, or not any more, and this page needs it."
        facts = ErrorFacts(
            status=status,
            code=body.error,
            phrase=body.title,
            message=message,
            sign_in=sign_in,
            is_behind_proxy=self.context.index.authenticator.iap is not None,
            leads_to_sign_in=status == 401 and bool(sign_in) and _comes_from_elsewhere(headers),  # noqa: PLR2004
            may_pass=any(name == b"retry-after" for name, _ in response.headers),
            contact=settings.web.contact,
        )
        root = f"{server.path_prefix}/"
        with suppress(WheelyardError):  # the templates cannot be read
            return self.pages.load().error_page(facts, root, caller)
        return plain_error_page(root, facts), (CSP,)


def is_browser(headers: Headers) -> bool:
    """Return whether a request is for a page that a person looks at."""
    is_pip = header_text(headers, b"user-agent").startswith(OLD_PIP)
    return prefers_html(headers.get(b"accept", b"")) and not is_pip


def _without_dialog(response: Response) -> Response:
    """Return a response whose challenge makes no browser ask for a password by itself."""
    headers = (BEARER_CHALLENGE if each == CHALLENGE else each for each in response.headers)
    return replace(response, headers=tuple(headers))


def _comes_from_elsewhere(headers: Headers) -> bool:
    """
    Return whether a person has followed a link on another site.

    The browser then has not sent the cookie of a session. It does so with the next request, which a
    page of this index makes.
    """
    site, mode = (header_text(headers, b"sec-fetch-" + each) for each in (b"site", b"mode"))
    return site == "cross-site" and mode == "navigate"
