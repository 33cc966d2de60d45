"""Where the credential for a server is found, and in which order."""

from base64 import b64decode
from errno import EACCES
from pathlib import Path

import pytest

from wheelyard.api_client import ServerCredential, find_credential
from wheelyard.errors import Invalid
from wheelyard.http_client.urls import UserPassword, parse_url

SERVER = parse_url("https://packages.acme.dev/")
KEYRING = """#!/bin/sh
case "$*" in
"{question}") printf '{answer}' ;;
*) echo "no password" >&2; exit 1 ;;
esac
"""


def find_in(
    tmp_path: Path, server: str = SERVER.redacted, **environ: str
) -> ServerCredential | None:
    """Look for a credential, with the programs and the netrc file of a folder."""
    places = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NETRC": str(tmp_path / "netrc")}
    return find_credential(parse_url(server), places | environ)


def install_keyring(tmp_path: Path, question: str, answer: str) -> None:
    """Make a keyring that has one credential."""
    program = tmp_path / "keyring"
    program.write_text(KEYRING.format(question=question, answer=answer))
    program.chmod(0o700)


@pytest.fixture(autouse=True)
def no_keyring(tmp_path: Path) -> None:
    """A keyring that has nothing stands before those of this machine."""
    install_keyring(tmp_path, "", "")


def login(credential: ServerCredential | None) -> str:
    """Return user name and password."""
    assert credential is not None
    return b64decode(credential.header.removeprefix("Basic ")).decode()


@pytest.mark.integration
def test_variable_comes_before_keyring_and_netrc(tmp_path: Path) -> None:
    """A credential is of the variable, else of the keyring, else of the netrc file."""
    assert find_in(tmp_path) is None
    (tmp_path / "netrc").write_text("machine packages.acme.dev login ana password in-netrc\n")
    last = find_in(tmp_path, WHEELYARD_TOKEN="")
    assert (login(last), last and last.source) == ("ana:in-netrc", str(tmp_path / "netrc"))
    assert find_in(tmp_path, "https://other.acme.dev/") is None
    install_keyring(tmp_path, "--mode creds get https://packages.acme.dev/", "ana\\nin-keyring\\n")
    second = find_in(tmp_path)
    assert (login(second), second and second.source) == ("ana:in-keyring", "the keyring")

    first = find_in(tmp_path, WHEELYARD_TOKEN=" a-token\n")

    assert first == ServerCredential("Bearer a-token", "WHEELYARD_TOKEN")
    assert "a-token" not in repr(first)


@pytest.mark.integration
@pytest.mark.parametrize(
    "question", ["get https://packages.acme.dev/ __token__", "get packages.acme.dev __token__"]
)
def test_older_keyring_is_asked_for_the_token_user(tmp_path: Path, question: str) -> None:
    """A keyring that needs a user name is asked for that of tokens, by the URL and by the host."""
    install_keyring(tmp_path, question, "in-keyring\\n")

    assert login(find_in(tmp_path)) == "__token__:in-keyring"


@pytest.mark.integration
def test_silent_keyring_does_not_hold_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring that waits to be unlocked is given up, and the message names the variable."""
    monkeypatch.setattr("wheelyard.api_client.KEYRING_SECONDS", 0.1)
    (tmp_path / "keyring").write_text("#!/bin/sh\nexec tail -f /dev/null\n")

    with pytest.raises(Invalid, match=r"keyring does not answer .* token into WHEELYARD_TOKEN"):
        find_in(tmp_path)


@pytest.mark.integration
def test_broken_keyring_is_told(tmp_path: Path) -> None:
    """A keyring that cannot be run is an error that says what to do, and no traceback."""
    (tmp_path / "keyring").write_text("#!/nowhere/python\n")

    with pytest.raises(Invalid, match=r"keyring cannot be run: .* token into WHEELYARD_TOKEN"):
        find_in(tmp_path)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (TimeoutError(), "does not answer within 60 seconds"),
        (PermissionError(EACCES, "Permission denied"), "cannot be run: Permission denied"),
    ],
)
def test_keyring_without_answer_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError, words: str
) -> None:
    """Where the keyring fails, no netrc file is taken in its place, and the message says why."""

    def fail(*_: object) -> None:
        raise fault

    (tmp_path / "netrc").write_text("machine packages.acme.dev login ana password in-netrc\n")
    monkeypatch.setattr("wheelyard.api_client.ask_keyring", fail)

    with pytest.raises(Invalid, match=f"keyring {words}") as caught:
        find_in(tmp_path)

    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(
    ("answer", "host", "expected"),
    [
        (UserPassword("ana", "in-keyring"), SERVER.host, ("ana:in-keyring", "the keyring")),
        (None, SERVER.host, ("ana:in-netrc", "netrc")),
        (None, "other.acme.dev", None),
    ],
    ids=["keyring and netrc", "netrc alone", "netrc of another host"],
)
def test_keyring_comes_before_netrc(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: UserPassword | None,
    host: str,
    expected: tuple[str, str] | None,
) -> None:
    """A login is that of the keyring, else that of netrc for the very host, else there is none."""
    (tmp_path / "netrc").write_text(f"machine {host} login ana password in-netrc\n")
    monkeypatch.setattr("wheelyard.api_client.ask_keyring", lambda *_: answer)

    found = find_in(tmp_path)

    assert (found and (login(found), found.source.rpartition("/")[2])) == expected


@pytest.mark.parametrize("token", ["two words", "a\r\nHost: b", "t\u00f6ken"])
def test_unusable_token_is_refused(tmp_path: Path, token: str) -> None:
    """A variable that cannot be a token is refused, and not repeated."""
    with pytest.raises(Invalid, match="WHEELYARD_TOKEN has characters") as refused:
        find_in(tmp_path, WHEELYARD_TOKEN=token)

    assert token not in refused.value.message
