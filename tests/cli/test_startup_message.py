"""What a server prints when it starts, without one that runs."""

import json
import os
from pathlib import Path
from shutil import rmtree
from typing import Literal, NoReturn

import click
import pytest
from click.testing import CliRunner

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.http.servers import memory_index
from tests.http_server import TOKEN
from tests.index_tables import put_tables_at, toml_of
from tests.upgrades.kept_stores import read_kept_store
from wheelyard.catalog.removed import REMOVED_RULES
from wheelyard.cli import serve
from wheelyard.cli.startup_message import print_startup_message
from wheelyard.errors import DOCUMENTATION, Invalid, Unavailable
from wheelyard.settings.load import LoadedSettings
from wheelyard.settings.sections import (
    MEMORY_LOCATION,
    AccessSettings,
    LogSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.settings.validation import validate
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

GONE = "The store does not answer."
MISSING = "The folder 'pakages' cannot be read"
OPEN = ServerSettings(host="0.0.0.0")  # noqa: S104 - what is being tested
TALKATIVE = {"WHEELYARD_SERVER_TRUSTED_PROXIES": "1"}
READ_BY_ALL = '[[grant]]\nwho = ["anonymous"]\nprojects = ["*"]\nactions = ["read"]\n'
ADVICE = (
    "anyone who can reach this address may read every package; close reading with access.private: "
    f"{DOCUMENTATION}/hardening.md"
)


@pytest.mark.parametrize(
    ("settings", "is_local", "has_token"),
    [
        (Settings(), True, True),
        (Settings(server=ServerSettings(host="::1")), True, True),
        (Settings(server=OPEN), True, False),
        (Settings(server=ServerSettings(read_only=True)), True, False),
        (Settings(), False, False),
        (Settings(access=AccessSettings(htpasswd_file="users")), True, False),
        (Settings(access=AccessSettings(anonymous_uploads=True)), True, False),
    ],
    ids=["plain", "loopback", "every-address", "read-only", "bucket", "passwords", "anonymous"],
)
def test_a_first_token_is_for_this_machine_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Settings,
    *,
    is_local: bool,
    has_token: bool,
) -> None:
    """A first token is made where only this machine connects, and no settings say who may."""
    monkeypatch.chdir(tmp_path)
    Path("users").touch(0o600)
    index = memory_index(tmp_path, settings, traits=StoreTraits(is_local=is_local))

    with click.Context(click.Command("serve")):
        print_startup_message(index)

    assert (TOKEN.search(capsys.readouterr().out) is not None) == has_token
    assert len(index.tokens.all()) == has_token


def test_a_first_token_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second start makes no token, and says where one comes from for a store in memory."""
    store = StoreSettings(location=MEMORY_LOCATION)
    index = memory_index(tmp_path, Settings(store=store), traits=StoreTraits(is_local=True))

    with click.Context(click.Command("serve")):
        print_startup_message(index)
        first = capsys.readouterr().out
        print_startup_message(index)

    second = capsys.readouterr().out
    assert (bool(TOKEN.search(first)), bool(TOKEN.search(second))) == (True, False)
    assert len(index.tokens.all()) == 1
    said = "One that is lost cannot be shown again. A server on 127.0.0.1 makes one for its store"
    assert said in second
    assert "token create" not in second


@pytest.mark.parametrize(
    ("access", "credential"),
    [
        (AccessSettings(private=True), "__token__:TOKEN"),
        (AccessSettings(private=True, htpasswd_file="users"), "NAME:PASSWORD"),
    ],
    ids=["tokens", "passwords"],
)
def test_the_start_shows_what_clients_sign_in_with(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    access: AccessSettings,
    credential: str,
) -> None:
    """Without a first token, clients are told to send a token, or where it has users a password."""
    monkeypatch.chdir(tmp_path)
    Path("users").touch(0o600)

    with click.Context(click.Command("serve")):
        print_startup_message(
            memory_index(tmp_path, Settings(access=access), traits=StoreTraits(is_local=False))
        )

    name, _, secret = credential.partition(":")
    printed = capsys.readouterr().out
    assert f"://{credential}@" in printed
    assert f"-u {name} -p {secret}" in printed


@pytest.mark.parametrize("is_on", [False, True])
def test_the_start_names_one_index_for_clients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_on: bool
) -> None:
    """Where public packages come through the server, clients are told to ask no other index."""
    upstream = UpstreamSettings(enabled=is_on, private=("acme-*",))

    with click.Context(click.Command("serve")):
        print_startup_message(memory_index(tmp_path, Settings(upstream=upstream)))

    printed = capsys.readouterr().out
    assert ("--default-index http" in printed, "poetry source add" in printed) == (is_on, is_on)
    assert ("fails where something is missing here" in printed) is not is_on


@pytest.mark.parametrize(
    ("log_format", "ended_by", "words", "logged"),
    [("text", Unavailable, GONE, []), ("json", SystemExit, "1", [GONE])],
    ids=["text", "json"],
)
@pytest.mark.usefixtures("no_address")
def test_a_server_that_fails_ends_with_its_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    log_format: Literal["text", "json"],
    ended_by: type[BaseException],
    *,
    words: str,
    logged: list[str],
) -> None:
    """What ends a server is told once: as an entry of a log in JSON, else as any other error."""

    def fail(*_: object) -> NoReturn:
        raise Unavailable(GONE)

    monkeypatch.setattr(serve, "run_server", fail)
    settings = Settings(log=LogSettings(format=log_format))

    with (
        click.Context(click.Command("serve")),
        pytest.raises(ended_by) as ended,
    ):
        serve.run_index(LoadedSettings(settings, {}, ""), serve.WatchOptions())

    assert str(ended.value) == words
    assert [record.message for record in caplog.records] == logged
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_address")
def test_a_server_without_the_secret_of_a_provider_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that lacks the secret of a provider says which, before it makes a store."""
    started = list[object]()
    monkeypatch.setattr(serve, "run_server", lambda *arguments: started.append(arguments))
    table = {"name": "acme", "issuer": "https://login.acme.dev", "client_id": "wheelyard"}
    store = StoreSettings(location=str(tmp_path / "store"))
    settings = validate(Settings(sign_in=(table,), store=store))

    with pytest.raises(Invalid, match="Set WHEELYARD_SIGN_IN_ACME_SECRET to what the provider"):
        serve.run_index(LoadedSettings(settings, {}, ""), serve.WatchOptions())

    assert started == list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--apply", "index.toml"]], ids=["none", "one"])
