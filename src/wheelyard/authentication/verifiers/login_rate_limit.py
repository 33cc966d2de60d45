"""
Rate limits: a token bucket for each client network, of what has failed there.

A failure takes a try out of the bucket of its network and kind; tries are refilled evenly over a
minute. While a bucket is empty, passwords are rejected before they are hashed. A try is taken when
a check has failed, so those that run at the same moment may exceed the limit by one each: by no
more than the passwords that are checked at once.

Rejected access tokens and unknown API tokens have buckets of their own, as a whole office may have
one address. Sign-ins in browsers count although they succeed, as each writes to the store: in
buckets for the person and for the network, which are large enough for a team behind one address.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

from msgspec import Struct, field

from wheelyard.concurrency.caches import LruCache

MAX_BUCKETS: Final = 16_384
"""Buckets in memory, of about 300 bytes each."""
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48
CUSTOMER_PREFIX_V6: Final = 64
"""The largest network that a provider gives to one customer."""

UNKNOWN_TOKEN: Final = "token"  # noqa: S105 - a kind of key
"""The kind of the keys for API tokens that do not exist."""
SIGN_IN: Final = "sign-in"
NETWORK_SIGN_IN: Final = "network-sign-in"
"""The kinds of the keys for sign-ins that succeed: of a person, and of a network."""
_PER_MINUTE: Final = {UNKNOWN_TOKEN: 60, SIGN_IN: 30, NETWORK_SIGN_IN: 300}
"""The tries of keys of these kinds."""
_ROUNDING_ERROR: Final = 1e-9


class LoginRateLimit(Struct, frozen=True):
    """A token bucket for each key, of `per_minute` tries but for some kinds; thread-safe."""

    per_minute: int
    monotonic: Callable[[], float]
    _buckets: LruCache[str, tuple[float, float]] = field(
        default_factory=lambda: LruCache(MAX_BUCKETS)
    )
    """By key: the remaining tries, and when they were counted."""
    _lock: Lock = field(default_factory=Lock)

    def seconds_until(self, keys: Iterable[str]) -> float:
        """Return the seconds until each of these buckets has a try, 0 if all have one."""
        missing = ((1 - self._remaining(key), self._capacity(key)) for key in keys)
        waits = (60 * part / capacity for part, capacity in missing if part > _ROUNDING_ERROR)
        return max(waits, default=0.0)

    def count_attempt(self, key: str) -> float:
        """Take a try out of a bucket and return 0; if it has none, return the seconds to wait."""
        with self._lock:
            wait = self.seconds_until((key,))
            if not wait:
                self._add(key, -1)
        return wait

    def record_failure(self, keys: Iterable[str]) -> None:
        """Take a try out of each of these buckets that has one."""
        with self._lock:
            for key in keys:
                self._add(key, -1)

    def give_back(self, key: str) -> None:
        """Put back the try that `count_attempt` has taken."""
        with self._lock:
            self._add(key, 1)

    def _add(self, key: str, tries: int) -> None:
        self._buckets.put(key, (max(self._remaining(key) + tries, 0.0), self.monotonic()), 1)

    def _remaining(self, key: str) -> float:
        capacity, bucket = float(self._capacity(key)), self._buckets.get(key)
        if bucket is None:
            return capacity
        tries, counted_at = bucket
        return min(capacity, tries + (self.monotonic() - counted_at) * capacity / 60)

    def _capacity(self, key: str) -> int:
        return _PER_MINUTE.get(key.partition(":")[0], self.per_minute)


def address_key(address: str, kind: str = "address") -> str:
    """Return the bucket key of a kind of attempt and a network; one for all that is no address."""
    return f"{kind}:{network_of(address)}"


@lru_cache(1024)  # parsing takes longer than the rest of a request that a cache answers
def client_network(address: str) -> str:
    """Return the address of a client, or the first of its IPv6 /64; `-` for no IP address."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), CUSTOMER_PREFIX_V6), strict=False).network_address)
    return str(parsed or "-")


def network_of(address: str) -> str:
    """Return the IPv4 /24 or IPv6 /48 of an address, as text; `-` if it is no IP address."""
    parsed = _parsed(address)
    if parsed is None:
        return "-"
    prefix = IPV6_PREFIX if isinstance(parsed, IPv6Address) else IPV4_PREFIX
    return str(ip_network((int(parsed), prefix), strict=False))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return a parsed IP address, an IPv4-mapped one as IPv4; None if the text is no IP address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped or parsed
