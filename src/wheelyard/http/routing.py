"""
Routing: the rows of the routing table, the routers made from them, and the call of a handler.

A request that has a route is authenticated, and its handler is called. Handlers block, in the
threads of a pool. Work that waits for the network is a coroutine: a handler asks for its result by
`Request.wait`, and is called again once the result is there. This module makes all checks in one
order, so that nobody learns from an error what exists.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from msgspec import Struct
from msgspec.structs import replace
from starlette import routing
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from wheelyard.errors import NotFound, WheelyardError
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import cross_site_error, is_cross_site
from wheelyard.http.messages import (
    REQUEST,
    UNMATCHED_ROUTE,
    AsgiScope,
    Receive,
    Request,
    Response,
    Send,
    Waiting,
)
from wheelyard.http.request_authentication import RequestAuthenticator
from wheelyard.http.requests import decode_path
from wheelyard.http.work_limits import ThreadPools
from wheelyard.remedies import Advice, Remedy

GET: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
ALL_METHODS: Final = (*GET, *POST, *DELETE)
UPLOAD_ROUTE: Final = "upload"
"""The name of the routes of uploads."""

Handler = Callable[[IndexRequest], Response]
"""
Returns the response to a request, in a thread.

Raises Waiting as `Request.wait` does, and WheelyardError, of which an error response is made.
"""
AsyncHandler = Callable[[IndexRequest], Awaitable[Response]]
"""
Returns the response to a request, in the event loop.