@pytest.mark.usefixtures("no_address")
def test_a_server_knows_the_files_of_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """A server knows the files that it was given to compare with, and none without the option."""
    monkeypatch.chdir(tmp_path)
    Path("index.toml").write_text('[[index]]\nname = "dev"\n')
    opened = list[Index]()
    monkeypatch.setattr(serve, "run_server", lambda _, served: opened.append(served.open_index()))

    arguments = ["--store", MEMORY_LOCATION, *options]
    CliRunner().invoke(serve.serve_command, arguments, catch_exceptions=False)

    (index,) = opened
    assert (index.server.applied_files is not None) is bool(options)


@pytest.mark.parametrize("promote_only", [False, True])
def test_the_start_says_how_to_publish_where_one_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, promote_only: bool
) -> None:
    """The first lines of a server that takes promotions alone have no command that publishes."""
    main = {"promote_only": promote_only, "promote_from": ["dev"]}
    tables = toml_of(main=main, index=({"name": "dev"},))

    print_startup_message(memory_index(tmp_path, tables=tables))

    printed = capsys.readouterr().out
    assert ("uv pip install" in printed, "uv publish" in printed) == (True, not promote_only)


@pytest.mark.parametrize(
    ("command", "options", "environ", "why"),
    [
        (serve.serve_command, ["--watch"], {}, MISSING),
        (serve.run_command, [], {}, MISSING),
        (
            serve.serve_command,
            ["--watch"],
            {"WHEELYARD_SERVER_READ_ONLY": "true"},
            "server.read_only: a server that only reads imports nothing. Leave the setting out, or",
        ),
    ],
    ids=["serve", "run", "read-only"],
)
def test_a_folder_that_cannot_be_watched_stops_the_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: click.Command,
    options: list[str],
    environ: dict[str, str],
    why: str,
) -> None:
    """A misspelt folder, or one for a server that only reads, stops the start without a store."""
    monkeypatch.chdir(tmp_path)
    started = list[Settings]()
    monkeypatch.setattr(serve, "run_server", lambda settings, _: started.append(settings))

    with pytest.raises(Invalid, match=why):
        CliRunner(env=environ).invoke(command, [*options, "pakages"], catch_exceptions=False)

    assert (started, list(tmp_path.iterdir())) == ([], [])


@pytest.fixture
def begin(start: Typed, no_address: None) -> Typed:  # noqa: ARG001 - it opens no port then
    """Type `serve` or `run`, which opens no port."""
    return start


def test_a_second_start_says_where_a_lost_token_comes_from(begin: Typed) -> None:
    """A server whose store has tokens says that a lost one is not shown again, and makes none."""
    first, second = (begin("serve", "--store", "kept").stdout for _ in range(2))

    assert TOKEN.search(first)
    assert not TOKEN.search(second)
    assert "TOKEN stands for a token. One that is lost cannot be shown again. Make a" in second
    assert "wheelyard token create NAME --can read,upload --store kept\n" in second


