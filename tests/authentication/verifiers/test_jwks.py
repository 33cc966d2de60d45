"""The keys of issuers: discovery, supported keys, and caching."""

import json
from collections.abc import Callable
from threading import Thread

import pytest
from msgspec.structs import replace

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    SigningKey,
    VerifierHarness,
    ec_key,
    rsa_key,
    running_issuer,
)
from wheelyard.authentication.verifiers.jwks import JwksCache, parse_key
from wheelyard.errors import Unavailable

pytestmark = pytest.mark.integration

OLD, NEW, CURVE = rsa_key("old"), rsa_key("new"), ec_key("curve")
BOTH = frozenset({"RS256", "ES256"})
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _one_key(harness: VerifierHarness) -> None:
    harness.issuer.serve_keys(OLD)


def keys_of(harness: VerifierHarness) -> JwksCache:
    """Return the keys of an issuer, of which nothing is known yet."""
    return JwksCache(harness.issuer.url, BOTH, harness.dependencies, harness.issuer.keys_url)


def discovered(harness: VerifierHarness) -> JwksCache:
    """Return its keys, the place of which is not known yet."""
    return JwksCache(harness.issuer.url, BOTH, harness.dependencies)


def asked(harness: VerifierHarness) -> int:
    """Return how often it was asked for keys."""
    return harness.issuer.asked("/keys")


@pytest.mark.parametrize(
    ("max_age", "lifetime"),
    [(None, HOUR), (1, 300.0), (0, 300.0), (1000, 1000.0), (99_999, HOUR), (10**8, HOUR)],
)
def test_lifetimes(harness: VerifierHarness, max_age: int | None, lifetime: float) -> None:
    """A key set is cached for five minutes to an hour, whatever max-age its issuer sends."""
    harness.issuer.serve_keys(OLD, max_age=max_age)
    first, second = keys_of(harness), keys_of(harness)

    first.key("old")
    harness.clock.time += lifetime - 1
    first.key("old")
    assert asked(harness) == 1
    second.key("old")
    harness.clock.time += lifetime
    second.key("old")
    assert asked(harness) == 3


def test_renewal_beside(harness: VerifierHarness) -> None:
    """Near the end of its lifetime a key set is renewed once, in the background."""
    keys = keys_of(harness)
    keys.key("old")

    harness.clock.time += 0.7 * HOUR
    keys.key("old")
    assert harness.beside == []
    harness.clock.time += 0.2 * HOUR
    for _ in range(10):
        assert keys.key("old")
    (renewal,) = harness.beside
    assert asked(harness) == 1

    renewal()
    harness.clock.time += 0.2 * HOUR
    assert keys.key("old")
    assert (asked(harness), len(harness.beside)) == (2, 1)


def test_a_key_that_is_taken_back(harness: VerifierHarness) -> None:
    """A key that its issuer takes back opens nothing any more once the set was renewed."""
    keys = keys_of(harness)
    assert keys.key("old")
    harness.issuer.serve_keys(NEW)

    harness.clock.time += HOUR
    assert keys.key("old") is None
    assert keys.key("new")


def test_a_new_key(harness: VerifierHarness) -> None:
    """A new key is fetched at its first use, unless keys were fetched in the last minute."""
    keys = keys_of(harness)
    keys.key("old")
    harness.issuer.serve_keys(OLD, NEW)

    assert keys.key("new") is None
    harness.clock.time += 61
    assert keys.key("new")
    assert asked(harness) == 2


def test_a_storm_of_unknown_keys(harness: VerifierHarness) -> None:
    """Ten thousand tokens with made-up key ids cost one question a minute."""
    keys = keys_of(harness)
    keys.key("old")

    for minute in range(1, 4):
        harness.clock.time += 61
        assert {keys.key(f"made-up-{each}") for each in range(3334)} == {None}
        assert asked(harness) == 1 + minute
    assert keys.key("old")


def test_a_key_that_was_refused_just_now(harness: VerifierHarness) -> None:
    """An unknown key id is not looked up again for a minute; other unknown ids are."""
    keys = keys_of(harness)
    keys.key("old")
    harness.clock.time += 61
    assert keys.key("other") is None
    harness.clock.time += 59
    assert keys.key("made-up") is None
    harness.clock.time += 2
    assert keys.key("made-up") is None
    assert asked(harness) == 2
    assert keys.key("another") is None
    assert asked(harness) == 3


def test_many_at_once_share_one_look(harness: VerifierHarness) -> None:
    """Those who come while keys are being fetched wait for the same answer."""
    honest = harness.issuer.answers["/keys"]
    harness.issuer.answers["/keys"] = CannedResponse(honest.body, is_silent=True)
    keys = keys_of(harness)
    found: list[object] = []
    threads = [Thread(target=lambda: found.append(keys.key("old"))) for _ in range(20)]

    for thread in threads:
        thread.start()
    while not asked(harness):
        pass
    harness.issuer.released.set()
    for thread in threads:
        thread.join()

    assert len(found) == 20
    assert None not in found
    assert asked(harness) == 1


