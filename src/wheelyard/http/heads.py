"""Headers by their name: all, or the few that a page in memory depends on, in one pass."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wheelyard.http.exchange import Header

COUNT_LIMIT: Final = 24
"""Headers of a request that needs no closer look."""
LENGTH_LIMIT: Final = 1024
"""Bytes of such a header, but for Authorization, which has a limit of its own."""


@dataclass(slots=True)
class Head:
    """What decides about a page; None where a header is missing."""

    authorization: bytes | None = None
    accept: bytes | None = None
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None


def head_of(headers: Sequence[Header]) -> Head | None:
    """Return the headers that matter, None where there are any that need a closer look."""
    if len(headers) > COUNT_LIMIT:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if len(name) + len(value) > LENGTH_LIMIT and name != b"authorization":
            return None
        if name in _SINGLE:
            if name in found:
                return None
            found[name] = value
    host = found.get(b"host")
    if not host or not is_host(host) or not _CLOSER_LOOK.isdisjoint(found):
        return None
    get = found.get
    return Head(
        get(b"authorization"), get(b"accept"), get(b"accept-encoding"), get(b"if-none-match")
    )


def is_host(value: bytes) -> bool:
    """Return whether a value of Host is one by RFC 9110 (7.2); an empty one is."""
    return _HOST.fullmatch(value) is not None


def joined(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """Return headers by their name; lines of one name are one list (RFC 9110, 5.3)."""
    if len(found := dict(headers)) == len(headers):
        return found
    lines: dict[bytes, list[bytes]] = {name: [] for name in found}
    for name, value in headers:
        lines[name].append(value)
    return {name: b", ".join(values) for name, values in lines.items()}


_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z._~!$&'()*+,;=%:-]+\])(?::[0-9]*)?"
)
_CLOSER_LOOK: Final = frozenset(
    {b"content-length", b"content-type", b"transfer-encoding", b"if-match"}
)
_SINGLE: Final = _CLOSER_LOOK | {
    *(b"accept", b"accept-encoding", b"authorization", b"if-none-match", b"host")
}
