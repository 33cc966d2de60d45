"""The keys of issuers: discovery, supported keys, and caching."""

import json
from threading import Thread

import pytest

from tests.authentication.verifiers.fake_issuer import (
    CannedResponse,
    SigningKey,
    VerifierHarness,
    ec_key,
    rsa_key,
    running_issuer,
)
from tests.in_process_network import NetworkOrPorts
from tests.waiting import until
from wheelyard.authentication.verifiers import issuer_keys
from wheelyard.authentication.verifiers.issuer_keys import LIFETIME_SECONDS, IssuerKeys
from wheelyard.errors import Unavailable

OLD, NEW, CURVE = rsa_key("old"), rsa_key("new"), ec_key("curve")
BOTH = ("RS256", "ES256")
USES = {"use", "alg"}
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _one_key(harness: VerifierHarness) -> None:
    harness.issuer.serve_keys(OLD)


def keys_of(harness: VerifierHarness) -> IssuerKeys:
    """Return the keys of an issuer, of which nothing is known yet."""
    return harness.keys(harness.issuer.url, *BOTH)


def discovered(harness: VerifierHarness) -> IssuerKeys:
    """Return its keys, the place of which is not known yet."""
    return harness.keys(harness.issuer.url, *BOTH, url="")


def asked(harness: VerifierHarness) -> int:
    """Return how often it was asked for keys."""
    return harness.issuer.asked("/keys")


def test_keys_are_fetched_again_after_five_minutes(harness: VerifierHarness) -> None:
    """A key set is fetched again when it is five minutes old; a key that is not in it is gone."""
    keys = keys_of(harness)

    keys.key("old")
    harness.clock.advance(seconds=LIFETIME_SECONDS - 1)
    keys.key("old")
    assert asked(harness) == 1
    harness.issuer.serve_keys(NEW)
    harness.clock.advance(seconds=1)
    assert keys.key("old") is None
    assert keys.key("new")
    assert asked(harness) == 2


def test_a_new_key_is_fetched_at_its_first_use(harness: VerifierHarness) -> None:
    """A new key is fetched at its first use, unless keys were fetched in the last minute."""
    keys = keys_of(harness)
    keys.key("old")
    harness.issuer.serve_keys(OLD, NEW)

    assert keys.key("new") is None
    harness.clock.advance(seconds=61)
    assert keys.key("new")
    assert asked(harness) == 2


def test_unknown_keys_cost_one_request_a_minute(harness: VerifierHarness) -> None:
    """Ten thousand tokens with made-up key ids cost one question a minute."""
    keys = keys_of(harness)
    keys.key("old")

    for minute in range(1, 4):
        harness.clock.advance(seconds=61)
        assert {keys.key(f"made-up-{number}") for number in range(3334)} == {None}
        assert asked(harness) == 1 + minute
    assert keys.key("old")


def test_many_at_once_share_one_look(harness: VerifierHarness) -> None:
    """Requests that come while keys are being fetched wait for the same answer."""
    honest = harness.issuer.answers["/keys"]
    harness.issuer.answers["/keys"] = CannedResponse(honest.body, is_silent=True)
    keys = keys_of(harness)
    answers: list[object] = []
    threads = [Thread(target=lambda: answers.append(keys.key("old"))) for _ in range(20)]

    for thread in threads:
        thread.start()
    until(lambda: asked(harness) == 1)
    harness.issuer.released.set()
    for thread in threads:
        thread.join()

    assert len(answers) == 20
    assert None not in answers
    assert asked(harness) == 1


