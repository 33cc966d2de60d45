"""The limit on failed logins."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Semaphore

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.in_memory_index import Clock
from tests.refused import refused
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.authentication.verifiers.login_rate_limit import (
    MAX_BUCKETS,
    NAME_FACTOR,
    LoginRateLimit,
    client_network,
    login_keys,
    network_of,
)
from wheelyard.errors import Unavailable

ANA = login_keys("192.0.2.7", "ana")


@pytest.fixture
def throttle(clock: Clock) -> LoginRateLimit:
    """Return a throttle that allows thirty failures a minute."""
    return LoginRateLimit(30, clock.seconds)


def test_thirty_failures_a_minute(throttle: LoginRateLimit, clock: Clock) -> None:
    """After thirty wrong passwords in a row there is one try every two seconds."""
    for _ in range(30):
        assert not throttle.seconds_until(ANA)
        throttle.record_failure(ANA)

    assert throttle.seconds_until(ANA)
    assert throttle.seconds_until(ANA) == pytest.approx(2)
    clock.advance(seconds=throttle.seconds_until(ANA))
    assert not throttle.seconds_until(ANA)
    throttle.record_failure(ANA)
    assert throttle.seconds_until(ANA)


def test_everything_is_forgiven_in_time(throttle: LoginRateLimit, clock: Clock) -> None:
    """A minute after the last failure all thirty tries are there again, and not more."""
    _fail(throttle, 30, ANA)
    clock.advance(seconds=3600)

    _fail(throttle, 29, ANA)
    assert not throttle.seconds_until(ANA)
    _fail(throttle, 1, ANA)
    assert throttle.seconds_until(ANA)


@pytest.mark.parametrize("limit", [1, 5])
def test_a_burst(clock: Clock, limit: int) -> None:
    """Of wrong passwords that are sent all at once, as many are tried as may fail in a minute."""
    throttle, tried = LoginRateLimit(limit, clock.seconds), Semaphore(0)
    go_on = Event()

    def guess(_: int) -> bool:
        if throttle.reserve(ANA):
            return False
        tried.release()
        assert go_on.wait(TIMEOUT_SECONDS)
        throttle.release(ANA, has_failed=True)
        return True

    with ThreadPoolExecutor(12) as threads:
        guesses = threads.map(guess, range(12))
        for _ in range(limit):
            assert tried.acquire(timeout=TIMEOUT_SECONDS)
        go_on.set()
        assert sum(guesses) == limit
    assert throttle.reserve(ANA) > 0


@pytest.mark.parametrize("limit", [1, 5])
def test_many_who_are_right_at_once(clock: Clock, limit: int) -> None:
    """However many of one network log in at the same moment, none with the right password fails."""
    throttle, most = LoginRateLimit(limit, clock.seconds), Barrier(limit)

    def login(number: int) -> float:
        keys = login_keys("192.0.2.7", f"user-{number}")
        wait = throttle.reserve(keys)
        most.wait(TIMEOUT_SECONDS)  # so many are under way at a time
        throttle.release(keys, has_failed=False)
        return wait

    with ThreadPoolExecutor(40) as threads:
        assert set(threads.map(login, range(40))) == {0.0}
    assert not throttle.seconds_until(ANA)


def test_one_wrong_among_many(clock: Clock) -> None:
    """A login that waits for the last allowed try is refused once that try has failed."""
    throttle = LoginRateLimit(1, clock.seconds)
    assert throttle.reserve(ANA) == 0
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(throttle.reserve, login_keys("192.0.2.8", "bo"))
        throttle.release(ANA, has_failed=True)
        assert waiting.result() == pytest.approx(60)


def test_nobody_waits_for_ever(clock: Clock) -> None:
    """A login that has waited too long for running tries is told to retry later."""
    throttle = LoginRateLimit(1, clock.seconds, timeout=0.001)
    assert throttle.reserve(ANA) == 0
    with refused(Unavailable, "overloaded"):
        throttle.reserve(ANA)
    throttle.release(ANA, has_failed=False)
    assert throttle.reserve(ANA) == 0


def test_others_are_not_slowed_down(throttle: LoginRateLimit) -> None:
    """Who guesses one name from one network stops no other network, that name's owner included."""
    _fail(throttle, 30, ANA)

    assert not throttle.seconds_until(login_keys("198.51.100.1", "bo"))
    assert not throttle.seconds_until(login_keys("198.51.100.1", "ana"))
    assert throttle.seconds_until(login_keys("192.0.2.200", "bo"))


