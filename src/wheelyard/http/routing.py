"""
Which route a request's path leads to.

Raw paths become segments once and strictly (RFC 3986): runs of `/` collapse (pipenv needs it), each
segment is decoded exactly once, and what could mean one thing here and another thing elsewhere is
refused. The segments are compared with the patterns of the routes, in the table's order.

A pattern is a path in which `{name}` stands for any one segment, and `{*}` for any number of them.
It says how the path has to end: with `/`, with `/?` for either, or without. A page's path without
its slash leads to a redirect, which is a route of the table like any other.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from wheelyard.errors import Invalid, NotFound
from wheelyard.http.circumstances import NOTHING
from wheelyard.http.exchange import Reply, Request

READ: Final = ("GET", "HEAD")
POST: Final = ("POST",)
DELETE: Final = ("DELETE",)
METHODS: Final = (*READ, *POST, *DELETE)
"""Every method that some route takes; OPTIONS is answered for all of them."""

Handler = Callable[[Request], Awaitable[Reply]]
Condition = Callable[[Request], bool]

_ANY: Final = "{*}"
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SECRET = re.compile(rb"wyd_|ya29\.|eyJ|token=|password=", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Path:
    """A path that can be routed."""

    segments: tuple[str, ...]
    """Decoded; none is empty."""
    ends_with_slash: bool

    @property
    def text(self) -> str:
        """The path as a pattern has it."""
        return "".join(f"/{each}" for each in self.segments) + "/" * self.ends_with_slash


def parse_path(raw: bytes) -> Path:
    """
    Return the segments of a raw path.

    Raises:
        Invalid: It holds a control character, a backslash, a broken escape, or no UTF-8.
        NotFound: A segment is `.` or `..` or holds a slash.
    """
    if _BAD_ESCAPE.search(raw):
        raise _bad_path("has a '%' that is not followed by two hexadecimal digits")
    return Path(tuple(_decoded(part) for part in raw.split(b"/") if part), raw.endswith(b"/"))


def path_of(prefix: str, segments: tuple[str, ...], query: bytes) -> str:
    """
    Return a path of this host, percent-encoded, with a slash at its end and the same query.

    A query with a secret in it is left out, as people put tokens there that no URL of ours repeats.
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
    return request.method not in READ


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table of routes."""

    name: str
    """In metrics and logs; several rows may share one."""
    pattern: str
    handler: Handler
    methods: tuple[str, ...] = READ
    is_open: Condition = never
    """Whether a request is answered whoever sends it, before any credential is looked at."""
    needs_reader: bool = True
    """Whether the caller has to be somebody, unless anybody may read some project."""
    changes: Condition = writes
    """Whether a request would change something in the store."""
    by_proxy: Condition = never
    """Whether the caller is the person whom Identity-Aware Proxy vouches for, where it is used."""
    is_page: bool = False
    """Whether a browser is shown a refusal as a page for people."""
    at_root: bool = False
    """
    Whether a fixed path is found without the prefix, too.

    Probes ask the process itself, and jobs that publish know the host alone.
    """


@dataclass(frozen=True, slots=True)
class Match:
    """The route that a path leads to, None where there is none."""

    route: Route | None
    params: Mapping[str, str]
    """What stands in the path for each name of the pattern; decoded."""

    @property
    def name(self) -> str:
        """What the route is called in metrics and logs."""
        return NOTHING if self.route is None else self.route.name

    def takes(self, method: str) -> bool:
        """Return whether the route answers a method."""
        return self.route is not None and method in self.route.methods


NOWHERE: Final = Match(None, {})


class Routes:
    """
    The table of routes.

    Args:
        prefix: What every path begins with, but for those of routes that are at the root.
        fixed: Routes whose pattern has no names; a path that one of them has leads nowhere else.
        others: The rest; where several suit, the first counts that takes the method.
    """

    def __init__(self, prefix: str, fixed: Iterable[Route], others: Iterable[Route]) -> None:
        self._prefix = prefix
        self._ahead = tuple(part for part in prefix.split("/") if part)
        self._fixed = {each.pattern: Match(each, {}) for each in fixed}
        self._others = tuple((_Pattern.of(each.pattern), each) for each in others)

    def __iter__(self) -> Iterator[Route]:
        """Yield every route."""
        fixed = (each.route for each in self._fixed.values() if each.route)
        return chain(fixed, (route for _, route in self._others))

    def path(self, raw: bytes) -> Path:
        """
        Return a raw path as the table has it: without the prefix.

        Raises:
            Invalid: It cannot be read.
            NotFound: It is not below the prefix, or cannot be anybody's.
        """
        path, ahead = parse_path(raw), self._ahead
        fixed = self._fixed.get(path.text, NOWHERE).route
        if not ahead or (fixed is not None and fixed.at_root):
            return path
        if path.segments[: len(ahead)] != ahead:
            raise NotFound(f"This index is below {self._prefix}/.", short="Not found.")
        return Path(path.segments[len(ahead) :], path.ends_with_slash)

    def find(self, path: Path, method: str) -> Match:
        """Return where a request leads: to a route that takes its method, if there is one."""
        first = NOWHERE
        for each in self._at(path):
            if each.takes(method):
                return each
            first = each if first is NOWHERE else first
        return first

    def methods(self, path: Path) -> tuple[str, ...]:
        """Return every method that a path takes, none where it leads nowhere."""
        every = list(self._at(path))
        found = tuple(method for method in METHODS if any(each.takes(method) for each in every))
        return (*found, "OPTIONS") if found else ()

    def _at(self, path: Path) -> Iterator[Match]:
        fixed = self._fixed.get(path.text)
        if fixed is not None:
            yield fixed
            return
        for pattern, route in self._others:
            params = pattern.match(path)
            if params is not None:
                yield Match(route, params)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern, taken apart once; a segment behind `{*}` is counted from the end."""

    length: int
    """How many segments a path has; at least, where there is `{*}`."""
    is_open: bool
    slash: bool | None
    """Whether the path ends with one; None for either."""
    words: tuple[tuple[int, str], ...]
    names: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, text: str) -> "_Pattern":
        slash = None if text.endswith("/?") else text.endswith("/")
        segments = [each for each in text.removesuffix("?").split("/") if each]
        count, is_open = len(segments), _ANY in segments
        behind = segments.index(_ANY) if is_open else count
        placed = [
            (place if place < behind else place - count, each)
            for place, each in enumerate(segments)
            if each != _ANY
        ]
        words = tuple(each for each in placed if each[1][0] != "{")
        names = tuple((place, each[1:-1]) for place, each in placed if each[0] == "{")
        return cls(len(placed), is_open, slash, words, names)

    def match(self, path: Path) -> dict[str, str] | None:
        """Return what a path has for each name, None where it does not suit."""
        segments = path.segments
        if len(segments) != self.length and not (self.is_open and len(segments) > self.length):
            return None
        if self.slash is not None and self.slash != path.ends_with_slash:
            return None
        for place, word in self.words:
            if segments[place] != word:
                return None
        return {name: segments[place] for place, name in self.names}
