"""What a signed token (JWT, RFC 7519) says of itself; nothing of it is verified here."""

import json
from base64 import urlsafe_b64decode

from wheelyard.model.statement import Claims
from wheelyard.trust.refusals import Refused


def object_in(segment: str) -> Claims:
    """
    Return the JSON object that a segment of a token holds: its header, or its claims.

    Raises:
        Refused: It holds none.
    """
    try:
        found = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        raise Refused("auth_malformed") from None
    if not isinstance(found, dict):
        raise Refused("auth_malformed")
    return found
