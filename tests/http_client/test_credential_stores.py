"""netrc files that get a token, and keep everything else, and keyrings that fail."""

import subprocess
from netrc import netrc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.http_client.credential_stores import (
    KeyringFailed,
    NetrcProblem,
    TokenKeyring,
    netrc_bytes,
    netrc_path,
    netrc_text,
    token_in_netrc,
    with_token,
    without_token,
)

HOST, TOKEN, NEW = "pypi.acme.dev", "wyd_old", "wyd_new"
PIECES = st.sampled_from(
    [
        "machine other.example login ana password s3cret\n",
        "machine pypi.acme.dev.example\n  login __token__\n  password x\n",
        "# pypi.acme.dev\n",
        "\n",
        "machine third.example\r\nlogin bo\r\npassword \udcff\r\n",
        "macdef init\ncd /tmp\n\n",
    ]
)
LINE = f"machine {HOST} login __token__ password {TOKEN}"
LINES = st.sampled_from([f"{LINE}\n", f"{LINE}  \n", f"{LINE}\r\n", LINE.replace(" ", " \t")])


@given(st.lists(PIECES), st.sampled_from(["", "default login anonymous password me\n"]))
def test_a_new_entry_leaves_the_others(pieces: list[str], last: str) -> None:
    """A token is added before all other entries, which stay, and can be taken out again."""
    text = "".join(pieces) + last

    after = with_token(text, HOST, NEW)

    assert after == f"machine {HOST} login __token__ password {NEW}\n{text}"
    assert without_token(after, HOST) == text
    assert netrc_bytes(after).decode("utf-8", "surrogateescape") == after


@given(st.lists(PIECES), LINES, st.lists(PIECES))
def test_an_entry_of_ours_is_replaced(before: list[str], line: str, after: list[str]) -> None:
    """A token of the same host is replaced where it is, byte for byte."""
    end = "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""
    text = "".join(before) + line + "".join(after if end else [])

    changed = with_token(text, HOST, NEW)

    new = f"machine {HOST} login __token__ password {NEW}"
    assert changed == "".join(before) + new + end + "".join(after if end else [])
    assert with_token(changed, HOST, NEW) == changed


def test_an_entry_is_found_and_read_by_python(tmp_path: Path) -> None:
    """What is written is what Python, and so pip and twine, read."""
    path = tmp_path / ".netrc"
    assert token_in_netrc(path, HOST) == netrc_text(path) == ""
    others = "machine other.example login ana password s3cret\n\ndefault login x password y\n"
    path.write_bytes(netrc_bytes(with_token(others, HOST, TOKEN)))
    path.write_bytes(netrc_bytes(with_token(netrc_text(path), "::1", NEW)))

    hosts = netrc(str(path)).hosts

    assert hosts[HOST] == ("__token__", "", TOKEN)
    assert token_in_netrc(path, HOST) == TOKEN
    assert token_in_netrc(path, "::1") == NEW
    assert hosts["other.example"] == ("ana", "", "s3cret")
    assert token_in_netrc(path, "elsewhere.example") == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"machine {HOST} login ana password x\n", "Remove it first"),
        (f"machine {HOST}\n  login __token__\n  password x\n", "Remove it first"),
        (f"{LINE}\nmachine {HOST} login ana password x\n", "Remove it first"),
        (f"{LINE}\n{LINE}\n", "Remove it first"),
        (f"macdef init\n{LINE}\n\n", "Remove it first"),
        ("machine\n", "is damaged"),
        ("\udcff machine x", "is damaged"),
    ],
)
def test_entries_of_others_are_not_touched(tmp_path: Path, text: str, words: str) -> None:
    """If clients would not use a new token, that is a reason to stop, without an entry's text."""
    path = tmp_path / ".netrc"
    path.write_bytes(netrc_bytes(text))

    with pytest.raises(NetrcProblem, match=words) as caught:
        token_in_netrc(path, HOST)

    assert "password" not in str(caught.value)


def test_the_file_is_the_one_that_clients_read(tmp_path: Path) -> None:
    """`NETRC` names the file, else it is in the home folder; on Windows its name is `_netrc`."""
    assert netrc_path({"NETRC": "/x/netrc"}, tmp_path, is_windows=False) == Path("/x/netrc")
    assert netrc_path({}, tmp_path, is_windows=False) == tmp_path / ".netrc"
    assert netrc_path({}, tmp_path, is_windows=True) == tmp_path / "_netrc"
    (tmp_path / ".netrc").touch()
    assert netrc_path({}, tmp_path, is_windows=True) == tmp_path / ".netrc"


def test_what_a_keyring_says_of_its_failure_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that fails has no token, whatever it prints, and stores none."""
    failed = subprocess.CompletedProcess((), 1, b"the keyring is locked", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    keyring = TokenKeyring("keyring", f"https://{HOST}", {}, 1.0)

    assert keyring.token() == ""
    with pytest.raises(KeyringFailed, match="stores nothing here"):
        keyring.store(TOKEN)
