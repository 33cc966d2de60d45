"""Logging in by name and password: what is believed, for how long, and at what cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.world import Clock
from tests.trust.logins import ANA, KEY, Desk
from tests.trust.test_crypts import APR1, BCRYPT, SHA, SHA512
from wheelyard.errors import Unauthenticated
from wheelyard.trust.crypts import recognise
from wheelyard.trust.passwords import PASSWORD_LIMIT, REMEMBERED, Passwords, mark_of
from wheelyard.trust.verifier import Verdicts


def test_a_login(desk: Desk) -> None:
    """Name and password lead to an identity that grants can name; a wrong half leads nowhere."""
    assert desk.passwords.check("ana", "s3cret") == ANA
    assert desk.refuses("ana", "S3cret")
    assert desk.refuses("Ana", "s3cret")
    assert desk.refuses("bo", "s3cret")
    assert desk.refuses("", "s3cret")
    assert desk.refuses("ana", "")


def test_a_hot_client_costs_no_hashing(desk: Desk) -> None:
    """Whoever keeps sending the right password is hashed once in five minutes."""
    assert desk.passwords.known("ana", "s3cret") is None
    desk.passwords.check("ana", "s3cret")
    for _ in range(59):
        assert desk.passwords.known("ana", "s3cret") == ANA
        desk.clock.advance(seconds=5)
        assert desk.passwords.check("ana", "s3cret") == ANA
    assert len(desk.hashing.done) == 1

    desk.clock.advance(seconds=5)
    assert desk.passwords.check("ana", "s3cret") == ANA
    assert len(desk.hashing.done) == 2


def test_a_repeated_mistake_costs_no_hashing(desk: Desk) -> None:
    """A client that repeats a wrong password at once is refused without hashing, for 5 seconds."""
    assert desk.refuses("ana", "wrong")
    desk.clock.advance(seconds=4.9)
    with pytest.raises(Unauthenticated):
        desk.passwords.known("ana", "wrong")
    assert desk.refuses("ana", "wrong")
    assert len(desk.hashing.done) == 1

    desk.clock.advance(seconds=0.1)
    assert desk.passwords.known("ana", "wrong") is None
    assert desk.refuses("ana", "wrong")
    assert len(desk.hashing.done) == 2


def test_nobody_is_locked_out(desk: Desk) -> None:
    """Wrong passwords for a name do not keep its owner from logging in."""
    for number in range(10):
        assert desk.refuses("ana", f"guess-{number}")

    assert desk.passwords.check("ana", "s3cret") == ANA


def test_names_that_are_not_there_cost_the_same(desk: Desk) -> None:
    """A guess for a name that does not exist is hashed just like one for a name that does."""
    desk.write(f"ana:{SHA512}\nbo:{SHA512}\nold:{SHA}\n")
    desk.clock.advance(seconds=5)
    assert desk.refuses("ana", "guess")
    assert desk.refuses("nobody", "guess")

    known, unknown = (recognise(each) for each in desk.hashing.done)
    assert (known.scheme, known.cost) == (unknown.scheme, unknown.cost)
    assert known.digest != unknown.digest


def test_a_decoy_lets_nobody_in(desk: Desk) -> None:
    """A name that is not there is refused even by a password that the decoy belongs to."""
    passwords = Passwords(desk.path, KEY, desk.clock.seconds, check_hash=lambda *_: True)

    assert passwords.check("ana", "guess") == ANA
    with pytest.raises(Unauthenticated):
        passwords.check("nobody", "guess")


def test_an_empty_file_lets_nobody_in(desk: Desk) -> None:
    """Where there are no names, everybody is refused in the same words."""
    desk.write("# nobody\n")
    desk.clock.advance(seconds=5)

    assert desk.refuses("ana", "s3cret")


@pytest.mark.parametrize("line", ["", f"ana:{APR1}\n"])
def test_a_removed_line_takes_effect(desk: Desk, line: str) -> None:
    """Who is removed, or has a new hash, is not let in by an old verdict after five seconds."""
    desk.passwords.check("ana", "s3cret")
    desk.write(f"bo:{SHA512}\n{line}")

    desk.clock.advance(seconds=5)
    assert desk.passwords.known("ana", "s3cret") is None
    assert desk.refuses("ana", "s3cret") is (not line)
    assert len(desk.hashing.done) == 2


def test_a_new_name_need_not_wait(desk: Desk) -> None:
    """Who was refused, and is then added to the file, is let in as soon as the file is read."""
    desk.clock.advance(seconds=3)
    assert desk.refuses("bo", "s3cret")
    desk.write(f"bo:{SHA512}\n")

    desk.clock.advance(seconds=1)
    assert desk.passwords.check("bo", "s3cret").principal == "htpasswd:bo"


def test_a_changed_file_keeps_other_verdicts(desk: Desk) -> None:
    """Adding a person to the file does not make everybody else be hashed again."""
    desk.passwords.check("ana", "s3cret")
    desk.write(f"# more\nana:{SHA512}\nbo:{SHA512}\n")
    desk.clock.advance(seconds=5)

    assert desk.passwords.check("ana", "s3cret") == ANA
    assert len(desk.hashing.done) == 1


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ana", "x" * (PASSWORD_LIMIT + 1)),
        ("ana", "é" * (PASSWORD_LIMIT // 2 + 1)),
        ("ana", "s3cret\0"),
        ("ana\0s3cret", "x"),
        ("n" * 256, "s3cret"),
        ("ana", "\ud800"),
        ("\udfff", "s3cret"),
    ],
)
def test_what_is_no_password(desk: Desk, name: str, password: str) -> None:
    """A password of more than 1 KiB, a NUL or half a character is refused before any hashing."""
    assert desk.refuses(name, password)
    with pytest.raises(Unauthenticated):
        desk.passwords.known(name, password)
    assert not desk.passwords.has_held(name, password)
    assert desk.hashing.done == []


def test_a_long_password(desk: Desk) -> None:
    """A password of 1 KiB is hashed like any other, by bcrypt too."""
    desk.write(f"ana:{BCRYPT.replace('$10$', '$04$')}\n")
    desk.clock.advance(seconds=5)

    assert desk.refuses("ana", "x" * PASSWORD_LIMIT)
    assert len(desk.hashing.done) == 1


def test_where_name_and_password_meet(desk: Desk) -> None:
    """The password bc of a is not the password c of ab."""
    desk.write(f"a:{SHA}\nab:{SHA}\n")
    desk.clock.advance(seconds=5)
    assert desk.refuses("a", "bc")

    assert desk.passwords.known("ab", "c") is None


@given(logins=st.lists(st.tuples(st.text(max_size=3), st.text(min_size=1, max_size=3)), min_size=2))
def test_no_two_logins_share_a_verdict(logins: list[tuple[str, str]]) -> None:
    """However name and password are cut, two logins that differ are two."""
    verdicts = Verdicts[None](KEY, Clock().seconds)
    allowed = {pair for pair in logins if "\0" not in "".join(pair)}

    assert len({mark_of(verdicts, name, password) for name, password in allowed}) == len(allowed)


def test_memory_is_bounded(desk: Desk) -> None:
    """However many passwords are guessed, the verdicts in memory do not grow."""
    desk.write(f"ana:{SHA}\n")
    desk.clock.advance(seconds=5)
    desk.passwords.check("ana", "s3cret")
    for number in range(REMEMBERED + 1):
        assert desk.refuses("ana", f"guess-{number}")

    assert desk.passwords.known("ana", "guess-0") is None
    with pytest.raises(Unauthenticated):
        desk.passwords.known("ana", f"guess-{REMEMBERED}")
    assert desk.passwords.known("ana", "s3cret") == ANA


def test_the_key_of_a_verdict() -> None:
    """A verdict is remembered under the HMAC that the specification gives, not by the password."""
    mark = mark_of(Verdicts[None](KEY, Clock().seconds), "alice", "s3cret")

    assert mark.hex() == "8f75bdf9ae7bdada33cf4ec8e2304f786801ed832ead11b31999c6bc2f1ea7cf"


def test_nothing_is_shown(desk: Desk) -> None:
    """Neither a password nor a hash is in what a log would show of all this."""
    desk.passwords.check("ana", "s3cret")

    assert SHA512 not in repr(vars(desk.passwords))
    assert "s3cret" not in repr(vars(desk.passwords))


def test_warnings(desk: Desk) -> None:
    """An operator hears of hashes that are quickly guessed."""
    desk.write(f"ana:{APR1}\n")
    passwords = Passwords(desk.path, KEY, desk.clock.seconds)

    assert "line 1 is MD5" in passwords.file.warnings[0]


def test_a_password_from_elsewhere(desk: Desk) -> None:
    """A password that held for one network is tried anew for another: guesses cost what they do."""
    here, there = "192.0.2.0/24", "198.51.100.0/24"
    desk.passwords.check("ana", "s3cret", here)

    assert desk.passwords.known("ana", "s3cret", here) == ANA
    assert desk.passwords.known("ana", "s3cret", there) is None
    assert not desk.passwords.has_held("ana", "s3cret", there)
