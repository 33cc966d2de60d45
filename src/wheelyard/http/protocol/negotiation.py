"""
Content negotiation (RFC 9110, section 12.5; PEP 691): the media type of a page, by Accept.

An `Accept` of `*/*` alone gets HTML, because clients that send it read links.
"""

import re
from enum import Enum
from typing import Final

from msgspec import Struct

ACCEPT_LIMIT_BYTES: Final = 4096
"""The parsed length: a longer Accept counts as `*/*`, the rest of Accept-Encoding is ignored."""

_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


class _MediaTypeTraits(Struct, frozen=True):
    content_type: bytes
    etag_letter: str
    """The letter in the ETag that tells the media types of one page apart."""
    is_json: bool


class MediaType(Enum):
    """The media types of a page of the Simple API; of equal preferences, the first is sent."""

    JSON = _MediaTypeTraits(b"application/vnd.pypi.simple.v1+json", "j", is_json=True)
    PLAIN_JSON = _MediaTypeTraits(b"application/json", "p", is_json=True)
    V1_HTML = _MediaTypeTraits(b"application/vnd.pypi.simple.v1+html", "v", is_json=False)
    HTML = _MediaTypeTraits(b"text/html; charset=utf-8", "h", is_json=False)
    ATOM = _MediaTypeTraits(b"application/atom+xml; charset=utf-8", "a", is_json=False)
    """Of feeds, which are not negotiated."""
    CORE_METADATA = _MediaTypeTraits(b"application/octet-stream", "m", is_json=False)
    """Of a file's core metadata, which is not negotiated."""

    __hash__ = object.__hash__  # the one of Enum is slower, and is asked for each request


_BY_NAME: Final = {
    "application/vnd.pypi.simple.v1+json": MediaType.JSON,
    "application/vnd.pypi.simple.latest+json": MediaType.JSON,
    "application/json": MediaType.PLAIN_JSON,
    "application/vnd.pypi.simple.v1+html": MediaType.V1_HTML,
    "application/vnd.pypi.simple.latest+html": MediaType.V1_HTML,
    "text/html": MediaType.HTML,
}
_BY_WILDCARD: Final = {
    "application/*": (MediaType.JSON, MediaType.V1_HTML),
    "text/*": (MediaType.HTML,),
    "*/*": (MediaType.HTML,),
}


def media_type_by_format(name: str) -> MediaType | None:
    """Return the media type that `?format=` names, where a blank counts as `+`; None if unknown."""
    return _BY_NAME.get(name.replace(" ", "+"))


def best_media_type(accept: bytes) -> MediaType | None:
    """
    Return the media type that an Accept header prefers; None if it accepts none of them.

    An empty header, or one above `ACCEPT_LIMIT_BYTES`, prefers HTML.
    """
    if not accept.strip() or len(accept) > ACCEPT_LIMIT_BYTES:
        return MediaType.HTML
    qualities = _media_type_qualities(accept.decode("latin-1"))
    best = max(MediaType, key=lambda each: qualities.get(each, 0.0))  # the first of equal ones
    return best if qualities.get(best, 0.0) > 0 else None


def prefers_html(accept: bytes) -> bool:
    """Return whether an Accept header names `text/html`, and prefers it to JSON and V1_HTML."""
    return b"text/html" in accept.lower() and best_media_type(accept) is MediaType.HTML


def parse_quality(parameters: str) -> float | None:
    """Return the value of `q` among the parameters, 1 without it; None if it is malformed."""
    for parameter in parameters.split(";"):
        if parameter.strip().startswith("q"):
            match = _QUALITY.fullmatch(parameter.strip())
            return float(match[1]) if match else None
    return 1.0


def _media_type_qualities(accept: str) -> dict[MediaType, float]:
    """Return qualities by media type, as the most specific matching ranges of Accept give them."""
    found = dict[MediaType, tuple[int, float]]()
    for element in accept.lower().split(","):
        name, _, parameters = element.strip().partition(";")
        name, quality = name.strip(), parse_quality(parameters)
        if quality is None:
            continue  # the other elements still count
        exact = _BY_NAME.get(name)
        specificity = 2 if exact else int(name != "*/*")
        for each in (exact,) if exact else _BY_WILDCARD.get(name, ()):
            found[each] = max((specificity, quality), found.get(each, (0, 0.0)))
    return {each: quality for each, (_, quality) in found.items()}
