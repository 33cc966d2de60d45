"""An issuer of keys, and what an index that keeps them may do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from tests.trust.issuer import (
    Clock,
    StandIn,
    ec_key,
    loopback_fetcher,
    rsa_key,
    stand_in,
)
from wheelyard.trust.fetching import Fetcher
from wheelyard.trust.keysets import KeySet, Means

OLD = rsa_key("old")
NEW = rsa_key("new")
CURVE = ec_key("curve")
BOTH = frozenset({"RS256", "ES256"})
HOUR = 3600.0


@dataclass(frozen=True)
class World:
    """An issuer, and what may be done to it."""

    site: StandIn
    fetcher: Fetcher
    clock: Clock = field(default_factory=Clock)
    beside: list[Callable[[], None]] = field(default_factory=list)
    """What is to be done beside; a test does it when it wants."""

    @property
    def means(self) -> Means:
        """What its keys work with."""
        return Means(self.fetcher, self.clock, Random(4), self.beside.append)

    def keys(self, url: str | None = None) -> KeySet:
        """Return its keys, of which nothing is known yet."""
        return KeySet(self.site.url, BOTH, self.means, url or self.site.keys_url)

    def discovered(self) -> KeySet:
        """Return its keys, the place of which is not known yet."""
        return KeySet(self.site.url, BOTH, self.means)

    @property
    def asked(self) -> int:
        """How often it was asked for keys."""
        return self.site.asked("/keys")


@contextmanager
def running_issuer() -> Iterator[World]:
    """Run an issuer with one key."""
    with stand_in() as site, loopback_fetcher() as fetcher:
        site.serve_keys(OLD)
        yield World(site, fetcher)
