"""What a server prints when it starts, without one that runs."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.http.servers import memory_index
from tests.http_server import TOKEN
from tests.index_tables import toml_of
from wheelyard.cli import serve
from wheelyard.cli.startup_message import print_startup_message
from wheelyard.errors import Invalid
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.wiring.stores import StoreTraits

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
    ("command", "options"), [(serve.serve_command, ["--watch"]), (serve.run_command, [])]
)
def test_a_missing_folder_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: click.Command, options: list[str]
) -> None:
    """A misspelt folder stops the start before a store is made."""
    monkeypatch.chdir(tmp_path)
    started = list[Settings]()
    monkeypatch.setattr(serve, "run_server", lambda settings, _: started.append(settings))

    with pytest.raises(Invalid, match="The folder 'pakages' cannot be read"):
        CliRunner().invoke(command, [*options, "pakages"], catch_exceptions=False)

    assert (started, list(tmp_path.iterdir())) == ([], [])
