"""Conditional and range requests (RFC 9110, sections 13 and 14), with ETags and no dates."""

import re
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid
from wheelyard.http.protocol.error_responses import PRECONDITION_FAILED, error_response
from wheelyard.http.protocol.messages import Header, Headers, Request, Response

_ETAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_BYTE_RANGE: Final = re.compile(
    r"(?i:bytes)=(?:([0-9]{1,999})-([0-9]{0,999})|-([0-9]{1,999}))", re.ASCII
)


class ByteRange(Struct, frozen=True):
    """The bytes from `start` up to `stop`, which is not included."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes; 0 for a range outside the body."""
        return self.stop - self.start


def is_not_modified(if_none_match: bytes | None, etag: bytes) -> bool:
    """Return whether If-None-Match is `*` or names an ETag, even weak, that begins with `etag`."""
    return if_none_match is not None and (etag in if_none_match or if_none_match.strip() == b"*")


def require_match(headers: Headers, etag: bytes | None) -> None:
    """Raise Invalid (412) unless If-Match is missing, `*` or has the strong ETag `etag`."""
    if_match = headers.get(b"if-match")
    if if_match is None or if_match.strip() == b"*" or etag in _ETAG.findall(if_match):
        return
    message = "If-Match names an ETag that this path does not have now. Ask for it again without."
    raise Invalid(message, code=PRECONDITION_FAILED, short="Precondition failed.")


def requested_range(request: Request, etag: bytes, size: int) -> ByteRange | None:
    """
    Return the range that is asked for, of a body of `size` bytes; None for the whole body.

    A range outside the body has size 0. Return None, too, if Range is malformed or has several
    ranges, if If-Range is another ETag than `etag`, and for HEAD.
    """
    if request.method == "HEAD" or request.joined_headers.get(b"if-range", etag) != etag:
        return None  # RFC 9110: only GET has ranges
    header = request.joined_headers.get(b"range", b"").decode("latin-1")
    match = _BYTE_RANGE.fullmatch(header.strip())
    if match is None:  # several ranges in one header get the whole body
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(max(size - int(suffix), 0), size)
    start = int(first)
    if last and int(last) < start:
        return None  # invalid by RFC 9110
    return ByteRange(min(start, size), min(int(last) + 1, size) if last else size)


def content_range(part: ByteRange, size: int) -> Header:
    """Return the Content-Range header for `part` of a body of `size` bytes."""
    return (b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, size))


def range_not_satisfiable(size: int) -> Response:
    """Return the 416 response for a range outside a body of `size` bytes."""
    message = f"The file has {size} bytes, and the range begins behind them."
    total = (b"content-range", b"bytes */%d" % size)
    return error_response(416, "range_not_satisfiable", message, "Range not satisfiable.", total)
