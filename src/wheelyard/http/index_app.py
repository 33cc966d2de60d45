"""
The ASGI application of one index: Starlette's router, and the layers around it.

From the outside, these are the fast path, the record for log and metrics, errors, and the checks of
URL and headers. Behind each route, the dispatcher authenticates the caller and calls the handler.

Programs get errors as JSON, and browsers as a page. No program gets such a page, as its Accept
prefers other types to `text/html`, or names no type.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EMFILE, ENFILE
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection

from wheelyard.errors import (
    IDENTITY_UNAVAILABLE,
    RETRY_AFTER_SECONDS,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http import error_responses, requests, sign_in_page
from wheelyard.http.client_paths import build_path, client_path
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.fast_path import FAULT, FastPath, Fault
from wheelyard.http.forms import HostPolicy, header_text, sign_in_url
from wheelyard.http.instrumentation import Instrumentation
from wheelyard.http.logs import log_safe
from wheelyard.http.messages import (
    CSP,
    REQUEST,
    AsgiScope,
    ErrorBody,
    Header,
    HeaderList,
    Headers,
    Receive,
    Response,
    Send,
)
from wheelyard.http.representation import MediaType, prefers_html
from wheelyard.http.request_authentication import UNAUTHENTICATED, RequestAuthenticator
from wheelyard.http.requests import BodyTimeouts, ClientDisconnected, RequestBody, SlowClient
from wheelyard.http.routing import Dispatcher, Route, RouteTable
from wheelyard.http.web_pages import WebPages
from wheelyard.model.index_definition import WRONG_INDEX
from wheelyard.rendering.advice import message_on_page
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.rendering.web.home_page import ErrorFacts, plain_error_page

OLD_PIP: Final = "pip/"
"""The beginning of the User-Agent of pip. Before version 22.2, pip asked for text/html alone."""

logger = logging.getLogger("wheelyard")


def answer_to_error(request: IndexRequest, error: Exception) -> Response:
    """
    Return the answer to a request that has failed, as a program gets it.

    An error of the store is logged. Any exception but a WheelyardError, a body that has not come,
    or too many open files is a fault of this server. It is answered with 500 and a number, and
    logged with that number.
    """
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        error = Unavailable(
            "The server has too many files open. Its operator raises the limit of file "
            "descriptors.",
            retry_after=RETRY_AFTER_SECONDS,
        )
    if isinstance(error, Unauthenticated) and request.silent_provider:
        error = Unavailable(
            f"{request.silent_provider} does not answer, so that nobody can say now whether you "
            "may still sign in. You are signed in again as soon as it does.",
            code=IDENTITY_UNAVAILABLE,
            retry_after=RETRY_AFTER_SECONDS,
        )
    if isinstance(error, WheelyardError):
        request.context.process.store_errors.log(error)
        if error.code == WRONG_INDEX:  # its message names other indexes, and anybody may read it
            error = Unavailable(
                "This index does not work now. An administrator sees why on the page Health, "
                "and in the list of indexes.",
                code=WRONG_INDEX,
            )
        return error_responses.error_response_for(error, request.context.index.name)

    # no error of a handler: the body did not come, or this server has a fault
    if isinstance(error, ClientDisconnected):
        message = "The body ended before all of it had come. Send it again."
        return error_responses.error_response(400, "incomplete_body", message)
    if isinstance(error, SlowClient | TimeoutError):
        message = "The body comes too slowly. Send it again over a faster connection."
        return error_responses.error_response(408, "request_timeout", message)
    path = log_safe(request.scope["raw_path"])
    number = request.context.index.server.runtime.new_id()[:8]
    logger.error("a request failed (%s): %s %s", number, request.method, path, exc_info=error)
    message = f"The server has failed. Try again, and tell its operator: error {number}."
    return error_responses.error_response(500, "internal_error", message)


async def page_of(request: IndexRequest, response: Response) -> Response:
    """
    Return a response as its client gets it: an error as a page, if the client is a browser.

    Where people sign in by a cookie, the challenge of a 401 makes no browser ask for a password.
    """
    headers = request.joined_headers
    if response.status_code < 400:  # noqa: PLR2004 - OPTIONS
        return response
    wants_page = is_browser(headers)
    is_of_browser = wants_page or b"sec-fetch-mode" in headers
    if is_of_browser and request.context.index.settings.access.cookie_login:
        response = _with_bearer_challenge(response)
    if response.error is None or not wants_page:
        return response
    pools = request.context.process.pools

    # the first page reads its template from the disk, for which the event loop must not wait
    content, page_headers = await pools.run_in(
        pools.reads, _error_page, response, response.error, request
    )
    return error_responses.with_body(
        response, MediaType.HTML.value.content_type, content, *page_headers
    )


def _with_bearer_challenge(response: Response) -> Response:
    """Return a response with the challenge that makes no browser ask for a password by itself."""
    headers = list[Header]()
    for header in response.header_list:
        if header == error_responses.CHALLENGE:
            headers.append(error_responses.BEARER_CHALLENGE)
        else:
            headers.append(header)
    return response.with_headers(tuple(headers))


def _error_page(
    response: Response, error: ErrorBody, request: IndexRequest
) -> tuple[bytes, HeaderList]:
    """
    Return the bytes of the page of an error, and the headers of that page.

    That is the page to sign in if a sign-in may help.
    """
    scope = request.scope
    headers = request.joined_headers
    settings = request.context.index.settings
    sign_in = ""
    message = message_on_page(error.fact or error.message, error.advice)
    is_unauthorized = response.status_code == HTTPStatus.UNAUTHORIZED
    if settings.access.cookie_login:
        # people sign in at main, whichever index they have asked for
        server = request.context.index.server.settings.server
        raw_path = client_path(scope["raw_path"], server)
        sign_in = sign_in_url(raw_path, scope["query_string"], server)
        if is_unauthorized and b"authorization" not in headers:
            message = "You are not signed in, or not any more, and this page needs it."
    needs_sign_in = is_unauthorized and sign_in != ""
    similar: Sequence[ProjectFacts] = ()
    if response.status_code == HTTPStatus.NOT_FOUND:
        similar = request.web.similar(request)
    facts = ErrorFacts(
        status=response.status_code,
        code=error.error,
        phrase=error.title,
        message=message,
        sign_in=sign_in,
        is_behind_proxy=request.context.index.authenticator.iap is not None,
        leads_to_sign_in=needs_sign_in and _comes_from_elsewhere(headers),
        may_pass=any(name == b"retry-after" for name, _ in response.header_list),
        contact=settings.web.contact,
        similar=similar,
        other_pages=_other_pages(request, response.last_page),
    )
    root = build_path(settings.server)
    policy = HostPolicy.of(request.context.index.server.settings)
    may_ask_for_credential = policy is None or policy.takes_credentials(scope, headers)
    with suppress(OSError):  # a template cannot be read
        if needs_sign_in and may_ask_for_credential:
            return sign_in_page.render_for_error(request, facts, root), request.web.security_headers
        return request.web.error_page(facts, root, request)
    return plain_error_page(root, facts), (CSP,)


def _other_pages(request: IndexRequest, last_page: int | None) -> Mapping[str, str]:
    """
    Return links to pages of a list for a request whose page does not exist: URLs by their words.

    The URLs are relative. There are none if the request is for no page of a list.
    """
    if last_page is None:
        return {}
    if request.segments[2:3] == ("history",):  # of a history, the newest page has no number
        return {"the newest changes": "../"}
    numbers = {"page 1": 1}
    if last_page > 1:
        numbers[f"page {last_page}, the last one"] = last_page
    query = request.query_string.decode("latin-1")
    urls: dict[str, str] = {}

    # the number is in the path of some lists, and in the query of others
    if request.path_params.get("number"):
        for words, number in numbers.items():
            urls[words] = f"../{number}/"
            if query:
                urls[words] += f"?{query}"
        return urls
    fields = parse_qsl(query, keep_blank_values=True)
    other_fields = [(name, text) for name, text in fields if name != "page"]
    for words, number in numbers.items():
        page_field = ("page", str(number))
        urls[words] = f"?{urlencode([*other_fields, page_field])}"
    return urls


def is_browser(headers: Headers) -> bool:
    """Return whether a browser asks for a page that a person looks at."""
    is_pip = header_text(headers, b"user-agent").startswith(OLD_PIP)
    return prefers_html(headers.get(b"accept", b"")) and not is_pip


def _comes_from_elsewhere(headers: Headers) -> bool:
    """
    Return whether a person has followed a link on another site.

    The browser has then not sent the cookie of a session. It sends the cookie with the next
    request, which a page of this index makes.
    """
    site = header_text(headers, b"sec-fetch-site")
    return site == "cross-site" and header_text(headers, b"sec-fetch-mode") == "navigate"


class IndexApp:
    """
    The ASGI application of one index, which is its `answer_request`.

    Args:
        context: The context of the index.
        routes: The routes of the index.
        body_timeouts: The timeouts of request bodies.
        instrumentation: Records each answer, for all indexes.
    """

    def __init__(
        self,
        context: IndexContext,
        routes: RouteTable,
        body_timeouts: BodyTimeouts,
        instrumentation: Instrumentation,
    ) -> None:
        self.context = context
        self.routes = routes
        self._web = WebPages(context)
        self._prefix = context.index.settings.server.path_prefix
        self._body_timeouts = body_timeouts
        self._instrumentation = instrumentation
        authenticator = RequestAuthenticator(context)
        self._authenticator = authenticator
        self._host_policy = HostPolicy.of(context.index.server.settings)
        self._trusted_proxies = authenticator.trusted_proxies
        self._dispatcher = Dispatcher(authenticator)
        handlers: dict[Any, Any] = {  # a response of ours is no Starlette response
            HTTPException: self._answer_other_method,
            Exception: self._answer_error,
        }
        self._checking_app = ExceptionMiddleware(self._check, handlers)
        self.answer_request = FastPath(
            self._record, context, authenticator, self._host_policy, instrumentation
        )
        """The ASGI application itself."""

    def name_of(self, raw_path: bytes, method: str) -> str:
        """Return the name of the route that answers a method of a raw path, or UNMATCHED_ROUTE."""
        return self.routes.name_of(raw_path, method, self._prefix)

    async def _record(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request, record it, and discard the rest of its body."""
        headers = requests.join_headers(scope["headers"])
        body = RequestBody(receive, scope, headers, self._body_timeouts)
        address = requests.client_address(scope, self._trusted_proxies)
        request = IndexRequest(scope, body, headers, UNAUTHENTICATED, address)
        scope[REQUEST] = request
        request.context = self.context
        request.web = self._web
        request.authenticator = self._authenticator
        self._instrumentation.start(request)
        try:
            await self._checking_app(scope, body, body.closing(send))
            # a client that still sends would lose the response if the connection was closed now
            await body.discard()
        finally:
            body.release()
            self._instrumentation.finish(request)

    async def _check(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Check the URL and headers of a request, decode its path, and let the router answer it."""
        # bytes of strangers: the layers below get no malformed header or path
        headers = scope[REQUEST].joined_headers
        requests.check_limits(scope, headers)
        fault: Fault | None = scope.get(FAULT)
        if fault is not None and not fault.is_of_main:
            raise fault.error
        if self._host_policy is not None:
            self._host_policy.check(scope, headers)
        requests.check_host_and_coding(headers)
        scope["path"] = self.routes.parse_path(scope["raw_path"], self._prefix)
        scope["app"] = self
        await self.routes.router(scope["path"])(scope, receive, send)

    async def answer(self, route: Route, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """
        Answer a request of a route, and note its response in the request.

        If nobody can say which index the request is for, raises the error that says why, unless the
        route is answered all the same. Raises WheelyardError if the caller may not have an answer,
        and what the handler raises.
        """
        request: IndexRequest = scope[REQUEST]
        fault: Fault | None = scope.get(FAULT)
        if fault is not None and not _is_answered(request, route, fault.error):
            raise fault.error
        handler_response = await self._dispatcher.answer(request, route)
        response = await _settle(request, handler_response)
        await response(scope, receive, send)

    async def _answer_other_method(self, connection: HTTPConnection, _: Exception) -> Response:
        """Return the answer to a request whose path has a route, but none for its method."""
        request: IndexRequest = connection.scope[REQUEST]
        path = connection.scope["path"]
        first_route, _parameters = next(self.routes.matching(path))
        request.route = first_route.name
        allowed_methods = self.routes.allowed_methods(path)
        response = error_responses.method_not_allowed(request.method, allowed_methods)
        return await _settle(request, response)

    async def _answer_error(self, connection: HTTPConnection, error: Exception) -> Response:
        """Return the answer to a request that has failed."""
        request: IndexRequest = connection.scope[REQUEST]
        response = await _settle(request, answer_to_error(request, error))
        if isinstance(error, ClientDisconnected):
            request.response = None  # no client gets the response: the record has status 499
        return response


def _is_answered(request: IndexRequest, route: Route, error: Exception) -> bool:
    """Return whether a route of main is answered although nobody can say what main is."""
    if route.is_public(request):
        return True
    # nothing can be written: the form is shown again with what was typed
    is_outage = isinstance(error, Unavailable) and error.code == Unavailable.family_code
    return route.takes_form and request.method == "POST" and is_outage


async def _settle(request: IndexRequest, response: Response) -> Response:
    """Return a response as its client gets it, and note it in the request for log and metrics."""
    request.response = await page_of(request, response)
    return request.response
