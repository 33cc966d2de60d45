"""
The ASGI application: from a request to a route, a caller and a reply.

A page in memory takes the short way, without a thread or the router.
"""

import logging
from asyncio import create_task
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from packaging.utils import NormalizedName

from wheelyard.errors import WheelyardError
from wheelyard.http.caching.page_cache import FastPath, detail_page_key
from wheelyard.http.context import build_context
from wheelyard.http.handlers.web_ui import WebUi
from wheelyard.http.observability.instrumentation import DETAIL_ROUTE, Instrumentation
from wheelyard.http.observability.request_record import RequestRecord, redacted_for_log
from wheelyard.http.observability.worker_metrics import WorkerMetricsFolder
from wheelyard.http.protocol.client_address import client_address
from wheelyard.http.protocol.error_responses import (
    error_response,
    error_response_for,
    internal_error,
    method_not_allowed,
    read_only_error,
)
from wheelyard.http.protocol.messages import (
    AsgiScope,
    Headers,
    Receive,
    Request,
    Response,
    Send,
    send_response,
)
from wheelyard.http.protocol.request_body import (
    DEFAULT_TIMEOUTS,
    BodyTimeouts,
    ClientDisconnected,
    RequestBody,
    SlowClient,
    drain,
    fast_path_headers,
    join_headers,
)
from wheelyard.http.protocol.router import NO_ROUTE, Route, build_path, split_path
from wheelyard.http.routes import IAP_ASSERTION_HEADER, build_router
from wheelyard.http.security.csrf import cross_site_error, is_cross_site
from wheelyard.http.security.host_policy import HostPolicy
from wheelyard.http.security.read_policy import require_any_read
from wheelyard.http.security.request_authentication import RequestAuthenticator
from wheelyard.http.uploads.handler import UploadHandler
from wheelyard.model.access import Action
from wheelyard.model.distribution_filename import parse_name
from wheelyard.operations.store_probe import Reason, always_writable
from wheelyard.wiring.index import Index

logger = logging.getLogger("wheelyard")