FAILURES = {
    "error": CannedResponse(status=500),
    "not found": CannedResponse(status=404),
    "invalid JSON": CannedResponse(b"{"),
    "a list": CannedResponse(b"[]"),
    "no keys": CannedResponse(b'{"keys": []}'),
    "keys are no list": CannedResponse(b'{"keys": {"old": 1}}'),
    "no usable key": CannedResponse(b'{"keys": [1, null, {"kid": "old"}]}'),
    "too many keys": CannedResponse(json.dumps({"keys": [OLD.jwk()] * 51}).encode()),
    "elsewhere": CannedResponse(status=301, headers={"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("answer", [*FAILURES.values()], ids=[*FAILURES])
def test_issuers_that_fail(harness: VerifierHarness, answer: CannedResponse) -> None:
    """While an issuer fails, cached keys are used for a day; without any, tokens are refused."""
    keys = keys_of(harness)
    keys.key("old")
    harness.issuer.answers["/keys"] = answer

    harness.clock.time += 23 * HOUR
    assert keys.key("old")
    harness.clock.time += HOUR + 1
    with pytest.raises(Unavailable):
        keys.key("old")
    with pytest.raises(Unavailable):
        keys_of(harness).key("old")

    harness.issuer.serve_keys(OLD)
    harness.clock.time += 61
    assert keys.key("old")


@pytest.mark.slow
def test_issuers_that_are_silent(harness: VerifierHarness) -> None:
    """An issuer that does not answer is waited for five seconds, and by one request only."""
    harness.issuer.answers["/keys"] = CannedResponse(is_silent=True)
    keys = keys_of(harness)

    for _ in range(100):
        with pytest.raises(Unavailable):
            keys.key("old")
    assert asked(harness) == 1


def test_a_failing_issuer_is_left_alone(harness: VerifierHarness) -> None:
    """A failing issuer is asked once a minute at most, or every five seconds without any keys."""
    honest = harness.issuer.answers.pop("/keys")
    keys = keys_of(harness)
    for seconds in (0, 4, 1, 3, 2):
        harness.clock.time += seconds
        with pytest.raises(Unavailable):
            keys.key("old")
    assert asked(harness) == 3

    harness.issuer.answers["/keys"] = honest
    harness.clock.time += 5
    keys.key("old")
    del harness.issuer.answers["/keys"]
    harness.clock.time += HOUR
    for _ in range(10):
        harness.clock.time += 10
        assert keys.key("old")
        while harness.beside:
            harness.beside.pop()()
    assert asked(harness) == 6


def test_nobody_waits_for_an_issuer_twice(harness: VerifierHarness) -> None:
    """After a failed fetch, cached keys are used without waiting for the issuer."""
    keys = keys_of(harness)
    keys.key("old")
    del harness.issuer.answers["/keys"]
    harness.clock.time += HOUR
    keys.key("old")
    assert asked(harness) == 2

    harness.clock.time += 61
    assert keys.key("old")
    assert (asked(harness), len(harness.beside)) == (2, 1)


def test_an_unknown_key_of_a_failing_issuer(harness: VerifierHarness) -> None:
    """A key that may be a new one is not called wrong while its issuer does not answer."""
    keys = keys_of(harness)
    keys.key("old")
    honest = harness.issuer.answers.pop("/keys")
    harness.clock.time += 61

    for _ in range(2):
        with pytest.raises(Unavailable):
            keys.key("new")
    assert keys.key("old")
    harness.issuer.answers["/keys"] = honest
    harness.clock.time += 61
    assert keys.key("new") is None


def test_an_issuer_that_no_thread_can_be_had_for(harness: VerifierHarness) -> None:
    """If no thread can be started, the request itself renews the keys."""

    def fails(_: Callable[[], None]) -> None:
        raise RuntimeError

    dependencies = replace(harness.dependencies, spawn=fails)
    keys = JwksCache(harness.issuer.url, BOTH, dependencies, harness.issuer.keys_url)
    keys.key("old")

    harness.clock.time += 0.9 * HOUR
    assert keys.key("old")
    assert asked(harness) == 2


def test_discovery(harness: VerifierHarness) -> None:
    """An issuer of which only the name is known tells where its keys are, once."""
    harness.issuer.serve_discovery()
    keys = discovered(harness)

    assert keys.key("old")
    harness.clock.time += HOUR
    assert keys.key("old")
    assert harness.issuer.asked("/.well-known/openid-configuration") == 1


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
def test_discovery_that_leads_astray(harness: VerifierHarness, change: dict[str, object]) -> None:
    """An issuer can have no other host asked for its keys, least of all one of ours."""
    harness.issuer.serve_discovery(**change)

    with pytest.raises(Unavailable):
        discovered(harness).key("old")
    assert [each.path for each in harness.issuer.seen] == ["/.well-known/openid-configuration"]


def test_discovery_that_points_to_a_neighbour(harness: VerifierHarness) -> None:
    """Another port of the issuer's host is another place, even if usable keys lie there."""
    with running_issuer() as other:
        other.serve_keys(OLD)
        harness.issuer.serve_discovery(jwks_uri=other.keys_url)

        with pytest.raises(Unavailable):
            discovered(harness).key("old")
        assert other.seen == []


def test_several_keys(harness: VerifierHarness) -> None:
    """Of a set with keys of many kinds those are used that can be."""
    harness.issuer.serve_jwks([{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, OLD.jwk(), CURVE.jwk()])
    keys = keys_of(harness)

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
