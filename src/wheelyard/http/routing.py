"""
Routing: what a route says, how a URL path is read, and Starlette's routes made from the table.

Repeated `/` count as one (pipenv sends them), each segment is decoded once, and paths that proxies
and servers interpret differently are refused.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct
from msgspec.structs import replace
from starlette import routing
from starlette.routing import Match
from starlette.types import ASGIApp

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.observability.request_record import UNMATCHED_ROUTE
from wheelyard.http.protocol.messages import Request, Response

GET: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
ALL_METHODS: Final = (*GET, *POST, *DELETE)

Handler = Callable[[Request], Response]
AsyncHandler = Callable[[Request], Awaitable[Response]]
RequestPredicate = Callable[[Request], bool]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SECRET_IN_QUERY = re.compile(rb"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def decode_path(raw: bytes) -> str:
    """Return a raw path decoded; raise Invalid if it is malformed, NotFound if it is ambiguous."""
    if _BAD_ESCAPE.search(raw):
        raise _bad_path("has a '%' that is not followed by two hexadecimal digits")
    segments = "".join(f"/{_decoded(part)}" for part in raw.split(b"/") if part)
    return f"{segments}/" if raw.endswith(b"/") else segments


def build_path(prefix: str, segments: tuple[str, ...], query: bytes) -> str:
    """Return a URL path that ends with a slash, and its query unless that may have a secret."""
    query = b"" if _SECRET_IN_QUERY.search(query) else query
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    tail = f"?{quote(query, safe='=&%+:,;@!*-._~/?')}" if query else ""
    return f"{prefix}{path}/{tail}"


def _decoded(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise _bad_path("is not UTF-8") from error
    if _CONTROL_CHARACTER.search(text) or "\\" in text:
        raise _bad_path("holds a control character or a backslash")
    if text in (".", "..") or "/" in text:
        raise NotFound("There is nothing at a path with dots or an encoded slash.")
    return text


def _bad_path(why: str) -> Invalid:
    return Invalid(f"The path {why}. Ask for a path as the index links to it.")


def always(_request: Request) -> bool:
    """Return True: the `RequestPredicate` that every request meets."""
    return True


def never(_request: Request) -> bool:
    """Return False: the `RequestPredicate` that no request meets."""
    return False


class Route(Struct, frozen=True):
    """
    A row of the routing table: what answers the requests for a path.

    A path that ends with `/?` stands for two, with and without the slash.
    """

    name: str
    """The name of the route in metrics and logs; several routes may share one."""
    path: str
    """As Starlette writes it."""
    handler: Handler | AsyncHandler
    methods: tuple[str, ...] = GET
    is_public: RequestPredicate = never
    """Whether a request is answered without authentication."""
    needs_read: bool = True
    """Whether anonymous callers get 401 if they may read no project."""
    is_write: RequestPredicate = lambda request: request.method not in GET
    """Whether a request may change the store."""
    accepts_iap: RequestPredicate = never
    """Whether a request may be authenticated by Identity-Aware Proxy."""
    takes_form: bool = False
    """
    Whether a POST is a form with an anti-forgery token.

    Then a session's cookie may authenticate it, and the handler refuses it on a read-only server.
    """
    is_fixed: bool = False
    """Whether its path is for no other method either: no other route of the table has it."""
    at_root: bool = False
    """Whether the route also exists without the path prefix (health probes, CI jobs)."""
    is_coroutine: bool = False
    """Whether the handler is one, because it streams a large body."""
    is_instant: bool = False
    """Whether the handler needs no thread."""
    is_long: bool = False
    """Whether the handler occupies its thread for long."""

    @property
    def slashes(self) -> "tuple[Route, ...]":
        """The routes that this one stands for."""
        if not self.path.endswith("/?"):
            return (self,)
        bare = self.path.removesuffix("/?")
        return tuple(replace(self, path=path) for path in (bare, f"{bare}/") if path)


class RouteTable:
    """
    The routes of an application, in the order in which they are tried.

    Args:
        prefix: The path below which all routes are, but for some.
        rows: The routes; the fixed ones come first.
        endpoint: Returns the ASGI application of a route.
    """

    def __init__(
        self, prefix: str, rows: Iterable[Route], endpoint: Callable[[Route], ASGIApp]
    ) -> None:
        self._prefix = prefix
        self.rows = tuple(route for row in rows for route in row.slashes)
        self._at_root = frozenset(route.path for route in self.rows if route.at_root)
        self.routes = [
            routing.Route(
                route.path,
                endpoint(route),
                methods=None if route.is_fixed else route.methods,
                name=route.name,
            )
            for route in self.rows
        ]
        self._not_found = endpoint(NO_ROUTE)
        starts = {_first_segment(route.path) for route in self.rows}
        self._routers = {start: self._router(start) for start in starts if start[:1] != "{"}

    def parse_path(self, raw: bytes) -> str:
        """
        Return a raw URL path, decoded and without the prefix, which `at_root` paths may lack.

        Raise Invalid if it is malformed, NotFound if it is ambiguous or outside of the prefix.
        """
        path, prefix = decode_path(raw), self._prefix
        if not prefix or path in self._at_root:
            return path
        if not f"{path}/".startswith(f"{prefix}/"):
            raise NotFound(f"This index is below {prefix}/.")
        return path.removeprefix(prefix)

    def router(self, path: str) -> routing.Router:
        """Return the router for a path: it tries only routes with the same first segment."""
        return self._routers.get(_first_segment(path)) or self._routers[""]

    def _router(self, start: str) -> routing.Router:
        routes = [
            route
            for route in self.routes
            if (segment := _first_segment(route.path)) == start or segment[:1] == "{"
        ]
        return routing.Router(routes, redirect_slashes=False, default=self._not_found)

    def find(self, path: str, method: str) -> tuple[Route, Mapping[str, str]] | None:
        """Return the route that answers a method of a path, and its parameters; None without."""
        for match, route, params in self._matches(path, method):
            if match is Match.FULL:
                return (route, params) if method in route.methods else None
        return None

    def allowed_methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of all routes of a path, and OPTIONS; empty if it has no route."""
        taken = set[str]()
        for _, route, _ in self._matches(path, ""):
            taken.update(route.methods)
            if route.is_fixed:
                break
        return (*(each for each in ALL_METHODS if each in taken), "OPTIONS") if taken else ()

    def _matches(self, path: str, method: str) -> Iterable[tuple[Match, Route, dict[str, Any]]]:
        scope = {"type": "http", "path": path, "method": method}
        for row, route in zip(self.rows, self.routes, strict=True):
            match, child = route.matches(scope)
            if match is not Match.NONE:
                yield match, row, child["path_params"]


def answer_not_found(_request: Request) -> Response:
    """Handle a request whose path has no route: raise NotFound."""
    message = "There is nothing at this path. The index is at /simple/, uploads go to /legacy/."
    raise NotFound(message)


NO_ROUTE: Final = Route(UNMATCHED_ROUTE, "", answer_not_found, methods=(), is_write=never)
"""Stands for all paths without a route: whoever may read nothing learns of none of them."""


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1]
