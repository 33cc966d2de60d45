"""
Dispatching: a request that has a route is authenticated, and its handler is called.

Handlers block, in the threads of a pool. What waits for the network is a coroutine: a handler asks
for its result by `Request.wait`, and is called again once it is there. The order of checks is that
of this module: nobody learns from an error what exists.
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from wheelyard.http.context import ServerContext
from wheelyard.http.error_answers import ErrorAnswers
from wheelyard.http.observability.request_record import RequestRecord
from wheelyard.http.protocol import error_responses
from wheelyard.http.protocol.messages import (
    ANSWER,
    RECORD,
    REQUEST,
    AsgiScope,
    Receive,
    Request,
    Response,
    Send,
    Waiting,
)
from wheelyard.http.routing import GET, Route
from wheelyard.http.security.origins import cross_site_error, is_cross_site
from wheelyard.http.security.request_authentication import RequestAuthenticator

T = TypeVar("T")


class Dispatcher:
    """Calls the handlers of routes."""

    def __init__(
        self, context: ServerContext, authenticator: RequestAuthenticator, errors: ErrorAnswers
    ) -> None:
        self._context = context
        self._authenticator = authenticator
        self._errors = errors

    def endpoint(self, route: Route) -> ASGIApp:
        """Return the ASGI application that answers the requests of a route."""
        return Endpoint(route, self, self._errors)

    async def answer(self, request: Request, route: Route, record: RequestRecord) -> Response:
        """Return the response of a route; raise WheelyardError, or what its handler raises."""
        context, is_write = self._context, route.is_write(request)
        if route.is_public(request):
            request.is_authenticated = True
        else:
            self._refuse_cross_site(request, is_write=is_write)
        if is_write and context.index.settings.server.read_only and not route.takes_form:
            raise error_responses.read_only()
        pool = context.pools.writes if is_write else context.pools.reads
        admit = partial(self._admit, request, route, record)
        handle = partial(self._handle, request, route, record)
        if route.is_instant:
            return handle()
        if route.is_coroutine or route.is_long:  # both depend on who asks
            if not request.is_authenticated:
                await run_blocking(context, pool, request, admit)
            if route.is_coroutine:
                return await cast("Awaitable[Response]", route.handler(request))
            async with context.long_read_limit.acquire(request.client_key):
                return await run_blocking(context, pool, request, handle)
        return await run_blocking(context, pool, request, handle)

    def _refuse_cross_site(self, request: Request, *, is_write: bool) -> None:
        if is_write and is_cross_site(request.joined_headers, self._context.index.settings):
            raise cross_site_error()

    def _handle(self, request: Request, route: Route, record: RequestRecord) -> Response:
        """Authenticate a request if that is still to be done, and call its handler; may block."""
        if not request.is_authenticated:
            self._admit(request, route, record)
        return cast("Response", route.handler(request))

    def _admit(self, request: Request, route: Route, record: RequestRecord) -> None:
        """Authenticate a request; raise an error unless the route is for its caller."""
        self._authenticator.authenticate(
            request,
            accepts_iap=route.accepts_iap(request),
            # never for the API and clients' uploads: programs have no cookies
            accepts_session=request.method in GET or route.takes_form,
        )
        record.caller = request.caller
        if route.needs_read:  # before any lookup, so that 401 tells nothing of what exists
            self._context.read_policy.require_any_read(request.caller)


async def run_blocking(
    context: ServerContext, pool: Executor, request: Request, work: Callable[[], T]
) -> T:
    """Return the result of blocking work; while it waits by `Request.wait`, it has no thread."""
    while True:
        try:
            result = await context.pools.run_in(pool, work)
        except Waiting as waiting:
            await request.finish_waiting(waiting)
        except BaseException:
            request.close_results()
            raise
        else:
            request.close_results()
            return result


class Endpoint:
    """The ASGI application of one route."""

    def __init__(self, route: Route, dispatcher: Dispatcher, errors: ErrorAnswers) -> None:
        self.route = route
        self._dispatcher = dispatcher
        self._errors = errors

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request of the route."""
        request: Request = scope[REQUEST]
        record: RequestRecord = scope[RECORD]
        route = self.route
        record.route = route.name
        scope["endpoint"] = self
        if route.methods and request.method not in route.methods:
            raise HTTPException(405)
        response = await self._dispatcher.answer(request, route, record)
        if response.status_code >= 400:  # noqa: PLR2004 - an error that the handler has made
            response = await self._errors.page_of(request, response)
        record.set_response(response)
        scope[ANSWER] = response
        await response(scope, receive, send)
