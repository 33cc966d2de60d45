"""Command lines that need neither a store nor a server that answers."""

import re
import sys
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from click import UsageError

from tests.cli.conftest import WEAK, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from wheelyard.api.access_operations import WhoAmI
from wheelyard.api.own_token import check_token
from wheelyard.api_client import ApiConnection
from wheelyard.cli import login_commands, standard_streams
from wheelyard.cli import serve as serve_commands
from wheelyard.cli.login_commands import _has_browser
from wheelyard.cli.serve import overrides_of, run_command
from wheelyard.cli.store_commands import _settings_for_store
from wheelyard.errors import DOCUMENTATION, Forbidden, Invalid, Unauthenticated, WheelyardError
from wheelyard.http import web_server
from wheelyard.http_client.urls import parse_url
from wheelyard.model.api_token import new_token
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.stores import system_runtime

URL = "https://packages.acme.dev/"
TOKEN = new_token(Random(1))
LINE = f"machine packages.acme.dev login __token__ password {TOKEN.text}\n"


@pytest.fixture
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no server open a socket to find out whether it can listen."""
    monkeypatch.setattr(serve_commands, "resolve_bind_address", lambda server: server)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fly", "No such command"),
        (f"upload --server {URL} demo.whl --export site", "--export needs the store itself"),
    ],
)
def test_what_cannot_be_done_is_wrong_usage(wheelyard: Typed, arguments: str, words: str) -> None:
    """A command that there is not, or one whose options exclude each other, ends with status 2."""
    done = wheelyard(*arguments.split())

    assert (done.returncode, words in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("export site --files ftp://x.example", "'ftp://x.example' is no address"),
        ("export site --files copy --store memory:", "there is nothing to export"),
        ("list --server ftp://x.example", "Write the root URL of a server"),
    ],
)
def test_a_url_that_is_none_for_the_web(wheelyard: Typed, arguments: str, words: str) -> None:
    """A URL that nobody could ask is refused in one line, and `--files copy` is no URL."""
    done = wheelyard(*arguments.split())

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--store", "store"],
        ["token", "list", "--config", "wheelyard.toml"],
        ["upload", "demo.whl", "--export", "site"],
    ],
    ids=" ".join,
)
def test_both_places_are_wrong_usage(
    wheelyard: Typed, sandbox: Sandbox, arguments: list[str]
) -> None:
    """`--server` together with an option for a store is a wrong usage, and makes nothing."""
    done = wheelyard(*arguments, "--server", URL)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--server" in done.stderr
    assert list(sandbox.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        ((), "https://packages.acme.dev"),
        (("--url", "https://mirror.acme.dev/pypi"), "https://mirror.acme.dev/pypi"),
    ],
)
def test_the_typed_root_is_that_of_clients(
    wheelyard: Typed, arguments: tuple[str, ...], root: str
) -> None:
    """The text for a client has the root that is typed, else that of the server."""
    done = wheelyard("print-settings", "twine", "--server", URL, *arguments)

    assert f"repository = {root}/legacy/\n" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://packages.acme.dev/",), "would get the token unencrypted. Write https://"),
        ((URL, *(f"--project={'x' * 100}-{n}" for n in range(20))), "Name fewer, or the beginning"),
    ],
    ids=["plain http", "many projects"],
)
def test_a_login_that_cannot_work_shows_no_page(
    wheelyard: Typed, arguments: tuple[str, ...], words: str
) -> None:
    """A login that would send a token unencrypted, or to no page, is refused before one is made."""
    done = wheelyard("login", *arguments)

    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert "Make a token" not in done.stderr


@pytest.mark.parametrize(
    ("location", "downloads", "kept"),
    [
        ("gs://packages", "public", "public"),
        ("gs://packages", "redirect", "proxy"),
        ("gs://other", "public", "proxy"),
    ],
)
def test_a_copy_writes_public_objects_to_a_public_store_alone(
    location: str, downloads: Literal["public", "redirect"], kept: str
) -> None:
    """A copy writes objects for public caches only into the store whose settings say so."""
    settings = Settings(store=StoreSettings(location="gs://packages", downloads=downloads))

    assert _settings_for_store(settings, location).store.downloads == kept


def test_a_logout_needs_a_token(wheelyard: Typed) -> None:
    """A logout where no token is stored fails, and says where it has looked for one."""
    done = wheelyard("logout", URL)

    assert (done.returncode, "neither in ~/.netrc nor in the keyring" in done.stderr) == (1, True)
    assert "removed" not in done.stderr


@pytest.mark.parametrize(
    ("code", "is_removed"),
    [
        ("token_expired", True),
        ("token_revoked", True),
        ("owner_ended", True),
        ("unauthenticated", False),
    ],
)
def test_a_logout_removes_what_has_ended(
    wheelyard: Typed,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    *,
    is_removed: bool,
) -> None:
    """A logout removes a token that has ended, and keeps one that may be of another index."""

    def refuse(*_: object) -> None:
        raise Unauthenticated("So it is.", code=code)

    netrc = sandbox.home / ".netrc"
    netrc.write_text(LINE)
    netrc.chmod(0o600)
    monkeypatch.setattr(login_commands, "revoke", refuse)

    done = wheelyard("logout", URL)

    assert (done.returncode, netrc.read_text()) == ((0, "") if is_removed else (1, LINE))


def test_a_login_with_a_wrong_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the server refuses is refused, without advice to make one by a command."""

    def refuse(*_: object) -> None:
        raise Unauthenticated("Revoked.", code="token_revoked", advice=Advice(Remedy.CREATE_TOKEN))

    monkeypatch.setattr(ApiConnection, "send", refuse)

    with pytest.raises(Unauthenticated, match=r"^Revoked\.$") as refused:
        check_token(parse_url(URL), TOKEN, system_runtime())

    assert (refused.value.code, refused.value.advice) == ("token_revoked", None)


