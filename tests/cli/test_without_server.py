"""Command lines that need neither a store nor a server that answers."""

import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from errno import EADDRINUSE, EADDRNOTAVAIL
from io import BytesIO, TextIOWrapper
from pathlib import Path
from queue import Queue
from random import Random
from threading import Event
from types import SimpleNamespace
from typing import Any, Literal, NoReturn

import pytest
from click import Abort, UsageError
from msgspec import convert

from tests.cli.conftest import Typed
from tests.cli.test_standard_streams import TERMINAL
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.in_process_network import InProcessNetwork
from tests.sources.web.fake_server import JSON, running_fake_server
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.api.access_operations import CallerRights, WhoAmI
from wheelyard.api.own_token import check_token
from wheelyard.api_client import ApiConnection
from wheelyard.authentication.api_tokens import ApiTokens
from wheelyard.cli import (
    command_context,
    login_commands,
    serve,
    standard_streams,
)
from wheelyard.cli.login_commands import has_browser
from wheelyard.cli.quantities import describe_age, parse_since
from wheelyard.cli.serve import overrides_of, run_command, serve_command
from wheelyard.cli.store_commands import settings_for_store
from wheelyard.errors import (
    DOCUMENTATION,
    Conflict,
    Forbidden,
    Invalid,
    Unauthenticated,
    Unavailable,
    WheelyardError,
)
from wheelyard.http_client.urls import parse_url
from wheelyard.model.access import parse_pattern
from wheelyard.model.api_token import new_token
from wheelyard.operations.uploads import PublishedFile
from wheelyard.remedies import Advice, Remedy
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring import stores
from wheelyard.wiring.stores import system_runtime

URL = "https://packages.acme.dev/"
TOKEN = new_token(Random(1))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINE = f"machine packages.acme.dev login __token__ password {TOKEN.text}\n"
ADVISORY = json.dumps(
    {
        "id": "MAL-1",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "x"}, "versions": ["1"]}],
    }
)
NO_ANSWER = Unavailable("No answer.", code="storage_unavailable")
NO_LISTING = Forbidden("It may not list.", code="storage_forbidden")
NO_WRITING = Forbidden("It may not write.", code="storage_forbidden")


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
        ("export site --files ftp://x.example", "is no address. Write copy, or a URL such as"),
        ("export site --base-url ftp://x.example", "'ftp://x.example' is no address. Write a URL"),
        ("export site --files copy --store memory:", "there is nothing to export"),
        (
            "export site --files https://files.example/ --store memory:",
            "there is nothing to export",
        ),
        ("list --server ftp://x.example", "Write the root URL of a server"),
    ],
)
def test_a_url_that_is_none_for_the_web(wheelyard: Typed, arguments: str, words: str) -> None:
    """A URL that nobody could ask is refused in one line, and `--files copy` is no URL."""
    done = wheelyard(*arguments.split())

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("upload gone.whl", "There is no file gone.whl. Name the wheels and sdists themselves."),
        ("upload dist/*.whl", "Nothing matched this pattern. Build the project first"),
        ("verify gone.whl", "gone.whl cannot be read: No such file or directory. Name a wheel"),
    ],
    ids=["upload", "pattern", "verify"],
)
def test_a_file_that_is_not_there_is_named(wheelyard: Typed, arguments: str, words: str) -> None:
    """A command about a file that is not there fails, and says what to name."""
    done = wheelyard(*arguments.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr.splitlines()[-1]


def test_a_token_of_no_time_is_not_made(wheelyard: Typed, sandbox: Sandbox) -> None:
    """A token that would end at once is refused with the words to write, and no store is made."""
    done = wheelyard("token", "create", "ci", "--expires", "0d")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("A token lives longer than that. Write 30m, 12h, 90d or 8w.\n")
    assert not (sandbox.folder / "wheelyard-data").exists()


@pytest.mark.slow
def test_an_upload_ends_where_no_server_answers(
    wheelyard: Typed, sandbox: Sandbox, network: InProcessNetwork
) -> None:
    """A server that does not answer is named once, and not with each file."""
    for name in ("acme-1.0.tar.gz", "acme-1.1.tar.gz"):
        (sandbox.folder / name).touch()
    url = f"http://127.0.0.1:{network.free_port()}"

    done = wheelyard("upload", "acme-*.tar.gz", "--server", url)

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wheelyard: No answer from {url}")


class EndingApi:
    """A server to which two files are sent; the small one ends the command, the large one waits."""

    is_local = False
    concurrent_uploads = 2

    def __init__(self, ending: BaseException) -> None:
        self.ending = ending
        self.has_sent_a_part = Event()
        self.has_ended = Event()
        """Set by the test, after the command."""
        self.then = Queue[str]()

    def upload(self, path: Path, advance: Callable[[int], None], _: str) -> NoReturn:
        """End the command once a part of the large file is sent, or send its next part later."""
        if path.name.startswith("small"):
            assert self.has_sent_a_part.wait(TIMEOUT_SECONDS)
            raise self.ending
        advance(1)
        self.has_sent_a_part.set()
        assert self.has_ended.wait(TIMEOUT_SECONDS)
        try:
            advance(1)
        except Abort:
            self.then.put("stopped")
            raise
        self.then.put("sent on")
        raise NO_ANSWER


@pytest.mark.parametrize(
    ("ending", "status", "ended_at_once"),
    [(KeyboardInterrupt(), 130, [130]), (Unauthenticated("This token was revoked."), 1, [])],
    ids=["Ctrl-C", "refused"],
)
def test_an_upload_that_has_ended_sends_no_more(
    wheelyard: Typed,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    ending: BaseException,
    status: int,
    ended_at_once: list[int],
) -> None:
    """A large file is not sent to its end after a refusal, and Ctrl-C waits for nothing at all."""
    at_once = list[int]()

    def exit_at_once(status: int) -> NoReturn:
        at_once.append(status)
        sys.exit(status)  # this process goes on

    api = EndingApi(ending)
    monkeypatch.setattr(command_context, "remote_api", lambda: api)
    monkeypatch.setattr(os, "_exit", exit_at_once)
    for name in ("small-1.0.tar.gz", "large-1.0.tar.gz"):
        (sandbox.folder / name).touch()

    done = wheelyard("upload", "small-1.0.tar.gz", "large-1.0.tar.gz", "--server", URL)
    api.has_ended.set()

    assert (done.returncode, done.stdout) == (status, "")
    assert at_once == ended_at_once
    assert api.then.get(timeout=TIMEOUT_SECONDS) == "stopped"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59.9, "59 seconds"),
        (60, "1 minute"),
        (3600, "1 hour"),
        (86_399, "23 hours"),
        (86_400, "1 day"),
    ],
)
def test_an_age_is_in_its_largest_unit(seconds: float, words: str) -> None:
    """How old a page is is said in days, else in hours, else in minutes or seconds."""
    assert describe_age(seconds) == words


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


