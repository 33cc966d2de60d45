"""
Requests to an index, with patience: what fails in passing is asked again, with longer pauses.

A redirect is followed, with the credential of where it leads, if there is one, and never from https
to http. Certificates are verified. This is the lower half of httpx2, as in `wheelyard.trust`: the
upper half writes URLs to the log, and what is in them.
"""

import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpcore2

from wheelyard.model.ambient import Ambient
from wheelyard.sources.web.credentials import Credentials
from wheelyard.sources.web.patience import Pace, TimedBackend
from wheelyard.sources.web.urls import BadUrl, Url

CONNECTIONS: Final = 48
"""Open at a time: pages that are read ahead, and files."""
CONNECT, SILENCE = 10.0, 60.0
"""Seconds: to connect, and of silence before an answer and in it."""
TRIES: Final = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
LONGEST_WAIT: Final = 60.0
"""Seconds that a server is left alone for at most, however long it asks for."""
REDIRECTS: Final = 10
PAGE_LIMIT: Final = 64 * 1024**2
"""Bytes of a page, unpacked."""
PAGE_TIME: Final = 600.0
"""Seconds that a page may take."""
UNPACKED: Final = 1024**2
"""Bytes that are unpacked at a time."""

OK, PARTIAL, NOT_FOUND, GONE = 200, 206, 404, 410
DENIED: Final = frozenset({401, 403, 407})
REDIRECTED: Final = frozenset({301, 302, 303, 307, 308})
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one a moment later."""
FAULTS: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.ProxyError,
    ssl.SSLError,
)
UNREACHED: Final = (httpcore2.ConnectError, httpcore2.ConnectTimeout)

T = TypeVar("T")


@dataclass(eq=False)
class WebFault(Exception):
    """
    There is no answer that can be used.

    Args:
        why: In a few words, without URL, header or body.
        status: What the server said; 0 if it did not.
        is_passing: Whether another try may help.
        is_away: Whether nobody answers there at all.
        wait: Seconds that the server asks for.
    """

    why: str
    status: int = 0
    is_passing: bool = False
    is_away: bool = False
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers, while it comes; to be closed."""

    url: Url
    """Where it came from, in the end."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    response: httpcore2.Response = field(repr=False)
    held: ExitStack = field(repr=False)

    def pieces(self, pace: Pace | None = None) -> Iterator[bytes]:
        """
        Yield the body as it comes.

        Args:
            pace: Of the whole file, where there is a limit.

        Raises:
            WebFault: It breaks off, or comes too slowly.
        """
        body = self.response.iter_stream()
        try:
            for piece in body if pace is None else pace.timed(body):
                if pace is not None and pace.is_too_slow:
                    raise WebFault("it comes too slowly")
                yield piece
        except FAULTS as error:
            raise WebFault("the connection broke off", is_passing=True) from error

    def close(self) -> None:
        """Let go of the connection."""
        self.held.close()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole body."""

    url: Url
    """Where it came from, in the end."""
    content_type: str
    body: bytes = field(repr=False)


