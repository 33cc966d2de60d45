"""New passwords: which are taken, and lines of htpasswd files."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA, SHA512
from tests.refused import refused
from wheelyard.authentication.passwords import (
    line_number,
    require_new_password,
    require_user_name,
    with_line,
)
from wheelyard.authentication.verifiers.htpasswd import parse_htpasswd
from wheelyard.errors import Invalid


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("ana of acme", "is the name"),
        ("7 chars", "fewer than 8 characters"),
        ("x" * 73, "more than 72 bytes"),
        ("ä" * 37, "more than 72 bytes"),
        ("with\ta tab", "control character"),
        ("with \ud800 this", "control character"),
        ("wyd_and more", "begins as an API token"),
        ('{"private_key": 1}', "key of a service account"),
    ],
)
def test_not_every_password_is_taken(password: str, words: str) -> None:
    """A password that nobody could sign in with, or that is too short, is refused, and why."""
    with refused(Invalid, "invalid_field", match=words) as caught:
        require_new_password("ana of acme", password)

    assert password not in caught.value.message


LINES = st.lists(
    st.sampled_from(
        [f"ana:{SHA}", f"bo : {APR1}:Bo X", "", "# ana:x", f"  ml-ci:{BCRYPT}\r", "\t"]
    ),
    unique=True,
)


@given(
    LINES,
    st.sampled_from(["ana", "bo ", "ml-ci", "eve"]),
    st.sampled_from(["", "\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_other_lines_stay_as_they_are(lines: list[str], name: str, end: str, mark: str) -> None:
    """Whatever else is in a file stays byte for byte, and the new line is read with its hash."""
    text = mark + "\n".join(lines) + end
    before = parse_htpasswd(text).value.hashes

    after = with_line(text, name, SHA512)

    assert dict(parse_htpasswd(after).value.hashes) == {**before, name: SHA512}
    old, new = line_number(text, name), line_number(after, name)
    assert new is not None
    assert (old is None) == (name not in before)
    assert old in (None, new)
    if old is None:
        assert after.startswith(text)
    else:
        changed = (text.split("\n"), after.split("\n"))
        assert SHA512 in changed[1].pop(new - 1)
        changed[0].pop(new - 1)
        assert changed[0] == changed[1]


def test_a_wrong_line_is_not_written_over() -> None:
    """A file with a line that no server takes is refused, unless that line is replaced."""
    with refused(Invalid, "bad_setting", match="Line 1 has a hash"):
        with_line("bo:plain\n", "ana", SHA512)
    assert with_line("bo:plain\n", "bo", SHA512) == f"bo:{SHA512}\n"


@pytest.mark.parametrize(
    "name",
    [
        *("", "a" * 256, "a:b", "#ana", " ana", "ana ", "a\nb", "a\x7f", "\ud800", "\ufeffana"),
        *("__token__", "oauth2accesstoken", "wyd_ana", "_json_key_ana"),
    ],
)
def test_not_every_name_is_taken(name: str) -> None:
    """A name that no line can have, or that no client could send, is refused."""
    with refused(Invalid, "invalid_field", match="Choose another name"):
        require_user_name(name)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("_json_key", "hunter2hunter2"),
        ("_json_key_base64", "hunter2hunter2"),
        ("ana", '{"private_key": "-----BEGIN"}'),
    ],
)
def test_a_key_is_no_password(name: str, password: str) -> None:
    """What is a service account's key, or is sent as one, is refused as a password."""
    with refused(Invalid, "invalid_field", match="looks like the key of a service account"):
        require_new_password(name, password)


@given(st.text(min_size=1), st.text(min_size=8))
def test_what_is_taken_is_read_and_opens(name: str, password: str) -> None:
    """Whatever name and password are taken, the line is read, and has that name."""
    try:
        require_user_name(name)
        require_new_password(name, password)
    except Invalid:
        assume(condition=False)

    line = with_line("", name, SHA)

    assert dict(parse_htpasswd(line).value.hashes) == {name: SHA}
    assert parse_htpasswd(f"# first\n{line}").value.hashes[name] == SHA