def test_a_file_for_a_server_makes_nothing_here(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that describes the index is applied by the server that is named, and by no other."""

    def refuse(*_: object, **__: object) -> None:
        raise Forbidden("That needs an administrator.")

    monkeypatch.setattr(ApiConnection, "send", refuse)
    file = sandbox.folder / "index.toml"
    file.write_text('[[index]]\nname = "dev"\n')

    done = wheelyard("apply", file, "--server", URL, WHEELYARD_TOKEN=TOKEN.text)

    assert (done.returncode, done.stdout) == (1, "")
    assert "That needs an administrator." in done.stderr
    assert list(sandbox.folder.iterdir()) == [file]


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

    assert settings_for_store(settings, location).store.downloads == kept


def test_a_logout_needs_a_token(wheelyard: Typed) -> None:
    """A logout where no token is stored fails, and says where it has looked for one."""
    done = wheelyard("logout", URL)

    assert (done.returncode, "neither in ~/.netrc nor in the keyring" in done.stderr) == (1, True)
    assert "removed" not in done.stderr


def test_an_upload_with_a_wrong_token_ends_at_once(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses the token is named once, and not for each file of an upload."""

    def refuse(*_: object) -> None:
        raise Unauthenticated("So it is.", code="unauthenticated")

    monkeypatch.setattr(ApiConnection, "upload", refuse)
    paths = [make_wheel(name).write(sandbox.folder) for name in ("a", "b")]

    done = wheelyard("upload", *paths, "--server", URL, WHEELYARD_TOKEN=TOKEN.text)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "wheelyard: So it is.\n")


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


