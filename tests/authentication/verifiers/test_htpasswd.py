"""htpasswd files: their format, valid passwords, caching, and the cost of hashing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.authentication.verifiers.password_fixture import ANA, KEY, PasswordHarness
from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA, SHA256, SHA512
from tests.fake_time import Clock
from tests.refused import refused
from wheelyard.authentication.verifiers.htpasswd import (
    PASSWORD_LIMIT_BYTES,
    HtpasswdVerifier,
    parse_hash,
    parse_htpasswd,
)
from wheelyard.authentication.verifiers.verifier import VerificationCache
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.model.access import Credential

RIGHT = Credential("ana", "s3cret")


def test_name_and_password_lead_to_an_identity(htpasswd: PasswordHarness) -> None:
    """Name and password lead to an identity that grants can name; a wrong half leads nowhere."""
    for name, password in (("ana", "S3cret"), ("Ana", "s3cret"), ("bo", "s3cret"), ("ana", "")):
        assert htpasswd.refuses(name, password)

    assert htpasswd.passwords.verify(RIGHT) == ANA


def test_a_hot_client_costs_no_hashing(htpasswd: PasswordHarness) -> None:
    """The right password of a busy client is hashed once in five minutes."""
    assert htpasswd.passwords.cached_identity(RIGHT) is None
    htpasswd.passwords.verify(RIGHT)
    for _ in range(59):
        assert htpasswd.passwords.cached_identity(RIGHT) == ANA
        htpasswd.clock.advance(seconds=5)
        assert htpasswd.passwords.verify(RIGHT) == ANA
    assert len(htpasswd.hashing.done) == 1

    htpasswd.clock.advance(seconds=5)
    assert htpasswd.passwords.verify(RIGHT) == ANA
    assert len(htpasswd.hashing.done) == 2


def test_a_repeated_mistake_costs_no_hashing(htpasswd: PasswordHarness) -> None:
    """A client that repeats a wrong password at once is refused without hashing, for 5 seconds."""
    assert htpasswd.refuses("ana", "wrong")
    htpasswd.clock.advance(seconds=4.9)
    with pytest.raises(Unauthenticated):
        htpasswd.passwords.cached_identity(Credential("ana", "wrong"))
    assert htpasswd.refuses("ana", "wrong")
    assert len(htpasswd.hashing.done) == 1

    htpasswd.clock.advance(seconds=0.1)
    assert htpasswd.passwords.cached_identity(Credential("ana", "wrong")) is None
    assert htpasswd.refuses("ana", "wrong")
    assert len(htpasswd.hashing.done) == 2


def test_names_that_are_not_there_cost_the_same(htpasswd: PasswordHarness) -> None:
    """A guess for a name that does not exist is hashed just like one for a name that does."""
    htpasswd.write(f"ana:{SHA512}\nbo:{SHA512}\nold:{SHA}\n")
    htpasswd.clock.advance(seconds=5)
    assert htpasswd.refuses("ana", "guess")
    assert htpasswd.refuses("nobody", "guess")

    known, unknown = map(parse_hash, htpasswd.hashing.done)
    assert known == unknown


def test_a_decoy_lets_nobody_in(htpasswd: PasswordHarness) -> None:
    """A name that is not there is refused even by a password that the decoy belongs to."""
    passwords = HtpasswdVerifier(
        htpasswd.path, KEY, htpasswd.clock.seconds, htpasswd.outdated, lambda *_: True
    )

    assert passwords.verify(Credential("ana", "guess")) == ANA
    with pytest.raises(Unauthenticated):
        passwords.verify(Credential("nobody", "guess"))


def test_an_empty_file_lets_nobody_in(htpasswd: PasswordHarness) -> None:
    """With an empty file, every login is refused with the generic message."""
    htpasswd.write("# nobody\n")
    htpasswd.clock.advance(seconds=5)

    assert htpasswd.refuses("ana", "s3cret")


@pytest.mark.parametrize("line", ["", f"ana:{APR1}\n"])
def test_a_removed_line_takes_effect(htpasswd: PasswordHarness, line: str) -> None:
    """Who is removed, or has another hash, is hashed anew a second later."""
    htpasswd.passwords.verify(RIGHT)
    htpasswd.write(f"bo:{SHA512}\n{line}")

    htpasswd.clock.advance(seconds=1)
    assert htpasswd.passwords.cached_identity(RIGHT) is None
    assert htpasswd.refuses("ana", "s3cret") is (not line)
    assert len(htpasswd.hashing.done) == 2


def test_a_new_name_need_not_wait(htpasswd: PasswordHarness) -> None:
    """Who was refused, and is then added to the file, is let in as soon as the file is read."""
    htpasswd.clock.advance(seconds=3)
    assert htpasswd.refuses("bo", "s3cret")
    htpasswd.write(f"bo:{SHA512}\n")

    htpasswd.clock.advance(seconds=1)
    assert htpasswd.passwords.verify(Credential("bo", "s3cret")).principal == "htpasswd:bo"


def test_a_changed_file_keeps_other_verdicts(htpasswd: PasswordHarness) -> None:
    """Adding a user to the file keeps the cached results of the other users."""
    htpasswd.passwords.verify(RIGHT)
    htpasswd.write(f"# more\nana:{SHA512}\nbo:{SHA512}\n")
    htpasswd.clock.advance(seconds=5)

    assert htpasswd.passwords.verify(RIGHT) == ANA
    assert len(htpasswd.hashing.done) == 1


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ana", "x" * (PASSWORD_LIMIT_BYTES + 1)),
        ("ana", "é" * (PASSWORD_LIMIT_BYTES // 2 + 1)),
        ("ana", "s3cret\0"),
        ("ana\0s3cret", "x"),
        ("n" * 256, "s3cret"),
        ("ana", "\ud800"),
        ("\udfff", "s3cret"),
    ],
)
def test_what_is_no_password(htpasswd: PasswordHarness, name: str, password: str) -> None:
    """A password of more than 1 KiB, a NUL or half a character is refused before any hashing."""
    assert htpasswd.refuses(name, password)
    with pytest.raises(Unauthenticated):
        htpasswd.passwords.cached_identity(Credential(name, password))
    assert not htpasswd.passwords.verified_recently(Credential(name, password))
    assert htpasswd.hashing.done == []


def test_a_long_password(htpasswd: PasswordHarness) -> None:
    """A password of 1 KiB is hashed like any other, by bcrypt too."""
    htpasswd.write(f"ana:{BCRYPT.replace('$10$', '$04$')}\n")
    htpasswd.clock.advance(seconds=5)

    assert htpasswd.refuses("ana", "x" * PASSWORD_LIMIT_BYTES)
    assert len(htpasswd.hashing.done) == 1


@given(logins=st.lists(st.tuples(st.text(max_size=3), st.text(min_size=1, max_size=3)), min_size=2))
def test_no_two_logins_share_a_verdict(logins: list[tuple[str, str]]) -> None:
    """Two logins that differ never share a cached result, however both are cut."""
    cache = VerificationCache[None](KEY, Clock().seconds)
    allowed = {pair for pair in logins if "\0" not in "".join(pair)}

    assert len({cache.key("htpasswd", *pair) for pair in allowed}) == len(allowed)


def test_nothing_is_shown(htpasswd: PasswordHarness) -> None:
    """No attribute of the verifier shows a password or a hash."""
    htpasswd.passwords.verify(RIGHT)

    assert SHA512 not in repr(vars(htpasswd.passwords))
    assert "s3cret" not in repr(vars(htpasswd.passwords))


def test_a_password_from_elsewhere(htpasswd: PasswordHarness) -> None:
    """A password that was verified for one network is verified anew for another."""
    here, there = (
        Credential("ana", "s3cret", client_network=network)
        for network in ("192.0.2.0/24", "198.51.100.0/24")
    )
    htpasswd.passwords.verify(here)

    assert htpasswd.passwords.cached_identity(here) == ANA
    assert htpasswd.passwords.cached_identity(there) is None
    assert not htpasswd.passwords.verified_recently(there)


def test_names_and_hashes() -> None:
    """Comments, blank lines, Windows line ends and what follows a second colon mean nothing."""
    text = f"\ufeff# people\r\n\r\n  ana:{BCRYPT}\r\nml-ci:{SHA512}:the robot\n#bo:{SHA}\nAna:{SHA}"

    file = parse_htpasswd(text).value

    assert file.hashes == {"ana": BCRYPT, "ml-ci": SHA512, "Ana": SHA}


def test_an_empty_file() -> None:
    """A file without entries is accepted, with a warning that no user can log in."""
    parsed = parse_htpasswd("# nobody yet\n")

    assert (parsed.value.hashes, parsed.value.typical_hash) == ({}, None)
    assert "nobody has a password" in parsed.warnings[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"ana:{BCRYPT}\n\nhunter2hunter2\n", "Line 3 has no colon. Write NAME:HASH"),
        (f"ana:{BCRYPT}\nana:{SHA}", "Line 2 has a name that is there already. Remove one"),
        (f":{BCRYPT}", "Line 1 has no name"),
        (f"{'a' * 256}:{BCRYPT}", "Line 1 has no name"),
        (f"a\x1bb:{BCRYPT}", "Line 1 has no name"),
        ("ana:", "Line 1 has a hash that is missing"),
        ("ana:hunter2hunter2", "Line 1 has a hash that is plain text"),
        ("ana:rqXexS6ZhobKA", "Make it again with the command password, or remove the line."),
        (f"#\nana:$2x{BCRYPT[3:]}", "Line 2 has a hash that is plain text, or of a scheme"),
    ],
)
def test_a_wrong_line(text: str, complaint: str) -> None:
    """A refusal of a file names the line and what to do, and shows no password or hash."""
    with refused(Invalid, "bad_setting") as caught:
        parse_htpasswd(text)

    assert complaint in caught.value.message
    for secret in (BCRYPT, SHA, "hunter2", "rqXexS6ZhobKA", BCRYPT[3:]):
        assert secret not in caught.value.message


def test_warnings_name_the_line() -> None:
    """A weak hash that is taken is named by its line."""
    (warning,) = parse_htpasswd(f"ana:{BCRYPT}\nbo:{APR1}\n").warnings

    assert warning.startswith("the hash on line 2 is MD5 (apr1), which is quickly guessed; make")


def test_the_decoy_is_as_most_are() -> None:
    """For an unknown name a hash of the kind that most names have is computed."""
    text = f"a:{SHA}\nb:{SHA512}\nc:{BCRYPT}\nd:{SHA512.replace('salt', 'more')}"

    decoy = parse_htpasswd(text).value.typical_hash

    assert decoy is not None
    assert decoy.startswith("$6$")


def test_a_file_in_memory_is_not_shown() -> None:
    """The representation of a parsed file shows no hash."""
    assert repr(parse_htpasswd(f"ana:{SHA256}").value) == "HtpasswdFile()"


@given(st.text())
def test_any_text_is_a_file_or_is_refused_by_a_line(text: str) -> None:
    """Any text is a file, or is refused by a line."""
    refused = ""
    try:
        parse_htpasswd(text)
    except Invalid as fault:
        refused = fault.message

    assert refused == "" or refused.startswith("Line ")
