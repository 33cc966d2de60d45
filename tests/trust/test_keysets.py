"""The keys of issuers: how long they are believed, and how seldom they are asked for."""

import json
from collections.abc import Callable, Iterator
from random import Random
from threading import Thread

import pytest

from tests.trust.issuer import (
    Answer,
)
from tests.trust.keeping import BOTH, HOUR, NEW, OLD, World, running_issuer
from wheelyard.errors import Unavailable
from wheelyard.trust.keysets import KeySet, Means

pytestmark = pytest.mark.integration


@pytest.fixture
def world() -> Iterator[World]:
    """Run an issuer with one key."""
    with running_issuer() as world:
        yield world


def test_keys_are_fetched_once(world: World) -> None:
    """A hundred tokens of one issuer cost one question for its keys."""
    keys = world.keys()

    found = [keys.key("old") for _ in range(100)]

    assert all(each and each.algorithm == "RS256" for each in found)
    assert world.asked == 1


@pytest.mark.parametrize(
    ("max_age", "lifetime"),
    [(None, HOUR), (1, 300.0), (0, 300.0), (1000, 1000.0), (99_999, HOUR), (10**8, HOUR)],
)
def test_lifetimes(world: World, max_age: int | None, lifetime: float) -> None:
    """A set is believed for five minutes to an hour, whatever its issuer says."""
    world.site.serve_keys(OLD, max_age=max_age)
    first, second = world.keys(), world.keys()

    first.key("old")
    world.clock.time += lifetime - 1
    first.key("old")
    assert world.asked == 1
    second.key("old")
    world.clock.time += lifetime
    second.key("old")
    assert world.asked == 3


def test_renewal_beside(world: World) -> None:
    """Near the end of its lifetime a set is renewed once, and nobody waits for that."""
    keys = world.keys()
    keys.key("old")

    world.clock.time += 0.7 * HOUR
    keys.key("old")
    assert world.beside == []
    world.clock.time += 0.2 * HOUR
    for _ in range(10):
        assert keys.key("old")
    (renewal,) = world.beside
    assert world.asked == 1

    renewal()
    world.clock.time += 0.2 * HOUR
    assert keys.key("old")
    assert (world.asked, len(world.beside)) == (2, 1)


def test_a_key_that_is_taken_back(world: World) -> None:
    """A key that its issuer takes back opens nothing any more once the set was renewed."""
    keys = world.keys()
    assert keys.key("old")
    world.site.serve_keys(NEW)

    world.clock.time += HOUR
    assert keys.key("old") is None
    assert keys.key("new")


def test_a_new_key(world: World) -> None:
    """A new key is known as soon as somebody uses it, if the last look is a minute ago."""
    keys = world.keys()
    keys.key("old")
    world.site.serve_keys(OLD, NEW)

    assert keys.key("new") is None
    world.clock.time += 61
    assert keys.key("new")
    assert world.asked == 2


def test_a_storm_of_unknown_keys(world: World) -> None:
    """Ten thousand tokens with made-up key ids cost one question a minute."""
    keys = world.keys()
    keys.key("old")

    for minute in range(1, 4):
        world.clock.time += 61
        assert {keys.key(f"made-up-{each}") for each in range(3334)} == {None}
        assert world.asked == 1 + minute
    assert keys.key("old")


def test_a_key_that_was_refused_just_now(world: World) -> None:
    """A key id that nobody knew is not asked for again for a minute, while others may be."""
    keys = world.keys()
    keys.key("old")
    world.clock.time += 61
    assert keys.key("other") is None
    world.clock.time += 59
    assert keys.key("made-up") is None
    world.clock.time += 2
    assert keys.key("made-up") is None
    assert world.asked == 2
    assert keys.key("another") is None
    assert world.asked == 3