@pytest.mark.parametrize(
    ("typed", "status", "words"),
    [
        (b"", 2, "There is no token on standard input. Write one there, or use a terminal."),
        (b" \n", 2, "There is no token on standard input. Write one there, or use a terminal."),
        (TOKEN.text[:-1].encode(), 1, "is not a whole token of a wheelyard index"),
        (b"\xff\n", 1, "is not a whole token of a wheelyard index"),
    ],
    ids=["closed", "blank", "cut off", "no text"],
)
def test_a_login_needs_a_whole_token(
    wheelyard: Typed,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    typed: bytes,
    status: int,
    words: str,
) -> None:
    """A login that gets no whole token says so, repeats nothing of it, and stores nothing."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(typed)))

    done = wheelyard("login", URL)

    assert (done.returncode, done.stdout, words in done.stderr) == (status, "", True)
    assert TOKEN.text[:-1] not in done.stderr
    assert list(sandbox.home.iterdir()) == []


def test_a_person_is_asked_until_the_token_is_whole(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who pastes half of a token is asked again, and one page is opened for both."""
    opened = list[str]()
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(login_commands, "has_browser", lambda *_: True)
    pasted = iter([TOKEN.text[:-1], f" {TOKEN.text} "])
    monkeypatch.setattr(sys, "stdin", TERMINAL)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _: next(pasted))
    monkeypatch.setattr(login_commands, "check_token", lambda *_: [])

    done = wheelyard("login", URL, "--print")

    assert (done.returncode, done.stdout) == (0, f"{TOKEN.text}\n")
    assert "That is not a whole token of a wheelyard index. Copy it again." in done.stderr
    (page,) = opened
    assert f"  {page}\n" in done.stderr


