"""
Raw request paths to decoded segments, once and strictly.

Runs of `/` collapse (pipenv needs it), each segment is decoded exactly once, and what could mean
one thing here and another thing elsewhere is refused. RFC 3986; wheelyard routes on nothing else.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from wheelyard.errors import Invalid, NotFound

PATH_LIMIT: Final = 4096
"""Bytes of a raw path."""

AT_THE_ROOT: Final = frozenset(
    {
        *(("health",), ("ready",), ("metrics",), (".well-known", "pytp")),
        *(("_", "oidc", each) for each in ("audience", "mint-token", "burn-token")),
        ("_", "oidc", "github", "mint-token"),
    }
)
"""
What is asked for at the root of the host, without the prefix: by probes, which ask the process
itself, and by jobs that publish, wherever the upload URL is.
"""

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


def parse_path(raw: bytes, prefix: str) -> Path:
    """
    Return the segments of a raw path below `prefix`.

    Raises:
        Invalid: It holds a control character, a backslash, a broken escape, or no UTF-8.
        NotFound: It is not below the prefix, or a segment is `.` or `..` or holds a slash.
    """
    if _BAD_ESCAPE.search(raw):
        raise _bad_path("has a '%' that is not followed by two hexadecimal digits")
    segments = tuple(_decoded(part) for part in raw.split(b"/") if part)
    ahead = tuple(part for part in prefix.split("/") if part)
    if segments in AT_THE_ROOT and not raw.endswith(b"/"):
        return Path(segments, ends_with_slash=False)
    if segments[: len(ahead)] != ahead:
        raise NotFound(f"This index is below {prefix}/.", short="Not found.")
    return Path(segments[len(ahead) :], raw.endswith(b"/"))


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
