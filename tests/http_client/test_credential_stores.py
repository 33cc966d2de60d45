"""netrc files that get a token, and keep everything else, and keyrings that fail."""

import subprocess
from collections.abc import Iterable
from errno import EACCES
from itertools import repeat
from netrc import netrc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelyard.http_client.credential_stores import (
    TOKEN_USER,
    KeyringFailed,
    NetrcProblem,
    TokenKeyring,
    ask_keyring,
    netrc_bytes,
    netrc_path,
    netrc_text,
    token_in_netrc,
    with_token,
    without_token,
)
from wheelyard.http_client.urls import UserPassword, parse_url

Outcome = tuple[int, bytes] | Exception
"""The status and the output of a command, or why it has none."""

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


def install_keyring(
    monkeypatch: pytest.MonkeyPatch, outcomes: Iterable[Outcome]
) -> list[tuple[str, ...]]:
    """Let a keyring end its commands in this way; return the arguments of each command so far."""
    asked, remaining = list[tuple[str, ...]](), iter(outcomes)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(tuple(command[1:]))
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            raise outcome
        return subprocess.CompletedProcess(command, *outcome)

    monkeypatch.setattr(subprocess, "run", run)
    return asked


LOCKED: Outcome = (1, b"the keyring is locked")
SILENT = subprocess.TimeoutExpired("keyring", 60)
NOT_RUN = PermissionError(EACCES, "Permission denied")


def test_what_a_keyring_says_of_its_failure_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that fails has no token, whatever it prints."""
    install_keyring(monkeypatch, [LOCKED])

    assert TokenKeyring("keyring", f"https://{HOST}", {}, 60.0).token() == ""


def test_a_token_is_stored_for_each_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is in the keyring under the URL that each client asks for."""
    asked = install_keyring(monkeypatch, repeat((0, TOKEN.encode())))

    TokenKeyring("keyring", f"https://{HOST}", {}, 60.0).store(TOKEN)

    stored = [service for verb, service, _ in asked if verb == "set"]
    assert stored == [f"https://{HOST}{path}" for path in ("/", "/simple/", "/simple", "/legacy/")]
    assert "del" not in {verb for verb, *_ in asked}


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (LOCKED, "stores nothing here"),
        ((0, b"another token"), "does not give back what was stored"),
        (SILENT, "does not answer within 60 seconds"),
        (NOT_RUN, "cannot be run: Permission denied"),
    ],
    ids=["fails", "keeps nothing", "silent", "cannot be run"],
)
def test_a_keyring_that_stores_nothing_is_left_empty(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, words: str
) -> None:
    """Where a keyring does not store a token, that is told with the reason, and it is emptied."""
    asked = install_keyring(monkeypatch, repeat(outcome))

    with pytest.raises(KeyringFailed, match=f"^{words}$"):
        TokenKeyring("keyring", f"https://{HOST}", {}, 60.0).store(TOKEN)

    assert ("del", f"https://{HOST}/", TOKEN_USER) in asked
    assert [service for verb, service, _ in asked if verb == "set"] == [f"https://{HOST}/"]


@pytest.mark.parametrize(
    ("outcomes", "found"),
    [
        ([(0, b"ana\ns3cret\n")], UserPassword("ana", "s3cret")),
        ([LOCKED, (0, b"s3cret\n")], UserPassword(TOKEN_USER, "s3cret")),
        ([LOCKED, LOCKED, (0, b"s3cret\n")], UserPassword(TOKEN_USER, "s3cret")),
        ([LOCKED, LOCKED, LOCKED], None),
        ([(0, b""), (0, b"\n"), (0, b"")], None),
    ],
    ids=["a pair", "a password", "a password of the host", "locked", "empty"],
)
def test_a_keyring_is_asked_in_three_ways(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], found: UserPassword | None
) -> None:
    """A keyring is asked until it has a password, and what it prints as it fails is none."""
    asked = install_keyring(monkeypatch, outcomes)

    assert ask_keyring("keyring", parse_url(f"https://{HOST}/"), {}, 60.0) == found
    ways = [
        ("--mode", "creds", "get", f"https://{HOST}/"),
        ("get", f"https://{HOST}/", TOKEN_USER),
        ("get", HOST, TOKEN_USER),
    ]
    assert asked == ways[: len(outcomes)]


def test_a_keyring_is_asked_for_the_user_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring is asked for the user whom the URL names, and never sees a password in it."""
    asked = install_keyring(monkeypatch, [LOCKED, LOCKED, (0, b"in-keyring\n")])
    server = parse_url(f"https://bo:s3cret@{HOST}/")

    assert ask_keyring("keyring", server, {}, 60.0) == UserPassword("bo", "in-keyring")
    assert asked == [
        ("--mode", "creds", "get", f"https://{HOST}/"),
        ("get", f"https://{HOST}/", "bo"),
        ("get", HOST, "bo"),
    ]


def test_a_silent_keyring_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that waits for somebody who unlocks it is told apart from one without password."""
    asked = install_keyring(monkeypatch, [SILENT])

    with pytest.raises(TimeoutError):
        ask_keyring("keyring", parse_url(f"https://{HOST}/"), {}, 60.0)

    assert len(asked) == 1
