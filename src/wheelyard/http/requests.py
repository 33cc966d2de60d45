"""
What a request may be: its URL and headers (RFC 9110, RFC 9112), the client's address, and its body.

A body is read chunk by chunk, with timeouts for slow clients, or whole, of limited size. A response
that is sent before the end of the body says that the connection is closed after it. A client may
send more before it reads that response. So what still arrives is discarded for some seconds.

In a path, repeated `/` count as one (pipenv sends them), each segment is decoded once, and paths
that proxies and servers interpret differently are refused.
"""

import re
from asyncio import get_running_loop, timeout
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from msgspec.json import encode

from wheelyard.errors import Invalid, NotFound, TooLarge
from wheelyard.http.client_time import STOPPED_SECONDS, wait_for_client
from wheelyard.http.error_responses import HEADERS_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, URI_TOO_LONG
from wheelyard.http.messages import (
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
    Send,
    make_response,
)

URL_LIMIT_BYTES: Final = 4096
"""The longest URL: raw path and query together."""
HEADERS_LIMIT_BYTES: Final = 32 * 1024
"""The size of all request headers together: names and values."""
MAX_HEADERS: Final = 100

HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z._~!$&'()*+,;=%:-]+\])(?::[0-9]*)?"
)
"""Matches a valid Host header (RFC 9110, 7.2), which may be empty."""
_CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_SINGLE_HEADERS: Final = frozenset({b"authorization", b"host", b"content-length", b"content-type"})
"""Headers that a request must not repeat."""

UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - stands for a connection without an address
_FORWARDING_HEADERS: Final = frozenset(
    b"forwarded via x-real-ip x-client-ip x-cluster-client-ip x-original-forwarded-for "
    b"x-envoy-external-address cf-connecting-ip fastly-client-ip true-client-ip".split()
)
"""Request headers that reverse proxies add, besides `X-Forwarded-*`."""
_ADDRESS_WITH_PORT: Final = re.compile(r"\[([^\[\]]+)\](?::[0-9]*)?|([^:]+):[0-9]*")
"""Matches `1.2.3.4:port`, `[v6]:port` and `[v6]`."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

BODY_TIMEOUT_SECONDS: Final = 3600.0
CONNECTION_CLOSE: Final[Header] = (b"connection", b"close")
BODY_LIMIT_BYTES = 64 * 1024
"""The longest body of a change, unless its handler takes a longer one."""
BODY_TOO_LONG = f"A change has at most {BODY_LIMIT_BYTES} bytes. Send a shorter reason."


def join_headers(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """
    Return headers by name, the values of a repeated one joined by commas (RFC 9110, 5.3).

    HTTP/2 may repeat Cookie, whose values are joined by semicolons (RFC 9113, 8.2.3).
    """
    by_name = dict(headers)
    # mostly no header is repeated
    if len(by_name) == len(headers):
        return by_name
    values_by_name: dict[bytes, list[bytes]] = {name: [] for name in by_name}
    for name, value in headers:
        values_by_name[name].append(value)
    joined = {name: b", ".join(values) for name, values in values_by_name.items()}
    if b"cookie" in values_by_name:
        joined[b"cookie"] = b"; ".join(values_by_name[b"cookie"])
    return joined


def size_of_headers(headers: Iterable[Header]) -> int:
    """Return how many bytes the names and values of headers have together."""
    return sum(len(name) + len(value) for name, value in headers)


def check_limits(scope: AsgiScope, joined_headers: Headers) -> None:
    """Raise Invalid if the URL or the headers are too long, or one is repeated or malformed."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > URL_LIMIT_BYTES:
        raise Invalid("The URL is too long.", code=URI_TOO_LONG)
    headers = scope["headers"]
    if size_of_headers(headers) > HEADERS_LIMIT_BYTES or len(headers) > MAX_HEADERS:
        message = "The headers are too long. Send fewer or shorter ones."
        raise Invalid(message, code=HEADERS_TOO_LARGE)
    # of two values, a proxy may believe the first and this server the last (RFC 9112, 11.2)
    single_names = [name for name, _ in headers if name in _SINGLE_HEADERS]
    if len(set(single_names)) != len(single_names):
        message = "A header is repeated that may be sent only once. Send it once."
        raise Invalid(message)
    if not _CONTENT_LENGTH.fullmatch(joined_headers.get(b"content-length", b"0")):
        message = "The Content-Length is not a number of bytes. Send it in at most 19 digits."
        raise Invalid(message)
    # RFC 9112, 3.2; HTTP/1.0 needs no Host, and HTTP/2 has `:authority`
    if scope["http_version"] == "1.1" and not joined_headers.get(b"host"):
        raise Invalid("The request names no host.")


def check_host_and_coding(headers: Headers) -> None:
    """Raise Invalid if Host is malformed, or the transfer coding is unknown."""
    if not HOST.fullmatch(headers.get(b"host", b"")):
        message = "The Host header is not valid. Send a name or an IP address, and maybe a port."
        raise Invalid(message)
    if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        message = "The Transfer-Encoding is not supported. Send the body as it is, or chunked."
        raise Invalid(message)


