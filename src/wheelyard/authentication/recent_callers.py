"""
The callers whose credentials were verified in the last second.

A client sends its credential with each of many requests at once, and to verify a credential may
take a hash, a request to Google, or a read of the store. So a verified header counts for a second,
and a revoked credential works for a second longer.
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
"""The most callers in memory, of about 1 KiB each."""

CallerT = TypeVar("CallerT", bound=Caller | None)


class RecentCallers:
    """
    The callers that were verified in the last second, by a keyed hash of their header or cookie.

    Threads may share it.
    """

    def __init__(self, process_key: bytes, monotonic: Clock) -> None:
        self._process_key = process_key
        # copying a keyed hash takes half as long as making one
        self._keyed_hash = blake2b(digest_size=16, key=process_key)
        self._monotonic = monotonic
        self._callers = ExpiringCache[bytes, Caller](monotonic, MAX_REMEMBERED)
        self.remembered = self._callers.get
        """Returns the caller that was verified under a key in the last second. Never blocks."""

    def header_key(self, header: bytes, address: str) -> bytes:
        """Return the key, which is never empty, of an Authorization header from an address."""
        # with the network, which the limits for failures go by: a header that another network sends
        # is verified anew
        network = client_network(address).encode()
        keyed_hash = self._keyed_hash.copy()
        keyed_hash.update(header + b"\0" + network)
        return keyed_hash.digest()

    def cookie_key(self, cookie: bytes) -> bytes:
        """Return the key of a session's cookie, which no Authorization header can have."""
        return blake2b(cookie, digest_size=16, key=self._process_key, person=b"cookie").digest()

    def of_another_index(self) -> "RecentCallers":
        """Return an empty memory for another index, where a credential has other rights."""
        return RecentCallers(self._process_key, self._monotonic)

    def verified(self, key: bytes, verify: Callable[[], CallerT]) -> CallerT:
        """
        Return the caller that `verify` returns, and remember it.

        Raises what `verify` raises. Neither an error nor None is remembered.
        """
        # counted from before: a credential that is revoked during `verify` must not count longer
        started_at = self._monotonic()
        caller = verify()
        if caller is not None:
            seconds_left = started_at + REMEMBERED_SECONDS - self._monotonic()
            self._callers.put(key, caller, seconds_left)
        return caller
