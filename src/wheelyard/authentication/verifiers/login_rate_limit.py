"""
The limit of failed sign-ins, and the networks by which failures are counted.

A failure takes a try out of the bucket of its network and kind. Tries are refilled evenly over a
minute. While a bucket is empty, passwords are rejected before they are hashed. A try is taken when
a check has failed, so checks at the same moment exceed the limit by one each: by no more than the
passwords that are checked at once.

Rejected access tokens and unknown API tokens have buckets of their own, as a whole office may have
one address. A sign-in in a browser counts although it succeeds, as a sign-in writes to the store.
Each takes a try out of a bucket for the person and a try out of a bucket for the network, which is
large enough for a team behind one address.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

from msgspec import Struct, field

from wheelyard.concurrency.caches import LruCache
from wheelyard.concurrency.runtime import Clock

MAX_BUCKETS: Final = 16_384
"""Buckets in memory, of about 300 bytes each."""
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48
CUSTOMER_PREFIX_V6: Final = 64
"""The largest network that a provider gives to one customer."""
UNKNOWN_TOKEN: Final = "token"  # noqa: S105 - a kind of key
"""The kind of the keys for API tokens that do not exist."""
SIGN_IN: Final = "sign-in"
"""The kind of the keys for successful sign-ins of a person."""
NETWORK_SIGN_IN: Final = "network-sign-in"
"""The kind of the keys for successful sign-ins from a network."""
AT_PROVIDER: Final = "at-provider"
"""The kind of the keys for sign-ins from a network at one provider that have not succeeded."""
_TRIES_BY_KIND: Final = {UNKNOWN_TOKEN: 60, SIGN_IN: 30, NETWORK_SIGN_IN: 300}
"""The tries in a minute for keys of these kinds."""
_ROUNDING_ERROR: Final = 1e-9
"""How much a bucket that was refilled to one try may lack, by rounding."""


class LoginRateLimit(Struct, frozen=True):
    """
    A token bucket for each key, with `per_minute` tries unless the kind of key has other tries.

    Threads may share it.
    """

    per_minute: int
    monotonic: Clock
    _buckets: LruCache[str, tuple[float, float]] = field(
        default_factory=lambda: LruCache(MAX_BUCKETS)
    )
    """The remaining tries of each key, and when they were counted."""
    _lock: Lock = field(default_factory=Lock)

    def seconds_until(self, keys: Iterable[str]) -> float:
        """Return the seconds until the bucket of each key has a try, or 0 if all have a try."""
        longest_wait = 0.0
        for key in keys:
            missing_tries = 1 - self._remaining_tries(key)
            if missing_tries > _ROUNDING_ERROR:
                wait = 60 * missing_tries / self._capacity(key)
                longest_wait = max(longest_wait, wait)
        return longest_wait

    def count_attempt(self, key: str) -> float:
        """Take a try out of a bucket and return 0, or return the seconds until it has a try."""
        # in one lock, so that no two calls get the last try
        with self._lock:
            wait = self.seconds_until((key,))
            if not wait:
                self._add_tries(key, -1)
        return wait

    def take_tries(self, keys: Iterable[str]) -> None:
        """Take a try out of the bucket of each key, unless the bucket is empty."""
        with self._lock:
            for key in keys:
                self._add_tries(key, -1)

    def give_back(self, key: str) -> None:
        """Put back the try that `count_attempt` has taken."""
        with self._lock:
            self._add_tries(key, 1)

    def _add_tries(self, key: str, tries: int) -> None:
        """Add tries to a bucket, or take tries out. The caller holds the lock."""
        remaining = max(self._remaining_tries(key) + tries, 0.0)
        self._buckets.put(key, (remaining, self.monotonic()), 1)

    def _remaining_tries(self, key: str) -> float:
        """Return the tries that the bucket of a key has now, which may be a part of one."""
        capacity = float(self._capacity(key))
        bucket = self._buckets.get(key)
        # a bucket that memory has no room for begins anew, to the client's advantage
        if bucket is None:
            return capacity
        tries, counted_at = bucket
        # a minute refills an empty bucket
        return min(capacity, tries + (self.monotonic() - counted_at) * capacity / 60)

    def _capacity(self, key: str) -> int:
        """Return the tries of a full bucket."""
        kind, _, _ = key.partition(":")
        return _TRIES_BY_KIND.get(kind, self.per_minute)


def address_key(address: str, kind: str = "address") -> str:
    """
    Return the key of the bucket for a network, that of an address.

    All texts but addresses share one key of each `kind`, on which the number of tries depends.
    """
    return f"{kind}:{network_of(address)}"


@lru_cache(1024)  # parsing takes longer than the rest of a request that a cache answers
def client_network(address: str) -> str:
    """Return an IPv4 address, the first address of an IPv6 /64, or `-` for any other text."""
    parsed = _parse_address(address)
    if parsed is None:
        return "-"
    # one IPv6 customer has 2^64 addresses, and may send each request from another one
    if isinstance(parsed, IPv6Address):
        network = ip_network((int(parsed), CUSTOMER_PREFIX_V6), strict=False)
        return str(network.network_address)
    return str(parsed)


def network_of(address: str) -> str:
    """Return the IPv4 /24 or IPv6 /48 of an address as text, or `-` for any other text."""
    parsed = _parse_address(address)
    if parsed is None:
        return "-"
    prefix = IPV6_PREFIX if isinstance(parsed, IPv6Address) else IPV4_PREFIX
    return str(ip_network((int(parsed), prefix), strict=False))


def _parse_address(address: str) -> IPv4Address | IPv6Address | None:
    """Return a parsed IP address, or None for another text. An IPv4-mapped address is IPv4."""
    # a link-local address may name an interface of this machine: fe80::1%eth0
    without_zone = address.partition("%")[0]
    try:
        parsed = ip_address(without_zone)
    except ValueError:
        return None
    # a socket for both families gives IPv4 clients as ::ffff:192.0.2.1
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
