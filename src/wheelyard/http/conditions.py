"""If-Match: a client asks for what it has seen, or not at all (RFC 9110, 13.1.1)."""

import re
from collections.abc import Mapping
from typing import Final

from wheelyard.http.errors import refuse
from wheelyard.http.exchange import Reply

_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def unmet(headers: Mapping[bytes, bytes], etag: bytes | None) -> Reply | None:
    """
    Return the refusal of a request whose If-Match names another representation, else None.

    Args:
        headers: Of the request.
        etag: Strong, of what would be sent or changed; None for what has none, so that only `*`
            holds.
    """
    condition = headers.get(b"if-match")
    if condition is None or condition.strip() == b"*" or etag in _TAG.findall(condition):
        return None
    message = "If-Match names an ETag that this path does not have now. Ask for it again without."
    return refuse(412, "precondition_failed", message, "Precondition failed.")
