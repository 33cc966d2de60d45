"""
Which route a request's path leads to.

Runs of `/` collapse (pipenv needs it), each segment is decoded once, and what could mean another
thing elsewhere is refused. Then patterns are tried in the order of the table.

In a pattern `{name}` stands for one segment, and `{*}` for any number of them. It ends with `/`,
without, or with `/?` for either.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.observability.request_record import UNMATCHED_ROUTE
from wheelyard.http.protocol.error_responses import path_not_found
from wheelyard.http.protocol.messages import Request, Response

READ_METHODS: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
ALL_METHODS: Final = (*READ_METHODS, *POST, *DELETE)
"""What some route takes; OPTIONS is answered for all of them."""

Handler = Callable[[Request], Awaitable[Response]]
Condition = Callable[[Request], bool]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SECRET = re.compile(rb"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def decode_path(raw: bytes) -> str:
    """Return a raw path, decoded; raise Invalid or NotFound for an odd one."""
    if _BAD_ESCAPE.search(raw):
        raise _bad_path("has a '%' that is not followed by two hexadecimal digits")
    segments = "".join(f"/{_decoded(part)}" for part in raw.split(b"/") if part)
    return f"{segments}/" if raw.endswith(b"/") else segments


def split_path(path: str) -> tuple[str, ...]:
    """Return the segments of a path."""
    return tuple(each for each in path.split("/") if each)


def build_path(prefix: str, segments: tuple[str, ...], query: bytes) -> str:
    """
    Return a path of this host, percent-encoded, with a slash and the same query.

    A query that seems to have a secret in it is left out.
    """
    query = b"" if _SECRET.search(query) else query
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    tail = f"?{quote(query, safe='=&%+:,;@!*-._~/?')}" if query else ""
    return f"{prefix}{path}/{tail}"


def _decoded(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise _bad_path("is not UTF-8") from error
    if _CONTROL.search(text) or "\\" in text:
        raise _bad_path("holds a control character or a backslash")
    if text in (".", "..") or "/" in text:
        raise NotFound("There is nothing at a path with dots or an encoded slash.")
    return text


def _bad_path(why: str) -> Invalid:
    return Invalid(f"The path {why}. Ask for a path as the index links to it.", short="Bad path.")


def always(_request: Request) -> bool:
    """Return that a condition holds for every request."""
    return True


def never(_request: Request) -> bool:
    """Return that a condition holds for no request."""
    return False


def writes(request: Request) -> bool:
    """Return whether a request has a method that changes something."""
    return request.method not in READ_METHODS


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes."""

    name: str
    """In metrics and logs; several rows may share one."""
    pattern: str
    handler: Handler
    methods: tuple[str, ...] = READ_METHODS
    is_unauthenticated: Condition = never
    """Whether a request is answered before any credential is looked at."""
    requires_any_read: bool = True
    """Whether strangers are refused where they may read nothing."""
    modifies_store: Condition = writes
    """Whether a request would change something in the store."""
    accepts_iap: Condition = never
    """Whether the caller may be whom Identity-Aware Proxy vouches for."""
    is_web_page: bool = False
    """Whether a browser is shown a refusal as a page for people."""
    ignores_prefix: bool = False
    """Whether probes and CI jobs find it without the prefix, too."""


async def answer_not_found(_request: Request) -> Response:
    """Answer that there is nothing at a path."""
    return path_not_found()


NO_ROUTE: Final = Route(UNMATCHED_ROUTE, "", answer_not_found, methods=(), modifies_store=never)
RouteMatch = tuple[Route, Mapping[str, str]]
"""The route that a path leads to, and what stands in it for each name of the pattern."""


class Router:
    """
    The table of routes.

    A fixed pattern leads nowhere else; of the others the first counts that takes the method.
    """

    def __init__(self, prefix: str, fixed: Iterable[Route], others: Iterable[Route]) -> None:
        self._prefix = prefix
        self._fixed = {each.pattern: each for each in fixed}
        self._others = tuple((_compiled(each.pattern), each) for each in others)

    def __iter__(self) -> Iterator[Route]:
        """Yield every route."""
        return chain(self._fixed.values(), (route for _, route in self._others))

    def parse_path(self, raw: bytes) -> str:
        """Return a raw path without the prefix; raise Invalid or NotFound for another."""
        path, prefix = decode_path(raw), self._prefix
        if not prefix or self._fixed.get(path, NO_ROUTE).ignores_prefix:
            return path
        if not f"{path}/".startswith(f"{prefix}/"):
            raise NotFound(f"This index is below {prefix}/.", short="Not found.")
        return path.removeprefix(prefix)

    def match(self, path: str, method: str) -> RouteMatch:
        """Return where a path leads, to a route that takes the method if possible."""
        first: RouteMatch | None = None
        for each in self._at(path):
            if method in each[0].methods:
                return each
            first = first or each
        return first or (NO_ROUTE, {})

    def allowed_methods(self, path: str) -> tuple[str, ...]:
        """Return every method that a path takes."""
        taken = {method for route, _ in self._at(path) for method in route.methods}
        return (*(each for each in ALL_METHODS if each in taken), "OPTIONS") if taken else ()

    def _at(self, path: str) -> Iterator[RouteMatch]:
        if path in self._fixed:
            yield self._fixed[path], {}
            return
        for pattern, route in self._others:
            found = pattern.fullmatch(path)
            if found is not None:
                yield route, found.groupdict()


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern as a regular expression; no segment has a slash."""
    text = re.escape(pattern).replace(r"\{\*\}/", "(?:[^/]+/)*").replace(r"/\?", "/?")
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text))
