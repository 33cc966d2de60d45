"""`wheelyard login` and `logout`: what they print, store, and leave behind."""

import fcntl
import json
import os
import pty
import re
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from select import select
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import SOURCE, Sandbox
from tests.http_server import TOKEN, WHEELYARD
from tests.logins import LoginServer, make_token, running_login_server, shown, typed_login
from tests.sources.web.fake_server import CannedResponse, running_fake_server
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.model.api_token import new_token, parse_token
from wheelyard.model.grants import GrantFields

pytestmark = pytest.mark.integration

OTHER = "machine other.example login ana password s3cret\n"
BACKEND = Path(__file__).parent.parent / "clients" / "keyring_backend"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginServer]:
    """A private index where Ana has a password."""
    with running_login_server(tmp_path_factory.mktemp("index")) as index:
        yield index


def netrc_token(sandbox: Sandbox) -> str:
    """Return the token that netrc has."""
    match = TOKEN.search((sandbox.home / ".netrc").read_text())
    assert match is not None
    return match[0]


def keyring(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a machine with a keyring, which is a file."""
    file = str(sandbox.home / "keyring.json")
    backend = {"PYTHONPATH": str(BACKEND), "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring"}
    return {**backend, "FILE_KEYRING": file}


NO_KEYRING = dict[str, str]()
FAILING_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def test_a_token_is_stored_in_netrc(index: LoginServer, sandbox: Sandbox, wheelyard: Typed) -> None:
    """Without a keyring the token is in netrc, where others stay; a logout revokes and removes."""
    netrc = sandbox.home / ".netrc"
    netrc.write_text(OTHER)
    netrc.chmod(0o644)
    options = ("--project", "acme-*", "--days", "7", "--name", "my laptop")

    done = typed_login(sandbox, f"{index.url}/simple/", *options, environment=FAILING_KEYRING)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    token = netrc_token(sandbox)
    host = urlsplit(index.url).hostname
    line = f"machine {host} login __token__ password {token}\n"
    assert (netrc.read_text(), netrc.stat().st_mode & 0o777) == (line + OTHER, 0o600)
    assert token not in done.stderr
    assert f"Token {token[4:14]}: read and upload to acme-* in the index main\n" in done.stderr
    assert "It is stored in ~/.netrc." in done.stderr
    assert "~/.netrc is used, as the keyring stores nothing here" in done.stderr
    assert index.principal(token) == f"token:{token[4:14]}"
    again = typed_login(sandbox, index.url, environment=NO_KEYRING)
    new = netrc_token(sandbox)
    assert f"It replaces {token[4:14]}, which works on" in again.stderr
    assert "also if it is of another index" in again.stderr.partition("Make a token")[0]
    assert new != token

    out = wheelyard("logout", index.url, **NO_KEYRING)

    assert (out.returncode, "is revoked" in out.stderr) == (0, True)
    assert netrc.read_text() == OTHER
    until(lambda: index.principal(new) == "token_revoked")
    assert index.principal(token) == f"token:{token[4:14]}"
    nothing = wheelyard("logout", index.url, **NO_KEYRING)
    assert (nothing.returncode, "No token for" in nothing.stderr) == (1, True)


def test_a_token_is_stored_in_the_keyring(
    index: LoginServer, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """With a keyring, a login stores the token there, under each URL; a logout removes it."""
    environment = keyring(sandbox)

    done = typed_login(sandbox, index.url, environment=environment)

    assert (done.returncode, "It is stored in the keyring." in done.stderr) == (0, True)
    assert "For one beside pip, write import" in done.stderr
    assert not (sandbox.home / ".netrc").exists()
    stored = (sandbox.home / "keyring.json").read_text()
    assert len(set(TOKEN.findall(stored))) == 1
    assert all(f"{index.url}{path}" in stored for path in ("/", "/simple/", "/simple", "/legacy/"))
    out = wheelyard("logout", index.url, **environment)
    assert (out.returncode, "The token in the keyring is revoked" in out.stderr) == (0, True)
    assert not TOKEN.search((sandbox.home / "keyring.json").read_text())


def test_a_token_of_another_index_is_kept(
    index: LoginServer, sandbox: Sandbox, wheelyard: Typed, tmp_path: Path
) -> None:
    """A logout keeps a token in netrc that the index does not know, and removes one of its own."""
    typed_login(sandbox, index.url, environment=NO_KEYRING)
    token = netrc_token(sandbox)
    with running_login_server(tmp_path) as other:
        refused = wheelyard("logout", other.url, **NO_KEYRING)

    assert (refused.returncode, "may be of another index" in refused.stderr) == (1, True)
    assert netrc_token(sandbox) == token
    assert index.principal(token) == f"token:{token[4:14]}"
    index.index.tokens.revoke(token[4:14], by="htpasswd:ana")
    until(lambda: index.principal(token) == "token_revoked")
    out = wheelyard("logout", index.url, **NO_KEYRING)
    assert (out.returncode, "did not work any more" in out.stderr) == (0, True)
    assert (sandbox.home / ".netrc").read_text() == ""


def test_a_token_is_printed_on_request(index: LoginServer, sandbox: Sandbox) -> None:
    """With --print the token alone is on standard output, and stored nowhere."""
    done = typed_login(sandbox, index.url, "--print", "--can", "read", environment=keyring(sandbox))

    token = done.stdout.strip()
    assert (done.returncode, TOKEN.fullmatch(token) is not None) == (0, True)
    assert index.principal(token) == f"token:{token[4:14]}"
    assert token not in done.stderr
    assert list(sandbox.home.iterdir()) == []


def test_a_revoked_token_is_refused(index: LoginServer, sandbox: Sandbox) -> None:
    """A revoked token is refused, and the message advises no command that makes one."""

    def revoked(address: str) -> str:
        token = make_token(address)
        index.index.tokens.revoke(token[4:14], by="local:bo")
        return token

    done = typed_login(sandbox, index.url, environment=NO_KEYRING, act=revoked)

    assert done.returncode == 1
    assert "was revoked" in done.stderr
    assert "token create" not in done.stderr


def test_a_token_for_an_index(index: LoginServer, sandbox: Sandbox) -> None:
    """A login for an index gets a token that opens that index; an unknown one is refused."""
    index.index.server.index_administration.add({"name": "prod"}, "local:bo")
    who, actions = ("htpasswd:ana",), ("upload",)
    fields = GrantFields(who=who, projects=("acme-*",), actions=actions, index="prod")
    index.index.server.access.grant(fields, "local:bo")

    done = typed_login(sandbox, index.url, "--index", "prod", "--print", environment=NO_KEYRING)

    assert "read and upload to acme-* in the index prod" in done.stderr
    plain = typed_login(sandbox, index.url, "--print", environment=NO_KEYRING).stdout
    rights = index.server.get("/prod/api/v1/whoami", done.stdout.strip()).json()["rights"]
    assert {"can": ["read", "upload"], "projects": ["acme-*"], "index": "prod"} in rights
    unknown = typed_login(
        sandbox, index.url, "--index", "qa", environment=NO_KEYRING, act=lambda _: plain
    )
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert not (sandbox.home / ".netrc").exists()


def test_a_person_allows_less(index: LoginServer, sandbox: Sandbox) -> None:
    """A login tells what its token can do, where a person has allowed less than was asked."""
    act = partial(make_token, can="read", projects="acme-core", days="2")

    done = typed_login(sandbox, index.url, act=act, environment=NO_KEYRING)

    assert re.search(r"Token \w+: read acme-core in the index main\n", done.stderr)
    assert "twine" not in done.stderr  # which could not publish with it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--can", "admin"), "is not an action"),
        (("--can", "rubbish"), "is not an action"),
        (("--project", "a*b"), "not a project pattern"),
        (("--name", "a\nb"), "control characters"),
        (("--index", "a b"), "'a b'"),
        (tuple(f"--project=acme-{'x' * 100}-{n}" for n in range(20)), "too long together"),
    ],
)
def test_what_cannot_be_had_is_said_at_once(
    index: LoginServer, sandbox: Sandbox, arguments: tuple[str, ...], words: str
) -> None:
    """What no token can have is refused before anybody has to open a page."""
    done = typed_login(sandbox, index.url, *arguments, environment=NO_KEYRING)

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_address_says_no_more_than_the_options(index: LoginServer, sandbox: Sandbox) -> None:
    """The address is that of the page at the very URL, and fills in what the options say."""
    options = ("--project", "acme-*", "--days", "7", "--name", 'lab & "co"', "--index", "prod")
    for url in (index.url, f"{index.url}/", f"{index.url}/simple/"):
        done = typed_login(sandbox, url, *options, environment=NO_KEYRING, act=lambda _: "")
        address = shown(done.stderr) or ""
        page, _, query = address.partition("?")
        assert page == f"{index.url}/-/account/tokens/"
        assert parse_qs(query) == {
            "can": ["upload"],
            "projects": ["acme-*"],
            "name": ['lab & "co"'],
            "days": ["7"],
            "index": ["prod"],
        }
        assert re.fullmatch("[!-~]+", address)
        assert not set("\"'`$;|<>\\ ") & set(address)
    url = "https://PACKAGES.acme.dev/py/legacy/"
    behind = typed_login(sandbox, url, environment=NO_KEYRING, act=lambda _: "")
    assert (shown(behind.stderr) or "").startswith(
        "https://packages.acme.dev/py/-/account/tokens/?"
    )


def test_a_token_of_another_server_is_not_stored(
    index: LoginServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A token that this index does not know is refused, neither shown nor stored."""
    with running_login_server(tmp_path) as other:
        token = other.server.token

    done = typed_login(sandbox, index.url, environment=NO_KEYRING, act=lambda _: token)

    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "does not accept the credential of this login" in done.stderr
    assert token not in done.stderr
    assert list(sandbox.home.iterdir()) == []


def test_urls_that_are_not_safe_are_refused(sandbox: Sandbox) -> None:
    """Plain http to another machine, a URL with a credential, and no URL show no address."""
    for url, words in (
        ("http://packages.example.com/", "would get the token unencrypted"),
        ("packages.example.com", "Write the root URL"),
        ("https://ana:x@packages.example.com/", "has a credential or a query"),
        ("file:///etc/passwd", "Write the root URL"),
        ("javascript:alert(1)", "Write the root URL"),
        ("https://packages.example.com/?next=x", "has a credential or a query"),
    ):
        done = typed_login(sandbox, url, environment=NO_KEYRING)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        assert shown(done.stderr) is None


HOSTILE = parse_token(new_token(Random(1)).text)
ADDRESSES = "https://thief.example/ javascript:alert(1) file:///etc/passwd $(id) ; id"


def hostile_answers(other: str) -> list[CannedResponse]:
    """Return answers of a server that wants to lead a command, or its token, to another one."""
    named = dict.fromkeys(("login_url", "verification_uri", "url"), f"{other}/x")
    me = {"principal": "token:0123456789", "principals": [], "rights": []}
    rights = [{"can": ["\x1b[2J"], "projects": [ADDRESSES]}]
    whole = {**me, "principal": f"token:{HOSTILE and HOSTILE.id}"}
    return [
        *(
            CannedResponse(status=status, headers={"Location": f"{other}/x"})
            for status in (301, 302, 303, 307, 308)
        ),
        CannedResponse(b"", status=401, headers={"WWW-Authenticate": f"Cargo login_url={other}"}),
        *(CannedResponse(json.dumps(body | named).encode()) for body in (me, whole)),
        CannedResponse(json.dumps(whole | {"rights": rights}).encode()),
        CannedResponse(json.dumps({"message": ADDRESSES, "error": "x"}).encode(), status=400),
        CannedResponse(ADDRESSES.encode()),
    ]


def test_a_hostile_server_leads_nowhere(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server answers to a login, nothing is opened or stored, or sent elsewhere."""
    assert HOSTILE is not None
    opened = list[str]()
    monkeypatch.setattr("webbrowser.open", opened.append)
    with running_fake_server() as other, running_fake_server() as server:
        for answer in hostile_answers(other.url):
            server.serve("/api/v1/whoami", answer)

            done = typed_login(
                sandbox, server.url, environment=NO_KEYRING, act=lambda _: HOSTILE.text
            )

            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            assert HOSTILE.text not in done.stderr
            assert "\x1b" not in done.stderr
            assert (shown(done.stderr) or "").startswith(f"{server.url}/-/account/tokens/?")
        assert {each.path for each in server.seen} == {"/api/v1/whoami"}
        assert other.seen == []
    assert opened == []
    assert list(sandbox.home.iterdir()) == []


@dataclass(frozen=True)
class Terminal:
    """A `wheelyard login` on a terminal, and what it has shown there."""

    process: "subprocess.Popen[bytes]"
    descriptor: int
    output: bytearray

    def read_until(self, words: bytes) -> None:
        """Wait until the terminal shows some words, as the last ones."""
        while not self.output.endswith(words):
            assert select([self.descriptor], [], [], TIMEOUT_SECONDS)[0], bytes(self.output)
            self.output.extend(os.read(self.descriptor, 1024))

    def type(self, text: str) -> None:
        """Type some keys."""
        os.write(self.descriptor, text.encode())

    def ended(self) -> int:
        """Wait until the command ends, and return its status."""
        with suppress(OSError):  # the terminal ends with it
            while select([self.descriptor], [], [], TIMEOUT_SECONDS)[0]:
                self.output.extend(os.read(self.descriptor, 1024))
        return self.process.wait(TIMEOUT_SECONDS)


@contextmanager
def terminal(sandbox: Sandbox, *arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run `wheelyard login` on a terminal."""
    near_end, far_end = pty.openpty()
    with subprocess.Popen(
        [*WHEELYARD, "login", *arguments],
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        env=sandbox.environment() | SOURCE | FAILING_KEYRING | environment,
        preexec_fn=partial(_take_terminal, far_end),  # noqa: PLW1509 - no threads in it
        start_new_session=True,
    ) as process:
        os.close(far_end)
        try:
            yield Terminal(process, near_end, bytearray())
        finally:
            process.kill()
            os.close(near_end)


def _take_terminal(descriptor: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


def test_a_person_pastes_the_token(index: LoginServer, sandbox: Sandbox) -> None:
    """On a terminal the page is opened, and the token asked for until it is one, never shown."""
    opened = sandbox.folder / "opened"
    browser = sandbox.folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {opened}\n')
    browser.chmod(0o755)
    graphical = {"DISPLAY": ":0", "BROWSER": str(browser)}
    with terminal(sandbox, index.url, "--can", "read", **graphical) as typed:
        typed.read_until(b"Token: ")
        until(lambda: opened.is_file() and opened.read_text().endswith("\n"))
        (address,) = opened.read_text().splitlines()
        token = make_token(address)
        typed.type("copied badly\n")
        typed.read_until(b"Copy it again.\r\nToken: ")
        typed.type(f" {token}\n")
        assert typed.ended() == 0, bytes(typed.output)
        text = typed.output.decode()

    assert address in text
    assert address.startswith(f"{index.url}/-/account/tokens/?can=read&")
    assert "copied badly" not in text
    assert token not in text
    assert netrc_token(sandbox) == token


def test_ctrl_c_leaves_nothing_behind(index: LoginServer, sandbox: Sandbox) -> None:
    """Ctrl-C ends the question; nothing is stored, and no token is made."""
    before = len(index.index.tokens.all())
    with terminal(sandbox, index.url, "--no-browser") as typed:
        typed.read_until(b"Token: ")
        typed.type("\x03")
        assert typed.ended() == 130, bytes(typed.output)

    assert list(sandbox.home.iterdir()) == []
    assert len(index.index.tokens.all()) == before
