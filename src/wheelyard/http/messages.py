"""Requests and responses of the web server, and the wait of a handler for a coroutine."""

import logging
from asyncio import FIRST_COMPLETED, Task, create_task, get_running_loop, timeout, wrap_future
from asyncio import wait as asyncio_wait
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, MutableMapping
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from copy import copy
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, cast
from urllib.parse import parse_qs

from msgspec import Struct
from starlette.requests import Request as StarletteRequest

from wheelyard.authentication.verifiers.login_rate_limit import address_key
from wheelyard.errors import WheelyardError
from wheelyard.http.client_time import wait_for_client
from wheelyard.model.access import Caller
from wheelyard.model.api_token import Session
from wheelyard.remedies import Advice

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

AsgiScope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
HeaderList = tuple[Header, ...]
Headers = Mapping[bytes, bytes]
"""Headers by lower-case name. The values of a repeated header are joined by commas."""
MadeFrom = tuple[tuple[tuple[str, str], str], ...]
"""What an answer was made from: keys of documents (`http/page_cache.py`), with their versions."""

NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
CSP: Final[Header] = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
JSON: Final = b"application/json"
PATHSEND: Final = "http.response.pathsend"
"""The ASGI extension that sends a file by its path, which the web server has."""
REQUEST: Final = "wheelyard.request"
"""The key under which an ASGI scope has the `Request`."""
UNMATCHED_ROUTE: Final = "nothing"
"""The route, in metrics and logs, of a path that no route matches."""
CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request that its client broke off. nginx logs this number, too."""
SEE_OTHER: Final = 303
"""The status of a redirect from a form to the page that is shown after it."""
STALL_SECONDS: Final = 60
"""How long a client may take nothing of a response before the response is ended."""

logger = logging.getLogger("wheelyard")


class Waiting(Exception):
    """A handler needs the result of a coroutine, and is called again once it is there."""

    def __init__(
        self, key: Hashable, begin: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        super().__init__(key)
        self.key = key
        self.timeout_seconds: float | None = None
        """After how many seconds the coroutine ends with TimeoutError, or None for no limit."""
        self._begin = begin
        self._args = args

    async def run(self) -> object:
        """
        Return the result of the coroutine, or raise its error.

        Raises TimeoutError after `timeout_seconds`.
        """
        async with timeout(self.timeout_seconds):
            return await self._begin(*self._args)


class Request(StarletteRequest):
    """
    A request with its caller, who may be anonymous.

    Args:
        scope: The ASGI scope, whose path is decoded and without the prefix.
        receive: Returns the events of the body, each once.
        headers: All headers, joined.
        caller: `UNAUTHENTICATED`, until the request is authenticated.
        address: The IP address of the client. A header names it only if a trusted proxy sent that.
    """

    def __init__(
        self, scope: AsgiScope, receive: Receive, headers: Headers, caller: Caller, address: str
    ) -> None:
        super().__init__(scope, receive)
        self.joined_headers = headers
        self.caller = caller
        self.address = address
        self.started_at = 0.0
        """When the request has come, on the monotonic clock."""
        self.route = UNMATCHED_ROUTE
        """The name of its route."""
        self.response: Response | None = None
        """None until there is a response, and if the client has disconnected before."""
        self.is_authenticated = False
        """Whether `caller` is known for certain. That caller may be anonymous."""
        self.browser_session: Session | None = None
        """The session by whose cookie the caller is signed in, or None for any other credential."""
        self.silent_provider = ""
        """
        The provider that has to confirm the person of a session, and does not answer.

        Empty if no such provider keeps the request from being authenticated.
        """
        self._results = dict[Hashable, tuple[object, Exception | None]]()
        """The results of `wait` and `once`, or their errors, by key."""

    @property
    def status(self) -> int:
        """The status of the response, or 499 if there is none."""
        if self.response is None:
            return CLIENT_CLOSED_REQUEST
        return self.response.status_code

    @property
    def query_string(self) -> bytes:
        """The query, without its question mark."""
        query: bytes = self.scope["query_string"]
        return query

    def query_field(self, name: str) -> str | None:
        """Return the values of a field of the query, joined, or None if the field is missing."""
        fields = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        if name not in fields:
            return None
        return ", ".join(fields[name])

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded segments of the URL path, without empty ones and without the prefix."""
        path: str = self.scope["path"]
        return tuple(segment for segment in path.split("/") if segment)

    @property
    def client_key(self) -> str:
        """The client for a `ConcurrencyLimit`: the principal, or an anonymous caller's network."""
        if self.caller.is_anonymous:
            return address_key(self.address)
        return self.caller.principal

    @property
    def body_type(self) -> bytes:
        """The media type of the request body, in lower case and without parameters."""
        content_type = self.joined_headers.get(b"content-type", b"")
        media_type, _, _ = content_type.partition(b";")
        return media_type.strip().lower()

    @contextmanager
    def waiting_at_most(self, seconds: float) -> Iterator[None]:
        """Let each `wait` in a `with` block raise TimeoutError after so many seconds."""
        try:
            yield
        except Waiting as waiting:
            waiting.timeout_seconds = seconds
            raise

    def wait(self, key: Hashable, begin: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """
        Return the result of the coroutine `begin(*args)`, for which no thread waits.

        The first call raises Waiting. The coroutine then runs, and the handler is called again from
        its beginning. This call then returns what the coroutine has returned, or raises its error.
        So a handler changes nothing before it waits, and what it has checked is checked again.
        """
        # only one thread at a time works for a request, so `_results` needs no lock
        if key not in self._results:
            raise Waiting(key, begin, *args)
        result, error = self._results[key]
        if error is not None:
            raise error
        return cast("T", result)  # of the coroutine with this key

    def once(self, key: Hashable, look: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return what `look(*args)` has returned when the handler called this for the first time.

        `look` may be a function that counts its calls, or that may return something else after the
        handler has waited. An error of `look` is raised, and not remembered.
        """
        if key not in self._results:
            self._results[key] = look(*args), None
        return cast("T", self._results[key][0])  # of the function with this key

    def has_result(self, key: Hashable) -> bool:
        """Return whether `wait` would return at once, or raise an error of the coroutine."""
        return key in self._results

    # this and `finish_waiting` run in the event loop, while no thread works for the request
    def close_results(self) -> None:
        """End the reading of the bodies among the results, unless a response reads them."""
        for result, _ in self._results.values():
            close_chunks(result)

    async def finish_waiting(self, waiting: Waiting) -> None:
        """Run the coroutine that a handler waits for, and keep its result or error for `wait`."""
        try:
            self._results[waiting.key] = await waiting.run(), None
        except Exception as error:  # noqa: BLE001 - the handler gets it
            self._results[waiting.key] = None, error


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """The JSON of an error response."""

    message: str
    """What went wrong, for people."""
    code: str
    """The status and the first sentence of the message, which uv shows."""
    title: str
    """The reason phrase of the status."""
    error: str
    """The error code, for programs."""
    fact: str = ""
    """The message without the advice, or an empty text without `advice`."""
    advice: Advice | None = None
    """What helps, for a program that tells people in its own words."""


class Response:
    """
    A response whose body is bytes, or a file for the web server to send.

    The response may be sent any number of times. `header_list` includes Content-Length, except with
    status 204 or 304.
    """

    def __init__(
        self,
        status: int,
        header_list: HeaderList,
        content: bytes | Path = b"",
        *,
        error: ErrorBody | None = None,
    ) -> None:
        self.status_code = status
        self.header_list = header_list
        self.content = content
        self.error = error
        """What the body says, or None if the body is not the JSON of an error."""
        self.made_from: MadeFrom | None = None
        """
        What the response was made from.

        An identical request of the same caller gets this response again while the keys have these
        versions, up to `deadline`. None if each request needs an answer of its own.
        """
        self.deadline = inf
        """Until when this response may be repeated, on the monotonic clock."""
        self.cached_response: Response | None = None
        """The response in a cache of which this one is a copy. It lives as long as it is cached."""
        self.last_page: int | None = None
        """The number of the list's last page, if the request names a page that does not exist."""

    def repeatable(self, made_from: MadeFrom | None, deadline: float) -> "Response":
        """Return a copy of this cached response, with `made_from` and `deadline`."""
        response = copy(self)  # all callers share the response in the cache
        response.made_from = made_from
        response.deadline = deadline
        response.cached_response = self
        return response

    def with_headers(self, header_list: HeaderList) -> "Response":
        """Return a copy of the response with other headers."""
        response = copy(self)
        response.header_list = header_list
        return response

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send the response, to HEAD without its body."""
        del receive
        headers = self.header_list
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif isinstance(self.content, Path):
            await send({"type": PATHSEND, "path": str(self.content)})
        else:
            await send({"type": "http.response.body", "body": self.content})


class StreamedResponse(Response):
    """
    A response whose body is read in chunks, in a thread of `pool`, and closed at the end.

    No more chunks are read once the client has disconnected, or has taken nothing for
    `STALL_SECONDS`. A body with a method `when_ready` tells when its next chunk can be read, and
    occupies no thread until then.
    """

    def __init__(
        self, status: int, header_list: HeaderList, chunks: Iterator[bytes], pool: Executor
    ) -> None:
        super().__init__(status, header_list)
        self._chunks = chunks
        self._pool = pool
        self._reading: Future[bytes] | None = None
        """The latest read of a chunk, or None before the first one."""
        if isinstance(chunks, BegunBody):
            chunks.is_sent = True

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send the response, to HEAD without its body."""
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
            return

        disconnect: Task[None] | None = None
        wait_for_disconnect = getattr(receive, "wait_for_disconnect", None)
        if wait_for_disconnect is not None:
            disconnect = create_task(wait_for_disconnect())
        try:
            headers = self.header_list
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": headers}
            )
            await self._send_chunks(send, disconnect)
        # without a last chunk the connection is closed, and the body looks incomplete
        except WheelyardError as error:
            logger.warning("a download broke off: %s", error.message)
        except TimeoutError:
            logger.info("a download broke off: its client took nothing for %d s", STALL_SECONDS)
        finally:
            if disconnect is not None:
                disconnect.cancel()
            with suppress(RuntimeError):  # the pool is shut down
                await wrap_future(self._pool.submit(_close, self._chunks, self._reading))

    async def _send_chunks(self, send: Send, disconnect: Task[None] | None) -> None:
        """Send chunk after chunk, until the body or `disconnect` has ended."""
        # at most one thread reads the chunks at a time, and `_close` waits for it
        has_more = True
        while has_more:
            await until_readable(self._chunks, disconnect)
            if disconnect is not None and disconnect.done():
                return
            self._reading = self._pool.submit(next, self._chunks, b"")
            chunk = await wrap_future(self._reading)
            if disconnect is not None and disconnect.done():
                return
            has_more = bool(chunk)
            sending = send({"type": "http.response.body", "body": chunk, "more_body": has_more})
            await wait_for_client(sending, STALL_SECONDS, STALL_SECONDS)


def make_response(status: int, content_type: bytes, body: bytes, *headers: Header) -> Response:
    """Return a response with `body`, Content-Type, Content-Length, `nosniff` and `headers`."""
    length = (b"content-length", b"%d" % len(body))
    return Response(status, ((b"content-type", content_type), length, NOSNIFF, *headers), body)


def redirect(status: int, location: str, *headers: Header) -> Response:
    """
    Return a redirect to an (ASCII) path or URL.

    Caches may not store the redirect unless other `headers` are given.
    """
    target = location.encode("ascii")
    cache_headers = headers or (NO_STORE,)
    common_headers = ((b"location", target), (b"content-length", b"0"), NOSNIFF)
    return Response(status, common_headers + cache_headers)


class BegunBody:
    """
    The chunks of a body whose first chunk was read already.

    Args:
        first_chunk: Empty if the body has no chunk.
        later_chunks: Reads the chunks after the first one.
    """

    def __init__(self, first_chunk: bytes, later_chunks: Iterator[bytes]) -> None:
        self._first_chunk = first_chunk
        """Empty after `__next__` has returned the chunk."""
        self._later_chunks = later_chunks
        self.is_sent = False
        """Whether a response sends the body, and closes it at its end."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first_chunk:
            chunk = self._first_chunk
            self._first_chunk = b""
            return chunk
        return next(self._later_chunks)

    def when_ready(self, wake: Callable[[], None]) -> bool:
        """
        Return whether the next chunk can be read without waiting.

        If it cannot, `wake` is called once it can be read, perhaps in another thread.
        """
        when_ready = getattr(self._later_chunks, "when_ready", None)
        if self._first_chunk or when_ready is None:
            return True
        return bool(when_ready(wake))

    def close(self) -> None:
        """End the reading."""
        close_chunks(self._later_chunks)


async def until_readable(chunks: Iterator[bytes], disconnect: Task[None] | None = None) -> None:
    """
    Wait until the next chunk of a body with `when_ready` can be read, or `disconnect` has ended.

    Any other body is not waited for.
    """
    when_ready = getattr(chunks, "when_ready", None)
    if when_ready is None:
        return
    loop = get_running_loop()
    ready = loop.create_future()

    def set_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    def wake() -> None:  # in the thread that fetches the body
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(set_ready)

    if when_ready(wake):
        return
    futures = [ready]
    if disconnect is not None:
        futures.append(disconnect)
    await asyncio_wait(futures, return_when=FIRST_COMPLETED)


def _close(chunks: Iterator[bytes], reading: Future[bytes] | None) -> None:
    """End the reading of a body, once the thread that reads a chunk of it has done so."""
    if reading is not None:
        wait([reading])  # the task that awaited it may have been cancelled
    with suppress(WheelyardError):
        close_chunks(chunks)


def close_chunks(chunks: object) -> None:
    """End the reading of a body. Anything without a method `close` is left alone."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
