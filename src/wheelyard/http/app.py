"""
The ASGI application: Starlette's router, with one layer for each thing that all requests need.

From the outside: the fast path, the record for log and metrics, errors, the checks of URL and
headers, and the router. Behind each route, a dispatcher authenticates the caller and calls the
handler.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware

from wheelyard.errors import WheelyardError
from wheelyard.http.caching.fast_path import FastPath
from wheelyard.http.caching.versions import CurrentVersions
from wheelyard.http.context import build_context
from wheelyard.http.error_answers import ErrorAnswers
from wheelyard.http.handlers.probes import redirect_to_slash
from wheelyard.http.observability.instrumentation import Instrumentation
from wheelyard.http.observability.logs import UNMATCHED_ROUTE
from wheelyard.http.protocol import requests
from wheelyard.http.protocol.messages import (
    RECORD,
    REQUEST,
    AsgiScope,
    Receive,
    Request,
    Send,
)
from wheelyard.http.protocol.requests import BodyTimeouts, RequestBody
from wheelyard.http.routes import build_routes
from wheelyard.http.routing import Dispatcher, Route
from wheelyard.http.security.origins import HostPolicy
from wheelyard.http.security.request_authentication import RequestAuthenticator
from wheelyard.http.uploads.handler import UploadHandler
from wheelyard.http.web_pages import WebPages
from wheelyard.operations.store_probe import Reason, always_writable
from wheelyard.wiring.index import Index


class App:
    """The ASGI application of one server process."""

    def __init__(
        self,
        index: Index,
        body_timeouts: BodyTimeouts | None = None,
        write_failure: Reason = always_writable,
    ) -> None:
        self._body_timeouts = body_timeouts or BodyTimeouts()
        self._host_policy = HostPolicy.of(index.settings)
        self._context = context = build_context(index, write_failure)
        self._instrumentation = Instrumentation(index)
        self._uploads = UploadHandler(context)
        self._pages = WebPages(context)
        self._errors = ErrorAnswers(context, self._pages)
        authenticator = RequestAuthenticator(context)
        endpoint = Dispatcher(context, authenticator, self._errors).endpoint
        parts = (context, self._uploads, self._pages, self._instrumentation)
        self.routes = build_routes(*parts, endpoint)
        add_slash = partial(redirect_to_slash, context=context)
        self._prefix_alone = endpoint(Route("redirect", "", add_slash))
        """Answers at the prefix without its slash, which is no path for Starlette."""
        handlers = dict.fromkeys((HTTPException, Exception), self._errors.answer)
        self._checked = ExceptionMiddleware(self._check, handlers)
        fast_path = FastPath(
            self._record,
            authenticator,
            self._host_policy,
            CurrentVersions(index),
            context.remembered,
            self._instrumentation,
        )
        self._traced = self._instrumentation.traced(fast_path, self._route_name)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope: a request, the lifespan, or a WebSocket, which is closed."""
        if scope["type"] == "http":
            await self._traced(scope, receive, send)
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
            self._context.descriptions.close()
            self._instrumentation.close()

    def _route_name(self, scope: AsgiScope) -> str:
        """Return the name of the route that a request is for."""
        try:
            route = self.routes.find(self.routes.parse_path(scope["raw_path"]), scope["method"])
        except WheelyardError:
            route = None
        return UNMATCHED_ROUTE if route is None else route[0].name

    async def _record(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request, record it, and discard the rest of its body."""
        record = self._instrumentation.start(scope)
        headers = requests.join_headers(scope["headers"])
        body = RequestBody(receive, scope, headers, self._body_timeouts)
        anonymous = self._context.read_policy.anonymous
        scope[REQUEST] = Request(
            scope, body, headers, anonymous, record.address, has_body=body.is_announced
        )
        scope[RECORD] = record
        try:
            await self._checked(scope, body, send)
            if not body.has_ended:
                await requests.drain(body, self._uploads.body_limit)
        finally:
            self._instrumentation.finish(record)

    async def _check(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Check what every request has, read its path, and route it."""
        request: Request = scope[REQUEST]
        headers = request.joined_headers
        requests.check_limits(scope, headers)
        if self._host_policy is not None:
            self._host_policy.check(scope, headers)
        requests.check_host_and_coding(headers)
        scope["path"] = self.routes.parse_path(scope["raw_path"])
        scope["app"] = self
        path = scope["path"]
        router = self.routes.router(path) if path else self._prefix_alone
        await router(scope, receive, send)