class App:
    """The ASGI application that serves an index; one for each process."""

    def __init__(
        self,
        index: Index,
        pace: BodyTimeouts = DEFAULT_TIMEOUTS,
        shelf: WorkerMetricsFolder | None = None,
        write_failure: Reason = always_writable,
    ) -> None:
        settings = index.settings
        self._index = index
        self._pace = pace
        self._host_policy = HostPolicy.of(settings)
        self._proxies = settings.server.trusted_proxies
        self._context = build_context(index, write_failure)
        self._auth = RequestAuthenticator(self._context)
        self._observer = Instrumentation(index, shelf)
        self._upload_handler = UploadHandler(self._context)
        self._web_ui = WebUi(self._context)
        self.routes = build_router(
            self._context, self._upload_handler, self._web_ui, self._observer
        )
        self._hot = FastPath()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one connection's event, as ASGI 3 has it."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        sharing = create_task(self._observer.publish_periodically())
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        sharing.cancel()
        self._context.pools.close()
        await self._observer.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        observer = self._observer
        began = observer.now()
        head, mark, at_once = fast_path_headers(scope["headers"]), None, None
        if head is not None:
            mark = self._auth.mark(head.get(b"authorization"), client_address(scope, self._proxies))
            at_once = self._at_once(scope, head, mark)
        if at_once is not None:
            answer, who = at_once
            await send_response(answer, "GET", send, self._context.pools.streams)
            observer.record_fast_path(scope, answer, who, began)
            return
        watched = observer.start(scope, began)
        watched.cache_key = mark
        try:
            await self._serve_watched(scope, RequestBody(receive, scope, self._pace), send, watched)
        finally:
            observer.finish(watched)

    async def _serve_watched(
        self, scope: AsgiScope, incoming: RequestBody, send: Send, watched: RequestRecord
    ) -> None:
        is_alone = False
        try:
            answer = await self._answer(scope, incoming, watched)
        except ClientDisconnected:  # or it has sent a broken chunk
            is_alone = True
            message = "The body ended before all of it had come. Send it again."
            answer = error_response(400, "incomplete_body", message, "The body is incomplete.")
        except (SlowClient, TimeoutError):
            message = "The body comes too slowly. Send it again over a faster connection."
            answer = error_response(408, "request_timeout", message, "Too slow.")
        except Exception:
            logger.exception(
                "a request failed: %s %s", scope["method"], redacted_for_log(scope["raw_path"])
            )
            answer = internal_error()
        watched.set_response(answer, is_alone=is_alone)
        gone = incoming.gone if incoming.has_ended else None
        await send_response(answer, scope["method"], send, self._context.pools.streams, gone)
        if not incoming.has_ended:
            await drain(incoming, self._upload_handler.body_limit)

    def _at_once(self, scope: AsgiScope, head: Headers, mark: bytes) -> tuple[Response, str] | None:
        """Return a page that is in memory, and who asks for it."""
        if scope["method"] != "GET" or scope["query_string"]:
            return None
        name = self._hot.paths.get(mark + scope["raw_path"])
        if name is None or self._kept_out(scope):
            return None
        caller = self._auth.recent(mark)
        if caller is None or not caller.may(Action.READ, name):
            return None
        try:
            answer = self._in_memory(name, head)
        except WheelyardError:
            return None
        return None if answer is None else (answer, caller.principal)

    def _in_memory(self, name: NormalizedName, head: Headers) -> Response | None:
        snapshot = self._index.projects.peek(name)
        form = self._hot.form_for(head.get(b"accept", b""))
        if snapshot is None or form is None:
            return None
        page = self._context.pages.get(detail_page_key(name, form), snapshot.version)
        if page is None:
            return None
        encoding = self._hot.encoding_for(head.get(b"accept-encoding", b""))
        return page.response(form, encoding, head.get(b"if-none-match"))

    def _kept_out(self, scope: AsgiScope) -> Response | None:
        if self._host_policy is None:
            return None
        return self._host_policy.refused(scope, join_headers(scope["headers"]))

    async def _answer(
        self, scope: AsgiScope, incoming: RequestBody, watched: RequestRecord
    ) -> Response:
        route = NO_ROUTE
        try:
            refused = incoming.refused() or self._kept_out(scope) or incoming.malformed()
            if refused is not None:
                return refused
            method = scope["method"]
            path = self.routes.parse_path(scope["raw_path"])
            route, params = self.routes.match(path, method)
            watched.route = route.name
            if method not in route.methods and route is not NO_ROUTE:
                return method_not_allowed(method, self.routes.allowed_methods(path))
            request = Request(
                method=method,
                segments=split_path(path),
                params=params,
                query=scope["query_string"],
                headers=incoming.headers,
                caller=self._auth.anonymous,
                address=client_address(scope, self._proxies),
                receive=incoming,
                has_body=incoming.has_body,
            )
            answer = await self._routed(request, route, watched)
        except WheelyardError as fault:
            return self._refusal(fault, to_people=route.is_web_page and _is_browser(incoming))
        if answer.status == HTTPStatus.OK and route.name == DETAIL_ROUTE:
            self._remember(scope, request, watched)
        return answer

    async def _routed(self, request: Request, route: Route, watched: RequestRecord) -> Response:
        settings = self._index.settings
        is_unauthenticated = route.is_unauthenticated(request)
        if route.modifies_store(request):
            if not is_unauthenticated and is_cross_site(request.headers, settings):
                return cross_site_error()
            if settings.server.read_only:
                return read_only_error()
        if not is_unauthenticated:
            request = await self._identified(request, route, watched)
            watched.principal = request.caller.principal
            if route.requires_any_read:
                # before a name is looked at: a stranger learns nothing
                require_any_read(request.caller)
        return await route.handler(request)

    async def _identified(self, request: Request, route: Route, watched: RequestRecord) -> Request:
        login = self._index.authenticator.iap
        if login is not None and route.accepts_iap(request):
            assertion = request.headers.get(IAP_ASSERTION_HEADER, b"").decode("latin-1")
            return replace(request, caller=await self._auth.person(login, assertion))
        header, address = request.headers.get(b"authorization"), request.address
        if watched.cache_key is None:
            watched.cache_key = self._auth.mark(header, address)
        return replace(request, caller=await self._auth.caller(header, address, watched.cache_key))

    def _remember(self, scope: AsgiScope, request: Request, watched: RequestRecord) -> None:
        """Let this caller take the short way, if the path is as we link to it."""
        raw_path, name = scope["raw_path"], parse_name(request.params["name"])
        prefix = self._index.settings.server.path_prefix
        is_ours = raw_path == build_path(prefix, (*request.segments[:-1], name), b"").encode()
        if is_ours and watched.cache_key is not None:
            self._hot.remember(watched.cache_key, raw_path, name)

    def _refusal(self, fault: WheelyardError, *, to_people: bool) -> Response:
        self._context.store_errors.log(fault)
        if to_people:
            with suppress(WheelyardError):  # which a page needs templates for
                return self._web_ui.error_page(fault)
        return error_response_for(fault)


def _is_browser(incoming: RequestBody) -> bool:
    return b"text/html" in incoming.headers.get(b"accept", b"")
