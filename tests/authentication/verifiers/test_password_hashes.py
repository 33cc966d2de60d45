"""Passwords and the hashes that other programs have made of them."""

import shutil
import subprocess
from contextlib import suppress

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.authentication.verifiers.htpasswd import parse_hash, verify_password

SECRET = b"s3cret"
APR1 = "$apr1$r31.....$JeaE8ieUW5Wjt.uFjXhgi1"
SHA = "{SHA}/vNB+F2HQ559kaLUZbmHHvZrXpg="
SHA256 = "$5$saltstring$9QqUIsp6bPD8uX5rHa8zB21q7JTr9i41vD3jA8fwv68"
SHA512 = (
    "$6$saltstring$xwVXmdoFwkuFfkvrCnFqepsb1G.0z7.VoLCq69.god.O.zXvYSQsLM/oDMuI05ufmibO/"
    "tzUYEh4IPt9kZAc0."
)
BCRYPT = "$2y$10$efKILS1cTLtpusLStDYseeGLFWfos3U2x3YL1XburWabmpwOx6xxm"
EVERY = [APR1, SHA, SHA256, SHA512, BCRYPT]

needs_htpasswd = pytest.mark.skipif(shutil.which("htpasswd") is None, reason="needs htpasswd")


@pytest.mark.parametrize("hashed", EVERY)
def test_hashes_of_other_programs_open(hashed: str) -> None:
    """A hash that Apache or OpenSSL made opens with its password, and with no other."""
    assert verify_password(SECRET, hashed)
    assert not verify_password(b"s3cre", hashed)
    assert not verify_password(b"", hashed)
    assert not verify_password(SECRET * 5000, hashed)


@pytest.mark.integration
@needs_htpasswd
@pytest.mark.parametrize("option", ["-m", "-B", "-s", "-2", "-5"])
def test_every_hash_of_htpasswd_opens(option: str) -> None:
    """Every kind of entry that Apache's program writes, and that is not too weak, opens."""
    run = subprocess.run(
        ["htpasswd", "-nb", option, "ana", SECRET.decode()], capture_output=True, check=True
    )

    assert verify_password(SECRET, run.stdout.decode().strip().partition(":")[2])


def test_bcrypt_reads_72_bytes() -> None:
    """A very long password opens what its first 72 bytes open, as with Apache, and never fails."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()

    assert verify_password(b"x" * 72, hashed)
    assert verify_password(b"x" * 73, hashed)
    assert verify_password(b"x" * 5000, hashed)
    assert not verify_password(b"x" * 71, hashed)


@pytest.mark.parametrize("hashed", EVERY)
def test_a_nul_opens_nothing(hashed: str) -> None:
    """A password with a NUL in it is wrong, and not what stands before the NUL."""
    assert not verify_password(SECRET + b"\0", hashed)
    assert not verify_password(SECRET + b"\0" + SECRET, hashed)  # which bcrypt takes for the same


@pytest.mark.parametrize(
    ("hashed", "why"),
    [
        ("$2x" + BCRYPT[3:], "plain text"),
        ("$1$saltsalt$2vnaRpHa6Jxjz5n83ok8Z0", "plain text"),
        ("rqXexS6ZhobKA", "plain text"),
        ("s3cret", "plain text"),
        ("{SSHA}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a scheme"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "a scheme"),
        ("*", "plain text"),
        ("", "plain text"),
        (BCRYPT[:-1], "damaged"),
        (BCRYPT[:-1] + "n", "damaged"),
        (BCRYPT.replace("$10$", "$03$"), "damaged"),
        (BCRYPT.replace("$10$", "$17$"), "cost 17"),
        (SHA512 + ".", "damaged"),
        (SHA512.replace("saltstring", "saltstringsaltstr"), "damaged"),
        (SHA256.replace("$5$", "$6$"), "damaged"),
        (SHA512.replace("$6$", "$6$rounds=999$"), "damaged"),
        (SHA512.replace("$6$", "$6$rounds=1000001$"), "1000001 rounds"),
        (SHA512.replace("$6$", f"$6$rounds={'9' * 5000}$"), "damaged"),
        (SHA512.replace("$6$", "$6$rounds=0005000$"), "damaged"),
        ("$6$saltstring", "damaged"),
        (APR1[:-1], "damaged"),
        (SHA + "\n", "damaged"),
        (f"{SHA256}\x00", "damaged"),
    ],
)
def test_weak_and_damaged_hashes_are_refused(hashed: str, why: str) -> None:
    """A hash that is weak, damaged, unknown or absurdly slow is refused with its reason."""
    with pytest.raises(ValueError, match=why) as refused:
        parse_hash(hashed)

    assert len(hashed) < 4 or hashed not in str(refused.value)


@pytest.mark.parametrize(("hashed", "why"), [(APR1, "MD5"), (SHA, "without salt")])
def test_some_weak_hashes_are_taken_with_a_warning(hashed: str, why: str) -> None:
    """A hash that is weak is accepted with a warning."""
    assert why in parse_hash(hashed).scheme.warning


@pytest.mark.parametrize(
    "hashed",
    [
        SHA512.replace("$6$", "$6$rounds=656000$"),
        BCRYPT.replace("$10$", "$14$"),
        SHA512,
        SHA256.replace("$5$", "$5$rounds=100000$"),
        BCRYPT,
    ],
)
def test_a_strong_hash_is_taken_without_a_warning(hashed: str) -> None:
    """A hash that is strong is accepted without a warning."""
    assert parse_hash(hashed).scheme.warning == ""


@given(st.text() | st.from_regex(r"\$(2[aby]|5|6|apr1)\$[./0-9A-Za-z$=]*", fullmatch=True))
def test_any_text_is_a_hash_or_is_refused(hashed: str) -> None:
    """Any text in the place of a hash is taken or refused, and breaks nothing."""
    with suppress(ValueError):
        parse_hash(hashed)
        assert not verify_password(SECRET, hashed)