def _guess_from_everywhere(throttle: LoginRateLimit) -> None:
    """Guess one name from so many networks that it has no try left."""
    for number in range(NAME_FACTOR):
        _fail(throttle, 30, login_keys(f"10.0.{number}.1", "ana"))


def test_a_name_that_everybody_guesses(throttle: LoginRateLimit, clock: Clock) -> None:
    """A name has ten times the tries of a network; beyond that, networks that failed must wait."""
    fresh = login_keys("198.51.100.1", "ana")
    _guess_from_everywhere(throttle)

    assert throttle.seconds_until(fresh)
    assert throttle.seconds_until(fresh) == pytest.approx(0.2)
    throttle.record_failure(login_keys("198.51.100.1", "bo"))
    assert throttle.reserve(fresh) == pytest.approx(0.2)
    clock.advance(seconds=59)
    _guess_from_everywhere(throttle)
    assert throttle.reserve(fresh) > 0


def test_a_network_that_has_not_failed(throttle: LoginRateLimit, clock: Clock) -> None:
    """A network without a failure in the last minute has one try at a name that has none left."""
    fresh = login_keys("198.51.100.1", "ana")
    _guess_from_everywhere(throttle)

    assert throttle.reserve(fresh) == 0
    assert throttle.reserve(fresh) > 0, "before it is known how the first one ends"
    throttle.release(fresh, has_failed=True)
    clock.advance(seconds=59)
    _guess_from_everywhere(throttle)
    assert throttle.reserve(fresh) > 0
    clock.advance(seconds=1)
    _guess_from_everywhere(throttle)
    assert throttle.reserve(fresh) == 0


def test_a_name_that_many_networks_guess(throttle: LoginRateLimit, clock: Clock) -> None:
    """First tries of many networks do not come on top of the tries that a name has."""
    networks = [login_keys(f"192.0.{number}.1", "ana") for number in range(50)]
    tried = 0
    for second in range(600):
        clock.advance(seconds=1)
        for keys in networks:
            if not throttle.reserve(keys):
                throttle.release(keys, has_failed=True)
                tried += second >= 300

    assert tried <= 5 * 30 * NAME_FACTOR + len(networks)


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
    assert (login_keys(one, "a")[0] == login_keys(other, "b")[0]) is are_one


def test_a_name_is_not_kept() -> None:
    """A password that was typed in the place of the name is not in memory for a minute."""
    assert "hunter2" not in "".join(login_keys("192.0.2.7", "hunter2"))


def test_memory_is_bounded(throttle: LoginRateLimit) -> None:
    """However many addresses and names fail, what is remembered does not grow, the newest stays."""
    _fail(throttle, 30, ("steady",))
    _fail(throttle, 30, ("old",))
    for number in range(MAX_BUCKETS - 1):
        throttle.record_failure((f"new-{number}",))
        if number == 1000:
            throttle.record_failure(("steady",))
    _fail(throttle, 30, ("newest",))

    assert not throttle.seconds_until(("old",))
    assert throttle.seconds_until(("steady",))
    assert throttle.seconds_until(("newest",))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 10))), st.integers(1, 20))
def test_the_rate_holds_for_many_at_once(
    steps: list[tuple[bool, bool, float]], per_minute: int
) -> None:
    """However tries overlap, and whether they fail or not, failures keep to the rate."""
    clock, under_way, failures = Clock(), 0, 0
    throttle = LoginRateLimit(per_minute, clock.seconds)
    began = clock.seconds()
    for begins, fails, pause in steps:
        clock.advance(seconds=pause)
        if begins and under_way < per_minute - failures:  # beyond that it may have to wait
            assert throttle.reserve(ANA) == 0
            under_way += 1
        elif under_way:
            throttle.release(ANA, has_failed=fails)
            under_way, failures = under_way - 1, failures + fails
    for _ in range(under_way):
        throttle.release(ANA, has_failed=True)
        failures += 1
    while not throttle.reserve(ANA):
        throttle.release(ANA, has_failed=True)
        failures += 1

    assert failures <= per_minute + (clock.seconds() - began) * per_minute / 60 + 1e-3


def _fail(throttle: LoginRateLimit, times: int, keys: tuple[str, ...]) -> None:
    for _ in range(times):
        throttle.record_failure(keys)


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
def test_where_somebody_is(address: str, origin: str) -> None:
    """A password is remembered for one address, or for what one house has of the new ones."""
    assert client_network(address) == origin
    assert network_of(origin) == network_of(address)
