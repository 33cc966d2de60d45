"""`wheelyard login` and `logout`: what they print, store, and leave behind."""

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.http_server import WHEELYARD
from tests.logins import LoginServer, decide, running_login_server, shown, typed_login
from tests.waiting import until
from wheelyard.api_client import keyring_path
from wheelyard.cli import login_commands

pytestmark = pytest.mark.integration

TOKEN = re.compile("wyd_[0-9A-Za-z]{48}")
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


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the keyring of the tests' own environment, which takes half a second for each answer."""

    def path(environ: Mapping[str, str]) -> str | None:
        return keyring_path(environ) if "PYTHON_KEYRING_BACKEND" in environ else None

    monkeypatch.setattr(login_commands, "keyring_path", path)


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
    assert f"Token {token[4:14]} of htpasswd:ana: read and upload to acme-*, until" in done.stderr
    assert "It is stored in ~/.netrc." in done.stderr
    assert "~/.netrc is used, as the keyring stores nothing here" in done.stderr
    assert index.principal(token) == f"token:{token[4:14]}"
    again = typed_login(sandbox, index.url, environment=NO_KEYRING)
    new = netrc_token(sandbox)
    assert f"It replaces {token[4:14]}, which works on" in again.stderr
    assert "also if it is of another index" in again.stderr.partition("Open this page")[0]
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
    """With a keyring that works the token is there, under all names, and logout removes it."""
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


def test_a_token_for_an_index(index: LoginServer, sandbox: Sandbox) -> None:
    """A login for an index gets a token that opens that index; an unknown one is refused."""
    index.index.index_administration.make({"name": "prod"}, "local:bo")

    done = typed_login(sandbox, index.url, "--index", "prod", "--print", environment=NO_KEYRING)

    assert "read and upload to acme-* in the index prod" in done.stderr
    rights = index.server.get("/prod/api/v1/whoami", done.stdout.strip()).json()["rights"]
    assert {"can": ["read", "upload"], "projects": ["acme-*"], "index": "prod"} in rights
    unknown = typed_login(sandbox, index.url, "--index", "qa", environment=NO_KEYRING)
    assert (unknown.returncode, "There is no index 'qa'" in unknown.stderr) == (1, True)


def test_a_person_allows_less(index: LoginServer, sandbox: Sandbox) -> None:
    """What the person allows counts, and not what was asked for."""

    def act(url: str, code: str) -> None:
        assert decide(url, code, can="read", projects="acme-core", days="2").status_code == 303

    done = typed_login(sandbox, index.url, act=act, environment=NO_KEYRING)

    assert "read acme-core, until" in done.stderr
    assert "twine" not in done.stderr  # which could not publish with it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--can", "admin"), "is not an action"),
        (("--can", "rubbish"), "is not an action"),
        (("--days", "999"), "a number of days from 1 to 365"),
        (("--project", "a*b"), "not a project pattern"),
        (("--name", "a\nb"), "control characters"),
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


def test_a_refused_login_stores_nothing(index: LoginServer, sandbox: Sandbox) -> None:
    """Who is refused is told so, and nothing is stored."""
    done = typed_login(
        sandbox,
        index.url,
        environment=NO_KEYRING,
        act=lambda url, code: decide(url, code, "refuse"),
    )

    assert (done.returncode, "The login was refused in the browser" in done.stderr) == (1, True)
    assert not (sandbox.home / ".netrc").exists()


def test_a_token_that_cannot_be_stored_is_revoked(index: LoginServer, sandbox: Sandbox) -> None:
    """If the token cannot be stored it is revoked; what can be found out before, is."""
    before = {token.id for token in index.index.tokens.all()}
    folder = sandbox.folder / "folder"
    environment = {**NO_KEYRING, "NETRC": str(folder / "netrc")}
    missing = typed_login(sandbox, index.url, environment=environment)
    assert (missing.returncode, "the folder is missing" in missing.stderr) == (1, True)
    assert shown(missing.stderr) is None
    folder.mkdir()

    def act(url: str, code: str) -> None:
        decide(url, code)
        folder.rmdir()

    done = typed_login(sandbox, index.url, environment=environment, act=act)
    assert (done.returncode, "cannot be used" in done.stderr) == (1, True), done.stderr
    (made,) = [token for token in index.index.tokens.all() if token.id not in before]
    assert made.revoked_by == f"token:{made.id}"

    host = urlsplit(index.url).hostname
    (sandbox.home / ".netrc").write_text(f"machine {host} login ana password s3cret\n")
    refused = typed_login(sandbox, index.url, environment=NO_KEYRING)

    assert (refused.returncode, "Remove it first" in refused.stderr) == (1, True)
    assert shown(refused.stderr) is None


def test_servers_without_logins_are_named(tmp_path: Path, sandbox: Sandbox) -> None:
    """A server where nobody signs in says what to do, and plain http leads nowhere else."""
    with running_login_server(tmp_path, htpasswd_file="", cookie_login=False) as nobody:
        done = typed_login(sandbox, nobody.url, environment=NO_KEYRING)
        assert (done.returncode, "Ask its operator for a token" in done.stderr) == (1, True)
    for url, words in (
        ("http://packages.example.com/", "would send the token unencrypted"),
        ("packages.example.com", "Write the root URL"),
        ("https://ana:x@packages.example.com/", "has a credential or a query"),
    ):
        done = typed_login(sandbox, url, environment=NO_KEYRING)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_ctrl_c_leaves_nothing_behind(index: LoginServer, sandbox: Sandbox) -> None:
    """Ctrl-C ends the wait; nothing is stored here, and an approval after it makes no token."""
    before = len(index.index.tokens.all())
    printed = sandbox.folder / "printed"
    with printed.open("w") as errors:
        process = subprocess.Popen(
            [*WHEELYARD, "login", index.url, "--no-browser"],
            stderr=errors,
            env=sandbox.environment() | NO_KEYRING,
        )
        until(lambda: "waiting until you approve" in printed.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130

    url_and_code = shown(printed.read_text())
    assert url_and_code is not None
    assert decide(*url_and_code).status_code == 303
    assert len(index.index.tokens.all()) == before
    assert list(sandbox.home.iterdir()) == []
