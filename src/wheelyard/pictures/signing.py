"""Paths of the index that stand for URLs of pictures, each with a signature."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final

PICTURES: Final = "/-/pictures/"
"""Where pictures are, below the path of the index."""
SIGNATURE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PicturePaths:
    """
    Makes and reads paths of pictures.

    Args:
        secret: A secret of the store, which all of its servers have.
        prefix: The path below which clients reach the index.
    """

    secret: bytes = field(repr=False)
    prefix: str = ""

    def path_of(self, url: str) -> str:
        """Return the path that stands for a URL."""
        text = url.encode("utf-8", "surrogatepass")
        address = urlsafe_b64encode(text).decode().rstrip("=")
        return f"{self.prefix}{PICTURES}{self._signature(text)}/{address}"

    def url_of(self, signature: str, address: str) -> str | None:
        """Return the URL that the last two segments of a path stand for, or None for others."""
        try:
            text = urlsafe_b64decode(address.encode() + b"=" * (-len(address) % 4))
            url = text.decode("utf-8", "surrogatepass")
        except ValueError:  # also for characters that are not ASCII
            return None
        # the path as a whole, as base64 can write the same bytes in several ways
        expected, sent = self.path_of(url), f"{self.prefix}{PICTURES}{signature}/{address}"
        is_signed = compare_digest(expected.encode(), sent.encode("utf-8", "surrogatepass"))
        return url if is_signed else None

    def _signature(self, text: bytes) -> str:
        # another use of the same secret must give no signature of a picture
        return digest(self.secret, b"picture " + text, sha256)[:SIGNATURE_BYTES].hex()