def test_a_token_is_stored_and_given_back(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login replaces the token in netrc, and says so; a logout revokes and removes it."""
    other = new_token(Random(2))
    netrc = sandbox.home / ".netrc"
    netrc.write_text(LINE.replace(TOKEN.text, other.text))
    netrc.chmod(0o600)
    rights = [CallerRights(("read", "upload"), (parse_pattern(name),)) for name in ("*", "acme")]
    requests = list[tuple[object, ...]]()
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(TOKEN.text.encode())))
    monkeypatch.setattr(login_commands, "check_token", lambda *_: rights)
    monkeypatch.setattr(
        ApiConnection, "send", lambda _, *sent: requests.append((*sent, netrc.read_text()))
    )

    login = wheelyard("login", URL)
    stored = netrc.read_text()
    logout = wheelyard("logout", URL)

    assert (login.returncode, login.stdout, stored) == (0, "", LINE)
    for words in (
        "warning: ~/.netrc has a token for packages.acme.dev already, which the new one replaces",
        f"\nToken {TOKEN.id}: read and upload to every project in the index main\n",
        "\nIt is stored in ~/.netrc.\n",
        f"\nIt replaces {other.id}, which works on: revoke that if nothing uses it.\n",
        "uv, pip, Poetry and PDM read it.",
    ):
        assert words in login.stderr, login.stderr
    assert (logout.returncode, netrc.read_text()) == (0, "")
    assert requests == [("POST", "tokens/self/revoke", type(None), LINE)]
    assert logout.stderr == (
        "The token in ~/.netrc is revoked.\nIt is removed from this machine.\n"
    )


@pytest.mark.parametrize(
    ("options", "more"),
    [((), ""), (("--days", "7"), "&days=7"), (("--index", "prod"), "&index=prod")],
    ids=["no option", "days", "index"],
)
def test_the_form_of_a_new_token_is_filled_in(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], more: str
) -> None:
    """The address of the form has the days and the index only if they were given."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(TOKEN.text.encode())))
    monkeypatch.setattr(login_commands, "check_token", lambda *_: [])

    done = wheelyard("login", URL, "--name", "lab", "--print", *options)

    address = f"{URL}-/account/tokens/?can=upload&projects=*&name=lab{more}"
    assert (done.returncode, address in done.stderr.split()) == (0, True)


def test_a_token_that_nobody_got_is_no_login(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login whose token cannot be printed fails, and says what to do."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(TOKEN.text.encode())))
    monkeypatch.setattr(login_commands, "check_token", lambda *_: [])
    monkeypatch.setattr(standard_streams, "is_output_lost", lambda: True)

    done = wheelyard("login", URL, "--print")

    assert done.returncode == 1
    assert done.stderr.endswith("wheelyard: The token cannot be printed. Try again.\n")


@pytest.mark.parametrize(
    ("netrc", "words"),
    [
        ("missing/netrc", "the folder is missing, or you may not write there"),
        ("damaged", "damaged is damaged, so no client reads it. Repair it first."),
        ("taken", "Remove it first."),
    ],
)
def test_a_login_says_first_that_no_token_can_be_stored(
    wheelyard: Typed, sandbox: Sandbox, netrc: str, words: str
) -> None:
    """A login asks nobody for a token that netrc cannot take, and leaves netrc alone."""
    contents = {"damaged": "machine\n", "taken": LINE.replace("__token__", "ana")}
    for name, content in contents.items():
        (sandbox.folder / name).write_text(content)

    done = wheelyard("login", URL, NETRC=str(sandbox.folder / netrc))

    assert (done.returncode, done.stdout, words in done.stderr) == (1, "", True)
    assert "Make a token" not in done.stderr
    assert contents == {name: (sandbox.folder / name).read_text() for name in contents}


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
    ("arguments", "words"),
    [
        ("--lenient", "--lenient and --watch-every go with --watch"),
        ("--watch-every 5", "--lenient and --watch-every go with --watch"),
        (f"--upstream {URL} --upstream {URL}simple/", "--upstream takes one index"),
        ("-P .", "with '-P .' and '-a .', both of them"),
        ("-a .", "with '-P .' and '-a .', both of them"),
    ],
    ids=["lenient", "interval", "two indexes", "no passwords", "no actions"],
)
def test_options_that_contradict_each_other_start_no_server(arguments: str, words: str) -> None:
    """A server whose options contradict each other, or miss one, says which go together."""
    # where nothing refuses them, the missing file ends the command before a server starts
    typed = ["--apply", "missing.toml", *arguments.split()]

    with pytest.raises(UsageError, match=words):
        serve_command.main(typed, standalone_mode=False)


@pytest.mark.parametrize(
    ("environ", "platform", "is_interactive", "is_opened"),
    [
        ({"DISPLAY": ":0"}, "linux", True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True, True),
        ({"DISPLAY": ":0"}, "linux", False, False),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "192.0.2.1 9 192.0.2.2 22"}, "linux", True, False),
        ({}, "linux", True, False),
        ({}, "darwin", True, True),
        ({}, "win32", True, True),
        ({}, "darwin", False, False),
        ({"SSH_CONNECTION": "192.0.2.1 9 192.0.2.2 22"}, "darwin", True, False),
    ],
    ids=[
        *("X", "Wayland", "a job", "far away", "no display"),
        *("macOS", "Windows", "a job on macOS", "a macOS far away"),
    ],
)
def test_a_login_opens_a_browser_before_a_person(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    platform: str,
    *,
    is_interactive: bool,
    is_opened: bool,
) -> None:
    """A login opens a browser where a person sits and windows can be opened, and else none."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(standard_streams, "is_interactive", lambda: is_interactive)

    assert has_browser(environ) is is_opened


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
    ],
)
def test_a_time_is_typed_as_a_date_or_as_how_long_ago(text: str, since: datetime) -> None:
    """A person types a time as a date, with an hour or without, or as how long ago it was."""
    assert parse_since(text, NOW) == since


@pytest.mark.parametrize(
    "text", ["soon", "7y", "-7d", "100000d", "2026-02-30", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """A text that is no time is refused with the forms that a time can have."""
    with pytest.raises(Invalid, match=r"is no time\. Write a date \(2026-01-31\)") as refused:
        parse_since(text, NOW)

    assert (refused.value.code, repr(text) in refused.value.message) == ("invalid_field", True)


def test_options_of_pypiserver_take_what_theirs_take() -> None:
    """Options of pypiserver without effect have a value where pypiserver's have one."""
    flags, values = ("-o", "-vv", "--overwrite", "--verbose"), ("--hash-algo", "md5")

    options = run_command.make_context("run", [*flags, *values, "packages"]).params

    assert [str(folder) for folder in options["folders"]] == ["packages"]
    assert (options["overwrite"], options["hash_algo"]) == (True, "md5")


