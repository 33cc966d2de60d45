"""Requests and responses, with what every handler here needs."""

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
"""Headers by lower-case name, of which repeated ones are one comma-separated value."""
MadeFrom = tuple[tuple[tuple[str, str], str], ...]
"""What an answer was made from: keys (of `http/page_cache.py`), each with its version."""

NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
NO_STORE: Final[Header] = (b"cache-control", b"no-store")
CSP: Final[Header] = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
JSON: Final = b"application/json"
PATHSEND: Final = "http.response.pathsend"
"""The ASGI extension that sends a file by its path, which the web server has."""
REQUEST: Final = "wheelyard.request"
"""The key of an ASGI scope that has the request."""
UNMATCHED_ROUTE: Final = "nothing"
"""The route, in metrics and logs, of a path that no route matches."""
CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request that its client broke off, as nginx logs it, too."""
SEE_OTHER: Final = 303
"""The status of the answer to a form, which leads to a page."""
STALL_SECONDS: Final = 60
"""How long a client may take nothing of a response before it gets no more of it."""

logger = logging.getLogger("wheelyard")


class Waiting(Exception):
    """A handler needs the result of a coroutine, and is called again once it is there."""

    def __init__(
        self, key: Hashable, begin: Callable[..., Awaitable[object]], *args: object
    ) -> None:
        super().__init__(key)
        self.key = key
        self.timeout_seconds: float | None = None
        """How long the coroutine may take before it ends with TimeoutError."""
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
        receive: The body, which may be received once.
        headers: All headers, joined.
        caller: The anonymous one, until the request is authenticated.
        address: The IP address of the client. From a header only if a trusted proxy has sent it.
    """

    def __init__(
        self, scope: AsgiScope, receive: Receive, headers: Headers, caller: Caller, address: str
    ) -> None:
        super().__init__(scope, receive)
        self.joined_headers = headers
        self.caller = caller
        self.address = address
        self.started_at = 0.0
        """When it has come, on the monotonic clock."""
        self.route = UNMATCHED_ROUTE
        """The name of its route."""
        self.response: Response | None = None
        """None until there is one, and if the client has disconnected before."""
        self.is_authenticated = False
        """Whether `caller` was authenticated, who may be anonymous."""
        self.browser_session: Session | None = None
        """The session by whose cookie the caller is signed in, or None for any other credential."""
        self.waits_for = ""
        """The provider that has to confirm the person of a session, and does not answer."""
        self._results = dict[Hashable, tuple[object, Exception | None]]()

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
        """Return the values of a field of the query, joined, or None if it is missing."""
        query = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        if name not in query:
            return None
        return ", ".join(query[name])

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded segments of the URL path, without empty ones and without the prefix."""
        return tuple(filter(None, self.scope["path"].split("/")))

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
        return content_type.partition(b";")[0].strip().lower()

    @contextmanager
    def waiting_at_most(self, seconds: float) -> Iterator[None]:
        """Raise TimeoutError instead of waiting longer, in a `with` block."""
        try:
            yield
        except Waiting as waiting:
            waiting.timeout_seconds = seconds
            raise

    def wait(self, key: Hashable, begin: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """
        Return the result of the coroutine `begin(*args)`, for which no thread waits.

        The first call raises Waiting. The coroutine then runs, and the handler is called again from
        its beginning, in which this returns what the coroutine has returned, or raises its error.
        So a handler changes nothing before it waits, and what it has checked is checked again.
        """
        # only one thread at a time works for a request, so its results need no lock
        if key not in self._results:
            raise Waiting(key, begin, *args)
        result, error = self._results[key]
        if error is not None:
            raise error
        return cast("T", result)  # of the coroutine with this key

    def once(self, key: Hashable, look: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return what `look(*args)` has returned when the handler first came here.

        For what counts each call, or may find something else after the handler has waited. An error
        of `look` is raised, and not remembered.
        """
        if key not in self._results:
            self._results[key] = look(*args), None
        return cast("T", self._results[key][0])  # of the function with this key

    def has_result(self, key: Hashable) -> bool:
        """Return whether `wait` would return at once, or raise an error of the coroutine."""
        return key in self._results

    # this and `finish_waiting` run in the event loop, while no thread works for the request
    def close_results(self) -> None:
        """End the reading of bodies that were waited for, and that no response has taken."""
        for result, _ in self._results.values():
            close_chunks(result)

    async def finish_waiting(self, waiting: Waiting) -> None:
        """Run the coroutine that a handler waits for, and keep its result for `wait`."""
        try:
            self._results[waiting.key] = await waiting.run(), None
        except Exception as error:  # noqa: BLE001 - the handler gets it
            self._results[waiting.key] = None, error


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """The JSON of an error response."""

    message: str
    """For people."""
    code: str
    """The status and a few words, which uv shows."""
    title: str
    """The reason phrase of the status."""
    error: str
    """The error code, for programs."""
    fact: str = ""
    """If there is `advice`, the message without it."""
    advice: Advice | None = None
    """What helps, for a program that says it in its own words."""