Raises WheelyardError, of which an error response is made, and never Waiting.
"""
RequestPredicate = Callable[[IndexRequest], bool]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def always(_request: IndexRequest) -> bool:
    """Return True: the `RequestPredicate` that every request meets."""
    return True


def never(_request: IndexRequest) -> bool:
    """Return False: the `RequestPredicate` that no request meets."""
    return False


class Route(Struct, frozen=True):
    """
    A row of the routing table: what answers the requests for a path.

    A path that ends with `/?` stands for two, with and without the slash.
    """

    name: str
    """The name of the route in metrics and logs, which several routes may share."""
    path: str
    """The path, whose parameters are written as Starlette writes them."""
    handler: Handler | AsyncHandler
    methods: tuple[str, ...] = GET
    is_public: RequestPredicate = never
    """Whether a request is answered without authentication."""
    needs_read: bool = True
    """Whether anonymous callers get 401 if they may read no project."""
    accepts_iap: RequestPredicate = never
    """Whether a request may be authenticated by Identity-Aware Proxy."""
    takes_form: bool = False
    """
    Whether a POST is a form with an anti-forgery token.

    Then a session's cookie may authenticate it, and the handler refuses it on a read-only server.
    """
    is_fixed: bool = False
    """Whether other methods of the path are refused (405), and no later route has the path."""
    at_root: bool = False
    """Whether the route also exists without the path prefix (health probes, CI jobs)."""
    is_coroutine: bool = False
    """Whether the handler is a coroutine, because it streams a large body."""
    is_instant: bool = False
    """Whether the handler needs no thread."""
    is_long: bool = False
    """Whether the handler occupies its thread for long."""

    @property
    def alternatives(self) -> "tuple[Route, ...]":
        """The routes that this one stands for: two if its path ends with `/?`."""
        if not self.path.endswith("/?"):
            return (self,)
        path = self.path.removesuffix("/?")
        routes = list[Route]()
        if path:
            routes.append(replace(self, path=path))
        routes.append(replace(self, path=f"{path}/"))
        return tuple(routes)

    def to_starlette(self) -> routing.Route:
        """Return this route as a route of Starlette."""
        # a router goes on after a route of other methods, as a later row may have the method
        methods = None if self.is_fixed else self.methods
        return routing.Route(self.path, Endpoint(self), methods=methods, name=self.name)


class RouteTable:
    """
    The routes of an application, in the order in which they are tried.

    Args:
        rows: The routes, of which the fixed ones come first.
    """

    def __init__(self, rows: Iterable[Route]) -> None:
        routes = list[Route]()
        for row in rows:
            routes += row.alternatives
        self.rows = tuple(routes)
        self._prefix_route = next((route for route in self.rows if not route.path), NO_ROUTE)
        """Answers at the prefix without its slash, which is no path for Starlette."""
        self._root_paths = frozenset(route.path for route in self.rows if route.at_root)
        """The paths that also exist without the prefix."""
        segments = [_first_segment(route.path) for route in self.rows if route.path]
        self._fixed_segments = frozenset(name for name in segments if not name.startswith("{"))
        """The first segments of paths that are no parameter."""
        self._routers = dict[str, routing.Router]()
        """The routers by the first segment of a path, each made for the first request of it."""

    def router(self, path: str) -> ASGIApp:
        """Return the router for a path, which tries only routes with the same first segment."""
        if not path:
            return Endpoint(self._prefix_route)
        return self._router_of(path)

    def _router_of(self, path: str) -> routing.Router:
        """Return the router for the first segment of a path, or else the router for any segment."""
        segment = _first_segment(path)
        if segment not in self._fixed_segments:
            segment = ""
        router = self._routers.get(segment)
        if router is None:
            router = self._routers[segment] = _router(self.rows, segment)
        return router

    def parse_path(self, raw_path: bytes, prefix: str) -> str:
        """
        Return a raw URL path, decoded and without the prefix, which `at_root` paths may lack.

        Several slashes in a row become one. The path is empty for the prefix itself. Raises Invalid
        if the path is malformed, and NotFound if it is ambiguous, or outside of the prefix.
        """
        path = decode_path(raw_path)
        # health probes know nothing of the prefix, and CI jobs ask at fixed paths of a host
        if not prefix or path in self._root_paths:
            return path
        if not f"{path}/".startswith(f"{prefix}/"):
            raise NotFound(f"This index is below {prefix}/.")
        return path.removeprefix(prefix)

    def matching(self, path: str) -> Iterator[tuple[Route, dict[str, Any]]]:
        """Yield the routes of a path, whatever their methods, each with its parameters."""
        if not path:
            yield self._prefix_route, {}
            return
        for route in self._router_of(path).routes:
            match, scope = route.matches({"type": "http", "path": path, "method": ""})
            if match is not Match.NONE:
                row = scope["endpoint"].route
                yield row, scope["path_params"]
                if row.is_fixed:
                    return

    def find(self, path: str, method: str) -> tuple[Route, dict[str, Any]] | None:
        """Return the route that answers a method of a path, with its parameters, or None."""
        for route, parameters in self.matching(path):
            if method in route.methods:
                return route, parameters
        return None

    def name_of(self, raw_path: bytes, method: str, prefix: str = "") -> str:
        """
        Return the name of the route that answers a method of a raw path, or UNMATCHED_ROUTE.

        `prefix` is the path of `public_url`, as for `parse_path`. No path raises an error.
        """
        try:
            path = self.parse_path(raw_path, prefix)
        except WheelyardError:
            return UNMATCHED_ROUTE
        match = self.find(path, method)
        if match is None:
            return UNMATCHED_ROUTE
        route, _ = match
        return route.name

    def allowed_methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of all routes of a path, and OPTIONS, or nothing without a route."""
        methods_of_path = set[str]()
        for route, _ in self.matching(path):
            methods_of_path.update(route.methods)
        if not methods_of_path:
            return ()
        methods = [method for method in ALL_METHODS if method in methods_of_path]
        return (*methods, "OPTIONS")


def answer_not_found(request: IndexRequest) -> Response:
    """Raise NotFound, which answers a request whose path has no route."""
    if "/api/v1/" in request.scope["path"]:
        raise NotFound(
            "The API has nothing at this path, or there is no such index. Give a command the root "
            "URL as --server, and the name of an index as --index.",
            advice=Advice(Remedy.LIST_INDEXES),
        )
    message = (
        "There is nothing at this path. The index is at /simple/, uploads go to /legacy/, and "
        "another index has both below its name."
    )
    if request.method == "POST" and request.scope["path"].endswith("/legacy/"):
        raise NotFound(message, advice=Advice(Remedy.LIST_INDEXES))
    raise NotFound(message)


NO_ROUTE: Final = Route(UNMATCHED_ROUTE, "", answer_not_found, methods=())
"""Stands for all paths without a route: whoever may read nothing must not learn of them."""


def _first_segment(path: str) -> str:
    """Return the first segment of a path, which is empty for `/`."""
    return path.removeprefix("/").partition("/")[0]


