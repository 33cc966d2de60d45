"""The few headers that a page in memory depends on, picked out in one pass."""

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
    if not found.get(b"host") or not _OF_A_BODY.isdisjoint(found):
        return None
    get = found.get
    return Head(
        get(b"authorization"), get(b"accept"), get(b"accept-encoding"), get(b"if-none-match")
    )


_OF_A_BODY: Final = frozenset({b"content-length", b"content-type", b"transfer-encoding"})
_SINGLE: Final = _OF_A_BODY | {
    *(b"accept", b"accept-encoding", b"authorization", b"if-none-match", b"host")
}