class Response:
    """
    A response whose body is bytes, or a file for the web server to send.

    It may be sent any number of times. `header_list` includes Content-Length, except with status
    204 or 304.
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
        """What the body says, if it is the JSON of an error."""
        self.made_from: MadeFrom | None = None
        """
        An identical request of the same caller gets this response while these are the versions.

        None if each request needs an answer of its own.
        """
        self.last_page: int | None = None
        """The number of the last page of the list, if it has none of the number in the request."""
        self.deadline = inf
        """When that ends in any case, on the monotonic clock."""
        self.cached: Response | None = None
        """The response of a cache that this one is, which lives as long as it is cached."""

    def until(self, made_from: MadeFrom | None, deadline: float = inf) -> "Response":
        """Return this response of a cache, which may be repeated while those are the versions."""
        response = copy(self)  # the one in the cache has no deadline, and is shared by all callers
        response.made_from = made_from
        response.deadline = deadline
        response.cached = self
        return response

    def with_headers(self, header_list: HeaderList) -> "Response":
        """Return the same response with other headers."""
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
    `STALL_SECONDS`. A body with `when_ready`, which tells when its next chunk can be read, occupies
    no thread until then.
    """

    def __init__(
        self, status: int, header_list: HeaderList, chunks: Iterator[bytes], pool: Executor
    ) -> None:
        super().__init__(status, header_list)
        self._chunks = chunks
        self._pool = pool
        if isinstance(chunks, BegunBody):
            chunks.is_sent = True

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send the response, to HEAD without its body."""
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
            return

        # at most one thread reads the chunks at a time, and `_close` waits for it
        watch: Task[None] | None = None
        wait_for_disconnect = getattr(receive, "wait_for_disconnect", None)
        if wait_for_disconnect is not None:
            watch = create_task(wait_for_disconnect())
        reading: Future[bytes] | None = None
        try:
            headers = self.header_list
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": headers}
            )
            chunk = b"-"
            while chunk:
                await until_readable(self._chunks, watch)
                if watch is not None and watch.done():
                    return
                reading = self._pool.submit(next, self._chunks, b"")
                chunk = await wrap_future(reading)
                if watch is not None and watch.done():
                    return
                sending = send(
                    {"type": "http.response.body", "body": chunk, "more_body": bool(chunk)}
                )
                await wait_for_client(sending, STALL_SECONDS, STALL_SECONDS)
        # without a last chunk the connection is closed, and the body looks incomplete
        except WheelyardError as error:
            logger.warning("a download broke off: %s", error.message)
        except TimeoutError:
            logger.info("a download broke off: its client took nothing for %d s", STALL_SECONDS)
        finally:
            if watch is not None:
                watch.cancel()
            with suppress(RuntimeError):  # the pool is shut down
                await wrap_future(self._pool.submit(_close, self._chunks, reading))


def make_response(status: int, content_type: bytes, body: bytes, *headers: Header) -> Response:
    """Return a response with `body`, Content-Type, Content-Length, `nosniff` and `headers`."""
    length = (b"content-length", b"%d" % len(body))
    return Response(status, ((b"content-type", content_type), length, NOSNIFF, *headers), body)


def redirect(status: int, location: str, *headers: Header) -> Response:
    """Return a redirect to an (ASCII) path or URL, which without `headers` caches may not store."""
    target = location.encode("ascii")
    common = ((b"location", target), (b"content-length", b"0"), NOSNIFF)
    return Response(status, common + (headers or (NO_STORE,)))


class BegunBody:
    """The chunks of a body whose first chunk was read already, or none if it is empty."""

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._first = first
        self._rest = rest
        self.is_sent = False
        """Whether a response closes it."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first:
            first = self._first
            self._first = b""
            return first
        return next(self._rest)

    def when_ready(self, call: Callable[[], None]) -> bool:
        """
        Return whether the next chunk can be read without waiting.

        If it cannot, `call` is called once it can, perhaps in another thread.
        """
        when_ready = getattr(self._rest, "when_ready", None)
        return bool(self._first or when_ready is None or when_ready(call))

    def close(self) -> None:
        """End the reading."""
        close_chunks(self._rest)


async def until_readable(chunks: Iterator[bytes], watch: Task[None] | None = None) -> None:
    """
    Wait until the next chunk of a body with `when_ready` is there, or `watch` has ended.

    Any other body is not waited for.
    """
    when_ready = getattr(chunks, "when_ready", None)
    if when_ready is None:
        return
    loop = get_running_loop()
    ready = loop.create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    def wake() -> None:  # in the thread that fetches the body
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(note)

    if when_ready(wake):
        return
    futures = [ready]
    if watch is not None:
        futures.append(watch)
    await asyncio_wait(futures, return_when=FIRST_COMPLETED)


def _close(chunks: Iterator[bytes], reading: Future[bytes] | None) -> None:
    """End the reading of a body, once the thread that reads its next chunk has done that."""
    if reading is not None:
        wait([reading])  # the waiting task may have been cancelled
    with suppress(WheelyardError):
        close_chunks(chunks)


def close_chunks(chunks: object) -> None:
    """End the reading of a body, if it is one that has to be closed."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
