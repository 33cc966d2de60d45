"""Conditional requests (RFC 9110, section 13): `If-Match` and `If-None-Match` with ETags."""

import re
from typing import Final

from wheelyard.errors import Invalid
from wheelyard.http.protocol.error_responses import PRECONDITION_FAILED
from wheelyard.http.protocol.messages import Headers

_ETAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


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
