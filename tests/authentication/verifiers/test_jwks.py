"""The keys of issuers: where they are, which are of use, and how long they are believed."""

import json
from collections.abc import Callable
from dataclasses import replace
from threading import Thread

import pytest

from tests.authentication.verifiers.fake_issuer import (
    Answer,
    SigningKey,
    World,
    ec_key,
    rsa_key,
    stand_in,
)
from wheelyard.authentication.verifiers.jwks import JwksCache, parse_key
from wheelyard.errors import Unavailable

pytestmark = pytest.mark.integration

OLD, NEW, CURVE = rsa_key("old"), rsa_key("new"), ec_key("curve")
BOTH = frozenset({"RS256", "ES256"})
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _one_key(world: World) -> None:
    world.site.serve_keys(OLD)


def keys_of(world: World) -> JwksCache:
    """Return the keys of an issuer, of which nothing is known yet."""
    return JwksCache(world.site.url, BOTH, world.means, world.site.keys_url)


def discovered(world: World) -> JwksCache:
    """Return its keys, the place of which is not known yet."""
    return JwksCache(world.site.url, BOTH, world.means)


def asked(world: World) -> int:
    """Return how often it was asked for keys."""
    return world.site.asked("/keys")


@pytest.mark.parametrize(
    ("max_age", "lifetime"),
    [(None, HOUR), (1, 300.0), (0, 300.0), (1000, 1000.0), (99_999, HOUR), (10**8, HOUR)],
)
def test_lifetimes(world: World, max_age: int | None, lifetime: float) -> None:
    """A set is believed for five minutes to an hour, whatever its issuer says."""
    world.site.serve_keys(OLD, max_age=max_age)
    first, second = keys_of(world), keys_of(world)

    first.key("old")
    world.clock.time += lifetime - 1
    first.key("old")
    assert asked(world) == 1
    second.key("old")
    world.clock.time += lifetime
    second.key("old")
    assert asked(world) == 3


def test_renewal_beside(world: World) -> None:
    """Near the end of its lifetime a set is renewed once, and nobody waits for that."""
    keys = keys_of(world)
    keys.key("old")

    world.clock.time += 0.7 * HOUR
    keys.key("old")
    assert world.beside == []
    world.clock.time += 0.2 * HOUR
    for _ in range(10):
        assert keys.key("old")
    (renewal,) = world.beside
    assert asked(world) == 1

    renewal()
    world.clock.time += 0.2 * HOUR
    assert keys.key("old")
    assert (asked(world), len(world.beside)) == (2, 1)


def test_a_key_that_is_taken_back(world: World) -> None:
    """A key that its issuer takes back opens nothing any more once the set was renewed."""
    keys = keys_of(world)
    assert keys.key("old")
    world.site.serve_keys(NEW)

    world.clock.time += HOUR
    assert keys.key("old") is None
    assert keys.key("new")


def test_a_new_key(world: World) -> None:
    """A new key is known as soon as somebody uses it, if the last look is a minute ago."""
    keys = keys_of(world)
    keys.key("old")
    world.site.serve_keys(OLD, NEW)

    assert keys.key("new") is None
    world.clock.time += 61
    assert keys.key("new")
    assert asked(world) == 2


def test_a_storm_of_unknown_keys(world: World) -> None:
    """Ten thousand tokens with made-up key ids cost one question a minute."""
    keys = keys_of(world)
    keys.key("old")

    for minute in range(1, 4):
        world.clock.time += 61
        assert {keys.key(f"made-up-{each}") for each in range(3334)} == {None}
        assert asked(world) == 1 + minute
    assert keys.key("old")


def test_a_key_that_was_refused_just_now(world: World) -> None:
    """A key id that nobody knew is not asked for again for a minute, while others may be."""
    keys = keys_of(world)
    keys.key("old")
    world.clock.time += 61
    assert keys.key("other") is None
    world.clock.time += 59
    assert keys.key("made-up") is None
    world.clock.time += 2
    assert keys.key("made-up") is None
    assert asked(world) == 2
    assert keys.key("another") is None
    assert asked(world) == 3


def test_many_at_once_share_one_look(world: World) -> None:
    """Those who come while keys are being fetched wait for the same answer."""
    honest = world.site.answers["/keys"]
    world.site.answers["/keys"] = Answer(honest.body, is_silent=True)
    keys = keys_of(world)
    found: list[object] = []
    threads = [Thread(target=lambda: found.append(keys.key("old"))) for _ in range(20)]

    for thread in threads:
        thread.start()
    while not asked(world):
        pass
    world.site.released.set()
    for thread in threads:
        thread.join()

    assert len(found) == 20
    assert None not in found
    assert asked(world) == 1


