"""
The ASGI application: routes a request, authenticates its caller and sends the response.

A request that is identical to an earlier one may be answered by `caching/fast_path.py`, without the
router or the event loop.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.caching.fast_path import FastPath
from wheelyard.http.context import build_context
from wheelyard.http.error_pages import ErrorPages
from wheelyard.http.observability.instrumentation import Instrumentation
from wheelyard.http.observability.request_record import (
    UNMATCHED_ROUTE,
    RequestRecord,
    log_safe,
)
from wheelyard.http.page_loader import PageLoader
from wheelyard.http.protocol import error_responses, request_body, request_headers
from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import (
    PATHSEND,
    AsgiScope,
    Headers,
    Message,
    Receive,
    Request,
    Response,
    Send,
    send_response,
    sending_chunks,
    whole_response,
)
from wheelyard.http.protocol.request_body import BodyTimeouts, RequestBody
from wheelyard.http.protocol.router import GET, NO_ROUTE, Route
from wheelyard.http.routes import build_router
from wheelyard.http.security.csrf import cross_site_error, is_cross_site
from wheelyard.http.security.host_policy import HostPolicy
from wheelyard.http.security.request_authentication import RequestAuthenticator
from wheelyard.http.uploads.handler import UploadHandler
from wheelyard.operations.store_probe import Reason, always_writable
from wheelyard.wiring.index import Index

logger = logging.getLogger("wheelyard")

_REQUEST_KEY: Final = "wheelyard.request_key"
"""The part of an ASGI scope in which the fast path leaves the key of a request for `answer`."""
_TRACED: Final = "wheelyard.traced"
"""The part of an ASGI scope that is there once OpenTelemetry has seen the request."""


class App:
    """The ASGI application of one server process."""

    def __init__(
        self,
        index: Index,
        body_timeouts: BodyTimeouts | None = None,
        write_failure: Reason = always_writable,
    ) -> None:
        self._index = index
        self._body_timeouts = body_timeouts or BodyTimeouts()
        self._host_policy = HostPolicy.of(index.settings)
        self._trusted_proxies = index.settings.server.trusted_proxies
        self._context = build_context(index, write_failure)
        self._authenticator = RequestAuthenticator(self._context)
        self._instrumentation = Instrumentation(index)
        self._upload_handler = UploadHandler(self._context)
        self._pages = PageLoader(self._context)
        self._error_pages = ErrorPages(self._context, self._pages)
        self._fast_path = FastPath(
            self._authenticator,
            self._host_policy,
            self._trusted_proxies,
            self._context.remembered,
        )
        parts = (self._context, self._upload_handler, self._pages, self._instrumentation)
        self.routes = build_router(*parts)
        self._traced = self._instrumentation.traced(self, self._route_name)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope, as any ASGI server asks for it."""
        if self._traced is not self and _TRACED not in scope:
            scope[_TRACED] = True
            await self._traced(scope, receive, send)
            return
        if PATHSEND not in scope.get("extensions", ()):
            send = sending_chunks(send, self._context.pools.streams)
        messages = list[Message]()
        if not self.answer_at_once(scope, messages.append):
            await self.answer(scope, receive, send)
        for each in messages:
            await send(each)

    def _route_name(self, scope: AsgiScope) -> str:
        """Return the name of the route that a request is for."""
        try:
            path = self.routes.parse_path(scope["raw_path"])
        except WheelyardError:
            return UNMATCHED_ROUTE
        return self.routes.match(path, scope["method"])[0].name

    def answer_at_once(self, scope: AsgiScope, send: Callable[[Message], object]) -> bool:
        """Answer a request by the fast path, in any thread; return whether it was answered."""
        if scope["type"] != "http" or (self._traced is not self and _TRACED not in scope):
            return False
        started_at = self._instrumentation.now()
        key = self._fast_path.key_of(scope)
        found = None if key is None else self._fast_path.response(key, scope)
        if found is None:
            scope[_REQUEST_KEY] = key
            return False
        response, remembered = found
        for message in whole_response(response, scope["method"]):
            send(message)
        self._instrumentation.record_fast_path(scope, response, remembered, started_at)
        return True

    async def answer(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request by the ordinary path, run the lifespan, or close a WebSocket."""
        if self._traced is not self and _TRACED not in scope:
            await self(scope, receive, send)
        elif scope["type"] == "http":
            record = self._instrumentation.start(scope)
            try:
                await self._respond(scope, receive, send, record)
            finally:
                self._instrumentation.finish(record)
        elif scope["type"] == "lifespan":
            async with self.running():
                while (await receive())["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        else:
            await send({"type": "websocket.close", "code": 1000})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do what a server process does in the background; at the end, close what it has open."""
        try:
            yield
        finally:
            if self._context.upstream is not None:
                self._context.upstream.upstream.close()
            self._context.pools.close()
            self._pages.close()
            self._instrumentation.close()

    async def _respond(
        self, scope: AsgiScope, receive: Receive, send: Send, record: RequestRecord
    ) -> None:
        """Answer a request, with an error if it fails; then discard the rest of its body."""
        headers = request_headers.join_headers(scope["headers"])
        body = RequestBody(receive, scope, headers, self._body_timeouts)
        has_disconnected = False
        try:
            response = await self._route_request(scope, headers, body, record)
        except request_body.ClientDisconnected:
            has_disconnected = True
            message = "The body ended before all of it had come. Send it again."
            response = error_response(400, "incomplete_body", message, "The body is incomplete.")
        except (request_body.SlowClient, TimeoutError):
            message = "The body comes too slowly. Send it again over a faster connection."
            response = error_response(408, "request_timeout", message, "Too slow.")
        except Exception:
            path, number = log_safe(scope["raw_path"]), self._index.runtime.new_id()[:8]
            logger.exception("a request failed (%s): %s %s", number, scope["method"], path)
            message = f"The server has failed. Try again, and tell its operator: error {number}."
            response = error_response(500, "internal_error", message, "Internal error.")
        response = await self._error_pages.respond(response, scope, headers, record.caller)
        record.set_response(response, has_disconnected=has_disconnected)
        hung_up = body.wait_for_disconnect if body.has_ended else None
        streams = self._context.pools.streams
        await send_response(response, scope["method"], send, streams, hung_up)
        if not body.has_ended:
            await request_body.drain(body, self._upload_handler.body_limit)

    async def _route_request(
        self, scope: AsgiScope, headers: Headers, body: RequestBody, record: RequestRecord
    ) -> Response:
        route = NO_ROUTE
        try:
            request_headers.check_limits(scope, headers)
            if self._host_policy is not None:
                self._host_policy.check(scope, headers)
            request_headers.check_host_and_coding(headers)
            method = scope["method"]
            path = self.routes.parse_path(scope["raw_path"])
            route, params = self.routes.match(path, method)
            record.route = route.name
            if method not in route.methods and route is not NO_ROUTE:
                return error_responses.method_not_allowed(method, self.routes.allowed_methods(path))
            request = Request(
                method=method,
                segments=tuple(filter(None, path.split("/"))),
                params=params,
                query=scope["query_string"],
                headers=headers,
                caller=self._context.read_policy.anonymous,
                address=record.address,
                receive=body,
                has_body=body.is_announced,
            )
            response = await self._handle(request, route, record)
        except WheelyardError as error:
            self._context.store_errors.log(error)
            return error_responses.error_response_for(error)
        key = scope.get(_REQUEST_KEY)
        if key is not None and record.caller is not None:
            self._fast_path.remember(key, record.caller, response, route.name)
        return response

    async def _handle(self, request: Request, route: Route, record: RequestRecord) -> Response:
        settings, is_public = self._index.settings, route.is_public(request)
        if route.is_write(request):
            if not is_public and is_cross_site(request.headers, settings):
                raise cross_site_error()
            if settings.server.read_only and not route.takes_form:
                raise error_responses.read_only()
        if not is_public:
            if route.project and not self._index.is_local:
                self._authenticator.prefetch(request, NormalizedName(request.params[route.project]))
            request = await self._authenticator.with_caller(
                request,
                accepts_iap=route.accepts_iap(request),
                # never for the API and clients' uploads: programs have no cookies
                accepts_session=request.method in GET or route.takes_form,
            )
            record.caller = request.caller
            if route.needs_read:  # before any lookup, so that 401 tells nothing of what exists
                self._context.read_policy.require_any_read(request.caller)
        return await route.handler(request)