def client_address(scope: AsgiScope, trusted_proxies: int) -> str:
    """
    Return the IP address of the client, which is behind `trusted_proxies` proxies (0: none).

    Each trusted proxy appends the address that it sees to X-Forwarded-For. Earlier entries may be
    invented by the client, and are not used. An address that is not valid becomes 0.0.0.0.
    """
    # a Unix socket has no address
    peer = scope.get("client")
    address = str(peer[0]) if peer else UNKNOWN_ADDRESS
    if trusted_proxies:
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        addresses = b",".join(values).decode("latin-1").split(",")
        # the address that the outermost trusted proxy has seen, or the first if there are fewer
        trusted_addresses = addresses[-trusted_proxies:]
        address = trusted_addresses[0].strip() or address
    return _canonical_address(address)


@lru_cache(1024)  # a few clients and proxies send all requests of a moment
def _canonical_address(text: str) -> str:
    """Return the canonical form of an IP address, or 0.0.0.0 for a text that is no IP address."""
    text, _, _ = text.partition("%")  # an IPv6 zone may be any text
    candidates = [text]
    match = _ADDRESS_WITH_PORT.fullmatch(text)  # as some proxies write an address
    if match is not None:
        candidates.append(match[1] or match[2])
    for candidate in candidates:
        with suppress(ValueError):
            return str(ip_address(candidate))
    return UNKNOWN_ADDRESS


def has_forwarding_header(headers: Iterable[bytes]) -> bool:
    """Return whether reverse proxies add one of the headers, whose names are in lower case."""
    return any(_is_forwarding_header(name) for name in headers)


def _is_forwarding_header(name: bytes) -> bool:
    """Return whether reverse proxies add the header of a (lower-case) name."""
    return name in _FORWARDING_HEADERS or name.startswith(b"x-forwarded-")


class ClientDisconnected(Exception):
    """The client closed the connection, or sent a malformed chunk, before the body was complete."""


class SlowClient(Exception):
    """The client sends its body below the minimum rate."""


class BodyTimeouts(Struct, frozen=True):
    """The minimum rate of a request body, and how long a server waits for a client."""

    idle_seconds: float = 30.0
    """How many seconds a body may be behind the minimum rate."""
    min_bytes_per_second: int = 10 * 1024
    discard_seconds: float = 5.0
    """For how long the rest of a body is discarded after a response, before the connection ends."""


def announces_body(scope: AsgiScope, headers: Headers) -> bool:
    """Return whether the headers of a request announce a body."""
    length = headers.get(b"content-length")
    # HTTP/2 sends a body without either header
    if length is None and not scope["http_version"].startswith("1"):
        return b"transfer-encoding" in headers or scope["method"] not in ("GET", "HEAD")
    return b"transfer-encoding" in headers or length not in (None, b"0")


class RequestBody:
    """
    A request body, read as ASGI events, whose client has to keep a minimum rate.

    The client has a budget of seconds. Waiting for the client uses it up, and received bytes earn
    it back, up to the initial budget. So only the client's own slowness counts, and a fast
    beginning does not allow a slow rest. If this server was stopped meanwhile, the client has the
    initial budget again.
    """

    def __init__(
        self, receive: Receive, scope: AsgiScope, headers: Headers, timeouts: BodyTimeouts
    ) -> None:
        self._receive = receive
        self._timeouts = timeouts
        self._budget_seconds = timeouts.idle_seconds
        self._is_http1 = scope["http_version"].startswith("1")
        self._send: Send | None = None
        """Sends the response, once `closing` has wrapped it."""
        self.has_ended = not announces_body(scope, headers)
        """Whether all of the body was received, or the client has disconnected."""

    async def __call__(self) -> Message:
        """
        Return the next ASGI event, which is a chunk of the body or the disconnect.

        Raises SlowClient if the client is behind the minimum rate for too long.
        """
        now = get_running_loop().time
        began_at = now()
        idle_seconds = self._timeouts.idle_seconds
        try:
            message = await wait_for_client(self._receive(), self._budget_seconds, idle_seconds)
        except TimeoutError as error:
            self._budget_seconds = 0.0
            raise SlowClient from error
        earned_seconds = len(message.get("body", b"")) / self._timeouts.min_bytes_per_second
        # only the time in `receive` is counted: before, this server may have been busy
        budget_seconds = self._budget_seconds - (now() - began_at)
        if budget_seconds < -STOPPED_SECONDS:  # this server was stopped: no timer ended the wait
            budget_seconds = idle_seconds
        self._budget_seconds = min(max(budget_seconds + earned_seconds, 0.0), idle_seconds)
        self._note_end(message)
        return message

    def closing(self, send: Send) -> Send:
        """
        Return `send` for a response that may come before the end of the body.

        Such a response says that the connection is closed after it (RFC 9112, 9.6). HTTP/2 ends the
        stream alone, as other requests share the connection.
        """
        if self.has_ended or not self._is_http1:
            return send
        self._send = send
        return self._send_closing

    async def discard(self) -> None:
        """Discard what still arrives, however slowly, for `discard_seconds` at most."""
        if self.has_ended:
            return
        # with a connection that is closed while bytes arrive, TCP resets it, and the client may
        # lose the response that it has not read yet (RFC 9112, 9.6)
        with suppress(TimeoutError):
            async with timeout(self._timeouts.discard_seconds):
                while not self.has_ended:
                    self._note_end(await self._receive())

    def release(self) -> None:
        """
        Let the web server close the connection. Nothing can be received or sent any more.

        The web server waits as long as anything refers to the `receive` and `send` that it has
        handed over. The timers of a request do, by their context, long after they were cancelled.
        """
        del self._receive, self._send

    async def wait_for_disconnect(self) -> None:
        """Wait until the client disconnects, or for ever if the rest of the body is to come."""
        # two must not receive at a time, and the handler still receives the body
        if not self.has_ended:
            await get_running_loop().create_future()
        while (await self._receive())["type"] == "http.request":
            pass

    async def _send_closing(self, message: Message) -> None:
        """Send a message, the first one with `Connection: close` if the body has not ended."""
        if message["type"] == "http.response.start" and not self.has_ended:
            message = {**message, "headers": (*message["headers"], CONNECTION_CLOSE)}
        if self._send is not None:
            await self._send(message)

    def _note_end(self, message: Message) -> None:
        """Set `has_ended` if an event is the last chunk of the body, or the disconnect."""
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_ended = True