FAILURES = {
    "error": Answer(status=500),
    "not found": Answer(status=404),
    "invalid JSON": Answer(b"{"),
    "a list": Answer(b"[]"),
    "no keys": Answer(b'{"keys": []}'),
    "keys are no list": Answer(b'{"keys": {"old": 1}}'),
    "no usable key": Answer(b'{"keys": [1, null, {"kid": "old"}]}'),
    "too many keys": Answer(json.dumps({"keys": [OLD.jwk()] * 51}).encode()),
    "elsewhere": Answer(status=301, headers={"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("answer", [*FAILURES.values()], ids=[*FAILURES])
def test_issuers_that_fail(world: World, answer: Answer) -> None:
    """While an issuer fails, the keys it gave are good for a day; without any nobody gets in."""
    keys = keys_of(world)
    keys.key("old")
    world.site.answers["/keys"] = answer

    world.clock.time += 23 * HOUR
    assert keys.key("old")
    world.clock.time += HOUR + 1
    with pytest.raises(Unavailable):
        keys.key("old")
    with pytest.raises(Unavailable):
        keys_of(world).key("old")

    world.site.serve_keys(OLD)
    world.clock.time += 61
    assert keys.key("old")


@pytest.mark.slow
def test_issuers_that_are_silent(world: World) -> None:
    """An issuer that does not answer is waited for five seconds, and by one request only."""
    world.site.answers["/keys"] = Answer(is_silent=True)
    keys = keys_of(world)

    for _ in range(100):
        with pytest.raises(Unavailable):
            keys.key("old")
    assert asked(world) == 1


def test_a_failing_issuer_is_left_alone(world: World) -> None:
    """A failing issuer is asked once a minute at most, or every five seconds without any keys."""
    honest = world.site.answers.pop("/keys")
    keys = keys_of(world)
    for seconds in (0, 4, 1, 3, 2):
        world.clock.time += seconds
        with pytest.raises(Unavailable):
            keys.key("old")
    assert asked(world) == 3

    world.site.answers["/keys"] = honest
    world.clock.time += 5
    keys.key("old")
    del world.site.answers["/keys"]
    world.clock.time += HOUR
    for _ in range(10):
        world.clock.time += 10
        assert keys.key("old")
        while world.beside:
            world.beside.pop()()
    assert asked(world) == 6


def test_nobody_waits_for_an_issuer_twice(world: World) -> None:
    """Once an issuer has failed somebody, the keys it gave are used without waiting for it."""
    keys = keys_of(world)
    keys.key("old")
    del world.site.answers["/keys"]
    world.clock.time += HOUR
    keys.key("old")
    assert asked(world) == 2

    world.clock.time += 61
    assert keys.key("old")
    assert (asked(world), len(world.beside)) == (2, 1)


def test_an_unknown_key_of_a_failing_issuer(world: World) -> None:
    """A key that may be a new one is not called wrong while its issuer does not answer."""
    keys = keys_of(world)
    keys.key("old")
    honest = world.site.answers.pop("/keys")
    world.clock.time += 61

    for _ in range(2):
        with pytest.raises(Unavailable):
            keys.key("new")
    assert keys.key("old")
    world.site.answers["/keys"] = honest
    world.clock.time += 61
    assert keys.key("new") is None


def test_an_issuer_that_no_thread_can_be_had_for(world: World) -> None:
    """Where no thread can be started, whoever comes renews the keys."""

    def fails(_: Callable[[], None]) -> None:
        raise RuntimeError

    means = replace(world.means, spawn=fails)
    keys = JwksCache(world.site.url, BOTH, means, world.site.keys_url)
    keys.key("old")

    world.clock.time += 0.9 * HOUR
    assert keys.key("old")
    assert asked(world) == 2


def test_discovery(world: World) -> None:
    """An issuer of which only the name is known tells where its keys are, once."""
    world.site.serve_discovery()
    keys = discovered(world)

    assert keys.key("old")
    world.clock.time += HOUR
    assert keys.key("old")
    assert world.site.asked("/.well-known/openid-configuration") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://accounts.google.com"},
        {"jwks_uri": "http://169.254.169.254/computeMetadata/v1/"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://localhost/keys"},
        {"jwks_uri": "http://127.0.0.1.evil.example/keys"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"jwks_uri": "https://[::1/keys"},
        {"jwks_uri": "/keys"},
        {"jwks_uri": ""},
        {"jwks_uri": None},
        {"jwks_uri": ["/keys"]},
    ],
    ids=repr,
)
def test_discovery_that_leads_astray(world: World, change: dict[str, object]) -> None:
    """An issuer can have no other host asked for its keys, least of all one of ours."""
    world.site.serve_discovery(**change)

    with pytest.raises(Unavailable):
        discovered(world).key("old")
    assert [each.path for each in world.site.seen] == ["/.well-known/openid-configuration"]


def test_discovery_that_points_to_a_neighbour(world: World) -> None:
    """Another port of the issuer's host is another place, even if usable keys lie there."""
    with stand_in() as other:
        other.serve_keys(OLD)
        world.site.serve_discovery(jwks_uri=other.keys_url)

        with pytest.raises(Unavailable):
            discovered(world).key("old")
        assert other.seen == []


def test_several_keys(world: World) -> None:
    """Of a set with keys of many kinds those are used that can be."""
    world.site.serve_jwks([{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, OLD.jwk(), CURVE.jwk()])
    keys = keys_of(world)

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
    assert parse_key([key.jwk()]) is None


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
