"""
In which request something happens: its trace and its client's address.

Whatever is logged on the way of a request, in whichever thread, can be told to belong to it.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

_PARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_CLOUD: Final = re.compile(rb"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]+))?")
_SPANS: Final = 2**64


@dataclass(frozen=True, slots=True)
class Trace:
    """Which trace a request belongs to, as its client or a proxy says."""

    id: str
    """32 lower-case hexadecimal digits."""
    span: str
    """16 of them, of the client's or the proxy's own step; empty if it does not say."""
    is_sampled: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a request before anything is done about it."""

    address: str
    """Of the client, as far as proxies are trusted."""
    trace: Trace | None
    span: Any = None
    """OpenTelemetry's own span of it, where that is on."""


CURRENT: Final[ContextVar[Circumstances | None]] = ContextVar("circumstances", default=None)
"""Those of the request that is being answered."""


def trace_of(headers: Mapping[bytes, bytes]) -> Trace | None:
    """
    Return the trace that a request belongs to, None if it says of none or says it wrong.

    `traceparent` is W3C Trace Context, level 1; `X-Cloud-Trace-Context` is Google's older form.
    """
    found = _PARENT.fullmatch(headers.get(b"traceparent", b""))
    if found is not None:
        trace, span, flags = (each.decode() for each in found.groups())
        is_known = not found[0].startswith(b"ff") and int(trace, 16) and int(span, 16)
        return Trace(trace, span, is_sampled=bool(int(flags, 16) & 1)) if is_known else None
    found = _CLOUD.fullmatch(headers.get(b"x-cloud-trace-context", b""))
    if found is None or not int(found[1], 16):
        return None
    span = int(found[2] or 0)
    text = f"{span:016x}" if 0 < span < _SPANS else ""
    return Trace(found[1].decode().lower(), text, is_sampled=found[3] == b"1")


def here(work: Callable[[], T]) -> Callable[[], T]:
    """Return the same work for another thread, where it belongs to this request, too."""
    return partial(copy_context().run, work)
