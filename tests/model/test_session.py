"""Sessions as signed values."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from wheelyard.model.api_token import (
    MAX_COOKIE_CHARS,
    Session,
    decoded_session,
    sign_session,
    verified_session,
)

KEY = bytes(range(32))
NOW = 1_800_000_000.0
SESSION = Session(
    id="0f" * 16,
    kind="id_token",
    subject="user:ana@acme.dev",
    proof="7" * 32,
    issued_at=int(NOW) - 10,
    expires_at=int(NOW) + 60,
    principals=("domain:acme.dev", "user:ana@acme.dev"),
)
COOKIE = sign_session(SESSION, KEY)


def test_a_session_is_what_was_signed() -> None:
    """A session is read as it was signed, until it expires, and with no other key."""
    assert verified_session(COOKIE, KEY, NOW) == SESSION == decoded_session(COOKIE)
    assert verified_session(COOKIE, KEY, SESSION.expires_at - 1) == SESSION
    assert verified_session(COOKIE, KEY, SESSION.expires_at) is None
    assert verified_session(COOKIE, bytes(32), NOW) is None


@given(st.integers(0, 8 * len(COOKIE) - 1))
def test_any_changed_bit_is_refused(bit: int) -> None:
    """A cookie in which any one bit is another one opens nothing."""
    altered = bytearray(COOKIE.encode())
    altered[bit // 8] ^= 1 << bit % 8

    assert verified_session(altered.decode("latin-1"), KEY, NOW) is None


@given(st.integers(0, len(COOKIE)), st.text(max_size=4), st.integers(0, 4))
def test_any_other_text_is_refused(place: int, more: str, removed: int) -> None:
    """A cookie that was shortened, lengthened or spelled otherwise opens nothing."""
    altered = f"{COOKIE[:place]}{more}{COOKIE[place + removed :]}"

    assert altered == COOKIE or verified_session(altered, KEY, NOW) is None


@given(st.text(max_size=200))
def test_any_text_can_be_asked_about(text: str) -> None:
    """Whatever a client sends as a cookie is no session, and no error."""
    assert verified_session(text, KEY, NOW) is None
    assert decoded_session(text) is None
    signed = sign_session(SESSION, KEY).partition(".")[2]
    assert verified_session(f"{text}.{signed}", KEY, NOW) is None


def test_the_longest_account_has_room() -> None:
    """A Google account whose address and domain are as long as they may be can sign in."""
    domain = "d" * 253
    account = f"serviceAccount:{'a' * 64}@{domain}"
    names = (f"domain:{domain}", account, f"{account}#{'9' * 40}")
    cookie = sign_session(structs.replace(SESSION, subject=account, principals=names), KEY)

    assert len(cookie) <= MAX_COOKIE_CHARS
    assert verified_session(cookie, KEY, NOW) is not None
