"""One byte range of a body, as RFC 9110 (14) has it; several at once get the whole body."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"(?i:bytes)=(?:([0-9]{1,999})-([0-9]{0,999})|-([0-9]{1,999}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` up to but not including `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range begins behind the end."""


def span_of(header: str, size: int) -> Span | Unsatisfiable | None:
    """Return the span that a Range header asks of `size` bytes, None for the whole body."""
    match = _SINGLE.fullmatch(header.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return Span(size - length, size) if length else Unsatisfiable()
    start = int(first)
    if last and int(last) < start:
        return None  # a range that ends before it begins is no range at all
    stop = min(int(last) + 1, size) if last else size
    return Span(start, stop) if start < size else Unsatisfiable()
