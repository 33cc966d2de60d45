"""Two issuers that an index believes, and what it says of a token."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import pytest

from tests.trust.issuer import (
    NOW,
    Clock,
    StandIn,
    ec_key,
    loopback_fetcher,
    rsa_key,
    stand_in,
)
from wheelyard.errors import Unauthenticated
from wheelyard.model.statement import Claims
from wheelyard.trust.keysets import KeySet, Means
from wheelyard.trust.statements import Issuer, claims_of, verify
from wheelyard.trust.verifier import Refused

ISSUER = "https://accounts.google.com"
CURVES = "https://cloud.google.com/iap"
HERE = "https://pypi.acme.dev"
HONEST: dict[str, object] = {
    "iss": ISSUER,
    "aud": HERE,
    "sub": "104857600123456789012",
    "iat": NOW - 60,
    "exp": NOW + 3540,
}
RSA = rsa_key("r1")
CURVE = ec_key("e1")
TOLD = (
    "This signed token is not valid here. Get a new one, and have it made out to this index as "
    "its audience."
)


@dataclass(frozen=True)
class World:
    """An index that believes two issuers: one signs with RSA, the other with curves."""

    site: StandIn
    issuers: dict[str, Issuer]
    means: Means

    def claims(self, token: str) -> Claims:
        """Return what a token states."""
        return claims_of(token, self.issuers, NOW)

    def reason(self, token: str) -> str:
        """Return why a token is refused; the person who sent it always hears the same."""
        with pytest.raises(Unauthenticated) as told:
            verify(token, self.issuers, NOW)
        assert told.value.message == TOLD
        assert isinstance(told.value.__cause__, Refused)
        return told.value.__cause__.reason


@contextmanager
def running_issuers() -> Iterator[World]:
    """Run an issuer with one key of each kind."""
    with stand_in() as site, loopback_fetcher() as fetcher:
        site.serve_keys(RSA, CURVE)
        means = Means(fetcher, Clock(), Random(4), lambda work: work())
        issuers = {
            name: Issuer(
                name,
                KeySet(name, frozenset({algorithm}), means, site.keys_url),
                frozenset({algorithm}),
                frozenset({HERE, "wheelyard"}),
            )
            for name, algorithm in ((ISSUER, "RS256"), (CURVES, "ES256"))
        }
        yield World(site, issuers, means)
