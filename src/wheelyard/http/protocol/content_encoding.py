"""
Compression of response bodies: the encodings, the choice by Accept-Encoding, and compressing.

`PageCache` keeps each page in the encodings that were asked for. A new encoding needs a member of
`Encoding`, its place in `best_encoding` and its body in `encode_body`.
"""

import gzip
from enum import Enum
from typing import Final

from wheelyard.http.protocol.negotiation import ACCEPT_LIMIT_BYTES, parse_quality

MIN_COMPRESSED_BYTES: Final = 256


class Encoding(Enum):
    """The encodings: the name, in lower case, is for Content-Encoding, the value for the ETag."""

    IDENTITY = "i"
    GZIP = "g"

    __hash__ = object.__hash__  # the one of Enum is slower, and is asked for each request


def best_encoding(accept_encoding: bytes) -> Encoding:
    """Return GZIP if Accept-Encoding accepts it (also by `*`), else IDENTITY."""
    qualities = dict[str, float]()
    if len(accept_encoding) > ACCEPT_LIMIT_BYTES:
        return Encoding.IDENTITY
    for element in accept_encoding.decode("latin-1").lower().split(","):
        name, _, parameters = element.strip().partition(";")
        quality = parse_quality(parameters)
        if quality is not None:
            qualities[name.strip()] = quality
    if qualities.get("gzip", qualities.get("*", 0.0)) > 0:
        return Encoding.GZIP
    return Encoding.IDENTITY


def encode_body(body: bytes, encoding: Encoding) -> tuple[Encoding, bytes]:
    """Return `body` in `encoding`; if it is under `MIN_COMPRESSED_BYTES`, in IDENTITY."""
    if encoding is Encoding.IDENTITY or len(body) < MIN_COMPRESSED_BYTES:
        return Encoding.IDENTITY, bytes(memoryview(body))  # msgspec's keep more memory than bytes
    return encoding, gzip.compress(body, 6, mtime=0)
