"""Logging in when many come at once: who hashes, who waits and who is turned away."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from tests.trust.logins import ANA, KEY, Desk
from tests.trust.test_crypts import APR1, SHA, SHA512
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.identity import Identity
from wheelyard.trust.passwords import QUEUE_LIMIT, Passwords, Turns


def test_those_who_come_together_are_hashed_once(desk: Desk) -> None:
    """A client that opens fifty connections with one password costs one hash."""
    desk.hashing.go_on.clear()
    with ThreadPoolExecutor(50) as threads:
        logins = [threads.submit(desk.passwords.check, "ana", "s3cret") for _ in range(50)]
        desk.hashing.go_on.set()

    assert {login.result() for login in logins} == {ANA}
    assert len(desk.hashing.done) == 1


def test_too_many_guesses_at_a_time(desk: Desk) -> None:
    """One hashes at a time, 64 wait, the next is told to come back; known ones go on as ever."""
    desk.write(f"ana:{SHA}\n")  # all guesses are hashed before the last has lost its patience
    desk.clock.advance(seconds=5)
    desk.passwords.check("ana", "s3cret")
    desk.hashing.go_on.clear()
    with ThreadPoolExecutor(QUEUE_LIMIT + 20) as threads:
        guesses = [
            threads.submit(desk.passwords.check, "ana", f"guess-{number}")
            for number in range(QUEUE_LIMIT + 11)
        ]
        turned_away = _first_done(guesses, 10)
        assert desk.passwords.fresh("ana", "s3cret") == ANA
        assert desk.passwords.check("ana", "s3cret") == ANA
        desk.hashing.go_on.set()

    faults = [guess.exception() for guess in guesses]
    assert {type(guess.exception()) for guess in turned_away} == {Unavailable}
    assert [fault.code for fault in faults if isinstance(fault, Unavailable)] == ["overloaded"] * 10
    assert sum(isinstance(fault, Unauthenticated) for fault in faults) == QUEUE_LIMIT + 1
    assert desk.hashing.most_at_once == 1

    assert desk.refuses("ana", "guess-again")


def test_too_many_clients_with_one_wrong_password(desk: Desk) -> None:
    """64 wait for the hash of one and the same wrong password, again and again; others do not."""
    with ThreadPoolExecutor(QUEUE_LIMIT + 11) as threads:
        for password in ("guess", "another guess"):
            desk.hashing.go_on.clear()
            guesses = [
                threads.submit(desk.passwords.check, "ana", password)
                for _ in range(QUEUE_LIMIT + 11)
            ]
            turned_away = _first_done(guesses, 10)
            desk.hashing.go_on.set()

            faults = [guess.exception() for guess in guesses]
            overloaded = [each for each in faults if isinstance(each, Unavailable)]
            assert {each.code for each in overloaded} == {"overloaded"}
            assert {type(each.exception()) for each in turned_away} == {Unavailable}
            assert len(overloaded) == 10
            assert [type(each) for each in faults].count(Unauthenticated) == QUEUE_LIMIT + 1
    assert len(desk.hashing.done) == 2


@pytest.mark.parametrize("processors", [1, 2, 8])
def test_strangers_keep_nobody_out_who_was_right(desk: Desk, processors: int) -> None:
    """However many strangers hash and wait, a password that was right today is hashed at once."""
    passwords = Passwords(desk.path, KEY, desk.clock.seconds, processors, desk.hashing)
    passwords.check("ana", "s3cret")
    desk.clock.advance(seconds=300)
    desk.hashing.holds_back = b"guess"
    desk.hashing.go_on.clear()
    with ThreadPoolExecutor(QUEUE_LIMIT + 20) as threads:
        guesses = [
            threads.submit(passwords.check, f"stranger-{number}", f"guess-{number}")
            for number in range(QUEUE_LIMIT + 20)
        ]
        _first_done(guesses, 1)  # so that every turn and every place in the queue is taken
        assert passwords.fresh("ana", "s3cret") is None
        assert passwords.check("ana", "s3cret") == ANA
        desk.hashing.go_on.set()


def test_those_who_were_right_hash_beside_each_other(desk: Desk) -> None:
    """Where no stranger hashes, those who were right today use every turn that there is."""
    desk.write(f"ana:{SHA512}\nbo:{SHA512}\n")
    desk.clock.advance(seconds=5)
    for name in ("ana", "bo"):
        desk.passwords.check(name, "s3cret")
    desk.clock.advance(seconds=300)
    desk.hashing.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        logins = [threads.submit(desk.passwords.check, name, "s3cret") for name in ("ana", "bo")]
        assert desk.hashing.two_at_once.wait(timeout=10)
        desk.hashing.go_on.set()

    assert [each.result().principal for each in logins] == ["htpasswd:ana", "htpasswd:bo"]


def test_who_has_another_password_by_now_is_a_stranger(desk: Desk) -> None:
    """A password that was right today has no privilege once its line is another one."""
    desk.passwords.check("ana", "s3cret")
    assert desk.passwords.has_held("ana", "s3cret")
    desk.write(f"ana:{APR1}\n")
    desk.clock.advance(seconds=5)
    desk.passwords.known("ana", "s3cret")
    assert not desk.passwords.has_held("ana", "s3cret")


def test_nobody_waits_for_ever() -> None:
    """Who has waited too long for a turn is told to come back, and leaves no place behind."""
    turns = Turns(1, patience=0.001)
    with turns.one():
        for _ in range(QUEUE_LIMIT * 2):
            with pytest.raises(Unavailable, match="Try again"), turns.one():
                pass

    with turns.one():
        pass


def _first_done(futures: list[Future[Identity]], count: int) -> list[Future[Identity]]:
    """Wait until so many are done, and return them."""
    finished = Event()
    done: list[Future[Identity]] = []

    def note(future: Future[Identity]) -> None:
        done.append(future)
        if len(done) == count:
            finished.set()

    for future in futures:
        future.add_done_callback(note)
    assert finished.wait(timeout=10)
    return done[:count]
