"""Seals texts for one context: encrypts and authenticates them (AES-256-GCM)."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from random import Random
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12


class Sealer:
    """
    Seals texts with a key that is derived from a secret for one purpose.

    Threads may share an object. `random` has to be a source for secrets.
    """

    def __init__(self, secret: bytes, purpose: str, random: Random) -> None:
        key = hmac.digest(secret, f"wheelyard\0{purpose}".encode(), "sha256")
        self._cipher = AESGCM(key)
        self._random = random

    def seal(self, text: str, context: str) -> str:
        """Return a sealed text, in characters of base64url, which opens in this context only."""
        # random and not counted, as several servers have the same key, and do not share a counter
        nonce = self._random.randbytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())
        return urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, sealed: str, context: str) -> str | None:
        """Return the text, or None if it was not sealed with this key and for this context."""
        # the sealed text may be any text of a cookie, which must cause no other error
        padding = "=" * (-len(sealed) % 4)
        try:
            raw = urlsafe_b64decode(sealed + padding)
            nonce = raw[:_NONCE_BYTES]
            body = raw[_NONCE_BYTES:]
            return self._cipher.decrypt(nonce, body, context.encode()).decode()
        except (ValueError, InvalidTag):
            return None