def _router(rows: Iterable[Route], segment: str) -> routing.Router:
    """Return a router for a first segment, with the rows that have it, or a parameter there."""
    # a router tries its routes one after the other, so it has only the routes that may match, in
    # the order of the table
    routes = list[routing.Route]()
    for row in rows:
        row_segment = _first_segment(row.path)
        if row.path and (row_segment == segment or row_segment.startswith("{")):
            routes.append(row.to_starlette())
    return routing.Router(routes, redirect_slashes=False, default=Endpoint(NO_ROUTE))


class Endpoint(Struct, frozen=True):
    """The ASGI application of one route, which lets the application of the index answer."""

    route: Route

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """
        Answer a request of the route.

        Raises HTTPException (405) for another method.
        """
        if self.route.methods and scope["method"] not in self.route.methods:
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
        scope[REQUEST].route = self.route.name
        await scope["app"].answer(self.route, scope, receive, send)


class Dispatcher(Struct, frozen=True):
    """Makes the checks of a route in their order, and calls its handler."""

    _authenticator: RequestAuthenticator

    async def answer(self, request: IndexRequest, route: Route) -> Response:
        """
        Return the response of a route, and give the request its caller, unless the route is public.

        Raises Forbidden for a change that a page of another site has sent (code `cross_site`), or
        on a read-only server (code `read_only`). Raises Unauthenticated for a wrong
        credential, or for an anonymous caller who may read nothing. Raises Invalid for a malformed
        Authorization header. Raises Unavailable if nobody can say now who the caller is, or if too
        many long answers are under way (code `overloaded`). Raises what the handler raises.
        """
        # in this order: nobody learns what exists from the error that comes first
        context = request.context
        settings = context.index.settings
        is_write = request.method in route.methods and request.method not in GET
        is_public = route.is_public(request)
        if is_write and not is_public and is_cross_site(request.joined_headers, settings):
            raise cross_site_error()
        if is_write and settings.server.read_only and not route.takes_form:
            raise context.read_only_error()

        # readers never wait for the threads of uploads
        pools = context.process.pools
        pool = pools.writes if is_write else pools.reads
        if route.is_instant and is_public:
            return self._call_handler(request, route)

        # the right to stream a body, and the turn among long reads, depend on the caller
        needs_caller_first = route.is_coroutine or route.is_long
        if needs_caller_first and not is_public:
            await run_blocking(pools, pool, request, self._admit, request, route)
        if route.is_coroutine:
            return await cast("Awaitable[Response]", route.handler(request))
        handle = self._call_handler if is_public else self._admit_and_handle
        if not route.is_long:
            return await run_blocking(pools, pool, request, handle, request, route)

        # long answers must not take all threads of readers
        async with context.process.long_read_limit.acquire(request.client_key):
            return await run_blocking(pools, pool, request, handle, request, route)

    def _admit_and_handle(self, request: IndexRequest, route: Route) -> Response:
        """Authenticate a request, unless that was done before, and call its handler."""
        if not request.is_authenticated:
            self._admit(request, route)
        return self._call_handler(request, route)

    @staticmethod
    def _call_handler(request: IndexRequest, route: Route) -> Response:
        """Return the response of a handler that is no coroutine."""
        return cast("Response", route.handler(request))

    def _admit(self, request: IndexRequest, route: Route) -> None:
        """
        Give a request its caller.

        Raises Unauthenticated or Forbidden unless the route is for that caller, and the errors of
        `RequestAuthenticator.authenticate`.
        """
        self._authenticator.authenticate(
            request,
            accepts_iap=route.accepts_iap(request),
            # never for the API and clients' uploads: programs have no cookies
            accepts_session=request.method in GET or route.takes_form,
        )
        if route.needs_read:  # before any lookup, so that 401 tells nothing of what exists
            request.context.read_policy.require_any_read(request.caller)


async def run_blocking(
    pools: ThreadPools, pool: Executor, request: Request, work: Callable[[*Ts], T], *args: *Ts
) -> T:
    """
    Return the result of blocking work, which has no thread while it waits by `Request.wait`.

    The work begins again after each wait. Raises what the work raises, but not Waiting.
    """
    while True:
        try:
            result = await pools.run_in(pool, work, *args)
        except Waiting as waiting:
            # the thread is free now; the work begins again from its first line
            await request.finish_waiting(waiting)
        except BaseException:  # also when the server cancels the request
            request.close_results()
            raise
        else:
            request.close_results()
            return result
