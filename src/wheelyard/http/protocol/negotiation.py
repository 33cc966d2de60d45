"""
Which form, encoding and part of a body a client wants, and on which condition.

RFC 9110 (12.5, 13.1.1, 14) and PEP 691. A bare `*/*` gets HTML: who sends it reads links.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from wheelyard.http.protocol.error_responses import error_response
from wheelyard.http.protocol.messages import Headers, Response

ACCEPT_LIMIT_BYTES: Final = 4096
"""Bytes of an Accept header; a longer one counts as `*/*`."""

_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_SPAN = re.compile(r"(?i:bytes)=(?:([0-9]{1,999})-([0-9]{0,999})|-([0-9]{1,999}))", re.ASCII)
_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


@dataclass(frozen=True, slots=True)
class _MediaTypeNames:
    content_type: bytes
    mark: str
    """The letter in the ETag."""
    is_json: bool


class MediaType(Enum):
    """The forms of a page of the Simple API, the preferred first."""

    JSON = _MediaTypeNames(b"application/vnd.pypi.simple.v1+json", "j", is_json=True)
    PLAIN_JSON = _MediaTypeNames(b"application/json", "p", is_json=True)
    V1_HTML = _MediaTypeNames(b"application/vnd.pypi.simple.v1+html", "v", is_json=False)
    HTML = _MediaTypeNames(b"text/html; charset=utf-8", "h", is_json=False)


_NAMES: Final = {
    "application/vnd.pypi.simple.v1+json": MediaType.JSON,
    "application/vnd.pypi.simple.latest+json": MediaType.JSON,
    "application/json": MediaType.PLAIN_JSON,
    "application/vnd.pypi.simple.v1+html": MediaType.V1_HTML,
    "application/vnd.pypi.simple.latest+html": MediaType.V1_HTML,
    "text/html": MediaType.HTML,
}
_WIDE: Final = {
    "application/*": (MediaType.JSON, MediaType.V1_HTML),
    "text/*": (MediaType.HTML,),
    "*/*": (MediaType.HTML,),
}


class Encoding(Enum):
    """How a body is compressed; the value is the letter in the ETag."""

    IDENTITY = "i"
    GZIP = "g"
    ZSTD = "z"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to `stop`; an empty one begins behind the end."""

    start: int
    stop: int


def media_type_by_format(name: str) -> MediaType | None:
    """Return the form that `?format=` names; a blank may stand for its plus sign."""
    return _NAMES.get(name.replace(" ", "+"))


def best_media_type(accept: bytes) -> MediaType | None:
    """Return the form that suits an Accept header best, if any."""
    if not accept.strip() or len(accept) > ACCEPT_LIMIT_BYTES:
        return MediaType.HTML
    scores = _scores(accept.decode("latin-1"))
    best = max(MediaType, key=lambda form: scores.get(form, 0.0))  # of equals, the first
    return best if scores.get(best, 0.0) > 0 else None


def best_encoding(accept_encoding: bytes) -> Encoding:
    """Return the encoding for an Accept-Encoding header."""
    qualities = dict[str, float]()
    for element in accept_encoding[:ACCEPT_LIMIT_BYTES].decode("latin-1").lower().split(","):
        name, _, parameters = element.strip().partition(";")
        quality = _quality(parameters)
        if quality is not None:
            qualities[name.strip()] = quality
    if qualities.get("zstd", 0.0) > 0:
        return Encoding.ZSTD
    if qualities.get("gzip", qualities.get("*", 0.0)) > 0:
        return Encoding.GZIP
    return Encoding.IDENTITY


def parse_byte_range(header: str, size: int) -> ByteRange | None:
    """Return the span that a Range header asks for, None for the whole body."""
    match = _SPAN.fullmatch(header.strip())
    if match is None:  # several ranges at once get the whole body
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return ByteRange(max(size - int(suffix), 0), size)
    start = int(first)
    if last and int(last) < start:
        return None  # a range that ends before it begins is no range at all
    return ByteRange(min(start, size), min(int(last) + 1, size) if last else size)


def check_if_match(headers: Headers, etag: bytes | None) -> Response | None:
    """Return the refusal where If-Match names another strong ETag, or None."""
    condition = headers.get(b"if-match")
    if condition is None or condition.strip() == b"*" or etag in _TAG.findall(condition):
        return None
    message = "If-Match names an ETag that this path does not have now. Ask for it again without."
    return error_response(412, "precondition_failed", message, "Precondition failed.")


def _scores(accept: str) -> dict[MediaType, float]:
    # the narrowest range that covers a form decides
    found = dict[MediaType, tuple[int, float]]()
    for element in accept.lower().split(","):
        name, _, parameters = element.strip().partition(";")
        name, quality = name.strip(), _quality(parameters)
        if quality is None:
            continue  # one malformed element does not spoil the others
        exact = _NAMES.get(name)
        narrowness = 2 if exact else int(name != "*/*")
        for form in (exact,) if exact else _WIDE.get(name, ()):
            found[form] = max((narrowness, quality), found.get(form, (0, 0.0)))
    return {form: quality for form, (_, quality) in found.items()}


def _quality(parameters: str) -> float | None:
    # None for nonsense
    for parameter in parameters.split(";"):
        if parameter.strip().startswith("q"):
            match = _QUALITY.fullmatch(parameter.strip())
            return float(match[1]) if match else None
    return 1.0
