"""What is known of a request: its address, its trace, and what became of it."""

import re
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from wheelyard.http.protocol.messages import AsgiScope, Headers, Response
from wheelyard.model.text import escaped, redact_tokens

T = TypeVar("T")

CLIENT_CLOSED_REQUEST: Final = 499
"""The status of a request that its client has broken off."""
UNMATCHED_ROUTE: Final = "nothing"
"""The name, in metrics and logs, of a path that leads nowhere."""

_PARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD: Final = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which trace a request belongs to, as its client or a proxy says."""

    id: str
    """32 lower-case hexadecimal digits."""
    span: str
    """16 of them, of the step before; empty if it does not say."""
    is_sampled: bool


@dataclass(slots=True)
class RequestRecord:
    """A request that is being answered, for metrics, logs and traces."""

    scope: AsgiScope
    started_at: float
    address: str
    """The client's, as far as proxies are trusted."""
    trace: TraceContext | None
    span: Any = None
    """OpenTelemetry's, where that is on."""
    route: str = UNMATCHED_ROUTE
    cache_key: bytes | None = None
    """What its caller is remembered by; None as long as nobody has asked."""
    principal: str = ""
    """A principal; empty as long as nobody has asked."""
    status: int = CLIENT_CLOSED_REQUEST
    size: int | None = None
    """Bytes of the body; None where nobody knew before."""

    def set_response(self, answer: Response, *, is_alone: bool = False) -> None:
        """Note what the client is sent; `is_alone` where it has mostly gone."""
        self.status = CLIENT_CLOSED_REQUEST if is_alone else answer.status
        length = next((value for name, value in answer.headers if name == b"content-length"), None)
        self.size = None if length is None else int(length)


CURRENT_REQUEST: Final[ContextVar[RequestRecord | None]] = ContextVar("watched", default=None)
"""The request that is being answered, in whichever thread."""


def parse_trace_context(headers: Headers) -> TraceContext | None:
    """
    Return the trace that a request says it belongs to, if any.

    `traceparent` is W3C Trace Context, level 1; `X-Cloud-Trace-Context` is Google's older form.
    """
    found = _PARENT.fullmatch(headers.get(b"traceparent", b""))
    if found is not None:
        trace, span, flags = (each.decode() for each in found.groups())
        is_known = not found[0].startswith(b"ff") and int(trace, 16) and int(span, 16)
        return TraceContext(trace, span, is_sampled=bool(int(flags, 16) & 1)) if is_known else None
    found = _CLOUD.fullmatch(headers.get(b"x-cloud-trace-context", b""))
    if found is None or not int(found[1], 16):
        return None
    span = int(found[2] or 0)
    text = f"{span:016x}" if 0 < span < 2**64 else ""
    return TraceContext(found[1].decode().lower(), text, is_sampled=found[3] == b"1")


def in_context(work: Callable[[], T]) -> Callable[[], T]:
    """Return the same work for another thread, as a part of this request."""
    return partial(copy_context().run, work)


def redacted_for_log(text: bytes) -> str:
    """Return the beginning of what was sent for a log, without a secret."""
    begun = text[:512].decode("latin-1")
    decoded = unquote(begun)
    veiled = redact_tokens(decoded)  # in whatever way it is written
    return escaped(begun if veiled == decoded else veiled).replace('"', "%22")
