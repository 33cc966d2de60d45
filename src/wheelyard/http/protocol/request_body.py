"""
A request as it comes in: its headers, checked, and its body.

A client may send its whole body before it reads an answer. So a refusal is sent first, and then
what is left of the body is read and dropped.
"""

import re
from asyncio import get_running_loop, timeout
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import AsgiScope, Header, Message, Receive, Response

URL_LIMIT_BYTES: Final = 4096
"""Bytes of a raw path and its query."""
HEADERS_LIMIT_BYTES: Final = 32 * 1024
"""Bytes of all names and values together."""
MAX_HEADERS: Final = 100
MAX_FAST_PATH_HEADERS: Final = 24
"""Headers of a request that needs no closer look."""
FAST_PATH_HEADER_LIMIT_BYTES: Final = 1024
"""Bytes of such a header; Authorization has its own limit."""
IDLE_TIMEOUT_SECONDS: Final = 30.0
"""Seconds that a body may be behind that pace."""
BODY_TIMEOUT_SECONDS: Final = 3600.0
"""Seconds that one body may take."""

_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z._~!$&'()*+,;=%:-]+\])(?::[0-9]*)?"
)
"""A value of Host by RFC 9110 (7.2); an empty one is."""
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_ONCE: Final = frozenset({b"authorization", b"host", b"content-length", b"content-type"})
_CLOSER_LOOK: Final = frozenset(
    {b"content-length", b"content-type", b"transfer-encoding", b"if-match"}
)
_SINGLE: Final = _CLOSER_LOOK | {
    *(b"accept", b"accept-encoding", b"authorization", b"if-none-match", b"host")
}
_BODILESS: Final = frozenset({"GET", "HEAD"})


class ClientDisconnected(Exception):
    """The body broke off: the client went away, or broke its own framing."""


class SlowClient(Exception):
    """The client has sent too little for too long."""


def fast_path_headers(headers: Sequence[Header]) -> dict[bytes, bytes] | None:
    """Return the headers that a page depends on, or None for a closer look."""
    if len(headers) > MAX_FAST_PATH_HEADERS:
        return None
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if len(name) + len(value) > FAST_PATH_HEADER_LIMIT_BYTES and name != b"authorization":
            return None
        if name in _SINGLE:
            if name in found:
                return None
            found[name] = value
    host = found.get(b"host")
    if not host or not _HOST.fullmatch(host) or not _CLOSER_LOOK.isdisjoint(found):
        return None
    return found


def join_headers(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """Return headers by their name; lines of one name are one list (RFC 9110, 5.3)."""
    if len(found := dict(headers)) == len(headers):
        return found
    lines: dict[bytes, list[bytes]] = {name: [] for name in found}
    for name, value in headers:
        lines[name].append(value)
    return {name: b", ".join(values) for name, values in lines.items()}


@dataclass(frozen=True, slots=True)
class BodyTimeouts:
    """How fast a body must come."""

    patience: float = IDLE_TIMEOUT_SECONDS
    """Seconds that it may be behind."""
    slowest: int = 10 * 1024
    """Bytes a second."""


DEFAULT_TIMEOUTS: Final = BodyTimeouts()


class RequestBody:
    """
    A request's headers and the rest of its body.

    The client has some seconds in hand: waiting uses them up, and what it sends earns them back. So
    only its own slowness counts, and no early burst pays for a long trickle.
    """

    def __init__(
        self, receive: Receive, scope: AsgiScope, pace: BodyTimeouts = DEFAULT_TIMEOUTS
    ) -> None:
        self._receive = receive
        self._scope = scope
        self._pace = pace
        self._in_hand = pace.patience
        self.headers = join_headers(scope["headers"])
        length = self.headers.get(b"content-length")
        # HTTP/2 frames a body without either header
        unframed = not scope["http_version"].startswith("1") and scope["method"] not in _BODILESS
        is_framed = b"transfer-encoding" in self.headers or (length is None and unframed)
        self.has_body = is_framed or length not in (None, b"0")
        """Whether one was announced."""
        self.has_ended = not self.has_body
        """Whether nothing of the body is left."""

    async def __call__(self) -> Message:
        """Return the next event of the body, or raise SlowClient."""
        now = get_running_loop().time
        asked_at = now()
        try:
            async with timeout(self._in_hand):
                message = await self._receive()
        except TimeoutError as error:
            self._in_hand = 0.0
            raise SlowClient from error
        earned = len(message.get("body", b"")) / self._pace.slowest
        left = self._in_hand - (now() - asked_at) + earned
        self._in_hand = min(max(left, 0.0), self._pace.patience)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_ended = True
        return message

    async def gone(self) -> None:
        """Return once the client has hung up, after its body."""
        while (await self._receive())["type"] == "http.request":
            pass

    def refused(self) -> Response | None:
        """Return the refusal of a head that no route need see, or None."""
        scope = self._scope
        if len(scope["raw_path"]) + len(scope["query_string"]) > URL_LIMIT_BYTES:
            return error_response(414, "uri_too_long", "The URL is too long.", "URL too long.")
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if size > HEADERS_LIMIT_BYTES or len(headers) > MAX_HEADERS:
            message = "The headers are too long. Send fewer or shorter ones."
            return error_response(431, "headers_too_large", message, "Headers too large.")
        once = [name for name, _ in headers if name in _ONCE]
        if len(set(once)) != len(once):
            message = "A header that may stand once is there twice. Send it once."
            return _bad(message, "Repeated header.")
        if not _LENGTH.fullmatch(self.headers.get(b"content-length", b"0")):
            message = "The Content-Length is no number of bytes. Send it in at most 19 digits."
            return _bad(message, "Bad Content-Length.")
        if scope["http_version"] == "1.1" and not self.headers.get(b"host"):
            return _bad("The request names no host.", "No Host header.")
        return None

    def malformed(self) -> Response | None:
        """Return the refusal of an odd Host or transfer coding, or None."""
        if not _HOST.fullmatch(self.headers.get(b"host", b"")):
            message = "The Host header is no host. Send a name or an address, and perhaps a port."
            return _bad(message, "Bad Host header.")
        if self.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            message = "The body is encoded for its way. Send it as it is, or chunked."
            return _bad(message, "Bad transfer coding.")
        return None


async def next_chunk(incoming: Receive) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether more will come."""
    message = await incoming()
    if message["type"] != "http.request":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


async def drain(incoming: RequestBody, limit: int) -> None:
    """Read the rest of a body, and throw it away."""
    with suppress(TimeoutError, SlowClient):
        async with timeout(BODY_TIMEOUT_SECONDS):
            while limit > 0 and not incoming.has_ended:
                async with timeout(5):
                    message = await incoming()
                limit -= len(message.get("body", b""))


def _bad(message: str, short: str) -> Response:
    return error_response(400, "bad_request", message, short)
