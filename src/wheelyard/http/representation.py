"""
Which representation of a page or file a client gets: type, encoding, part, or 304 (RFC 9110).

The media type of a page is chosen by Accept (PEP 691). An `Accept` of `*/*` alone gets HTML, as
clients that send it read links. The only encoding is gzip. Conditions are ETags, never dates.
"""

import gzip
import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from msgspec import Struct

from wheelyard.errors import Invalid
from wheelyard.http.error_responses import PRECONDITION_FAILED, error_response
from wheelyard.http.messages import Header, Headers, Request, Response

ACCEPT_LIMIT_BYTES: Final = 4096
"""The longest Accept and Accept-Encoding that are parsed."""

_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)

MIN_COMPRESSED_BYTES: Final = 256
"""The smallest body that is compressed."""
GZIP: Final[Header] = (b"content-encoding", b"gzip")

_ETAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_BYTE_RANGE: Final = re.compile(
    r"(?i:bytes)=(?:([0-9]{1,999})-([0-9]{0,999})|-([0-9]{1,999}))", re.ASCII
)


class _MediaTypeTraits(Struct, frozen=True):
    """What a page has by its media type."""

    content_type: bytes
    etag_letter: str
    """The letter in the ETag that tells the media types of one page apart."""
    is_json: bool


class MediaType(Enum):
    """
    The media types of a page, the preferred one first.

    `best_media_type` chooses among those of the Simple API.
    """

    JSON = _MediaTypeTraits(b"application/vnd.pypi.simple.v1+json", "j", is_json=True)
    PLAIN_JSON = _MediaTypeTraits(b"application/json", "p", is_json=True)
    V1_HTML = _MediaTypeTraits(b"application/vnd.pypi.simple.v1+html", "v", is_json=False)
    HTML = _MediaTypeTraits(b"text/html; charset=utf-8", "h", is_json=False)
    ATOM = _MediaTypeTraits(b"application/atom+xml; charset=utf-8", "a", is_json=False)
    """The type of feeds, which are not negotiated."""
    CORE_METADATA = _MediaTypeTraits(b"application/octet-stream", "m", is_json=False)
    """The type of a file's core metadata, which is not negotiated."""
    INTEGRITY = _MediaTypeTraits(b"application/vnd.pypi.integrity.v1+json", "i", is_json=True)
    """The type of the provenance of a file, for which `accepted_json` is asked."""
    TEXT = _MediaTypeTraits(b"text/plain; charset=utf-8", "t", is_json=False)
    """The type of a pinned requirement, which is not negotiated."""
    SVG = _MediaTypeTraits(b"image/svg+xml", "s", is_json=False)
    WEBP = _MediaTypeTraits(b"image/webp", "w", is_json=False)
    """The type of the pictures of the documentation, which are not negotiated."""

    __hash__ = object.__hash__  # Enum's own is slower, and each request needs a hash


_TYPES_BY_NAME: Final = {
    "application/vnd.pypi.simple.v1+json": MediaType.JSON,
    "application/vnd.pypi.simple.latest+json": MediaType.JSON,
    "application/json": MediaType.PLAIN_JSON,
    "application/vnd.pypi.simple.v1+html": MediaType.V1_HTML,
    "application/vnd.pypi.simple.latest+html": MediaType.V1_HTML,
    "text/html": MediaType.HTML,
}
_TYPES_BY_WILDCARD: Final = {
    "application/*": (MediaType.JSON, MediaType.V1_HTML),
    "text/*": (MediaType.HTML,),
    "*/*": (MediaType.HTML,),
}


def media_type_by_format(name: str) -> MediaType | None:
    """
    Return the media type that `?format=` names, or None if it is not known.

    A blank counts as `+`, which means a blank in a query.
    """
    return _TYPES_BY_NAME.get(name.replace(" ", "+"))


def best_media_type(accept: bytes) -> MediaType | None:
    """
    Return the media type that an Accept header prefers, or None if it accepts none of them.

    An empty header, or one above `ACCEPT_LIMIT_BYTES`, prefers HTML.
    """
    if not accept.strip() or len(accept) > ACCEPT_LIMIT_BYTES:
        return MediaType.HTML
    qualities = _media_type_qualities(accept.decode("latin-1"))
    # of several with the same quality, `max` returns the first
    best = max(MediaType, key=lambda media_type: qualities.get(media_type, 0.0))
    if qualities.get(best, 0.0) <= 0:
        return None
    return best