@pytest.mark.parametrize(
    ("caller", "kind", "words"),
    [
        ("anonymous", Invalid, "does not see the token. A proxy before it may take it out"),
        (f"token:{TOKEN.id}", Forbidden, "may do nothing there. Make one that may, or log in to"),
    ],
    ids=["a lost header", "no rights"],
)
def test_a_login_with_a_token_for_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, caller: str, kind: type[WheelyardError], words: str
) -> None:
    """A token that does not reach the index, or has no right there, is refused with what to do."""
    monkeypatch.setattr(ApiConnection, "send", lambda *_: WhoAmI(caller, (), ()))

    with pytest.raises(kind, match=re.escape(words)):
        check_token(parse_url(URL), TOKEN, system_runtime())


@pytest.mark.parametrize(
    ("passwords", "actions", "access"),
    [
        (None, None, {}),
        (".", ".", {"htpasswd_file": "", "anonymous_uploads": True}),
        ("f", "update", {"htpasswd_file": "f", "anonymous_uploads": False}),
        (
            "f",
            "update, Download,list",
            {"htpasswd_file": "f", "anonymous_uploads": False, "private": True},
        ),
        (None, "list,download", {"anonymous_uploads": True, "private": True}),
    ],
)
def test_options_become_settings(
    passwords: str | None, actions: str | None, access: dict[str, object]
) -> None:
    """The options -P and -a of pypiserver become settings, and never open reading."""
    others = dict.fromkeys(("host", "port", "workers", "i_know", "upstream"))

    overrides = overrides_of({**others, "passwords": passwords, "actions": actions})["access"]

    assert overrides == {"anonymous_uploads_anywhere": None, **access}


@pytest.mark.parametrize("actions", ["update,.", "update,remove", ""])
def test_unknown_actions_of_pypiserver_are_wrong_usage(actions: str) -> None:
    """A word after -a that pypiserver does not have opens nothing, and is wrong usage."""
    options = run_command.make_context("run", ["-P", "f", "-a", actions, "packages"]).params

    with pytest.raises(UsageError, match="-a takes download, list and update"):
        overrides_of(options)


@pytest.mark.parametrize(
    ("environ", "is_interactive", "has_browser"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "192.0.2.1 9 192.0.2.2 22"}, True, False),
        ({}, True, False),
    ],
)
def test_a_login_opens_a_browser_before_a_person(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    *,
    is_interactive: bool,
    has_browser: bool,
) -> None:
    """A login opens a browser where a person sits and windows can be opened, and else none."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(standard_streams, "is_interactive", lambda: is_interactive)

    assert _has_browser(environ) is has_browser


def test_options_of_pypiserver_take_what_theirs_take() -> None:
    """Options of pypiserver without effect have a value where pypiserver's have one."""
    flags, values = ("-o", "-vv", "--overwrite", "--verbose"), ("--hash-algo", "md5")

    options = run_command.make_context("run", [*flags, *values, "packages"]).params

    assert [str(folder) for folder in options["folders"]] == ["packages"]
    assert (options["overwrite"], options["hash_algo"]) == (True, "md5")


