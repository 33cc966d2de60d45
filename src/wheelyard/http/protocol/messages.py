"""Request and response values, and sending a response by ASGI."""

import logging
from asyncio import FIRST_COMPLETED, Task, create_task, get_running_loop, wrap_future
from asyncio import wait as asyncio_wait
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from wheelyard.authentication.verifiers.login_rate_limit import address_key
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller
from wheelyard.model.session import Session

AsgiScope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Wait = Callable[[], Coroutine[Any, Any, None]]
Header = tuple[bytes, bytes]
HeaderList = tuple[Header, ...]
Headers = Mapping[bytes, bytes]
"""Headers by lower-case name; repeated headers are one comma-separated value."""

NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
CSP: Final[Header] = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
JSON: Final = b"application/json"
PATHSEND: Final = "http.response.pathsend"
"""The ASGI extension that sends a file by its path."""
CHUNK_BYTES: Final = 256 * 1024
"""How much of a file is read at a time for a server without that extension."""

logger = logging.getLogger("wheelyard")


class Request(Struct, frozen=True, kw_only=True):
    """A request with its route parameters and its caller, who may be anonymous."""

    method: str
    segments: tuple[str, ...]
    """The decoded segments of the URL path, without empty ones."""
    params: Mapping[str, str]
    """The parts of the path that match the names in the route's pattern."""
    query: bytes
    headers: Headers
    caller: Caller
    address: str
    receive: Receive
    has_body: bool = True
    session: Session | None = None
    """The session by whose cookie the caller is signed in; None for any other credential."""

    @property
    def client_key(self) -> str:
        """The client for a `ConcurrencyLimit`: the principal, or an anonymous caller's network."""
        return address_key(self.address) if self.caller.is_anonymous else self.caller.principal

    @property
    def media_type(self) -> bytes:
        """The media type of the request body, in lower case and without parameters."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


class ErrorBody(Struct, frozen=True):
    """The JSON of an error response."""

    message: str
    """For people."""
    code: str
    """The status and a few words, which uv shows."""
    title: str
    """The reason phrase of the status."""
    error: str
    """The error code, for programs."""


class Response(Struct, frozen=True, weakref=True):
    """A response; `headers` include Content-Length, except with status 204 or 304."""

    status: int
    headers: HeaderList
    body: bytes | Path | Iterator[bytes] = b""
    """The body: bytes, a file for the kernel to send, or chunks to read in a thread."""
    repeat: Callable[[], "Response | None"] | None = None
    """
    Returns the response to an identical request of the same caller; None once it may be another.

    The response has the same status and headers. The function is None itself if each request needs
    an answer of its own.
    """
    error: ErrorBody | None = None
    """What the body says, if it is the JSON of an error."""
    on_page: str = ""
    """What a page says instead of the message of the error; empty for the same."""


def make_response(status: int, content_type: bytes, body: bytes, *headers: Header) -> Response:
    """Return a response with `body`, Content-Type, Content-Length, `nosniff` and `headers`."""
    length = (b"content-length", b"%d" % len(body))
    every = ((b"content-type", content_type), length, NOSNIFF, *headers)
    return Response(status, every, body)


def redirect(status: int, location: str, *headers: Header) -> Response:
    """Return a redirect to an (ASCII) path or URL; without `headers`, caches may not store it."""
    target = location.encode("ascii")
    length = (b"content-length", b"0")
    return Response(status, ((b"location", target), length, NOSNIFF, *(headers or (NO_STORE,))))


def whole_response(response: Response, method: str) -> tuple[Message, Message]:
    """Return the two ASGI messages of a response (to HEAD without its body) that is no stream."""
    start = {"type": "http.response.start", "status": response.status, "headers": response.headers}
    if method == "HEAD":
        return start, {"type": "http.response.body", "body": b""}
    if isinstance(response.body, Path):
        return start, {"type": PATHSEND, "path": str(response.body)}
    return start, {"type": "http.response.body", "body": response.body}


def sending_chunks(send: Send, pool: Executor) -> Send:
    """Return a `send` that passes on files in chunks, which are read in `pool`, not by a path."""

    async def send_message(message: Message) -> None:
        if message["type"] != PATHSEND:
            await send(message)
            return
        loop = get_running_loop()
        with await loop.run_in_executor(pool, FileIO, message["path"]) as file:
            chunk = b"-"
            while chunk:
                chunk = await loop.run_in_executor(pool, file.read, CHUNK_BYTES)
                await send({"type": "http.response.body", "body": chunk, "more_body": bool(chunk)})

    return send_message


async def send_response(
    response: Response, method: str, send: Send, pool: Executor, hung_up: Wait | None = None
) -> None:
    """
    Send a response by ASGI (to HEAD without its body).

    A body of chunks is read in `pool`, and closed at the end. Once `hung_up` has returned, because
    the client has disconnected, no more chunks are read. A body with `when_ready`, which tells when
    its next chunk can be read, occupies no thread until then.
    """
    start, body = whole_response(response, method)
    if method == "HEAD" or isinstance(response.body, bytes | Path):
        await send(start)
        await send(body)
    else:
        await _send_chunks(start, response.body, send, pool, hung_up)


async def _send_chunks(
    start: Message, chunks: Iterator[bytes], send: Send, pool: Executor, hung_up: Wait | None
) -> None:
    watch = None if hung_up is None else create_task(hung_up())
    reading: Future[bytes] | None = None
    try:
        await send(start)
        while True:
            await until_readable(chunks, watch)
            if watch is not None and watch.done():
                return
            reading = pool.submit(next, chunks, b"")
            chunk = await wrap_future(reading)
            if watch is not None and watch.done():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": bool(chunk)})
            if not chunk:
                return
    except WheelyardError as error:
        # without a last chunk the connection is closed, and the body looks incomplete
        logger.warning("a download broke off: %s", error.message)
    finally:
        if watch is not None:
            watch.cancel()
        with suppress(RuntimeError):  # the pool is shut down
            await wrap_future(pool.submit(_close, chunks, reading))


class BegunBody:
    """Iterator of the chunks of a body whose first chunk was read already; empty if it has none."""

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._first = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return next(self._rest)

    def when_ready(self, call: Callable[[], None]) -> bool:
        """Return whether the next chunk is there; if not, call `call` once it is."""
        when_ready = getattr(self._rest, "when_ready", None)
        return bool(self._first or when_ready is None or when_ready(call))

    def close(self) -> None:
        """End the reading."""
        getattr(self._rest, "close", lambda: None)()


async def until_readable(chunks: Iterator[bytes], watch: Task[None] | None = None) -> None:
    """Wait until the next chunk of a body with `when_ready` is there, or `watch` has ended."""
    when_ready = getattr(chunks, "when_ready", None)
    if when_ready is None:
        return
    loop = get_running_loop()
    ready = loop.create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(note)

    if when_ready(wake):
        return
    waiting = (ready,) if watch is None else (ready, watch)
    await asyncio_wait(waiting, return_when=FIRST_COMPLETED)


def _close(chunks: Iterator[bytes], reading: Future[bytes] | None) -> None:
    if reading is not None:
        wait([reading])  # the waiting task may have been cancelled
    with suppress(WheelyardError):
        getattr(chunks, "close", lambda: None)()