async def next_chunk(receive: Receive) -> tuple[bytes, bool]:
    """
    Return the next chunk of a body, and whether more will come.

    Raises ClientDisconnected if the client has closed the connection, and SlowClient if `receive`
    is a `RequestBody` whose client is too slow.
    """
    message = await receive()
    if message["type"] != "http.request":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


def read_body(
    request: Request, limit: int = BODY_LIMIT_BYTES, too_long: str = BODY_TOO_LONG
) -> bytes:
    """
    Return a whole request body.

    Raises Waiting until the body has come. Raises TooLarge, with the message `too_long`, if the
    body has more than `limit` bytes, and ClientDisconnected or SlowClient if it does not come.
    """
    return request.wait("body", receive_body, request, limit, too_long)


async def receive_body(request: Request, limit: int, too_long: str) -> bytes:
    """
    Return a whole request body.

    Raises TooLarge, with the message `too_long`, if the body has more than `limit` bytes. Raises
    ClientDisconnected or SlowClient if it does not come.
    """
    body = b""
    has_more = True
    while has_more:
        chunk, has_more = await next_chunk(request.receive)
        body += chunk
        if len(body) > limit:  # whatever Content-Length has said
            raise TooLarge(too_long)
    return body


def read_json(request: Request, limit: int) -> bytes:
    """
    Return a request body that is JSON by its Content-Type, not decoded.

    Raises Invalid for another Content-Type, and TooLarge if the body has more than `limit` bytes.
    Raises Waiting until the body has come, and ClientDisconnected or SlowClient if it does not.
    """
    if request.body_type != JSON:
        raise Invalid(
            'Send the change as JSON, with "Content-Type: application/json".',
            code=UNSUPPORTED_MEDIA_TYPE,
        )
    return read_body(request, limit, f"This change has at most {limit} bytes. Send it in parts.")


def json_response(status: int, body: object, *headers: Header) -> Response:
    """Return a response with `body` encoded as JSON, which caches may not store."""
    return make_response(status, JSON, encode(body), CSP, NO_STORE, *headers)


def decode_path(raw_path: bytes) -> str:
    """
    Return a raw path decoded, with one slash in place of several in a row.

    Raises Invalid for a bad escape, text that is not UTF-8, a control character or a backslash.
    Raises NotFound for a segment `.` or `..` or an encoded slash, which proxies could read
    differently.
    """
    if _BAD_ESCAPE.search(raw_path):
        raise _bad_path("has a '%' that is not followed by two hexadecimal digits")
    path = ""
    # split before it is decoded: an encoded slash separates nothing
    for segment in raw_path.split(b"/"):
        if segment:
            path += f"/{_decode_segment(segment)}"
    if raw_path.endswith(b"/"):
        path += "/"
    return path


def _decode_segment(segment: bytes) -> str:
    """Return a segment of a path decoded. Raises Invalid or NotFound as `decode_path` does."""
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise _bad_path("is not UTF-8") from error
    if _CONTROL_CHARACTER.search(text) or "\\" in text:
        raise _bad_path("holds a control character or a backslash")
    if text in (".", "..") or "/" in text:
        raise NotFound("There is nothing at a path with dots or an encoded slash.")
    return text


def _bad_path(why: str) -> Invalid:
    """Return the error for a path. `why` is the rest of a sentence about it."""
    return Invalid(f"The path {why}. Ask for a path as the index links to it.")
