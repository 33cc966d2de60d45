"""The few headers that a page in memory depends on, picked out in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

from wheelyard.http.exchange import Header


@dataclass(slots=True)
class Head:
    """What decides about a page; None where a header is missing."""

    authorization: bytes | None = None
    accept: bytes | None = None
    accept_encoding: bytes | None = None
    if_none_match: bytes | None = None
    host: bytes | None = None


def head_of(headers: Iterable[Header]) -> Head | None:
    """Return the headers that matter, None where one is repeated and needs a closer look."""
    head = Head()
    for name, value in headers:
        if name == b"accept" and head.accept is None:
            head.accept = value
        elif name == b"accept-encoding" and head.accept_encoding is None:
            head.accept_encoding = value
        elif name == b"authorization" and head.authorization is None:
            head.authorization = value
        elif name == b"if-none-match" and head.if_none_match is None:
            head.if_none_match = value
        elif name == b"host" and head.host is None:
            head.host = value
        elif name in _SINGLE:
            return None
    return head if head.host else None


_SINGLE = frozenset({b"accept", b"accept-encoding", b"authorization", b"if-none-match", b"host"})