@pytest.mark.parametrize(
    ("why", "status"), [(EADDRINUSE, 0), (EADDRNOTAVAIL, 1)], ids=["in use", "of another machine"]
)
def test_an_address_of_another_machine_fails_the_check(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch, why: int, status: int
) -> None:
    """Checking the settings fails with an address that is none of this machine, not if in use."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr("wheelyard.http.web_server.socket.getaddrinfo", fail)

    done = wheelyard("config", "check")

    assert done.returncode == status
    assert ("port 8080: in use now" in done.stdout) is (status == 0)
    assert ("Cannot listen on 127.0.0.1, port 8080: " in done.stderr) is (status == 1)


@pytest.mark.parametrize(
    ("faults", "status", "warned", "last"),
    [
        ([NO_ANSWER], 0, [], ""),
        ([NO_LISTING], 1, [], "It may not list."),
        (
            [NO_LISTING, NO_ANSWER, NO_WRITING, NO_LISTING],
            1,
            ["It may not list."],
            "It may not write.",
        ),
    ],
    ids=["no answer", "one right", "two rights"],
)
@pytest.mark.usefixtures("no_address")
def test_a_missing_right_on_a_bucket_fails_the_check(
    wheelyard: Typed,
    monkeypatch: pytest.MonkeyPatch,
    faults: list[WheelyardError],
    status: int,
    warned: list[str],
    last: str,
) -> None:
    """Checking the settings names each right that a bucket lacks once, and then fails."""
    monkeypatch.setattr(stores, "bucket_errors", lambda _: iter(faults))

    done = wheelyard("config", "check")

    said = [f"wheelyard: warning: {message}" for message in warned]
    assert (done.returncode, done.stderr.splitlines()) == (
        status,
        said + [f"wheelyard: {last}"] * status,
    )
    untried = "rights on the bucket: not tried. No answer."
    assert done.stdout.splitlines().count(untried) == (NO_ANSWER in faults)


@pytest.mark.usefixtures("no_address")
def test_a_store_that_fails_fails_the_check(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking the settings fails if the store ceases to answer meanwhile."""

    def fail(*_: object) -> NoReturn:
        raise NO_ANSWER

    monkeypatch.setattr(ApiTokens, "expiring", fail)

    done = wheelyard("config", "check")

    assert (done.returncode, done.stderr) == (1, "wheelyard: No answer.\n")


@pytest.mark.parametrize(
    ("stored", "status"), [([], 0), (["wheelyard.json"], 1)], ids=["new", "damaged"]
)
@pytest.mark.usefixtures("no_address")
def test_an_upstream_without_a_list_is_warned_of_before_the_first_page(
    wheelyard: Typed,
    sandbox: Sandbox,
    network: InProcessNetwork,
    *,
    stored: list[str],
    status: int,
) -> None:
    """The check warns of an upstream index without a list if no page of it is known to be there."""
    store = sandbox.folder / "wheelyard-data"
    store.mkdir()
    for name in stored:
        (store / name).write_text("{")
    with running_fake_server(network) as server:
        variables = {
            "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
            "WHEELYARD_UPSTREAM_URL": f"{server.url}/simple/",
            "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
        }
        done = wheelyard("config", "check", **variables)

    assert done.returncode == status
    assert "at its root it answers with status 404" in done.stderr
    assert "pages of its projects were seen" not in done.stdout


