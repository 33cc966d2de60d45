"""
The answers to errors: one place makes every one of them, for every path.

Programs get JSON. A browser gets a page: programs never do, as their Accept prefers other types to
`text/html`, or names none.
"""

import logging
from contextlib import suppress
from errno import EMFILE, ENFILE
from functools import partial
from http import HTTPStatus
from typing import Final

from wheelyard.errors import RETRY_AFTER_SECONDS, Unavailable, WheelyardError, without_commands
from wheelyard.http.context import ServerContext
from wheelyard.http.observability.logs import log_safe
from wheelyard.http.protocol.error_responses import (
    BEARER_CHALLENGE,
    CHALLENGE,
    error_response,
    error_response_for,
    with_body,
)
from wheelyard.http.protocol.messages import (
    CSP,
    ErrorBody,
    HeaderList,
    Headers,
    Request,
    Response,
)
from wheelyard.http.protocol.representation import MediaType, prefers_html
from wheelyard.http.protocol.requests import ClientDisconnected, SlowClient
from wheelyard.http.security.origins import header_text, sign_in_url
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.error_facts import ErrorFacts, plain_error_page

OLD_PIP: Final = "pip/"
"""The beginning of User-Agent of pip, which before 22.2 asked for text/html alone."""

logger = logging.getLogger("wheelyard")


class ErrorAnswers:
    """Makes the answers to errors; they need neither the store nor the templates."""

    def __init__(self, context: ServerContext, pages: WebPages) -> None:
        self._context = context
        self._settings = context.index.settings
        self._pages = pages

    def answer(self, request: Request, error: Exception) -> Response:
        """Return the answer to a request that has failed, for a program."""
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
            error = Unavailable(
                "The server has too many files open. Its operator raises the limit of file "
                "descriptors.",
                retry_after=RETRY_AFTER_SECONDS,
            )
        if isinstance(error, WheelyardError):
            self._context.store_errors.log(error)
            return error_response_for(error)
        if isinstance(error, ClientDisconnected):
            message = "The body ended before all of it had come. Send it again."
            return error_response(400, "incomplete_body", message)
        if isinstance(error, SlowClient | TimeoutError):
            message = "The body comes too slowly. Send it again over a faster connection."
            return error_response(408, "request_timeout", message)
        path, number = log_safe(request.scope["raw_path"]), self._context.index.runtime.new_id()[:8]
        logger.error("a request failed (%s): %s %s", number, request.method, path, exc_info=error)
        message = f"The server has failed. Try again, and tell its operator: error {number}."
        return error_response(500, "internal_error", message)

    async def page_of(self, request: Request, response: Response) -> Response:
        """Return the answer with an error for this client: with a page, if it is a browser."""
        headers = request.joined_headers
        if response.status_code < 400:  # noqa: PLR2004 - OPTIONS
            return response
        is_page = is_browser(headers)
        if self._settings.access.cookie_login and (is_page or b"sec-fetch-mode" in headers):
            # its challenge makes no browser ask for a password by itself
            response = response.with_headers(
                tuple(
                    BEARER_CHALLENGE if header == CHALLENGE else header
                    for header in response.header_list
                )
            )
        if response.error is None or not is_page:
            return response
        pools, make = self._context.pools, partial(self._page, response, response.error, request)
        content, of_page = await pools.run_in(pools.reads, make)
        return with_body(response, MediaType.HTML.value.content_type, content, *of_page)

    def _page(
        self, response: Response, error: ErrorBody, request: Request
    ) -> tuple[bytes, HeaderList]:
        """Return the bytes of a page, and the headers that go with them."""
        scope, headers, server = request.scope, request.joined_headers, self._settings.server
        sign_in, message = "", without_commands(error.message)
        is_unknown = response.status_code == HTTPStatus.UNAUTHORIZED
        if self._settings.access.cookie_login:
            sign_in = sign_in_url(scope["raw_path"], scope["query_string"], server)
            if is_unknown and b"authorization" not in headers:
                message = "You are not signed in, or not any more, and this page needs it."
        facts = ErrorFacts(
            status=response.status_code,
            code=error.error,
            phrase=error.title,
            message=message,
            sign_in=sign_in,
            is_behind_proxy=self._context.index.authenticator.iap is not None,
            leads_to_sign_in=is_unknown and bool(sign_in) and _comes_from_elsewhere(headers),
            may_pass=any(name == b"retry-after" for name, _ in response.header_list),
            contact=self._settings.web.contact,
        )
        root = f"{server.path_prefix}/"
        with suppress(OSError):  # a template cannot be read
            return self._pages.error_page(facts, root, request.caller)
        return plain_error_page(root, facts), (CSP,)


def is_browser(headers: Headers) -> bool:
    """Return whether a request is for a page that a person looks at."""
    is_pip = header_text(headers, b"user-agent").startswith(OLD_PIP)
    return prefers_html(headers.get(b"accept", b"")) and not is_pip


def _comes_from_elsewhere(headers: Headers) -> bool:
    """
    Return whether a person has followed a link on another site.

    The browser then has not sent the cookie of a session. It does so with the next request, which a
    page of this index makes.
    """
    site, mode = (header_text(headers, b"sec-fetch-" + each) for each in (b"site", b"mode"))
    return site == "cross-site" and mode == "navigate"
