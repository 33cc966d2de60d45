"""A request and its reply as values, and the way of a reply to the client."""

import logging
from asyncio import create_task, wrap_future
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wheelyard.authentication.verifiers.login_rate_limit import address_key
from wheelyard.errors import WheelyardError
from wheelyard.model.access import Caller

AsgiScope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WaitForDisconnect = Callable[[], Coroutine[Any, Any, None]]
Header = tuple[bytes, bytes]
Headers = Mapping[bytes, bytes]
"""By lower-case name; repeated ones are one list."""

NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
CONTENT_SECURITY_POLICY: Final[Header] = (
    b"content-security-policy",
    b"default-src 'none'; frame-ancestors 'none'",
)
JSON: Final = b"application/json"

logger = logging.getLogger("wheelyard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks, and what was decided about it already."""

    method: str
    segments: tuple[str, ...]
    """Of the path: decoded, and without empty ones."""
    params: Mapping[str, str]
    """What the path has for the names in its route's pattern."""
    query: bytes
    headers: Headers
    caller: Caller
    address: str
    """The client's."""
    receive: Receive
    has_body: bool = True
    """Whether one was announced, be it as a length or as chunks."""

    @property
    def client_key(self) -> str:
        """As whom it shares what is scarce: the caller, or an anonymous one's network."""
        return address_key(self.address) if self.caller.is_anonymous else self.caller.principal

    @property
    def media_type(self) -> bytes:
        """The body's, in lower case, without parameters."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Response:
    """What the client gets; `headers` include the length of the body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | Path | Iterator[bytes] = b""
    """Bytes, a file for the kernel, or chunks, read and closed in a thread."""


def make_response(status: int, content_type: bytes, body: bytes, *headers: Header) -> Response:
    """Return a reply with `body`, its length and its type."""
    length = (b"content-length", b"%d" % len(body))
    every = ((b"content-type", content_type), length, NOSNIFF, *headers)
    return Response(status, every, body)


def redirect(status: int, location: str, *headers: Header) -> Response:
    """Return a redirect to a path of this host, or to any URL, in ASCII."""
    target = location.encode("ascii")
    length = (b"content-length", b"0")
    return Response(status, ((b"location", target), length, NOSNIFF, *(headers or (NO_STORE,))))


async def send_response(
    answer: Response,
    method: str,
    send: Send,
    readers: Executor,
    gone: WaitForDisconnect | None = None,
) -> None:
    """Send `answer`; `gone` returns when the client has hung up."""
    start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
    body = b"" if method == "HEAD" else answer.body
    if isinstance(body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": body})
    elif isinstance(body, Path):
        await send(start)
        await send({"type": "http.response.pathsend", "path": str(body)})
    else:
        await _send_chunks(start, body, send, readers, gone)


async def _send_chunks(
    start: Message,
    chunks: Iterator[bytes],
    send: Send,
    readers: Executor,
    gone: WaitForDisconnect | None,
) -> None:
    watch = None if gone is None else create_task(gone())
    reading: Future[bytes] | None = None
    try:
        await send(start)
        while True:
            reading = readers.submit(next, chunks, b"")
            chunk = await wrap_future(reading)
            if watch is not None and watch.done():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": bool(chunk)})
            if not chunk:
                return
    except WheelyardError as fault:
        # without a last piece the connection is cut, and the body looks incomplete
        logger.warning("a download broke off: %s", fault.message)
    finally:
        if watch is not None:
            watch.cancel()
        with suppress(RuntimeError):  # the threads are gone
            await wrap_future(readers.submit(_close, chunks, reading))


def _close(chunks: Iterator[bytes], reading: Future[bytes] | None) -> None:
    if reading is not None:
        wait([reading])  # whoever was waiting for it may have been sent away
    with suppress(WheelyardError):
        getattr(chunks, "close", lambda: None)()