class Web:
    """
    Asks servers; safe to share between threads.

    Args:
        credentials: What may be shown to whom.
        ambient: Clock, pauses and chance.
        agent: What it calls itself.
        tls: What proves a server; by default the authorities that this machine trusts.
    """

    def __init__(
        self,
        credentials: Credentials,
        ambient: Ambient,
        agent: str = "wheelyard",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._credentials = credentials
        self._ambient = ambient
        self._agent = agent
        self._backend = TimedBackend(ambient.monotonic)
        self._pool = httpcore2.ConnectionPool(
            network_backend=self._backend,
            ssl_context=tls or httpcore2.default_ssl_context(),
            max_connections=CONNECTIONS,
            keepalive_expiry=30.0,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def pace(self) -> Pace:
        """Return the pace of a file that has not begun yet."""
        return Pace(self._ambient.monotonic)

    def page(self, url: Url, accept: str) -> Page:
        """
        Return a page.

        Raises:
            WebFault: It cannot be had.
        """
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        return self.patiently(lambda: self._page(url, headers))

    def open(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """
        Return an answer as soon as it begins.

        Raises:
            WebFault: There is none that can be used.
        """
        return self.patiently(lambda: self.ask(url, headers, method))

    def patiently(self, call: Callable[[], T]) -> T:
        """
        Return what `call` returns, at last.

        Raises:
            WebFault: What the last try raised.
        """
        limit = FIRST_PAUSE
        for left in range(TRIES - 1, -1, -1):
            try:
                return call()
            except WebFault as fault:
                if not fault.is_passing or not left:
                    raise
                drawn = self._ambient.random.uniform(limit / 2, limit)
                self._ambient.pause(max(min(fault.wait, LONGEST_WAIT), drawn))
            limit = min(2 * limit, LONGEST_PAUSE)
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def ask(self, url: Url, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """
        Return an answer as soon as it begins. One try.

        Raises:
            WebFault: There is none that can be used.
        """
        for _ in range(REDIRECTS + 1):
            answer = self._exchange(method, url, headers)
            if answer.status in (OK, PARTIAL):
                return answer
            answer.close()
            if answer.status not in REDIRECTED or "location" not in answer.headers:
                raise _refused(answer)
            url = _followed(url, answer.headers["location"])
        raise WebFault("it leads round in circles")

    def _exchange(self, method: str, url: Url, headers: Mapping[str, str]) -> Answer:
        sent = {"User-Agent": self._agent, **headers}
        authorization = self._credentials.header_for(url)
        if authorization is not None:
            sent["Authorization"] = authorization
        times = {"connect": CONNECT, "read": SILENCE, "write": SILENCE, "pool": None}
        request = self._pool.stream(
            method, url.asked, headers=[*sent.items()], extensions={"timeout": times}
        )
        with ExitStack() as stack:
            try:
                with self._backend.beginning():
                    response = stack.enter_context(request)
            except FAULTS as error:
                raise _unanswered(error) from None  # its text may quote what was sent
            except UnicodeError:
                raise WebFault("its host cannot be looked up") from None
            known = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in response.headers}
            return Answer(url, response.status, known, response, stack.pop_all())

    def _page(self, url: Url, headers: Mapping[str, str]) -> Page:
        end = self._ambient.monotonic() + PAGE_TIME
        answer = self.ask(url, headers)
        found = bytearray()
        try:
            for piece in _unpacked(answer):
                found += piece
                if len(found) > PAGE_LIMIT:
                    raise WebFault(f"the page is larger than {PAGE_LIMIT >> 20} MiB")
                if self._ambient.monotonic() > end:
                    raise WebFault("the page comes too slowly")
        finally:
            answer.close()
        return Page(answer.url, answer.headers.get("content-type", ""), bytes(found))


def _followed(url: Url, location: str) -> Url:
    """Return where a redirect leads."""
    try:
        target = url.joined(location)
    except BadUrl as error:
        raise WebFault("it leads to what is no URL") from error
    if url.is_secure and not target.is_secure:
        raise WebFault("it leads from https to http")
    return target


def _unanswered(error: Exception) -> WebFault:
    if isinstance(error, ssl.SSLError) or "certificate" in str(error).lower():
        return WebFault("its certificate is not trusted", is_away=True)
    is_away = isinstance(error, UNREACHED)
    why = "it cannot be reached" if is_away else "it does not answer"
    return WebFault(why, is_passing=True, is_away=is_away)


def _refused(answer: Answer) -> WebFault:
    text = answer.headers.get("retry-after", "")
    wait = float(text) if text.isascii() and text.isdigit() and text else 0.0
    return WebFault(
        f"it answers with status {answer.status}",
        status=answer.status,
        is_passing=answer.status in PASSING,
        wait=wait,
    )


def _unpacked(answer: Answer) -> Iterator[bytes]:
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        yield from answer.pieces()
        return
    if coding not in ("gzip", "x-gzip"):
        raise WebFault("its answer is packed in a way that nobody asked for")
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for piece in answer.pieces():
            rest = piece
            while rest:
                yield unpacker.decompress(rest, UNPACKED)
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise WebFault("its answer is damaged", is_passing=True) from error
    if not unpacker.eof:
        raise WebFault("its answer is cut off", is_passing=True)
