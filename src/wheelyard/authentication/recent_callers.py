"""
The callers whose credential was verified within the last second.

A client sends its credential with each of many requests at once. For a second it is not verified
again, so a revoked credential works that much longer.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, TypeVar

from wheelyard.authentication.verifiers.login_rate_limit import client_network
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.model.access import Caller

C = TypeVar("C", bound=Caller | None)

REMEMBERED_SECONDS: Final = 1.0
"""How long a caller is remembered, counted from the beginning of the verification."""
MAX_REMEMBERED: Final = 512
"""Callers in memory, of about 1 KiB each."""


class RecentCallers:
    """Callers by a keyed hash of what they sent; thread-safe."""

    def __init__(self, process_key: bytes, monotonic: Callable[[], float]) -> None:
        self._process_key = process_key
        # to copy it takes half as long as to begin with a key
        self._keyed_hash = blake2b(digest_size=16, key=process_key)
        self._monotonic = monotonic
        self._callers = ExpiringCache[bytes, Caller](monotonic, MAX_REMEMBERED)
        self.remembered = self._callers.get
        """Returns the caller that was verified under a key in the last second; never blocks."""

    def header_key(self, header: bytes, address: str) -> bytes:
        """Return the key of an Authorization header from an address; never empty."""
        hashed = self._keyed_hash.copy()
        hashed.update(header + b"\0" + client_network(address).encode())
        return hashed.digest()

    def cookie_key(self, cookie: bytes) -> bytes:
        """Return the key of a session's cookie, which no Authorization header can have."""
        return blake2b(cookie, digest_size=16, key=self._process_key, person=b"cookie").digest()

    def verified(self, key: bytes, verify: Callable[[], C]) -> C:
        """Return the caller that `verify` returns, and remember it; errors are not remembered."""
        started_at = self._monotonic()
        caller = verify()
        if caller is not None:
            self._callers.put(key, caller, started_at + REMEMBERED_SECONDS - self._monotonic())
        return caller
