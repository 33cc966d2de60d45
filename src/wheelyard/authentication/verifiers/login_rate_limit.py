"""
Rate limit for failed logins: a token bucket for each client network, and one for each user name.

A failure takes a try out of both buckets; tries are refilled evenly over a minute. While a bucket
is empty, logins are rejected before a password is hashed. Rejected access tokens and unknown API
tokens count in a bucket for network and type alone. Sign-ins in browsers count although they
succeed, as each writes to the store: in buckets for the person and for the network, which are large
enough for a team behind one address.

A login reserves its tries before it is verified, and gives them back unless it fails. So parallel
logins cannot fail more often than the limit. If all remaining tries are reserved, the next login
waits for one of those in progress: a right password is not rejected because of parallel logins.

The bucket of a name holds ten times as many tries, so that one network cannot empty it. While it is
empty, a network without a failure in the last minute still has one try: the owner of the name can
log in, and a distributed attack has one try a minute for each network.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Condition
from typing import Final

from wheelyard.authentication.verifiers.verifier import too_many_logins
from wheelyard.concurrency.caches import LruCache

MAX_BUCKETS: Final = 16_384
"""Buckets in memory, of about 300 bytes each."""
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48
CUSTOMER_PREFIX_V6: Final = 64
"""The largest network that a provider gives to one customer."""
NAME_FACTOR: Final = 10
"""The tries of a name, as a multiple of those of a network."""
UNKNOWN_TOKENS_PER_MINUTE: Final = 60
"""API tokens that do not exist, for each network."""
SIGN_INS_PER_MINUTE: Final = 30
"""Sign-ins in browsers, for each person; a network has as many more as a name has tries."""
IDLE_NETWORK_SECONDS: Final = 60.0
"""Time without a failure after which a network has a try although the name has none left."""
WAIT_TIMEOUT_SECONDS: Final = 10.0
"""How long a login waits for logins in progress."""

_NAME: Final = "name"
UNKNOWN_TOKEN: Final = "token"  # noqa: S105 - a kind of key
"""The kind of the keys for API tokens that do not exist."""
SIGN_IN: Final = "sign-in"
NETWORK_SIGN_IN: Final = "network-sign-in"
"""The kinds of the keys for sign-ins that succeed: of a person, and of a network."""
_FIXED_CAPACITIES: Final = {
    UNKNOWN_TOKEN: UNKNOWN_TOKENS_PER_MINUTE,
    SIGN_IN: SIGN_INS_PER_MINUTE,
    NETWORK_SIGN_IN: SIGN_INS_PER_MINUTE * NAME_FACTOR,
}
_ROUNDING_ERROR: Final = 1e-9


class LoginRateLimit:
    """Limits failed logins with token buckets, one for each key; thread-safe."""

    def __init__(
        self,
        failed_login_per_minute: int,
        monotonic: Callable[[], float],
        timeout: float = WAIT_TIMEOUT_SECONDS,
    ) -> None:
        self._capacity = failed_login_per_minute
        self._monotonic = monotonic
        self._timeout = timeout
        self._buckets: LruCache[str, tuple[float, float]] = LruCache(MAX_BUCKETS)
        """By key: the remaining tries, and when they were counted."""
        self._reserved: Counter[str] = Counter()
        """Tries of logins in progress, by key."""
        self._changed = Condition()

    def seconds_until(self, keys: Iterable[str]) -> float:
        """
        Return the seconds until each of these buckets has a try, 0 if all have one.

        Reserved tries count as available; nothing is taken or reserved.
        """
        missing = ((1 - self._remaining(key), self._capacity_of(key)) for key in keys)
        waits = (60 * part / capacity for part, capacity in missing if part > _ROUNDING_ERROR)
        return max(waits, default=0.0)

    def reserve(self, keys: tuple[str, ...]) -> float:
        """
        Reserve a try in each bucket and return 0, or return the seconds until all have one.

        Waits in this thread while all remaining tries are reserved; raises Unavailable (code
        `overloaded`) after the timeout. If only the name has no try left, the extra try of an idle
        network is reserved. After 0, call `release` with these keys.
        """
        with self._changed:
            decision = self._changed.wait_for(lambda: self._try_to_reserve(keys), self._timeout)
        if decision is None:
            raise too_many_logins()
        return decision[0]

    def release(self, keys: tuple[str, ...], *, has_failed: bool) -> None:
        """End the reservation of a login's tries; take them out of the buckets if it has failed."""
        with self._changed:
            self._reserved.subtract(keys)
            self._reserved += Counter()  # removes zeros
            if has_failed:
                self._count(keys)
            self._changed.notify_all()

    def count_attempt(self, key: str) -> float:
        """Take a try out of a bucket and return 0; if it has none, return the seconds to wait."""
        wait = self.seconds_until((key,))
        if not wait:
            self.record_failure((key,))
        return wait

    def record_failure(self, keys: Iterable[str]) -> None:
        """Take a try out of each of these buckets, for a failed login that had reserved none."""
        with self._changed:
            self._count(keys)

    def _count(self, keys: Iterable[str]) -> None:
        for key in keys:
            # the extra tries of idle networks exceed the rate of a name, and are a debt of it
            self._store(key, max(self._remaining(key) - 1, -self._capacity_of(key)))

    def _try_to_reserve(self, keys: tuple[str, ...]) -> tuple[float] | None:
        """
        Reserve a try in each bucket and return (0.0,), or return the seconds until all have one.

        None means: wait, because all remaining tries are reserved.
        """
        wait = self.seconds_until(keys)
        is_extra = wait > 0 and self._has_extra_try(keys[0])
        if wait and not is_extra:
            return (wait,)
        limiting = keys[:1] if is_extra else keys
        if any(
            self._remaining(key) - self._reserved[key] < 1 - _ROUNDING_ERROR for key in limiting
        ):
            return None
        if is_extra:  # at once, so that of parallel logins only one has the extra try
            self._store(keys[0], self._remaining(keys[0]))
        self._reserved.update(keys)
        return (0.0,)

    def _has_extra_try(self, network: str) -> bool:
        bucket = self._buckets.get(network)
        is_idle = bucket is None or self._monotonic() - bucket[1] >= IDLE_NETWORK_SECONDS
        return is_idle and not self.seconds_until((network,))

    def _store(self, key: str, tries: float) -> None:
        self._buckets.put(key, (tries, self._monotonic()), 1)

    def _remaining(self, key: str) -> float:
        capacity, bucket = float(self._capacity_of(key)), self._buckets.get(key)
        if bucket is None:
            return capacity
        tries, counted_at = bucket
        return min(capacity, tries + (self._monotonic() - counted_at) * capacity / 60)

    def _capacity_of(self, key: str) -> int:
        kind = key.partition(":")[0]
        if kind in _FIXED_CAPACITIES:
            return _FIXED_CAPACITIES[kind]
        return self._capacity * (NAME_FACTOR if kind == _NAME else 1)


def address_key(address: str, kind: str = "address") -> str:
    """Return the bucket key of a kind of attempt and a network; one for all that is no address."""
    return f"{kind}:{network_of(address)}"


def login_keys(address: str, name: str) -> tuple[str, str]:
    """
    Return the two bucket keys of a login: of the client's network, and of the user name.

    The name is hashed in its key, because it may be a password.
    """
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return address_key(address), f"{_NAME}:{digest}"


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
