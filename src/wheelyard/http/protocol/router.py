"""
Router: URL path parsing and the route of a path.

Repeated `/` count as one (pipenv sends them), each segment is decoded once, and paths that proxies
and servers interpret differently are refused. A path is compared with the fixed patterns, and then
with the others in the order of the table.

In a pattern, `{name}` matches one segment, and `{*}` any number of them. A pattern ends with `/`,
without it, or with `/?`, which matches both.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.observability.request_record import UNMATCHED_ROUTE
from wheelyard.http.protocol.messages import Request, Response

GET: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
ALL_METHODS: Final = (*GET, *POST, *DELETE)

Handler = Callable[[Request], Awaitable[Response]]
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
    return Invalid(f"The path {why}. Ask for a path as the index links to it.", short="Bad path.")


def always(_request: Request) -> bool:
    """Return True: the `RequestPredicate` that every request meets."""
    return True


def never(_request: Request) -> bool:
    """Return False: the `RequestPredicate` that no request meets."""
    return False


class Route(Struct, frozen=True):
    """A row of the routing table: the handler of the paths that match a pattern."""

    name: str
    """The name of the route in metrics and logs; several routes may share one."""
    pattern: str
    handler: Handler
    methods: tuple[str, ...] = GET
    is_public: RequestPredicate = never
    """Whether a request is answered without authentication."""
    needs_read: bool = True
    """Whether anonymous callers get 401 if they may read no project."""
    is_write: RequestPredicate = lambda request: request.method not in GET
    """Whether a request may change the store."""
    accepts_iap: RequestPredicate = never
    """Whether a request may be authenticated by Identity-Aware Proxy."""
    project: str = ""
    """The part of the path that names the project whose document the handler reads first."""
    takes_form: bool = False
    """
    Whether a POST is a form with an anti-forgery token.

    Then a session's cookie may authenticate it, and the handler refuses it on a read-only server.
    """
    at_root: bool = False
    """Whether the route also exists without the path prefix (health probes, CI jobs)."""


async def answer_not_found(_request: Request) -> Response:
    """Handle a request whose path has no route: raise NotFound."""
    message = "There is nothing at this path. The index is at /simple/, uploads go to /legacy/."
    raise NotFound(message, short="Not found.")


NO_ROUTE: Final = Route(UNMATCHED_ROUTE, "", answer_not_found, methods=(), is_write=never)
RouteMatch = tuple[Route, Mapping[str, str]]
"""A route, and the parts of the path that match the names in its pattern."""


class Router:
    """
    Finds the route of a URL path.

    A path that equals a fixed pattern has only that route. For other paths, the first route that
    matches and has the method is taken.
    """

    def __init__(self, prefix: str, fixed: Iterable[Route], patterns: Iterable[Route]) -> None:
        self._prefix = prefix
        self._fixed = {each.pattern: each for each in fixed}
        self._patterns = tuple((_compile(each.pattern), each) for each in patterns)

    def __iter__(self) -> Iterator[Route]:
        """Yield every route of the table."""
        return chain(self._fixed.values(), (route for _, route in self._patterns))

    def parse_path(self, raw: bytes) -> str:
        """
        Return a raw URL path, decoded and without the prefix, which `at_root` paths may lack.

        Raise Invalid if it is malformed, NotFound if it is ambiguous or outside of the prefix.
        """
        path, prefix = decode_path(raw), self._prefix
        if not prefix or self._fixed.get(path, NO_ROUTE).at_root:
            return path
        if not f"{path}/".startswith(f"{prefix}/"):
            raise NotFound(f"This index is below {prefix}/.", short="Not found.")
        return path.removeprefix(prefix)

    def match(self, path: str, method: str) -> RouteMatch:
        """Return a path's first route with the method, else its first route, else `NO_ROUTE`."""
        first: RouteMatch | None = None
        for found in self._matches(path):
            if method in found[0].methods:
                return found
            first = first or found
        return first or (NO_ROUTE, {})

    def allowed_methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of all routes of a path, and OPTIONS; empty if it has no route."""
        taken = {method for route, _ in self._matches(path) for method in route.methods}
        return (*(each for each in ALL_METHODS if each in taken), "OPTIONS") if taken else ()

    def _matches(self, path: str) -> Iterator[RouteMatch]:
        if path in self._fixed:
            yield self._fixed[path], {}
            return
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                yield route, found.groupdict()


def _compile(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a route pattern."""
    text = re.escape(pattern).replace(r"\{\*\}/", "(?:[^/]+/)*").replace(r"/\?", "/?")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text))
