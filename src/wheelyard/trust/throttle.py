"""
How often a login may fail: a bucket of tokens for each address and for each name.

A failure takes a token out of every bucket that it concerns, and tokens come back evenly over the
minute. Where one of the buckets is empty, the next try is refused before anything is hashed. Logins
that were under way at the same time can leave a bucket in debt, so that who tries many at once
gains nothing; the debt is never more than a minute's.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

BUCKETS: Final = 16_384
"""Buckets in memory, of about 300 bytes each."""
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 64

_NOTHING: Final = 1e-9
"""What may be missing of a token because fractions are rounded."""


@dataclass(frozen=True, slots=True)
class _Bucket:
    tokens: float
    at: float


class Throttle:
    """
    Counts failed logins; safe to share between threads.

    Args:
        failed_login_per_minute: How many an address, or a name, may have; at least 1.
        monotonic: Seconds that never jump.
    """

    def __init__(self, failed_login_per_minute: int, monotonic: Callable[[], float]) -> None:
        self._capacity = failed_login_per_minute
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = Lock()

    def allow(self, keys: Iterable[str]) -> bool:
        """Return whether a login that these keys describe may be tried now; counts nothing."""
        return self.seconds_until(keys) == 0

    def seconds_until(self, keys: Iterable[str]) -> float:
        """Return after how many seconds it may be tried, 0 for now."""
        now = self._monotonic()
        missing = 1 - min((self._tokens(key, now) for key in keys), default=1.0)
        return missing * 60 / self._capacity if missing > _NOTHING else 0.0

    def failed(self, keys: Iterable[str]) -> None:
        """Count a login that was tried and failed."""
        now = self._monotonic()
        with self._lock:
            for key in keys:
                left = max(self._tokens(key, now) - 1, -self._capacity)
                self._buckets[key] = _Bucket(left, now)
                self._buckets.move_to_end(key)
            while len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)

    def _tokens(self, key: str, now: float) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return float(self._capacity)
        refilled = bucket.tokens + (now - bucket.at) * self._capacity / 60
        return min(float(self._capacity), refilled)


def address_key(address: str, kind: str = "address") -> str:
    """
    Return the key of the /24 or /64 that a login comes from.

    Args:
        address: The client's; what is no IP address (a Unix socket) shares one key.
        kind: Of credential, where its failures are not to keep other kinds out.
    """
    return f"{kind}:{network_of(address)}"


def login_keys(address: str, name: str) -> tuple[str, str]:
    """
    Return the keys of a login: the /24 or /64 that it comes from, and the name it is for.

    Args:
        address: The client's; what is no IP address (a Unix socket) shares one key.
        name: As it was sent. The key has a digest of it, because people type passwords there.
    """
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return address_key(address), f"name:{digest}"


def network_of(address: str) -> str:
    """Return the /24 or /64 of an address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "-"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ip_network((int(parsed), IPV4_PREFIX), strict=False))
