"""
A request as it comes in: its head, checked, and its body, read to the end or thrown away.

A client that sends its whole body before it reads an answer must be able to read a refusal too: so
the refusal is sent first, and then what is left of the body is read and dropped.
"""

from asyncio import timeout
from contextlib import suppress
from typing import Final

from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Message, Receive, Reply, Scope
from wheelyard.http.paths import PATH_LIMIT

HEADERS_LIMIT: Final = 32 * 1024
"""Bytes of all names and values together."""
HEADER_COUNT_LIMIT: Final = 100
IDLE_LIMIT: Final = 30.0
"""Seconds without a byte after which a body is given up."""
DRAIN_IDLE_LIMIT: Final = 5.0
"""Seconds without a byte after which a body that nobody wants is cut off."""
WHOLE_LIMIT: Final = 3600.0
"""Seconds that one body may take."""

_ONCE: Final = frozenset({b"authorization", b"host", b"content-length", b"content-type"})


class ClientGone(Exception):
    """The body broke off: the client went away, or broke its own framing."""


class SlowClient(Exception):
    """The client has not sent anything for too long."""


class Incoming:
    """One request's headers and the rest of its body; awaiting a call yields ASGI's next event."""

    def __init__(self, receive: Receive, scope: Scope) -> None:
        self._receive = receive
        self._scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        length = self.headers.get(b"content-length", b"0")
        self.has_ended = length == b"0" and b"transfer-encoding" not in self.headers
        """Whether nothing of the body is left."""

    async def __call__(self) -> Message:
        """Return the next event of the body."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_ended = True
        return message

    def refused(self) -> Reply | None:
        """Return the refusal of a head that no route need see, or None."""
        scope = self._scope
        if len(scope["raw_path"]) + len(scope["query_string"]) > PATH_LIMIT:
            return refuse(414, "uri_too_long", "The URL is too long.", "URL too long.")
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if size > HEADERS_LIMIT or len(headers) > HEADER_COUNT_LIMIT:
            message = "The headers are too long. Send fewer or shorter ones."
            return refuse(431, "headers_too_large", message, "Headers too large.")
        repeated = {name for name, _ in headers if name in _ONCE}
        if len(repeated) != sum(name in _ONCE for name, _ in headers):
            message = "A header that may stand once is there twice. Send it once."
            return refuse(400, "bad_request", message, "Repeated header.")
        if scope["http_version"] == "1.1" and not self.headers.get(b"host"):
            return refuse(400, "bad_request", "The request names no host.", "No Host header.")
        return None


async def next_piece(incoming: Receive) -> tuple[bytes, bool]:
    """
    Return the next piece of the body, and whether more will come.

    Raises:
        ClientGone: The body broke off.
        SlowClient: Nothing came for IDLE_LIMIT seconds.
    """
    try:
        async with timeout(IDLE_LIMIT):
            message = await incoming()
    except TimeoutError as error:
        raise SlowClient from error
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def drain(incoming: Incoming, limit: int) -> None:
    """Read the rest of a body, `limit` bytes of it at most, and throw it away."""
    with suppress(TimeoutError):
        async with timeout(WHOLE_LIMIT):
            while limit > 0 and not incoming.has_ended:
                async with timeout(DRAIN_IDLE_LIMIT):
                    message = await incoming()
                limit -= len(message.get("body", b""))
