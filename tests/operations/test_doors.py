"""Which credential is tried as what, and whose failures keep whom out."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.access.places import PASSWORD, Place, id_token, open_place, static_token
from tests.operations.world import Clock
from tests.trust.issuer import Bearer
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.http.auth import credential_in
from wheelyard.model.access import Action
from wheelyard.model.credential import Credential
from wheelyard.model.distribution import parse_name
from wheelyard.operations.doors import RATE_LIMITED
from wheelyard.trust.passwords import Passwords

HERE, ELSEWHERE = "192.0.2.7", "198.51.100.7"
SHUT = parse_name("shut-lib")
GOOGLE = "ya29.the-token-of-a-reader"


def few(said: dict[str, object]) -> None:
    """Let three logins a minute fail."""
    access = said["access"]
    assert isinstance(access, dict)
    access["failed_login_per_minute"] = 3


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An index that has little patience with guesses."""
    with open_place(tmp_path, adjust=few) as place:
        place.google.bearers[GOOGLE] = Bearer(frozenset({"storage.objects.get"}))
        yield place


def guess(place: Place, address: str, credential: Credential, times: int = 3) -> None:
    """Fail to log in, so often."""
    for number in range(times):
        wrong = Credential(credential.user, f"{credential.secret}-{number}")
        with pytest.raises(Unauthenticated):
            place.index.doors.caller(wrong, address)


def is_let_in(place: Place, credential: Credential, address: str = HERE) -> bool:
    """Return whether a credential opens the index, and is not put off."""
    fault: Unavailable | None = None
    try:
        caller = place.index.doors.caller(credential, address)
    except Unavailable as found:
        fault = found
    else:
        return caller.may(Action.READ, SHUT)
    assert fault.code == RATE_LIMITED
    return False


def test_guesses_are_put_off(place: Place) -> None:
    """After three wrong passwords nobody at that address, or of that name, is heard."""
    guess(place, HERE, Credential("reader", "guess"))
    assert not is_let_in(place, Credential("manager", PASSWORD))
    assert not is_let_in(place, Credential("reader", PASSWORD), ELSEWHERE)
    assert is_let_in(place, Credential("manager", PASSWORD), ELSEWHERE)


def test_who_was_right_before_is_let_in(place: Place) -> None:
    """Somebody whose password was right before is not locked out by the guesses of others."""
    right = Credential("reader", PASSWORD)
    assert is_let_in(place, right)
    guess(place, HERE, Credential("reader", "guess"))
    assert is_let_in(place, right)
    assert not is_let_in(place, Credential("reader", "guess-9"))


@pytest.mark.parametrize(
    "wrong",
    [
        Credential("oauth2accesstoken", "ya29.no-token-of-google"),
        Credential("__token__", "no-token-at-all-of-anybody"),
        Credential("reader", "guess"),
        Credential("", "ya29.no-token-of-google", is_bearer=True),
    ],
    ids=["access token", "password of __token__", "password", "bearer"],
)
def test_failures_keep_no_other_kind_out(place: Place, wrong: Credential) -> None:
    """Bad credentials of one kind, from one office, leave good ones of other kinds alone."""
    guess(place, HERE, wrong, 1 if wrong.is_bearer else 3)
    api_token = place.token("*", can="read")
    assert is_let_in(place, Credential("__token__", api_token))
    assert is_let_in(place, Credential("__token__", static_token("reader")))
    assert is_let_in(place, Credential("oidc", id_token("reader@acme.dev")))
    if wrong.user == "oauth2accesstoken":
        assert is_let_in(place, Credential("oauth2accesstoken", GOOGLE), ELSEWHERE)
        assert is_let_in(place, Credential("reader", PASSWORD))
    elif not wrong.is_bearer:
        assert is_let_in(place, Credential("oauth2accesstoken", GOOGLE))


def test_an_empty_password_is_no_failure(place: Place) -> None:
    """A client that first sends a name alone, as uv does for each file, is not put off for it."""
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            place.index.doors.caller(Credential("reader", ""), HERE)
    assert is_let_in(place, Credential("reader", PASSWORD))


KEY = '{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE"}'


@pytest.mark.parametrize("user", ["_json_key", "_json_key_base64", "oauth2accesstoken", "reader"])
@pytest.mark.parametrize("secret", [KEY, b64encode(KEY.encode()).decode()], ids=["plain", "base64"])
def test_service_account_keys(place: Place, user: str, secret: str) -> None:
    """The key of a service account is refused with advice, and shown to nobody, not even Google."""
    with pytest.raises(Unauthenticated, match="delete it"):
        place.index.doors.caller(Credential(user, secret), HERE)
    assert place.google.seen == []


def test_a_password_may_look_like_anything(place: Place) -> None:
    """No credential is tried as two kinds: a token of ours that fails is not shown to Google."""
    for secret in ("wyd_nonsense", "wyd_" + "0" * 48):
        with pytest.raises(Unauthenticated):
            place.index.doors.caller(Credential("oauth2accesstoken", secret), HERE)
    assert place.google.seen == []


def test_a_change_of_the_file_is_seen_by_who_was_just_let_in(place: Place) -> None:
    """What somebody was recognised by is looked at again as soon as the file has changed."""
    doors = place.index.doors
    assert is_let_in(place, Credential("reader", PASSWORD))
    found = doors.fresh(Credential("reader", PASSWORD))
    assert found is not None
    assert doors.holds(found[1])
    assert doors.passwords is not None
    assert not doors.holds(type(found[1])(None, (0, -1), found[1].until))
    assert not doors.holds(type(found[1])(None, found[1].files, 0.0))


def test_a_revoked_token_holds_no_more(place: Place) -> None:
    """An API token that was good a moment ago is looked up again, and refused once revoked."""
    text = place.token("*", can="read")
    sent = Credential("__token__", text)
    place.index.doors.caller(sent, HERE)
    found = place.index.doors.fresh(sent)
    assert found is not None
    assert place.index.doors.holds(found[1])
    place.index.tokens.revoke(text[4:14], by="local:test")
    assert not place.index.doors.holds(found[1])


def test_latin_1(place: Place) -> None:
    """A pair that is not UTF-8 may be a password, as old clients send them, but never a token."""
    token = b64encode("größe:".encode("latin-1") + id_token("reader@acme.dev").encode())
    sent = credential_in(b"Basic " + token)
    assert not sent.is_unicode
    with pytest.raises(Unauthenticated):
        place.index.doors.caller(sent, HERE)


def test_the_file_of_passwords_is_for_passwords(place: Place, tmp_path: Path) -> None:
    """A token holds though nobody has looked at the passwords for long; a password does not."""
    clock = Clock()
    passwords = Passwords(tmp_path / "htpasswd", bytes(32), clock.seconds, 1)
    doors = replace(place.index.doors, passwords=passwords)
    right = Credential("reader", PASSWORD)
    doors.caller(right, HERE)
    grounds = [doors.fresh(each) for each in (Credential("x", static_token("reader")), right)]
    clock.advance(seconds=60)
    assert [found is not None and doors.holds(found[1]) for found in grounds] == [True, False]
