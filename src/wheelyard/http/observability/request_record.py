"""The record of a request for metrics, logs and traces: client, trace context and outcome."""

import re
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Final, TypeVar
from urllib.parse import unquote

from msgspec import Struct

from wheelyard.http.protocol.messages import AsgiScope, Headers, Response
from wheelyard.model.access import Caller
from wheelyard.model.text import escaped, redact_tokens

T = TypeVar("T")

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request that its client broke off; nginx logs it so, too."""
UNMATCHED_ROUTE: Final = "nothing"
"""The route, in metrics and logs, of a path that no route matches."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD_TRACE = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")


class TraceContext(Struct, frozen=True):
    """The trace that a request belongs to, as its client or a proxy sent it."""

    id: str
    """32 lower-case hexadecimal digits."""
    span: str
    """The parent span: 16 lower-case hexadecimal digits, or empty if none was sent."""
    is_sampled: bool


class RequestRecord(Struct):
    """The facts of one request for metrics, logs and traces; completed while it is answered."""

    scope: AsgiScope
    started_at: float
    """Monotonic seconds."""
    address: str
    """Of the client; from a header only if it was sent by a trusted proxy."""
    user_agent: bytes
    trace: TraceContext | None
    route: str = UNMATCHED_ROUTE
    caller: Caller | None = None
    """None before authentication."""
    status: int = CLIENT_CLOSED_REQUEST
    size: int | None = None
    """Bytes of the response's body; None if they are not known in advance."""

    def set_response(self, response: Response, *, has_disconnected: bool = False) -> None:
        """Set status and size from a response; the status is 499 if the client has disconnected."""
        self.status = CLIENT_CLOSED_REQUEST if has_disconnected else response.status_code
        sizes = (int(value) for name, value in response.header_list if name == b"content-length")
        self.size = next(sizes, None)


CURRENT_REQUEST: Final[ContextVar[RequestRecord | None]] = ContextVar("request", default=None)
"""The request that this thread or task works for."""


def parse_trace(headers: Headers) -> TraceContext | None:
    """
    Return the trace context in a request's headers; None if it is missing or malformed.

    `traceparent` is W3C Trace Context, level 1; `X-Cloud-Trace-Context` is Google's older header.
    """
    if b"traceparent" not in headers and b"x-cloud-trace-context" not in headers:
        return None  # as for most requests
    match = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if match is not None:
        trace, span, flags = (each.decode() for each in match.groups())
        is_valid = not match[0].startswith(b"ff") and int(trace, 16) and int(span, 16)
        return TraceContext(trace, span, is_sampled=bool(int(flags, 16) & 1)) if is_valid else None
    match = _CLOUD_TRACE.fullmatch(headers.get(b"x-cloud-trace-context", b""))
    if match is None or not int(match[1], 16):
        return None
    number = int(match[2] or 0)
    span = f"{number:016x}" if 0 < number < 2**64 else ""
    return TraceContext(match[1].decode().lower(), span, is_sampled=match[3] == b"1")


def in_context(work: Callable[[], T]) -> Callable[[], T]:
    """Return a function that runs `work` in any thread, with this thread's CURRENT_REQUEST."""
    return partial(copy_context().run, work)


def log_safe(sent: bytes) -> str:
    """Return log text for bytes that a client sent: the first 512, escaped, tokens redacted."""
    text = sent[:512].decode("latin-1")
    decoded = unquote(text)
    without_tokens = redact_tokens(decoded)  # finds percent-encoded tokens, too
    return escaped(text if without_tokens == decoded else without_tokens).replace('"', "%22")
