"""How often a login may fail before the next one is not even looked at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.world import Clock
from wheelyard.trust.throttle import BUCKETS, Throttle, login_keys

ANA = login_keys("192.0.2.7", "ana")


@pytest.fixture
def clock() -> Clock:
    """Return the clock of a test."""
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    """Return a throttle that allows thirty failures a minute."""
    return Throttle(30, clock.seconds)


def test_thirty_failures_a_minute(throttle: Throttle, clock: Clock) -> None:
    """After thirty wrong passwords in a row there is one try every two seconds."""
    for _ in range(30):
        assert throttle.allow(ANA)
        throttle.failed(ANA)

    assert not throttle.allow(ANA)
    assert throttle.seconds_until(ANA) == pytest.approx(2)
    clock.advance(seconds=throttle.seconds_until(ANA))
    assert throttle.allow(ANA)
    throttle.failed(ANA)
    assert not throttle.allow(ANA)


def test_asking_costs_nothing(throttle: Throttle) -> None:
    """Whoever logs in with the right password is never slowed down, however often."""
    for _ in range(1000):
        assert throttle.allow(ANA)


def test_everything_is_forgiven_in_time(throttle: Throttle, clock: Clock) -> None:
    """A minute after the last failure all thirty tries are there again, and not more."""
    _fail(throttle, 30, ANA)
    clock.advance(seconds=3600)

    _fail(throttle, 29, ANA)
    assert throttle.allow(ANA)
    _fail(throttle, 1, ANA)
    assert not throttle.allow(ANA)


def test_many_at_once_gain_nothing(throttle: Throttle, clock: Clock) -> None:
    """Guesses that were sent all at once are paid for, by at most two minutes of waiting."""
    _fail(throttle, 40, ANA)
    assert throttle.seconds_until(ANA) == pytest.approx(22)

    _fail(throttle, 10_000, ANA)
    assert throttle.seconds_until(ANA) == pytest.approx(62)
    clock.advance(seconds=62)
    assert throttle.allow(ANA)


def test_others_are_not_slowed_down(throttle: Throttle) -> None:
    """Who guesses one name from one network stops neither other names nor other networks."""
    _fail(throttle, 30, ANA)

    assert throttle.allow(login_keys("198.51.100.1", "bo"))
    assert not throttle.allow(login_keys("198.51.100.1", "ana"))
    assert not throttle.allow(login_keys("192.0.2.200", "bo"))


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.7", "192.0.2.250", True),
        ("192.0.2.7", "192.0.3.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.7", "192.0.2.9", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "unix:", True),
        ("", "0.0.0.1", False),
    ],
)
def test_neighbours_share_a_bucket(one: str, other: str, *, are_one: bool) -> None:
    """An address counts with its /24, or its /64, because one person has all of that."""
    assert (login_keys(one, "a")[0] == login_keys(other, "b")[0]) is are_one


def test_a_name_is_not_kept() -> None:
    """A password that was typed in the place of the name is not in memory for a minute."""
    assert "hunter2" not in "".join(login_keys("192.0.2.7", "hunter2"))


def test_memory_is_bounded(throttle: Throttle) -> None:
    """However many addresses and names fail, what is remembered does not grow, the newest stays."""
    _fail(throttle, 30, ("steady",))
    _fail(throttle, 30, ("old",))
    for number in range(BUCKETS - 1):
        throttle.failed((f"new-{number}",))
        if number == 1000:
            throttle.failed(("steady",))
    _fail(throttle, 30, ("newest",))

    assert throttle.allow(("old",))
    assert not throttle.allow(("steady",))
    assert not throttle.allow(("newest",))


@given(address=st.text(), name=st.text(st.characters()))
def test_any_address_and_name(address: str, name: str) -> None:
    """Any text for address and name has keys, of a length that nobody can stretch."""
    assert all(len(key) < 60 for key in login_keys(address, name))


@given(st.lists(st.floats(0, 10)), st.integers(1, 1000))
def test_the_rate_holds(pauses: list[float], per_minute: int) -> None:
    """However somebody paces guesses, those that are let through keep to the rate."""
    clock, tried = Clock(), 0
    throttle = Throttle(per_minute, clock.seconds)
    began = clock.seconds()
    for pause in pauses:
        clock.advance(seconds=pause)
        while throttle.allow(ANA):
            throttle.failed(ANA)
            tried += 1

    assert tried <= per_minute + (clock.seconds() - began) * per_minute / 60 + 1e-3


def _fail(throttle: Throttle, times: int, keys: tuple[str, ...]) -> None:
    for _ in range(times):
        throttle.failed(keys)
