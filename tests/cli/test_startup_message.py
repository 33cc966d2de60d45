"""What a server prints when it starts, without one that runs."""

from pathlib import Path
from typing import Literal, NoReturn

import click
import pytest
from click.testing import CliRunner

from tests.http.servers import memory_index
from tests.http_server import TOKEN
from tests.index_tables import toml_of
from wheelyard.cli import serve
from wheelyard.cli.startup_message import print_startup_message
from wheelyard.errors import Invalid, Unavailable
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
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

GONE = "The store does not answer."
MISSING = "The folder 'pakages' cannot be read"
OPEN = ServerSettings(host="0.0.0.0")  # noqa: S104 - what is being tested


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
    monkeypatch.setattr(serve, "resolve_bind_address", lambda server: server)  # it opens a socket
    settings = Settings(log=LogSettings(format=log_format))

    with (
        click.Context(click.Command("serve")),
        pytest.raises(ended_by) as ended,
    ):
        serve.run_index(LoadedSettings(settings, {}, ""), serve.WatchOptions())

    assert str(ended.value) == words
    assert [record.message for record in caplog.records] == logged
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [[], ["--apply", "index.toml"]], ids=["none", "one"])
def test_a_server_compares_with_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """A server says how what is in force differs from its files, and nothing if it has none."""
    monkeypatch.chdir(tmp_path)
    Path("index.toml").write_text('[[index]]\nname = "dev"\n')
    opened = list[Index]()
    monkeypatch.setattr(serve, "run_server", lambda _, served: opened.append(served.open_index()))
    monkeypatch.setattr(serve, "resolve_bind_address", lambda server: server)  # it opens a socket

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