def test_an_open_server_asks_for_no_token(begin: Typed) -> None:
    """A server to which anybody may publish asks for no token."""
    printed = begin("serve", "--store", "memory:", "-P", ".", "-a", ".").stdout

    assert "token yet" not in printed
    assert "-u anybody -p anything dist/*" in printed


def test_a_server_on_every_address_prints_usable_urls(begin: Typed) -> None:
    """A server on every address prints no URL with 0.0.0.0."""
    printed = begin("serve", "--host", OPEN.host).stdout

    assert OPEN.host not in printed
    assert "There is no token yet." in printed


def test_a_server_starts_without_a_token(begin: Typed, sandbox: Sandbox) -> None:
    """Where no first token can be written, a server starts with a warning."""
    begin("token", "create", "ci", "--store", "wheelyard-data")
    tokens = sandbox.folder / "wheelyard-data" / "credentials"
    rmtree(tokens)
    tokens.write_text("in the way")

    started = begin("serve")

    assert (started.returncode, len(started.stderr.splitlines())) == (0, 1)
    assert started.stderr.startswith("wheelyard: warning: no first token was made: ")


def test_with_grants_no_first_token_is_made(begin: Typed, sandbox: Sandbox) -> None:
    """If there are grants, no initial token is created."""
    config = sandbox.folder / "wheelyard.toml"
    config.write_text("[access]\nprivate = false\n")
    put_tables_at(sandbox.folder / "wheelyard-data", READ_BY_ALL, config)

    started = begin("serve")

    assert (started.returncode, TOKEN.search(started.stdout)) == (0, None)


def test_start_messages_are_plain_lines(begin: Typed) -> None:
    """With a log for people, the messages of a start are plain lines, each once."""
    lines = begin("run", ".", "--host", "127.0.0.1", **TALKATIVE).stderr.splitlines()

    assert f"wheelyard: warning: {ADVICE}" in lines
    assert [line for line in lines if line.startswith("wheelyard: made a new store at ")]
    assert len(lines) == 2


def test_a_shrunk_osv_database_is_a_warning(begin: Typed, sandbox: Sandbox) -> None:
    """A server starts though its OSV database has lost entries, and warns of it."""
    osv = sandbox.folder / "osv.json"
    variables = {
        "WHEELYARD_UPSTREAM_ENABLED": "true",
        "WHEELYARD_UPSTREAM_URL": "https://index.invalid/simple/",
        "WHEELYARD_UPSTREAM_FILE_HOSTS": "files.invalid",
        "WHEELYARD_UPSTREAM_I_HAVE_NO_PRIVATE_PREFIX": "true",
        "WHEELYARD_UPSTREAM_OSV": str(osv),
    }
    osv.write_text(json.dumps([{"id": f"MAL-{number}"} for number in range(10)]))
    begin("serve", **variables)
    osv.write_text('[{"id": "MAL-1"}]')

    started = begin("serve", **variables)

    assert started.returncode == 0
    assert "wheelyard: warning: upstream.osv: " in started.stderr
    assert "upstream accept-osv" in started.stderr


def test_what_helps_against_a_warning_of_a_start(begin: Typed, sandbox: Sandbox) -> None:
    """A warning of a server that starts names the command for the store that was given."""
    read_kept_store("removed").in_folder(sandbox.folder / "my store")

    started = begin("serve", "--store", "my store")

    rules = " ".join(f"{rule}=" for rule in REMOVED_RULES)
    assert f"wheelyard index change prod {rules} --store 'my store''." in started.stderr


def test_a_server_starts_with_main_as_the_file_has_it(begin: Typed, sandbox: Sandbox) -> None:
    """What the start prints of main is what a file of the server says of it."""
    file = sandbox.folder / "index.toml"
    file.write_text('[main]\nread = "granted"\npromote_only = false\n[[index]]\nname = "dev"\n')

    printed = begin("serve", "--store", "there", "--apply", file).stdout

    assert "twine upload --repository-url" in printed
    assert "index-url http://__token__:" in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another user")
@pytest.mark.parametrize("place", ["wheelyard-data/credentials", "apart"])
def test_a_folder_of_another_owner_is_reported(begin: Typed, sandbox: Sandbox, place: str) -> None:
    """A server that may not close the folder of credentials says so, with the command."""
    folder = sandbox.folder / place
    folder.mkdir(parents=True)
    folder.chmod(0o750)
    os.chown(folder, 65534, -1)
    apart = "apart" if place == "apart" else ""

    log = begin("serve", WHEELYARD_ACCESS_CREDENTIALS_STORE=apart).stderr

    assert log.count("other users of this machine may enter") == 1
    assert f"chmod go= {sandbox.folder / place}" in log or f"chmod go= {place}" in log
    assert folder.stat().st_mode & 0o777 == 0o750