FAILURES = {
    "error": CannedResponse(status=500),
    "not found": CannedResponse(status=404),
    "invalid JSON": CannedResponse(b"{"),
    "a list": CannedResponse(b"[]"),
    "no keys": CannedResponse(b'{"keys": []}'),
    "keys are no list": CannedResponse(b'{"keys": {"old": 1}}'),
    "no usable key": CannedResponse(b'{"keys": [1, null, {"kid": "old"}]}'),
    "odd keys": CannedResponse(json.dumps({"keys": [{**OLD.jwk(), "alg": ["RS256"]}]}).encode()),
    "elsewhere": CannedResponse(status=301, headers={"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("answer", [*FAILURES.values()], ids=[*FAILURES])
def test_cached_keys_are_used_for_a_day(harness: VerifierHarness, answer: CannedResponse) -> None:
    """While an issuer fails, cached keys are used for a day; without any, tokens are refused."""
    keys = keys_of(harness)
    keys.key("old")
    harness.issuer.answers["/keys"] = answer

    harness.clock.advance(seconds=23 * HOUR)
    assert keys.key("old")
    harness.clock.advance(seconds=HOUR + 1)
    with pytest.raises(Unavailable):
        keys.key("old")
    with pytest.raises(Unavailable):
        keys_of(harness).key("old")

    harness.issuer.serve_keys(OLD)
    harness.clock.advance(seconds=61)
    assert keys.key("old")


def test_a_silent_issuer_is_waited_for_by_one_request(
    harness: VerifierHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that does not answer is given up, and waited for by one request only."""
    monkeypatch.setattr(issuer_keys, "FETCH_TIMEOUT_SECONDS", 0.2)
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
        harness.clock.advance(seconds=seconds)
        with pytest.raises(Unavailable):
            keys.key("old")
    assert asked(harness) == 3

    harness.issuer.answers["/keys"] = honest
    harness.clock.advance(seconds=5)
    keys.key("old")
    del harness.issuer.answers["/keys"]
    harness.clock.advance(seconds=HOUR)
    for _ in range(10):
        harness.clock.advance(seconds=10)
        assert keys.key("old")
    assert asked(harness) == 6


def test_nobody_waits_for_a_key_that_is_known(harness: VerifierHarness) -> None:
    """While one request fetches the keys of a slow issuer again, others use those that it had."""
    keys, honest = keys_of(harness), harness.issuer.answers["/keys"]
    keys.key("old")
    harness.issuer.answers["/keys"] = CannedResponse(honest.body, is_silent=True)
    harness.clock.advance(seconds=LIFETIME_SECONDS)
    first = Thread(target=lambda: keys.key("old"))
    first.start()
    until(lambda: asked(harness) == 2)

    assert keys.key("old")
    assert first.is_alive()
    harness.issuer.released.set()
    first.join()
    assert asked(harness) == 2


def test_unknown_key_is_not_called_wrong_while_the_issuer_fails(harness: VerifierHarness) -> None:
    """A key that may be a new one is not called wrong while its issuer does not answer."""
    keys = keys_of(harness)
    keys.key("old")
    honest = harness.issuer.answers.pop("/keys")
    harness.clock.advance(seconds=61)

    for _ in range(2):
        with pytest.raises(Unavailable):
            keys.key("new")
    assert keys.key("old")
    harness.issuer.answers["/keys"] = honest
    harness.clock.advance(seconds=61)
    assert keys.key("new") is None


def test_an_issuer_tells_once_where_its_keys_are(harness: VerifierHarness) -> None:
    """An issuer of which only the name is known tells where its keys are, once."""
    harness.issuer.serve_discovery()
    keys = discovered(harness)

    assert keys.key("old")
    harness.clock.advance(seconds=HOUR)
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
def test_an_issuer_cannot_name_another_host_for_its_keys(
    harness: VerifierHarness, change: dict[str, object]
) -> None:
    """An issuer can have no other host asked for its keys, least of all one of ours."""
    harness.issuer.serve_discovery(**change)

    with pytest.raises(Unavailable):
        discovered(harness).key("old")
    assert [request.path for request in harness.issuer.seen] == [
        "/.well-known/openid-configuration"
    ]


def test_an_issuer_cannot_name_another_port_for_its_keys(
    harness: VerifierHarness, network: NetworkOrPorts
) -> None:
    """Another port of the issuer's host is another place, even if usable keys lie there."""
    with running_issuer(network) as other:
        other.serve_keys(OLD)
        harness.issuer.serve_discovery(jwks_uri=other.keys_url)

        with pytest.raises(Unavailable):
            discovered(harness).key("old")
        assert other.seen == []


def test_of_many_keys_the_usable_ones_are_used(harness: VerifierHarness) -> None:
    """Of a set with keys of many kinds those are used that can be."""
    harness.issuer.serve_jwks([{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, OLD.jwk(), CURVE.jwk()])
    keys = keys_of(harness)

    for honest in (OLD, CURVE):
        key = keys.key(honest.kid)
        assert key is not None
        assert (key.algorithm_name, key.key) == (honest.algorithm, honest.private.public_key())
    assert keys.key("s") is None


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (OLD, {"kid": 7}),
        (OLD, {"kid": None}),
        (OLD, {"use": "enc"}),
        (OLD, {"alg": "RS512"}),
        (OLD, {"alg": "HS256"}),
        (OLD, {"n": ""}),
        (OLD, {"n": 7}),
        (OLD, {"n": "!"}),
        (OLD, {"e": None}),
        (OLD, {"e": "Ag"}),
        (OLD, {"kty": "EC"}),
        # its secret half was published, so that anybody may have it
        (OLD, {"d": "AQAB", "p": "AQAB", "q": "AQAB"}),
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
def test_damaged_short_and_other_keys_are_left_out(
    harness: VerifierHarness, key: SigningKey, change: dict[str, object]
) -> None:
    """A key that is damaged, too short, or for something else is left out."""
    harness.issuer.serve_jwks([{**key.jwk(), **change}])

    with pytest.raises(Unavailable):
        keys_of(harness).key(key.kid)


def test_the_kind_of_a_key_says_what_it_is_for(harness: VerifierHarness) -> None:
    """A key says by its kind what it is for, if it says nothing else."""
    jwks = [OLD.jwk(), CURVE.jwk()]
    harness.issuer.serve_jwks([{k: v for k, v in jwk.items() if k not in USES} for jwk in jwks])
    keys = keys_of(harness)

    for honest in (OLD, CURVE):
        key = keys.key(honest.kid)
        assert key is not None
        assert key.algorithm_name == honest.algorithm
