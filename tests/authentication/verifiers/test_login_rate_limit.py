"""The limit on failed logins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fake_time import Clock
from wheelyard.authentication.verifiers.login_rate_limit import (
    MAX_BUCKETS,
    LoginRateLimit,
    address_key,
    client_network,
    network_of,
)

HERE = (address_key("192.0.2.7"),)


@pytest.fixture
def throttle(clock: Clock) -> LoginRateLimit:
    """Return a throttle that allows thirty failures a minute."""
    return LoginRateLimit(30, clock.seconds)


def test_thirty_failures_a_minute_are_let_through(throttle: LoginRateLimit, clock: Clock) -> None:
    """After thirty wrong passwords in a row there is one try every two seconds."""
    for _ in range(30):
        assert not throttle.seconds_until(HERE)
        throttle.take_tries(HERE)

    assert throttle.seconds_until(HERE)
    assert throttle.seconds_until(HERE) == pytest.approx(2)
    clock.advance(seconds=throttle.seconds_until(HERE))
    assert not throttle.seconds_until(HERE)
    throttle.take_tries(HERE)
    assert throttle.seconds_until(HERE)


def test_everything_is_forgiven_in_time(throttle: LoginRateLimit, clock: Clock) -> None:
    """A minute after the last failure all thirty tries are there again, and not more."""
    _fail(throttle, 30, HERE)
    clock.advance(seconds=3600)

    _fail(throttle, 29, HERE)
    assert not throttle.seconds_until(HERE)
    _fail(throttle, 1, HERE)
    assert throttle.seconds_until(HERE)


def test_an_attempt_can_be_given_back(throttle: LoginRateLimit) -> None:
    """An attempt that turns out not to count is given back; no bucket gets more than it had."""
    assert [throttle.count_attempt(HERE[0]) for _ in range(30)] == [0.0] * 30
    assert throttle.count_attempt(HERE[0]) == pytest.approx(2)

    throttle.give_back(HERE[0])
    assert [throttle.count_attempt(HERE[0]) for _ in range(2)] == [0.0, pytest.approx(2)]
    for _ in range(40):
        throttle.give_back(HERE[0])
    _fail(throttle, 30, HERE)
    assert throttle.seconds_until(HERE)


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("192.0.2.7", "192.0.2.250", True),
        ("192.0.2.7", "192.0.3.7", False),
        ("2001:db8:0:1::1", "2001:db8:0:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:1:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.9", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "unix:", True),
        ("", "0.0.0.1", False),
    ],
)
def test_neighbours_share_a_bucket(one: str, other: str, *, are_one: bool) -> None:
    """An address counts with its /24, or its /48, because one person has all of that."""
    assert (address_key(one) == address_key(other)) is are_one


def test_memory_is_bounded(throttle: LoginRateLimit) -> None:
    """However many networks fail, what is remembered does not grow, the newest stays."""
    _fail(throttle, 30, ("steady",))
    _fail(throttle, 30, ("old",))
    for number in range(MAX_BUCKETS - 1):
        throttle.take_tries((f"new-{number}",))
        if number == 1000:
            throttle.take_tries(("steady",))
    _fail(throttle, 30, ("newest",))

    assert not throttle.seconds_until(("old",))
    assert throttle.seconds_until(("steady",))
    assert throttle.seconds_until(("newest",))


@given(st.lists(st.floats(0, 10)), st.integers(1, 20))
def test_no_more_failures_than_rate_are_let_through(pauses: list[float], per_minute: int) -> None:
    """However failures are spread, no more of them are let through than the rate allows."""
    clock, failures = Clock(), 0
    throttle = LoginRateLimit(per_minute, clock.seconds)
    began = clock.seconds()
    for pause in pauses:
        clock.advance(seconds=pause)
        while not throttle.seconds_until(HERE):
            throttle.take_tries(HERE)
            failures += 1

    assert failures <= per_minute + (clock.seconds() - began) * per_minute / 60 + 1e-3


def _fail(throttle: LoginRateLimit, times: int, keys: tuple[str, ...]) -> None:
    for _ in range(times):
        throttle.take_tries(keys)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("", "-"),
    ],
)
def test_a_password_is_remembered_for_one_network(address: str, origin: str) -> None:
    """A password is remembered for one address, or for what one house has of the new ones."""
    assert client_network(address) == origin
    assert network_of(origin) == network_of(address)
