"""What a signed token (JWT, RFC 7519) says of itself; nothing of it is verified here."""

from base64 import urlsafe_b64decode

from msgspec import MsgspecError
from msgspec.json import decode

from wheelyard.model.statement import Claims
from wheelyard.trust.refusals import Refused


def object_in(segment: str) -> Claims:
    """
    Return the JSON object that a segment of a token holds: its header, or its claims.

    Raises:
        Refused: It holds none, or text with half a character in it.
    """
    try:
        padded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        return decode(padded, type=dict[str, object])
    except (ValueError, MsgspecError, RecursionError):
        raise Refused("auth_malformed") from None