def test_many_at_once_share_one_look(world: World) -> None:
    """Those who come while keys are being fetched wait for the same answer."""
    honest = world.site.answers["/keys"]
    world.site.answers["/keys"] = Answer(honest.body, is_silent=True)
    keys = world.keys()
    found: list[object] = []
    threads = [Thread(target=lambda: found.append(keys.key("old"))) for _ in range(20)]

    for thread in threads:
        thread.start()
    while not world.asked:
        pass
    world.site.released.set()
    for thread in threads:
        thread.join()

    assert len(found) == 20
    assert None not in found
    assert world.asked == 1


FAILURES = {
    "error": Answer(status=500),
    "not found": Answer(status=404),
    "invalid JSON": Answer(b"{"),
    "a list": Answer(b"[]"),
    "no keys": Answer(b'{"keys": []}'),
    "keys are no list": Answer(b'{"keys": {"old": 1}}'),
    "no usable key": Answer(b'{"keys": [1, null, {"kid": "old"}]}'),
    "too many keys": Answer(json.dumps({"keys": [OLD.jwk()] * 51}).encode()),
    "endless": Answer(b" " * 65536, is_endless=True),
    "a gigabyte": Answer(b" " * 65536, headers={"Content-Length": str(2**30)}, is_endless=True),
}


@pytest.mark.parametrize("answer", [*FAILURES.values()], ids=[*FAILURES])
def test_issuers_that_fail(world: World, answer: Answer) -> None:
    """While an issuer fails, the keys it gave are good for a day; without any nobody gets in."""
    keys = world.keys()
    keys.key("old")
    world.site.answers["/keys"] = answer

    world.clock.time += 23 * HOUR
    assert keys.key("old")
    world.clock.time += HOUR + 1
    with pytest.raises(Unavailable):
        keys.key("old")
    with pytest.raises(Unavailable):
        world.keys().key("old")

    world.site.serve_keys(OLD)
    world.clock.time += 61
    assert keys.key("old")


def test_issuers_that_redirect(world: World) -> None:
    """An issuer that sends us elsewhere for its keys has failed; nobody goes there."""
    world.site.answers["/keys"] = Answer(
        status=301, headers={"Location": f"{world.site.url}/elsewhere"}
    )

    with pytest.raises(Unavailable):
        world.keys().key("old")
    assert [each.path for each in world.site.seen] == ["/keys"]


@pytest.mark.slow
def test_issuers_that_are_silent(world: World) -> None:
    """An issuer that does not answer is waited for five seconds, and by one request only."""
    world.site.answers["/keys"] = Answer(is_silent=True)
    keys = world.keys()

    for _ in range(100):
        with pytest.raises(Unavailable):
            keys.key("old")
    assert world.asked == 1


def test_a_failing_issuer_is_left_alone(world: World) -> None:
    """A failing issuer is asked once a minute at most, or every five seconds without any keys."""
    honest = world.site.answers.pop("/keys")
    keys = world.keys()
    for seconds in (0, 4, 1, 3, 2):
        world.clock.time += seconds
        with pytest.raises(Unavailable):
            keys.key("old")
    assert world.asked == 3

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
    assert world.asked == 6


def test_nobody_waits_for_an_issuer_twice(world: World) -> None:
    """Once an issuer has failed somebody, the keys it gave are used without waiting for it."""
    keys = world.keys()
    keys.key("old")
    del world.site.answers["/keys"]
    world.clock.time += HOUR
    keys.key("old")
    assert world.asked == 2

    world.clock.time += 61
    assert keys.key("old")
    assert (world.asked, len(world.beside)) == (2, 1)


def test_an_unknown_key_of_a_failing_issuer(world: World) -> None:
    """A key that may be a new one is not called wrong while its issuer does not answer."""
    keys = world.keys()
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

    means = Means(world.fetcher, world.clock, Random(4), fails)
    keys = KeySet(world.site.url, BOTH, means, world.site.keys_url)
    keys.key("old")

    world.clock.time += 0.9 * HOUR
    assert keys.key("old")
    assert world.asked == 2