@pytest.mark.usefixtures("no_address")
def test_the_check_says_what_the_settings_say(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Checking the settings tells who reads main, and values of ours, and makes no store."""
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


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("run -P . -a . packages", 1, "give --i-know"),
        ("serve -P . -a . --host 0.0.0.0", 1, "give --i-know"),
        ("run -P .htpasswd -a update,. packages", 2, "-a takes"),
        ("run nowhere", 1, "The folder 'nowhere' cannot be read"),
        ("run -P nowhere packages", 1, "nowhere cannot be read"),
        ("serve -P nowhere", 1, "nowhere cannot be read"),
        ("serve --watch kept --store kept", 1, "Watch a place beside it"),
        ("serve --store memory: --workers 2", 1, "cannot be shared"),
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


MINUTE = "2026-03-01T12:00:00Z"
DEPARTED = {"principal": "oidc:acme:ana", "id": "1", "state": "ended"}
RULE = {"number": 2, "index": "dev", "description": "", "note": "", "hindrance": "It counts none."}
FILE = {
    "filename": "acme-1.0.tar.gz",
    "version": "1.0",
    "sha256": "0" * 64,
    "size": 9,
    "upload-time": MINUTE,
    "uploaded-by": "local:ana",
    "uploaded-by-name": "ana",
    "requires-python": None,
    "yanked": True,
    "core-metadata": "",
    "imported": None,
    "waived-rules": [],
    "pinned": True,
}
PROJECT = {
    "name": "acme",
    "revision": 1,
    "project-status": {"status": "active"},
    "summary": "",
    "files": [FILE],
    "deleted": [],
    "commit": None,
}
OLD_TOKEN = {
    "id": "0123456789",
    "name": "ci",
    "owner": None,
    "can": ["read"],
    "projects": ["*"],
    "names-index": False,
    "state": "active",
    "created": MINUTE,
    "created-by": "local:ana",
    "expires": MINUTE,
    "last-used": None,
}
DELIVERIES: dict[str, object] = {"attempts": [], "waiting": [], "dead": [], "again": []}


@pytest.mark.parametrize(
    ("arguments", "answer", "said"),
    [
        pytest.param(
            "webhook deliveries builds",
            {"name": "builds", **DELIVERIES, "dropped": 7, "note": "Nothing sends."},
            (
                "",
                (
                    "warning: Nothing sends.\n"
                    "wheelyard: warning: 7 messages that were given up are not kept: "
                    "there were too many\n"
                ),
                0,
            ),
            id="deliveries",
        ),
        pytest.param(
            "webhook send-again builds --all",
            {"name": "builds", "ids": ["msg-1", "msg-2"]},
            ("msg-1: waits to be sent again\nmsg-2: waits to be sent again\n", "", 0),
            id="messages to send again",
        ),
        pytest.param(
            "webhook test builds",
            {"id": "m", "event": "test", "subject": "a test", "at": MINUTE, "error": "500"},
            ("a test", "", 1),
            id="a test that did not arrive",
        ),
        pytest.param(
            "webhook test builds",
            {"id": "m", "event": "test", "subject": "a test", "at": MINUTE, "status": 204},
            ("a test", "", 0),
            id="a test that arrived",
        ),
        pytest.param(
            "retention --dry-run",
            {
                "rules": [RULE],
                "deleted": [],
                "kept": [],
                "last_run": None,
                "skipped": [{"index": "dev", "project": "acme", "why": "It is damaged."}],
                "warnings": ["b 1.0 needs a."],
            },
            (
                "",
                (
                    "warning: rule 2 deletes nothing: It counts none.\n"
                    "wheelyard: warning: dev: acme is left alone: It is damaged.\n"
                    "wheelyard: warning: b 1.0 needs a.\n"
                ),
                1,
            ),
            id="retention",
        ),
        pytest.param(
            "usage",
            {
                "projects": [{"name": "acme", "files": 1, "bytes": 1024, "share": 0.5}],
                "files": 1,
                "bytes": 1024,
                "unread": 2,
            },
            (
                "1.0 KiB\t1 file\tacme\t50% of its quota\n",
                "warning: 2 projects not looked at yet; ask again in a minute\n",
                0,
            ),
            id="usage",
        ),
        pytest.param(
            "people list",
            {"people": [{**DEPARTED, "groups": ["dev", "ops"], "confirmed": MINUTE}]},
            ("oidc:acme:ana#1\tended\tof dev, ops\tconfirmed 2026-03-01 12:00 UTC\n", "", 0),
            id="people",
        ),
        pytest.param(
            "people release-name acme ana",
            {"ended": "oidc:acme:ana#1"},
            ("ana: released\n", "oidc:acme:ana#1: ended\n", 0),
            id="a released name",
        ),
        pytest.param(
            "access group add team htpasswd:ana",
            {"name": "team", "warnings": [{"message": "Nobody is htpasswd:ana."}]},
            ("", "warning: Nobody is htpasswd:ana.\n", 0),
            id="a group of strangers",
        ),
        pytest.param(
            "apply index.toml",
            {
                "files": [
                    {
                        "source": "index.toml",
                        "changes": [],
                        "anonymous": [],
                        "is_done": True,
                        "problems": ["The index dev is not served here."],
                    }
                ]
            },
            ("index.toml: nothing to change\n", "warning: The index dev is not served here.\n", 0),
            id="an applied file",
        ),
        pytest.param(
            "print-settings uv",
            {"serves_public": False, "other_indexes": ["dev", "prod"]},
            (
                "/simple/",
                "warning: main has no project; --index chooses another index: dev, prod\n",
                0,
            ),
            id="settings of a client",
        ),
        pytest.param(
            "upstream request requests 2.0 --reason why",
            {
                "project": "requests",
                "version": "2.0",
                "reasons": [{"code": "age", "text": "It is new."}],
            },
            ("asked for requests 2.0\n  It is new.\n", "", 0),
            id="a package that is asked for",
        ),
        pytest.param(
            "list acme",
            PROJECT,
            ("acme-1.0.tar.gz\t9\t2026-03-01 12:00\tlocal:ana (ana)\tyanked\n", "", 0),
            id="a file that is yanked without a reason",
        ),
        pytest.param(
            "restore acme 1.0",
            {**PROJECT, "changed": [FILE]},
            (
                "acme 1.0: restored  acme-1.0.tar.gz",
                (
                    "wheelyard: pinned, so that no rule of retention deletes it; "
                    f"'wheelyard unpin acme 1.0 --server {URL}' undoes that\n"
                ),
                0,
            ),
            id="a restored release that rules would delete",
        ),
        pytest.param(
            "token list",
            {"tokens": [OLD_TOKEN]},
            ("\tactive\tmade by local:ana\tit names no index\n", "", 0),
            id="a token of an earlier version",
        ),
    ],
)
def test_what_a_server_answers_is_told(
    wheelyard: Typed,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    answer: object,
    said: tuple[str, str, int],
) -> None:
    """A command prints what a server answers, tells its warnings apart, and has the exit status."""
    monkeypatch.setattr(ApiConnection, "send", lambda *sent, **_: convert(answer, sent[3]))
    (sandbox.folder / "index.toml").touch()

    printed, told, status = said
    done = wheelyard(*arguments.split(), "--server", URL, WHEELYARD_TOKEN=TOKEN.text)

    assert (done.returncode, printed in done.stdout) == (status, True), done
    assert done.stderr.endswith(told), done.stderr


@pytest.mark.parametrize(
    ("options", "path"), [((), ""), (("--index", "dev"), "dev/")], ids=["main", "another index"]
)
def test_the_chosen_index_of_a_server_is_asked(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], path: str
) -> None:
    """A command about packages asks the index that its option names, and main without one."""
    asked = list[str]()

    def answer(connection: ApiConnection, *sent: Any, **_: object) -> object:  # noqa: ANN401 - any body
        asked.append(connection.server.redacted)
        return convert(PROJECT, sent[2])

    monkeypatch.setattr(ApiConnection, "send", answer)

    done = wheelyard("list", "acme", "--server", URL, *options, WHEELYARD_TOKEN=TOKEN.text)

    assert (done.returncode, asked) == (0, [f"{URL}{path}"])


def test_the_warnings_of_an_upload_name_its_file(
    wheelyard: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server warns of at an upload is told with the file, which is uploaded all the same."""
    wheel = make_wheel()
    published = PublishedFile(wheel.filename, wheel.sha256, "uploaded", ("It is new.",))
    monkeypatch.setattr(ApiConnection, "upload", lambda *_: published)

    done = wheelyard(
        "upload", wheel.write(sandbox.folder), "--server", URL, WHEELYARD_TOKEN=TOKEN.text
    )

    assert (done.returncode, done.stdout.endswith("  uploaded\n")) == (0, True)
    assert done.stderr == f"wheelyard: warning: {wheel.filename}: It is new.\n"


@pytest.mark.parametrize(
    ("typed", "status", "confirmations", "printed"),
    [("y", 0, [False, True], "acme: owners group:team\n"), ("n", 130, [False], "")],
    ids=["yes", "no"],
)
def test_a_person_is_asked_before_public_packages_are_hidden(
    wheelyard: Typed,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    status: int,
    confirmations: list[bool],
    printed: str,
) -> None:
    """Who grants a namespace that hides packages in use is told of them, and asked."""
    granted = {"name": "acme", "namespace": {"name": "acme", "owners": ["group:team"]}}
    confirmed = list[object]()

    def answer(*sent: Any, **_: object) -> object:  # noqa: ANN401 - any body
        confirmed.append(sent[4].even_if_public)
        if not confirmed[-1]:
            raise Conflict("acme-x is in use.", code="hides_public_names")
        return convert(granted, sent[3])

    monkeypatch.setattr(ApiConnection, "send", answer)
    monkeypatch.setattr(sys, "stdin", TERMINAL)
    monkeypatch.setattr(os, "_exit", sys.exit)  # this process goes on
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: typed)

    done = wheelyard(
        *("namespace", "grant", "acme", "--owner", "group:team", "--server", URL),
        WHEELYARD_TOKEN=TOKEN.text,
    )

    assert done.stderr.startswith("acme-x is in use.\n")
    assert (done.returncode, confirmed, done.stdout) == (status, confirmations, printed)


