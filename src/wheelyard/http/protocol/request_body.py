"""
Request bodies: read chunk by chunk, with timeouts for slow clients, or whole, of limited size.

A client may send its whole body before it reads the response. So an error response is sent first,
and then the rest of the body is read and discarded (`drain`).
"""

from asyncio import get_running_loop, timeout
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.json import encode

from wheelyard.errors import Invalid, TooLarge
from wheelyard.http.protocol.error_responses import UNSUPPORTED_MEDIA_TYPE
from wheelyard.http.protocol.messages import (
    CSP,
    JSON,
    NO_STORE,
    AsgiScope,
    Header,
    Headers,
    Message,
    Receive,
    Request,
    Response,
    make_response,
)

BODY_TIMEOUT_SECONDS: Final = 3600.0

BODY_LIMIT_BYTES = 64 * 1024
BODY_TOO_LONG = f"A change has at most {BODY_LIMIT_BYTES} bytes. Send a shorter reason."


class ClientDisconnected(Exception):
    """The client closed the connection, or sent a malformed chunk, before the body was complete."""


class SlowClient(Exception):
    """The client sends its body below the minimum rate."""


class BodyTimeouts(Struct, frozen=True):
    """The minimum rate of a request body, and how far the body may be behind it."""

    idle_seconds: float = 30.0
    """How many seconds a body may be behind the minimum rate."""
    min_bytes_per_second: int = 10 * 1024


class RequestBody:
    """
    A request body, read as ASGI events, whose client has to keep a minimum rate.

    The client has a budget of seconds. Waiting for the client uses it up, and received bytes earn
    it back, up to the initial budget. So only the client's own slowness counts, and a fast
    beginning does not allow a slow rest.
    """

    def __init__(
        self, receive: Receive, scope: AsgiScope, headers: Headers, timeouts: BodyTimeouts
    ) -> None:
        self._receive = receive
        self._timeouts = timeouts
        self._budget_seconds = timeouts.idle_seconds
        length = headers.get(b"content-length")
        # HTTP/2 sends a body without either header
        is_http2 = not scope["http_version"].startswith("1")
        is_unframed = is_http2 and scope["method"] not in ("GET", "HEAD")
        is_framed = b"transfer-encoding" in headers or (length is None and is_unframed)
        self.is_announced = is_framed or length not in (None, b"0")
        """Whether the headers announce a body."""
        self.has_ended = not self.is_announced
        """Whether all of the body was received, or the client has disconnected."""

    async def __call__(self) -> Message:
        """Return the next ASGI event, a body chunk or the disconnect; or raise SlowClient."""
        now = get_running_loop().time
        asked_at = now()
        try:
            async with timeout(self._budget_seconds):
                message = await self._receive()
        except TimeoutError as error:
            self._budget_seconds = 0.0
            raise SlowClient from error
        earned = len(message.get("body", b"")) / self._timeouts.min_bytes_per_second
        left = self._budget_seconds - (now() - asked_at) + earned
        self._budget_seconds = min(max(left, 0.0), self._timeouts.idle_seconds)
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_ended = True
        return message

    async def wait_for_disconnect(self) -> None:
        """Wait until the client disconnects; for ever if the rest of the body is still to come."""
        if not self.has_ended:
            await get_running_loop().create_future()
        while (await self._receive())["type"] == "http.request":
            pass


async def next_chunk(receive: Receive) -> tuple[bytes, bool]:
    """Return the next chunk of a body, and whether more will come; or raise ClientDisconnected."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


async def drain(body: RequestBody, limit: int) -> None:
    """Read and discard the rest of a request body; stop after `limit` bytes or if it is slow."""
    with suppress(TimeoutError, SlowClient):
        async with timeout(BODY_TIMEOUT_SECONDS):
            while limit > 0 and not body.has_ended:
                async with timeout(5):
                    message = await body()
                limit -= len(message.get("body", b""))


def read_body(
    request: Request, limit: int = BODY_LIMIT_BYTES, too_long: str = BODY_TOO_LONG
) -> bytes:
    """Return a whole request body as `receive_body` does; a handler waits for it."""
    return request.wait("body", partial(receive_body, request, limit, too_long))


async def receive_body(request: Request, limit: int, too_long: str) -> bytes:
    """Return a whole request body; raise TooLarge (message: `too_long`) above `limit` bytes."""
    body, more = b"", True
    while more:
        chunk, more = await next_chunk(request.receive)
        body += chunk
        if len(body) > limit:
            raise TooLarge(too_long)
    return body


def read_json(request: Request) -> bytes:
    """Return a JSON body; raise Invalid for another type."""
    if request.body_type != JSON:
        raise Invalid(
            'Send the change as JSON, with "Content-Type: application/json".',
            code=UNSUPPORTED_MEDIA_TYPE,
        )
    return read_body(request)


def json_response(status: int, body: object, *headers: Header) -> Response:
    """Return a response with `body` encoded as JSON; caches may not store it."""
    return make_response(status, JSON, encode(body), CSP, NO_STORE, *headers)
