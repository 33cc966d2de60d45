"""
The ASGI application: Starlette's router, with one layer for each thing that all requests need.

From the outside: the trace, the fast path, the record for log and metrics, errors, the checks of
URL and headers, and the router. Behind each route, the dispatcher authenticates the caller and
calls the handler.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import HTTPConnection

from wheelyard.errors import WheelyardError
from wheelyard.http.context import build_context
from wheelyard.http.error_answers import ErrorAnswers
from wheelyard.http.fast_path import AsgiApp, FastPath
from wheelyard.http.observability.instrumentation import Instrumentation, require_telemetry
from wheelyard.http.protocol import requests
from wheelyard.http.protocol.error_responses import method_not_allowed
from wheelyard.http.protocol.messages import (
    REQUEST,
    UNMATCHED_ROUTE,
    AsgiScope,
    Receive,
    Request,
    Response,
    Send,
)
from wheelyard.http.protocol.requests import BodyTimeouts, ClientDisconnected, RequestBody
from wheelyard.http.routes import build_routes
from wheelyard.http.routing import Dispatcher, Route
from wheelyard.http.security.origins import HostPolicy
from wheelyard.http.security.request_authentication import RequestAuthenticator
from wheelyard.http.uploads.handler import UploadHandler
from wheelyard.http.web_pages import WebPages
from wheelyard.operations.store_probe import Reason, always_writable
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.observability.opentelemetry import Telemetry


class App:
    """
    The ASGI application of one server process.

    Raises:
        Invalid: OpenTelemetry is configured, but not installed (code `bad_setting`).
    """

    def __init__(
        self,
        index: Index,
        body_timeouts: BodyTimeouts | None = None,
        write_failure: Reason = always_writable,
    ) -> None:
        self._body_timeouts = body_timeouts or BodyTimeouts()
        self._context = context = build_context(index, write_failure)
        self._instrumentation = Instrumentation(index)
        self._uploads, pages = UploadHandler(context), WebPages(context)
        self._errors = ErrorAnswers(context, pages)
        self.routes = build_routes(context, self._uploads, pages, self._instrumentation)
        authenticator = RequestAuthenticator(context)
        self._host_policy = HostPolicy.of(index.settings)
        self._trusted_proxies = authenticator.trusted_proxies
        self._dispatcher = Dispatcher(context, authenticator)
        handlers: dict[Any, Any] = {  # a response of ours is no Starlette response
            HTTPException: self._answer_other_method,
            Exception: self._answer_error,
        }
        self._checked = ExceptionMiddleware(self._check, handlers)
        self._traced: AsgiApp = FastPath(
            self._record,
            context,
            authenticator,
            self._host_policy,
            self._instrumentation,
        )
        self._telemetry: Telemetry | None = None
        if endpoint := index.settings.telemetry.otlp_endpoint:
            require_telemetry(index.settings)
            # an optional dependency, which takes a third of a second to import
            from wheelyard.http.observability import opentelemetry  # noqa: PLC0415

            self._traced = self._telemetry = opentelemetry.Telemetry(
                endpoint, self._traced, self._route_name
            )

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
            if self._telemetry is not None:
                self._telemetry.close()

    def _route_name(self, scope: AsgiScope) -> str:
        """Return the name of the route that a request is for."""
        try:
            route = self.routes.find(self.routes.parse_path(scope["raw_path"]), scope["method"])
        except WheelyardError:
            route = None
        return UNMATCHED_ROUTE if route is None else route[0].name

    async def _record(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request, record it, and discard the rest of its body."""
        headers = requests.join_headers(scope["headers"])
        body = RequestBody(receive, scope, headers, self._body_timeouts)
        request = scope[REQUEST] = Request(
            scope,
            body,
            headers,
            self._context.read_policy.anonymous,
            requests.client_address(scope, self._trusted_proxies),
        )
        self._instrumentation.start(request)
        try:
            await self._checked(scope, body, send)
            if not body.has_ended:
                await requests.drain(body, self._uploads.body_limit)
        finally:
            self._instrumentation.finish(request)

    async def _check(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Check what every request has, read its path, and route it."""
        headers = scope[REQUEST].joined_headers
        requests.check_limits(scope, headers)
        if self._host_policy is not None:
            self._host_policy.check(scope, headers)
        requests.check_host_and_coding(headers)
        scope["path"], scope["app"] = self.routes.parse_path(scope["raw_path"]), self
        await self.routes.router(scope["path"])(scope, receive, send)

    async def answer(self, route: Route, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a request of a route; raise what its handler raises."""
        request: Request = scope[REQUEST]
        response = await self._dispatcher.answer(request, route)
        request.response = await self._errors.page_of(request, response)
        await request.response(scope, receive, send)

    async def _answer_other_method(self, connection: HTTPConnection, _: Exception) -> Response:
        """Return the answer to a request whose path has a route, but none for its method."""
        request: Request = connection.scope[REQUEST]
        path = connection.scope["path"]
        request.route = next(self.routes.matching(path))[0].name
        response = method_not_allowed(request.method, self.routes.allowed_methods(path))
        request.response = await self._errors.page_of(request, response)
        return request.response

    async def _answer_error(self, connection: HTTPConnection, error: Exception) -> Response:
        """Return the answer to a request that has failed."""
        request: Request = connection.scope[REQUEST]
        response = await self._errors.page_of(request, self._errors.answer(request, error))
        request.response = None if isinstance(error, ClientDisconnected) else response
        return response