def test_the_check_says_what_the_settings_say(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking the settings tells who reads main, and values of ours, and makes no store."""
    monkeypatch.setattr(web_server, "resolve_bind_address", lambda _: None)  # it opens a socket

    done = wheelyard("config", "check", PORT="3333")

    lines = done.stdout.splitlines()
    assert "reading main: anybody" in lines
    assert [line for line in lines if line.endswith("wheelyard-data; there is none yet")]
    assert list(sandbox.folder.iterdir()) == []
    assert [line for line in lines if " = " in line] == ["server.port = 3333, from PORT"]


def test_a_host_that_is_no_address(wheelyard: Typed) -> None:
    """A host at which nobody can listen is refused with the options that change it."""
    done = wheelyard("config", "check", WHEELYARD_SERVER_HOST="a" * 100)

    assert done.returncode == 1
    assert f"Cannot listen on {'a' * 100}, port 8080: it is no address." in done.stderr
    assert "Choose another with --host or --port." in done.stderr


@pytest.fixture
def packages(sandbox: Sandbox) -> Path:
    """A folder with a package in it, and a file of passwords beside it."""
    folder = sandbox.folder / "packages"
    folder.mkdir()
    make_wheel("demo", "1.0").write(folder)
    (sandbox.folder / ".htpasswd").write_text(f"ana:{WEAK}\n")
    return folder


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("run -P . -a . packages", 1, "give --i-know"),
        ("serve -P . -a . --host 0.0.0.0", 1, "give --i-know"),
        ("run -P . packages", 2, "both of them"),
        ("run -P .htpasswd -a update,. packages", 2, "-a takes"),
        ("run nowhere", 1, "The folder 'nowhere' cannot be read"),
        ("run -P nowhere packages", 1, "nowhere cannot be read"),
        ("serve -P nowhere", 1, "nowhere cannot be read"),
        ("serve --watch kept --store kept", 1, "Watch a place beside it"),
        ("serve --lenient", 2, "--watch"),
        ("serve --watch-every 5", 2, "--watch"),
        ("serve --store memory: --workers 2", 1, "cannot be shared"),
        ("serve --upstream https://a.example --upstream https://b.example", 2, "several are [["),
        ("run --upstream https://a.example --upstream https://b.example .", 2, "several are [["),
    ],
)
@pytest.mark.usefixtures("packages", "no_address")
def test_what_opens_everything_must_be_explicit(
    sandbox: Sandbox, start: Typed, line: str, status: int, words: str
) -> None:
    """Options that open everything must be explicit, and invalid options are reported."""
    before = sorted(sandbox.folder.rglob("*"))

    done = start(*line.split())

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert sorted(sandbox.folder.rglob("*")) == before


@pytest.mark.parametrize("line", ["serve", "run packages --store wheelyard-data"])
@pytest.mark.usefixtures("packages", "no_address")
def test_a_store_of_an_older_format_stops_the_start(
    sandbox: Sandbox, start: Typed, line: str
) -> None:
    """A server does not start on a store of an older format, and leaves it as it was."""
    marker = sandbox.folder / "wheelyard-data" / "wheelyard.json"
    marker.parent.mkdir()
    marker.write_text('{"format":2}\n')

    done = start(*line.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert "This store has format 2, which no release of wheelyard wrote: make" in done.stderr
    assert [path for path in marker.parent.rglob("*") if path.is_file()] == [marker]
    assert marker.read_text() == '{"format":2}\n'


@pytest.mark.parametrize("line", ["serve", "run .", "token list"])
def test_a_misspelt_variable_stops_every_command(start: Typed, line: str) -> None:
    """A misspelt variable stops every command that reads settings, in one line with its name."""
    done = start(*line.split(), WHEELYARD_PRIVAT="true")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "wheelyard: WHEELYARD_PRIVAT is no setting. Correct the name, or remove the variable. See "
        f"{DOCUMENTATION}/settings.md.\n"
    )


@pytest.mark.usefixtures("no_address")
def test_a_server_does_not_start_with_a_wrong_file(sandbox: Sandbox, start: Typed) -> None:
    """A file that cannot be applied ends the server with one sentence."""
    file = sandbox.folder / "index.toml"
    file.write_text('[[index]]\nname = "dev"\nlayers = ["dev", "nothing"]\n')

    done = start("serve", "--store", "there", "--apply", file)

    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no index 'nothing', which is one of its layers" in done.stderr
