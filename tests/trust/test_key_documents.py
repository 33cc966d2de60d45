"""What issuers say of their keys: where they are, and which of them are of use."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.trust.issuer import (
    SigningKey,
    rsa_key,
    stand_in,
)
from tests.trust.keeping import BOTH, CURVE, HOUR, OLD, World, running_issuer
from wheelyard.errors import Unavailable
from wheelyard.trust.fetching import Fetcher
from wheelyard.trust.keysets import KeySet, Means, parse_key


@pytest.fixture
def world() -> Iterator[World]:
    """Run an issuer with one key."""
    with running_issuer() as world:
        yield world


@pytest.mark.integration
def test_discovery(world: World) -> None:
    """An issuer of which only the name is known tells where its keys are, once."""
    world.site.serve_discovery()
    keys = world.discovered()

    assert keys.key("old")
    world.clock.time += HOUR
    assert keys.key("old")
    assert world.site.asked("/.well-known/openid-configuration") == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/computeMetadata/v1/",
        "http://metadata.google.internal/keys",
        "file:///etc/passwd",
        "http://localhost/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://127.0.0.1:1/keys",
        "https://[::1/keys",
        "/keys",
        "",
        None,
        ["/keys"],
    ],
    ids=repr,
)
def test_discovery_that_leads_astray(world: World, place: object) -> None:
    """An issuer can have no other host asked for its keys, least of all one of ours."""
    world.site.serve_discovery(jwks_uri=place)

    with pytest.raises(Unavailable):
        world.discovered().key("old")
    assert [each.path for each in world.site.seen] == ["/.well-known/openid-configuration"]


@pytest.mark.integration
def test_discovery_that_points_to_a_neighbour(world: World) -> None:
    """Another port of the issuer's host is another place, even if usable keys lie there."""
    with stand_in() as other:
        other.serve_keys(OLD)
        world.site.serve_discovery(jwks_uri=other.keys_url)

        with pytest.raises(Unavailable):
            world.discovered().key("old")
        assert other.seen == []


@pytest.mark.integration
def test_discovery_of_somebody_else(world: World) -> None:
    """A discovery document that is about another issuer is not believed."""
    world.site.serve_discovery(issuer="https://accounts.google.com")

    with pytest.raises(Unavailable):
        world.discovered().key("old")


@pytest.mark.integration
def test_private_issuers_are_not_asked(world: World) -> None:
    """Unless an operator allows it, no issuer on the own machine or network is asked."""
    fetcher = Fetcher(world.clock)
    means = Means(fetcher, world.clock, Random(4), world.beside.append)
    for issuer in (world.site.url, "https://169.254.169.254", "https://127.0.0.1"):
        with pytest.raises(Unavailable):
            KeySet(issuer, BOTH, means).key("old")
    assert world.site.seen == []
    fetcher.close()


@pytest.mark.integration
def test_several_keys(world: World) -> None:
    """Of a set with keys of many kinds those are used that can be."""
    world.site.serve_jwks([{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, OLD.jwk(), CURVE.jwk()])
    keys = world.keys()

    for honest in (OLD, CURVE):
        key = keys.key(honest.kid)
        assert key is not None
        assert (key.algorithm, key.public) == (honest.algorithm, honest.private.public_key())
    assert keys.key("s") is None


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (OLD, {"kid": 7}),
        (OLD, {"kid": None}),
        (OLD, {"use": "enc"}),
        (OLD, {"alg": "RS512"}),
        (OLD, {"alg": "HS256"}),
        (OLD, {"alg": None}),
        (OLD, {"n": ""}),
        (OLD, {"n": 7}),
        (OLD, {"n": "!"}),
        (OLD, {"e": None}),
        (OLD, {"e": "Ag"}),
        (OLD, {"kty": "EC"}),
        (CURVE, {"crv": "P-384"}),
        (CURVE, {"crv": "secp256k1"}),
        (CURVE, {"x": "AA"}),
        # the key is another one in each process that collects tests, so it is in no name of one
        pytest.param(CURVE, {"y": CURVE.jwk()["x"]}, id="y-is-x"),
        (CURVE, {"kty": "OKP"}),
        (CURVE, {"kty": ["EC"]}),
        (rsa_key("short", 1024), {}),
        (rsa_key("shorter", 2040), {}),
    ],
    ids=repr,
)
def test_keys_that_are_of_no_use(key: SigningKey, change: dict[str, object]) -> None:
    """A key that is damaged, too short, or for something else is left out."""
    assert parse_key({**key.jwk(), **change}) is None


@pytest.mark.parametrize("found", [None, 7, "key", [], {}], ids=repr)
def test_what_is_no_key(found: object) -> None:
    """What is no key at all is left out."""
    assert parse_key(found) is None


def test_an_issuer_that_publishes_its_secret() -> None:
    """Of a key whose secret half was published the public half is used, as for any other."""
    key = parse_key({**OLD.jwk(), "d": "AQAB", "p": "AQAB", "q": "AQAB"})

    assert key is not None
    assert key.public == OLD.private.public_key()


def test_keys_that_do_not_say_what_they_are_for() -> None:
    """A key says by its kind what it is for, if it says nothing else."""
    for key in (OLD, CURVE):
        found = {name: value for name, value in key.jwk().items() if name not in {"use", "alg"}}
        parsed = parse_key(found)
        assert parsed is not None
        assert parsed.algorithm == key.algorithm
