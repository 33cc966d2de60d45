"""
The callers that were verified in the last second.

A client sends its credential with each of many requests at once, and verifying it may take a hash,
a request to Google, or a read of the store. So a verified header counts for a second, and a revoked
credential works that much longer.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, TypeVar

from wheelyard.authentication.verifiers.login_rate_limit import client_network
from wheelyard.concurrency.caches import ExpiringCache
from wheelyard.concurrency.runtime import Clock
from wheelyard.model.access import Caller

REMEMBERED_SECONDS: Final = 1.0
"""How long a caller is remembered, counted from the beginning of the verification."""
MAX_REMEMBERED: Final = 512
"""Callers in memory, of about 1 KiB each."""

C = TypeVar("C", bound=Caller | None)


class RecentCallers:
    """
    The callers that were verified in the last second, by a keyed hash of what they sent.

    Threads may share it.
    """

    def __init__(self, process_key: bytes, monotonic: Clock) -> None:
        self._process_key = process_key
        # to copy it takes half as long as to begin with a key
        self._keyed_hash = blake2b(digest_size=16, key=process_key)
        self._monotonic = monotonic
        self._callers = ExpiringCache[bytes, Caller](monotonic, MAX_REMEMBERED)
        self.remembered = self._callers.get
        """Returns the caller that was verified under a key in the last second. Never blocks."""

    def header_key(self, header: bytes, address: str) -> bytes:
        """Return the key, which is never empty, of an Authorization header from an address."""
        # with the network, as the limits for failures are: from elsewhere it is verified anew
        hashed = self._keyed_hash.copy()
        hashed.update(header + b"\0" + client_network(address).encode())
        return hashed.digest()

    def cookie_key(self, cookie: bytes) -> bytes:
        """Return the key of a session's cookie, which no Authorization header can have."""
        return blake2b(cookie, digest_size=16, key=self._process_key, person=b"cookie").digest()

    def of_another_index(self) -> "RecentCallers":
        """Return an empty memory for another index, where a credential has other rights."""
        return RecentCallers(self._process_key, self._monotonic)

    def verified(self, key: bytes, verify: Callable[[], C]) -> C:
        """
        Return the caller that `verify` returns, and remember it.

        Raises what `verify` raises. Neither an error nor None is remembered.
        """
        # from the beginning: what was revoked while `verify` ran must not count for longer
        started_at = self._monotonic()
        caller = verify()
        if caller is not None:
            seconds_left = started_at + REMEMBERED_SECONDS - self._monotonic()
            self._callers.put(key, caller, seconds_left)
        return caller