def test_an_examination_of_a_connection_is_printed(
    wheelyard: Typed, network: InProcessNetwork
) -> None:
    """`doctor` prints each check with what to do, as lines or as JSON, and fails with a check."""
    url = f"http://127.0.0.1:{network.free_port()}/simple/"

    done = wheelyard("doctor", url)
    as_json = wheelyard("doctor", url, "--json")

    lines = done.stdout.splitlines()
    assert (done.returncode, as_json.returncode) == (1, 1)
    assert lines[0] == f"index: {url} (of the command line)"
    assert [line.split()[0] for line in lines[-2:]] == ["FAILED", "->"]
    (failed,) = (
        check for check in json.loads(as_json.stdout)["checks"] if check["outcome"] == "failed"
    )
    assert failed["text"] in lines[-2]
    assert lines[-1].endswith(failed["advice"])


@pytest.mark.usefixtures("no_address")
def test_the_check_warns_of_settings_without_effect(wheelyard: Typed) -> None:
    """A setting that was removed is no failure of the check, and a warning."""
    done = wheelyard("config", "check", WHEELYARD_WEB_PICTURES="true")

    assert done.returncode == 0
    assert "warning: web.pictures, from WHEELYARD_WEB_PICTURES: it was removed" in done.stderr


@pytest.mark.usefixtures("no_address")
def test_the_check_tells_how_providers_answer(
    wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says which URI a provider needs, and warns of one that cannot be used."""
    config = SimpleNamespace(name="acme", issuer="https://a.dev", redirect_uri="https://b.dev/back")
    monkeypatch.setattr(
        "wheelyard.wiring.warnings.ask_providers",
        lambda _: [(config, ""), (config, "it answers with status 502")],
    )

    done = wheelyard("config", "check")

    assert done.returncode == 0
    assert "sign_in acme: https://a.dev is its issuer; it needs the redirect URI https://b.dev" in (
        done.stdout
    )
    assert "warning: sign_in acme: https://a.dev: it answers with status 502\n" in done.stderr


@pytest.mark.usefixtures("no_address")
def test_the_check_warns_of_what_it_cannot_read(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Grants that are damaged are a warning of the check with what to do."""
    assert wheelyard("token", "create", "ci", "--store", "wheelyard-data").returncode == 0
    grants = sandbox.folder / "wheelyard-data" / "credentials" / "access.json"
    grants.write_bytes(b"?")

    done = wheelyard("config", "check")

    assert (done.returncode, "access.json is damaged" in done.stderr) == (0, True), done


@pytest.mark.usefixtures("no_address")
def test_the_check_tells_what_upstream_indexes_are(
    wheelyard: Typed, sandbox: Sandbox, network: InProcessNetwork
) -> None:
    """The check says that an upstream index is one, where files are, and what is malformed."""
    (sandbox.folder / "MAL-1.json").write_text(ADVISORY)
    (sandbox.folder / "MAL-2.json").write_text("{")
    with running_fake_server(network) as server:
        page = {"meta": {"api-version": "1.0"}}
        server.page("/simple/", json.dumps({**page, "projects": [{"name": "pip"}]}), JSON)
        file = {"filename": "pip-26.0.tar.gz", "url": "https://files.example/f", "hashes": {}}
        server.page("/simple/pip/", json.dumps({**page, "name": "pip", "files": [file]}), JSON)
        variables = {
            "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
            "WHEELYARD_UPSTREAM_URL": f"{server.url}/simple/",
            "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
            "WHEELYARD_UPSTREAM_OSV": ".",
        }
        done = wheelyard("config", "check", **variables)

    assert (done.returncode, "its root is a list of projects\n" in done.stdout) == (0, True), (
        done.stderr
    )
    assert "are on files.example, as the page of pip says" in done.stdout
    assert "entries that are malformed and skipped: 1." in done.stderr


@pytest.mark.parametrize(
    ("log_format", "configured", "is_printed"),
    [("text", [], True), ("json", ["json"], False)],
    ids=["text", "json"],
)
@pytest.mark.usefixtures("no_address")
def test_what_a_start_warns_of_is_in_its_log(
    start: Typed,
    packages: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    log_format: str,
    configured: list[str],
    *,
    is_printed: bool,
) -> None:
    """Options of pypiserver without effect are told on standard error, or as entries of a log."""
    formats = list[str]()
    monkeypatch.setattr(serve, "configure_logging", lambda log: formats.append(log.format))

    done = start(
        *("run", "-P", ".htpasswd", "-a", "list,update", "--hash-algo", "md5", packages),
        WHEELYARD_LOG_FORMAT=log_format,
    )

    assert done.returncode == 0
    for words in ("lists and downloads are one right here", "--hash-algo does nothing here: "):
        assert words in done.stderr + caplog.text
        assert (words in done.stderr) is is_printed
    assert sorted(set(formats)) == configured


def test_an_export_without_public_packages_says_so(wheelyard: Typed) -> None:
    """A site whose files are at another server has no public packages, which a warning says."""
    store = ("--store", "there")
    assert wheelyard("token", "create", "ci", *store).returncode == 0
    variables = {
        "WHEELYARD_UPSTREAM_URL": "https://index.invalid/simple/",
        "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
    }

    done = [
        wheelyard("export", site, *store, "--base-url", URL, *files, **variables)
        for site, files in (("linking", ("--files", "https://files.example/")), ("copying", ()))
    ]

    words = "public packages are left out, as their files are not where --files says"
    assert [each.returncode for each in done] == [0, 0]
    assert [words in each.stderr for each in done] == [True, False]
