"""
How often a login may fail: a bucket of tries for each network and for each name.

A failure takes a try out of every bucket that it concerns, and tries come back evenly over the
minute. Where one of the buckets is empty, the next login is refused before anything is hashed.

A login reserves its tries before anything is hashed, and gives them back unless it fails. So of
many that are sent at once no more are hashed than may fail. Where every try that is left is
reserved, the next login waits until one of those under way has ended: whoever has the right
password is not refused because others log in at the same moment.

The bucket of a name holds ten times what that of a network does, so that nobody empties it from
one place. When it is empty, a network that has not failed for a minute still has one try: whoever
guesses from everywhere has one a minute from each network, and the owner of the name is not shut
out.
"""

from collections import Counter
from collections.abc import Callable, Iterable
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
"""What one customer of a provider is given, at the most."""
NAME_FACTOR: Final = 10
"""How many times more often a name may fail than a network."""
UNKNOWN_TOKENS_PER_MINUTE: Final = 60
"""API tokens that nobody ever made, a minute and network."""
IDLE_NETWORK_SECONDS: Final = 60.0
"""Seconds without a failure after which a network has a try although the name has none left."""
WAIT_TIMEOUT_SECONDS: Final = 10.0
"""Seconds that a login waits for others that are under way."""

_NAME: Final = "name"
UNKNOWN_TOKEN: Final = "token"  # noqa: S105 - a kind of key
"""The kind of API tokens that nobody ever made."""
_NOTHING: Final = 1e-9
"""What may be missing of a try because fractions are rounded."""


class LoginRateLimit:
    """
    Counts failed logins; safe to share between threads.

    A network may have so many failures a minute, and a name NAME_FACTOR times as many.
    """

    def __init__(
        self,
        failed_login_per_minute: int,
        monotonic: Callable[[], float],
        patience: float = WAIT_TIMEOUT_SECONDS,
    ) -> None:
        self._capacity = failed_login_per_minute
        self._monotonic = monotonic
        self._patience = patience
        self._buckets: LruCache[str, tuple[float, float]] = LruCache(MAX_BUCKETS)
        """By key: the tries that were left, and when."""
        self._reserved: Counter[str] = Counter()
        """Tries of logins that are under way, by key."""
        self._changed = Condition()

    def seconds_until(self, keys: Iterable[str]) -> float:
        """Return after how many seconds a login may be tried, 0 for now; counts nothing."""
        missing = {key: 1 - self._left(key) for key in keys}
        return max(
            (
                60 * part / self._capacity_of(key)
                for key, part in missing.items()
                if part > _NOTHING
            ),
            default=0.0,
        )

    def reserve(self, keys: tuple[str, ...]) -> float:
        """
        Reserve a try; return 0 if that was done, else after how many seconds there may be one.

        Where all that is left is reserved, this waits, so it is called in a thread. Where only the
        name has no try left, the one that an untouched network has is taken. After 0, `end` has to
        be called with the same keys.

        Raises:
            Unavailable: None of those under way ended for too long (code `overloaded`).
        """
        with self._changed:
            decided = self._changed.wait_for(lambda: self._reserve(keys), self._patience)
        if decided is None:
            raise too_many_logins()
        return decided[0]

    def release(self, keys: tuple[str, ...], *, has_failed: bool) -> None:
        """Give back what a login has reserved; if it has failed, count it."""
        with self._changed:
            self._reserved.subtract(keys)
            self._reserved += Counter()  # what is nought goes
            if has_failed:
                self._count(keys)
            self._changed.notify_all()

    def count_attempt(self, key: str) -> float:
        """Count one of what is counted whatever comes of it; return its wait, 0 for none."""
        wait = self.seconds_until((key,))
        if not wait:
            self.record_failure((key,))
        return wait

    def record_failure(self, keys: Iterable[str]) -> None:
        """Count a login that was tried and failed, and had reserved nothing."""
        with self._changed:
            self._count(keys)

    def _count(self, keys: Iterable[str]) -> None:
        for key in keys:
            # first tries of networks are let through above the rate of a name, and owed to it
            self._keep(key, max(self._left(key) - 1, -self._capacity_of(key)))

    def _reserve(self, keys: tuple[str, ...]) -> tuple[float] | None:
        """Reserve a try, or return the seconds until there is one; None where others decide."""
        wait = self.seconds_until(keys)
        is_first = wait > 0 and self._has_first_try(keys)
        if wait and not is_first:
            return (wait,)
        scarce = keys[:1] if is_first else keys
        if any(self._left(key) - self._reserved[key] < 1 - _NOTHING for key in scarce):
            return None
        if is_first:  # before it is known how it ends: or many at once would all be the first
            self._keep(keys[0], self._left(keys[0]))
        self._reserved.update(keys)
        return (0.0,)

    def _has_first_try(self, keys: tuple[str, ...]) -> bool:
        """Return whether a network without a failure of late wants a name that has no try left."""
        network = keys[0]
        bucket = self._buckets.get(network)
        is_untouched = bucket is None or self._monotonic() - bucket[1] >= IDLE_NETWORK_SECONDS
        return is_untouched and not self.seconds_until((network,))

    def _keep(self, key: str, left: float) -> None:
        self._buckets.put(key, (left, self._monotonic()), 1)

    def _left(self, key: str) -> float:
        """Return how many tries a key has left, with what has come back of it."""
        capacity, bucket = float(self._capacity_of(key)), self._buckets.get(key)
        if bucket is None:
            return capacity
        left, then = bucket
        return min(capacity, left + (self._monotonic() - then) * capacity / 60)

    def _capacity_of(self, key: str) -> int:
        kind = key.partition(":")[0]
        if kind == UNKNOWN_TOKEN:
            return UNKNOWN_TOKENS_PER_MINUTE
        return self._capacity * (NAME_FACTOR if kind == _NAME else 1)


def address_key(address: str, kind: str = "address") -> str:
    """
    Return the key of the network that a login comes from.

    What is no IP address (a Unix socket) shares one key. The failures of one kind of credential do
    not keep other kinds out.
    """
    return f"{kind}:{network_of(address)}"


def login_keys(address: str, name: str) -> tuple[str, str]:
    """
    Return the keys of a login: the network that it comes from, and the name it is for.

    The key has a digest of the name, because people type passwords there.
    """
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return address_key(address), f"{_NAME}:{digest}"


def client_network(address: str) -> str:
    """Return what is taken for one machine, or one house: an address, or the first of a /64."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), CUSTOMER_PREFIX_V6), strict=False).network_address)
    return str(parsed or "-")


def network_of(address: str) -> str:
    """Return the /24 or /48 of an address."""
    parsed = _parsed(address)
    if parsed is None:
        return "-"
    prefix = IPV6_PREFIX if isinstance(parsed, IPv6Address) else IPV4_PREFIX
    return str(ip_network((int(parsed), prefix), strict=False))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """Return an address, with that of IPv4 for one that is mapped into IPv6; None for none."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return parsed if isinstance(parsed, IPv4Address) else parsed.ipv4_mapped or parsed