def accepted_json(accept: bytes, document_type: MediaType) -> MediaType | None:
    """
    Return the type under which an Accept header takes a JSON document, or None if it takes none.

    The answer is `document_type` unless only `application/json` is accepted. An empty header, or
    one above `ACCEPT_LIMIT_BYTES`, accepts all types.
    """
    if not accept.strip() or len(accept) > ACCEPT_LIMIT_BYTES:
        return document_type
    qualities = dict(_elements(accept.decode("latin-1")))
    # a type that the header does not name has the quality of the closest wildcard
    wildcard_quality = qualities.get("application/*", qualities.get("*/*", 0.0))
    for media_type in (document_type, MediaType.PLAIN_JSON):
        name = media_type.value.content_type.decode()
        if qualities.get(name, wildcard_quality) > 0:
            return media_type
    return None


def prefers_html(accept: bytes) -> bool:
    """Return whether an Accept header names `text/html`, and prefers it to JSON and V1_HTML."""
    return b"text/html" in accept.lower() and best_media_type(accept) is MediaType.HTML


def _elements(header: str) -> Iterator[tuple[str, float]]:
    """Yield the names in the well-formed elements of a header, with their qualities."""
    for element in header.lower().split(","):
        name, *parameters = [part.strip() for part in element.split(";")]
        qualities = [parameter for parameter in parameters if parameter.startswith("q")]
        quality = qualities[0] if qualities else "q=1"
        match = _QUALITY.fullmatch(quality)
        # a stranger's text: a malformed element is left out, and fails no request
        if match is not None:
            yield name, float(match[1])


def _media_type_qualities(accept: str) -> dict[MediaType, float]:
    """Return qualities by media type, as the most specific matching ranges of Accept give them."""
    # RFC 9110, 12.5.1: the most specific range counts, whatever its place in the header
    best = dict[MediaType, tuple[int, float]]()
    for name, quality in _elements(accept):
        media_types = _TYPES_BY_WILDCARD.get(name, ())
        specificity = 0 if name == "*/*" else 1
        if name in _TYPES_BY_NAME:
            media_types = (_TYPES_BY_NAME[name],)
            specificity = 2
        for media_type in media_types:
            best[media_type] = max((specificity, quality), best.get(media_type, (0, 0.0)))
    return {media_type: quality for media_type, (_, quality) in best.items()}


def accepts_gzip(headers: Headers) -> bool:
    """
    Return whether Accept-Encoding accepts gzip, also by `*`.

    A header above `ACCEPT_LIMIT_BYTES` accepts nothing.
    """
    accept_encoding = headers.get(b"accept-encoding", b"")
    if len(accept_encoding) > ACCEPT_LIMIT_BYTES:
        return False
    qualities = dict(_elements(accept_encoding.decode("latin-1")))
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def compressed(body: bytes) -> bytes | None:
    """Return `body` in gzip, or None if it is under `MIN_COMPRESSED_BYTES`, to be sent as it is."""
    if len(body) < MIN_COMPRESSED_BYTES:
        return None
    # without a time, equal pages have equal bytes in each process
    return gzip.compress(body, 6, mtime=0)


class ByteRange(Struct, frozen=True):
    """The bytes from `start` up to `stop`, which is not included."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """The number of bytes, which is 0 for a range outside the body."""
        return self.stop - self.start


def is_not_modified(if_none_match: bytes | None, etag: bytes) -> bool:
    """Return whether If-None-Match is `*` or names an ETag, even weak, that begins with `etag`."""
    if if_none_match is None:
        return False
    return etag in if_none_match or if_none_match.strip() == b"*"


def require_match(headers: Headers, etag: bytes | None) -> None:
    """
    Raise Invalid (412) unless If-Match is missing, `*` or has the strong ETag `etag`.

    If `etag` is None, no ETag in If-Match is the right one.
    """
    if_match = headers.get(b"if-match")
    if if_match is None or if_match.strip() == b"*":
        return
    if etag in _ETAG.findall(if_match):
        return
    message = "If-Match names an ETag that this path does not have now. Ask for it again without."
    raise Invalid(message, code=PRECONDITION_FAILED)


def requested_range(request: Request, etag: bytes, size: int) -> ByteRange | None:
    """
    Return the range of a body of `size` bytes that a request wants, or None for the whole body.

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
    stop = size
    if last:
        stop = min(int(last) + 1, size)
    return ByteRange(min(start, size), stop)


def content_range(byte_range: ByteRange, size: int) -> Header:
    """Return the Content-Range header for a part of a body of `size` bytes."""
    return (b"content-range", b"bytes %d-%d/%d" % (byte_range.start, byte_range.stop - 1, size))


def range_not_satisfiable(size: int) -> Response:
    """Return the 416 response for a range outside a body of `size` bytes."""
    message = f"The file has {size} bytes, and the range begins behind them."
    total = (b"content-range", b"bytes */%d" % size)
    return error_response(416, "range_not_satisfiable", message, total)
